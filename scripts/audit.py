"""Known vulnerabilities in what the lock files name, asked of OSV (osv.dev) by pip-audit.

Exit status: 0 nothing known, 1 something known, 75 the database cannot be reached: nothing was checked. pip-audit lives
in an environment of its own under build/, since nothing else needs it.

  --if-reachable   0 instead of 75, said as plainly (CI runs where there may be no network)
  --url URL        another server that answers as OSV does
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-audit.lock"
AUDITED = ("requirements.lock", "requirements-build.lock", "requirements-dev.lock", "requirements-audit.lock")
OSV = "https://api.osv.dev/v1/query"
UNREACHABLE = 75


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--if-reachable", action="store_true")
    parser.add_argument("--url", default=OSV)
    given = parser.parse_args()
    trouble = unreachable(given.url)
    if trouble:
        print(f"NOT CHECKED: the vulnerability database at {given.url} cannot be reached ({trouble}).")
        return 0 if given.if_reachable else UNREACHABLE
    return audit(given.url)


def unreachable(url: str) -> str | None:
    """Why OSV does not answer as itself; None when it does. A proxy's error page is no answer."""
    asked = urllib.request.Request(url, b'{"package": {"name": "jinja2", "ecosystem": "PyPI"}, "version": "2.4.1"}',
                                   {"Content-Type": "application/json"})  # fmt: skip
    try:
        with urllib.request.urlopen(asked, timeout=15) as answer:
            return None if b'"vulns"' in answer.read(2**20) else "it does not know an old hole of Jinja"
    except (OSError, ValueError) as exc:
        return str(getattr(exc, "reason", exc))


def audit(url: str) -> int:
    python = environment()
    locks = [argument for name in AUDITED for argument in ("-r", str(ROOT / name))]
    command = [str(python), "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner=off",
               "--vulnerability-service=osv", f"--osv-url={url}", *locks]  # fmt: skip
    return subprocess.run(command, check=False).returncode


def environment() -> Path:
    """The Python of an environment with pip-audit as locked, made when the lock changed."""
    mark = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    home = ROOT / "build" / f"audit-{mark}"
    python = home / "bin" / "python"
    if not (home / "done").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "-qq", "install", "--no-deps",
                        "--require-hashes", "-r", str(LOCK)], check=True)  # fmt: skip
        (home / "done").touch()
    return python


if __name__ == "__main__":
    sys.exit(main())
