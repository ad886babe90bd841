"""Every queue has an actor and a role, every role a worker wherever processes are listed; every setting is explained."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from webapp import settings as settings_module
from webapp.core.jobs import QUEUES, ROLES, TASK_JOBS
from webapp.settings import OPTIONS
from webapp.supervisor import plan
from webapp.tasks.kinds import kinds

DEPLOYED = tuple(role for role in ROLES if role != "all")


def given(name: str) -> str:
    path = ROOT / name
    if not path.is_file():
        pytest.skip(f"{name} is not written yet")
    return path.read_text("utf-8")


def planned() -> dict[str, str]:
    settings = settings_module.load({"BRAINSTEM_HOME": "x"})
    return {process.name: "brainstem " + " ".join(process.args) for process in plan(settings, DEPLOYED)}


def test_every_queue_is_served_by_one_role() -> None:
    served = [queue for role in DEPLOYED for queue in ROLES[role]]
    assert sorted(served) == sorted(QUEUES)
    assert set(ROLES["all"]) == set(QUEUES)
    assert set(TASK_JOBS) == set(QUEUES)


def test_every_queue_has_one_actor_of_three_lines() -> None:
    bound = {}
    for path in (ROOT / "actors").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and "actor(TASK_JOBS[" in "".join(
                map(ast.unparse, node.decorator_list)
            ):
                queue = re.findall(r"TASK_JOBS\['(\w+)'\]", ast.unparse(node.decorator_list[0]))[0]
                assert queue not in bound, f"two actors for {queue}"
                bound[queue] = node
    assert set(bound) == set(QUEUES)
    for queue, node in bound.items():
        assert len(node.body) <= 3, "an actor claims, calls, is done"
        assert f"'{queue}'" in ast.unparse(node), "the actor runs its own queue"


def test_the_actors_that_load_are_those_of_the_queues() -> None:
    """In a process of its own: actors take the process's broker."""
    import subprocess
    import sys
    import tempfile

    code = "import actors; print(sorted((a.queue_name, a.actor_name) for a in actors.broker.broker.actors.values()))"
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"BRAINSTEM_HOME": home, "PATH": ""}, capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
    assert ast.literal_eval(done.stdout) == sorted((queue, job.name) for queue, job in TASK_JOBS.items())


def test_every_kind_waits_on_a_queue_that_exists() -> None:
    assert {kind.queue for _, kind in kinds.all()} <= set(QUEUES)
    assert [info.name for info in kinds.info() if info.error] == []


def test_every_queue_has_threads() -> None:
    settings = settings_module.load({"BRAINSTEM_HOME": "x"})
    named = dict(part.split("=") for part in settings.worker_threads)
    assert set(named) == set(QUEUES)
    assert all(int(number) >= 1 for number in named.values())


def test_the_supervisor_starts_every_role() -> None:
    assert set(planned()) == {"web", "live", "scheduler", *(f"worker-{role}" for role in DEPLOYED)}


def test_the_procfile_names_the_same_processes() -> None:
    lines = [line for line in given("Procfile").splitlines() if line.strip() and not line.startswith("#")]
    found = dict(line.split(": ", 1) for line in lines)
    assert found.pop("release") == "brainstem migrate"
    assert found == planned()


def test_compose_runs_the_same_processes() -> None:
    yaml = pytest.importorskip("yaml")
    services: dict[str, Any] = yaml.safe_load(given("docker-compose.yml"))["services"]
    found = {}
    for name, service in services.items():
        command = service.get("command") or []
        words = shlex.split(command) if isinstance(command, str) else command
        if words[:1] == ["brainstem"]:
            found[name] = " ".join(words)
    assert found.pop("migrate") == "brainstem migrate"
    assert found == planned()
    for name in found:
        grace = re.fullmatch(r"(\d+)s", str(services[name]["stop_grace_period"]))
        default = next(option.default for option in OPTIONS if option.name == "grace_seconds")
        assert grace is not None
        assert int(grace[1]) > default + 5, f"{name} is killed before its tasks are parked"


def test_the_commands_of_the_plan_exist() -> None:
    from webapp.cli import main

    for line in planned().values():
        command, *arguments = line.split()[1:]
        assert command in main.commands
        if arguments and not arguments[0].startswith("-"):
            choices = main.commands[command].params[0].type.choices  # type: ignore[attr-defined]
            assert set(choices) == set(ROLES)


@pytest.mark.parametrize("name", ["docs/settings.md", "deploy/brainstem.env.example"])
def test_every_setting_is_explained(name: str) -> None:
    text = given(name)
    missing = [option.env[0] for option in OPTIONS if not re.search(rf"\b{option.env[0]}\b", text)]
    assert missing == []
    known = {env for option in OPTIONS for env in option.env}
    known |= {f"{env}_FILE" for env in known} | settings_module._KNOWN_ELSEWHERE | {"BRAINSTEM_"}
    strangers = set(re.findall(r"\bBRAINSTEM_[A-Z_]*", text)) - known
    assert strangers <= {"BRAINSTEM_"}, "explained, but not a setting"


def test_the_example_is_a_file_that_loads(tmp_path: Path) -> None:
    lines = [
        line[1:] if re.match(r"#[A-Z_]+=", line) else line
        for line in given("deploy/brainstem.env.example").splitlines()
    ]
    (tmp_path / "brainstem.env").write_text("\n".join(lines), "utf-8")
    loaded = settings_module.load({"BRAINSTEM_HOME": str(tmp_path)})
    plain = settings_module.load({"BRAINSTEM_HOME": str(tmp_path / "other")})
    different = {name for name in loaded.values if loaded.values[name] != plain.values[name]}
    assert different <= {"home"}, "the example shows the defaults"
