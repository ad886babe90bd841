"""`make cluster`: the deployment that docker-compose.yml describes, as plain processes on this machine, without Docker.

    make cluster                     bring it up, print the address, take it down with Ctrl-C
    make cluster ARGS=test           the behaviour suite against it: what asks over HTTP (--http-only), then, on its Postgres and
                                     Redis, what runs in the tests' own process (more arguments go to pytest, such as -n 2)
    make cluster ARGS=drill          faults of Redis and Postgres, slow clients, a thousand readers (DRILL_FULL=1: full numbers)

`--data FOLDER` keeps the database, files and secrets; `--apart NAMES` says which services live in a network namespace of their
own (`none`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from scripts.processes import Keeper, Trouble, listens, missing_programs  # noqa: E402
from scripts.rehearsal import APART, Rehearsal  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["up", "test", "drill"], default="up")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--apart", default=",".join(APART), help="services with a network namespace of their own")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))
    parser.add_argument("--http-only", action="store_true", help="test: only what asks over HTTP")
    args, rest = parser.parse_known_args()
    if lacking := missing_programs():
        print(f"make cluster needs {', '.join(lacking)}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with scratch(args.data) as folder:
            return {"up": serve, "test": check, "drill": drill}[args.what](args, folder, rest)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def serve(args: argparse.Namespace, folder: Path, _rest: Iterable[str]) -> int:
    port = args.port if not listens("127.0.0.1", args.port) else None
    first = "" if (folder / "postgres").exists() else secrets.token_urlsafe(12)
    with brought_up(args, folder, {}, port=port, admin=first) as made:
        if first:
            print(f"log in as admin with {first}")
        print(f"{made.url}  (logs in {folder}; Ctrl-C takes it down)", flush=True)
        while True:
            for process in made.all():
                process.look()
            time.sleep(0.2)


def check(args: argparse.Namespace, folder: Path, rest: list[str]) -> int:
    """The behaviour suite: what asks by HTTP asks the cluster; what runs in the test's process stands on its servers."""
    from tests.live.conftest import CLUSTER_ENV, OVER_HTTP

    with brought_up(args, folder, CLUSTER_ENV, admin=secrets.token_urlsafe(12)) as made:
        keeper = Keeper(made.all())
        about = folder / "cluster.json"
        about.touch(0o600)
        about.write_text(json.dumps(made.describe()))
        env = {
            **os.environ,
            "TEST_CLUSTER": str(about),
            "TEST_POSTGRES": made.database_url,
            "TEST_REDIS": made.redis_url,
        }
        pytest = [sys.executable, "-m", "pytest"]
        try:
            by_http = subprocess.run([*pytest, *OVER_HTTP], cwd=ROOT, env=env).returncode
            if by_http:
                print("\n".join(line[:600] for log in folder.glob("*.log") for line in log.read_text().splitlines()
                                if '"level": "error"' in line))  # fmt: skip
            if args.http_only or by_http == 2:  # interrupted
                return by_http
            inside = subprocess.run([*pytest, "tests", "-m", "services and not drill", *rest], cwd=ROOT,
                                    env={k: v for k, v in env.items() if k != "TEST_CLUSTER"}).returncode  # fmt: skip
        finally:
            keeper.close()
        return by_http or inside


def drill(_args: argparse.Namespace, _folder: Path, rest: list[str]) -> int:
    """Drills bring up sets of their own, which they hurt."""
    which = "cluster or " + " or ".join(f"f{n:02}" for n in (5, 6, 7, 8, 9, 10, 11, 12, 17, 18))
    files = [f"tests/drills/test_drill_{name}.py" for name in ("cluster", "redis", "database")]
    command = [sys.executable, "-m", "pytest", "-s", *files, "-k", which, *rest]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "DRILL_SET": "compose"}).returncode


@contextlib.contextmanager
def brought_up(
    args: argparse.Namespace, folder: Path, env: dict[str, str], port: int | None = None, admin: str = ""
) -> Iterator[Rehearsal]:
    apart = () if args.apart == "none" else tuple(args.apart.split(","))
    made = Rehearsal(folder, env, apart=apart, port=port, follow=True, admin=admin)
    made.up(lambda line: print(line, flush=True))
    print(f"apart: {', '.join(made.network.spaces)}, services at {made.network.address}" if made.network.spaces else
          f"no network namespaces ({made.network.why_not}): all in this machine's", flush=True)  # fmt: skip
    try:
        yield made
    finally:
        print("stopping", flush=True)
        made.down()


@contextlib.contextmanager
def scratch(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="brainstem-cluster-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
