"""`make dev`: `brainstem up` with DEBUG, started again when a Python file changes. Templates are read anew by Flask."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WATCHED = ("webapp", "actors", "migrations")


def stamps() -> dict[Path, float]:
    found = {}
    for folder in WATCHED:
        for path in (ROOT / folder).rglob("*.py"):
            try:
                found[path] = path.stat().st_mtime
            except FileNotFoundError:
                pass  # an editor is just replacing it
    return found


def main() -> int:
    env = {"DEBUG": "1", "BRAINSTEM_GRACE_SECONDS": "1", **os.environ, "PYTHONPATH": str(ROOT)}
    child: subprocess.Popen[bytes] | None = None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            seen = stamps()
            child = subprocess.Popen([sys.executable, "-m", "webapp.cli", "up"], env=env)
            while (now := stamps()) == seen:
                time.sleep(0.5)
            changed = [
                str(path.relative_to(ROOT)) for path in now.keys() | seen.keys() if now.get(path) != seen.get(path)
            ]
            print(f"-- {', '.join(sorted(changed)[:5])} changed, starting again", flush=True)
            stop(child)
    except KeyboardInterrupt:
        return stop(child) if child else 0


def stop(child: subprocess.Popen[bytes]) -> int:
    if child.poll() is None:
        child.terminate()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
