"""Check the deployment files without Docker: they start the processes the program itself would start (supervisor.plan),
every setting in them exists, no password is committed, every container is confined, and nginx accepts its part.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from webapp.core.jobs import QUEUES, ROLES
from webapp.settings import BY_NAME, OPTIONS, load
from webapp.supervisor import plan

ROOT = Path(__file__).resolve().parent.parent
BESIDE = {"postgres", "redis", "chroma", "proxy"}  # services that run an image of others
ALONE = {"migrate"}  # runs and ends
SETTINGS = {name for option in OPTIONS for name in option.env} | {"WEB_CONCURRENCY", "PYTHONUNBUFFERED"}
HEADERS = ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Connection")
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


def main() -> int:
    want = planned()
    problems = [
        *check_queues(want),
        *check_procfile(want),
        *check_compose(want),
        *check_supervisord(want),
        *check_nginx(),
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def planned() -> dict[str, str]:
    """Process name -> command, as `brainstem up` would start them in a deployment."""
    from webapp import runtime

    with tempfile.TemporaryDirectory() as home:
        settings = load({"DATABASE_URL": "postgresql://nobody@127.0.0.1/none", "REDIS_URL": "redis://127.0.0.1:1/0",
                         "SECRET_KEY": "only-to-ask-for-the-plan", "BRAINSTEM_HOME": home})  # fmt: skip
        rt = runtime.build(settings)
        rt.close()
        return {process.name: shlex.join(["brainstem", *process.args]) for process in plan(settings, rt.roles)}


def check_queues(want: dict[str, str]) -> Iterator[str]:
    roles = [command.split()[-1] for name, command in want.items() if name.startswith("worker-")]
    served = {queue for role in roles for queue in ROLES[role]}
    yield from (f"no worker serves the queue {queue}" for queue in QUEUES if queue not in served)


def check_procfile(want: dict[str, str]) -> Iterator[str]:
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    have = dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))
    yield from differences("Procfile", {"release": have.pop("release", "")}, {"release": "brainstem migrate"})
    yield from differences("Procfile", have, want)


def check_supervisord(want: dict[str, str]) -> Iterator[str]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=None)
    parser.read(ROOT / "deploy" / "supervisord.conf", "utf-8")
    programs = {name.removeprefix("program:"): parser[name] for name in parser if name.startswith("program:")}
    have = {name: re.sub(r"^\S+/bin/", "", program["command"]) for name, program in programs.items()}
    yield from differences("supervisord.conf", have, want)
    yield from (f"supervisord.conf: {name} is killed before its grace ends" for name, program in programs.items()
                if int(program["stopwaitsecs"]) < 40)  # fmt: skip
    # Who drops root may not open again what root's stdout is; a file of its own it may.
    yield from (f"supervisord.conf: {name} writes to {program['stdout_logfile']}" for name, program in programs.items()
                if not program["stdout_logfile"].startswith("/var/log/brainstem/"))  # fmt: skip


def check_compose(want: dict[str, str]) -> Iterator[str]:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    compose: dict[str, Any] = yaml.safe_load(text)
    services: dict[str, Any] = compose["services"]
    ours = {name: shlex.join(service["command"]) for name, service in services.items() if name not in BESIDE | ALONE}
    yield from differences("docker-compose.yml", ours, want)
    yield from check_connections(compose)
    for name in sorted(BESIDE | ALONE):
        if name not in services:
            yield f"docker-compose.yml: {name} is missing"
    for name, service in services.items():
        yield from (f"docker-compose.yml: {name} {trouble}" for trouble in check_service(name, service, compose))
    for name, default in re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*)(?::?[-=]([^}]*))?\}", text):
        yield f"docker-compose.yml: {name} must be asked for with :?, not default to {default!r}"


def check_connections(compose: dict[str, Any]) -> Iterator[str]:
    """Design rule: the sum over all processes stays under 80 % of what Postgres takes (docs/operations.md)."""
    from webapp.core.db import make_engine

    pool = make_engine("postgresql+psycopg://nobody@127.0.0.1/none", pool_size=BY_NAME["pool_size"].default).pool
    each = pool.size() + pool._max_overflow  # type: ignore[attr-defined]
    processes = sum(running(service) for name, service in compose["services"].items() if name not in BESIDE | ALONE)
    limit = int(re.findall(r"max_connections=(\d+)", " ".join(compose["services"]["postgres"]["command"]))[0])
    if processes * each > 0.8 * limit:
        yield f"docker-compose.yml: {processes} processes x {each} connections are more than 80 % of {limit}"


def running(service: dict[str, Any]) -> int:
    """Processes of a service: its containers, and gunicorn's in each."""
    each = re.findall(r"\d+", str(service["environment"].get("WEB_CONCURRENCY", 1)))[0]
    return int(service.get("deploy", {}).get("replicas", 1)) * int(each)


def check_service(name: str, service: dict[str, Any], compose: dict[str, Any]) -> Iterator[str]:
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "may gain privileges"
    if service.get("ports") and name != "proxy":
        yield "publishes a port; only the proxy may"
    yield from (f"uses the unknown network {net}" for net in service["networks"] if net not in compose["networks"])
    for other in service.get("depends_on", ()):
        if other not in compose["services"]:
            yield f"waits for {other}, which does not exist"
    named = [volume.split(":")[0] for volume in service.get("volumes", ()) if not volume.startswith(".")]
    yield from (f"uses the unknown volume {volume}" for volume in named if volume not in compose["volumes"])
    if name in BESIDE:
        if name != "proxy" and service["networks"] != ["private"]:
            yield "can be reached from outside the private network"
        if "healthcheck" not in service:
            yield "has no health check"
        if not re.search(r":\d", service["image"]):
            yield "runs an image without a version"
        return
    yield from (f"sets {key}, which is no setting" for key in service["environment"] if key not in SETTINGS)
    if (
        service.get("user", "0").split(":")[0] == "0"
        or not service.get("read_only")
        or service.get("cap_drop") != ["ALL"]
    ):
        yield "is not confined (user, read_only, cap_drop)"
    if service.get("stop_grace_period") != "40s":
        yield "is killed before its grace ends"


def check_nginx() -> Iterator[str]:
    """nginx itself reads the file, with names that resolve here."""
    if NGINX is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            yield "nginx is not here, and CI must have it"
        return
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "nginx.conf"
        text = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
        text = text.replace("web:8000", "127.0.0.1:8000").replace("live:8001", "127.0.0.1:8001")
        conf.write_text(text.replace("/tmp/", f"{folder}/"), "utf-8")
        for place in re.findall(r"location [^{]*\{([^}]*)\}", text):
            for name in HEADERS:
                if f"proxy_set_header {name} " not in place:  # nginx inherits none once a location sets one
                    yield f"deploy/nginx.conf: a location does not set {name}"
        done = subprocess.run([NGINX, "-t", "-q", "-p", folder, "-c", str(conf)], capture_output=True, text=True)
        if done.returncode:
            yield f"deploy/nginx.conf: {done.stderr.strip()}"


def differences(where: str, have: dict[str, str], want: dict[str, str]) -> Iterator[str]:
    for name in sorted(have.keys() | want.keys()):
        if have.get(name) != want.get(name):
            yield f"{where}: {name} is {have.get(name)!r}, the program's plan says {want.get(name)!r}"


if __name__ == "__main__":
    sys.exit(main())
