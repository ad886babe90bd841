"""`make cluster` starts what docker-compose.yml describes, no more and no less. (That it runs: tests/drills/test_drill_cluster.py.)"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scripts import rehearsal as module
from scripts.lint_deploy import planned
from scripts.processes import ROOT, Trouble, missing_programs, own_env
from scripts.rehearsal import BESIDE, PORTS, Rehearsal, copies, filled, in_order, read_compose
from tests.conftest import missing

COMPOSE = read_compose()


@pytest.fixture
def rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    """Prepared, in this machine's own network, without a database: initdb takes seconds."""
    if lacking := missing_programs():
        missing(", ".join(lacking))
    monkeypatch.setattr(module, "run", lambda *_, **__: "")
    monkeypatch.setattr(module.shutil, "chown", lambda *_: None)
    made = Rehearsal(tmp_path / "set", apart=())
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    (made.folder / "postgres").mkdir()
    made.prepare()
    return made


def test_a_process_for_each_container(rehearsal: Rehearsal) -> None:
    wanted = {name: copies(service) for name, service in COMPOSE.items()}
    assert {name: len(processes) for name, processes in rehearsal.processes.items()} == wanted
    assert wanted["web"] == 2
    assert {name for name in wanted if name not in BESIDE} == {*planned(), "migrate"}, "what `brainstem up` would start"


def test_with_the_same_commands(rehearsal: Rehearsal) -> None:
    for name, service in COMPOSE.items():
        for process in rehearsal.processes[name]:
            if name not in BESIDE:
                assert process.command[-len(service["command"]) :][1:] == service["command"][1:], name
    settings = COMPOSE["postgres"]["command"][1:]
    assert rehearsal.processes["postgres"][0].command[1 : 1 + len(settings)] == settings
    [redis] = rehearsal.processes["redis"]
    assert redis.command[-1].startswith(COMPOSE["redis"]["command"][-1].replace("$$", "$"))


def test_with_the_same_settings(rehearsal: Rehearsal) -> None:
    """Every setting of the file arrives, with nothing but places and secrets changed, and none is added."""
    for name, service in COMPOSE.items():
        if name in BESIDE:
            continue
        listens = {"web": {"PORT"}, "live": {"BRAINSTEM_LIVE_PORT"}}.get(name, set())
        for process in rehearsal.processes[name]:
            added = {key for key, value in process.env.items() if own_env().get(key) != value}
            assert added - {"PYTEST_CURRENT_TEST"} == {*service["environment"], *listens}, name
            for key, text in service["environment"].items():
                given = process.env.get(key, "")
                assert given == text or "${" in text or ":" in text or text in ("/data", "0.0.0.0"), (name, key, given)
            assert not any(re.search(rf"[@/]{other}:\d", value) for value in process.env.values() for other in PORTS)
            for other, key in (("postgres", "DATABASE_URL"), ("redis", "REDIS_URL"), ("chroma", "CHROMA_URL")):
                assert rehearsal.place(other) in process.env[key]


def test_in_the_order_they_wait_for_each_other() -> None:
    order = in_order(COMPOSE)
    assert sorted(order) == sorted(COMPOSE)
    for name, service in COMPOSE.items():
        assert all(order.index(other) < order.index(name) for other in service.get("depends_on", ()))


def test_the_proxy_reads_the_file_of_the_deployment(rehearsal: Rehearsal) -> None:
    conf = rehearsal.proxy_conf((ROOT / "deploy" / "nginx.conf").read_text("utf-8"), rehearsal.folder)
    for name in ("web", "live"):
        block = re.findall(rf"upstream {name} {{(.*?)}}", conf, re.DOTALL)[0]
        assert re.findall(r"server (\S+) ", block) == [f"{a}:{p}" for a, p in rehearsal.places[name]]
    assert sorted(re.findall(r"listen 127\.0\.0\.1:(\d+) ", conf)) == sorted(map(str, rehearsal.ports.values()))
    assert not re.findall(r"^ *listen \d+ ", conf, re.MULTILINE)


def test_a_service_nobody_knows_is_refused(rehearsal: Rehearsal) -> None:
    service: dict[str, Any] = {"command": ["elasticsearch"]}
    with pytest.raises(Trouble, match="elasticsearch"):
        list(rehearsal._processes("search", service))


def test_a_secret_that_was_not_given_is_asked_for() -> None:
    assert filled("a ${X:-b} $$C ${Y:?why}", {"Y": "y"}) == "a b $C y"
    with pytest.raises(Trouble, match="Y: why"):
        filled("${Y:?why}", {})
