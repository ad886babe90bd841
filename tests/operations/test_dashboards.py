"""Rules and dashboard name only what a running server exports; their expressions are looked at word by word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT, Server

RULES = ROOT / "deploy/prometheus/brainstem.rules.yml"
DASHBOARD = ROOT / "deploy/grafana/brainstem.json"
OF_PROMETHEUS = {"up": {"job", "instance"}}
FUNCTIONS = {
    "sum",
    "max",
    "count",
    "rate",
    "increase",
    "delta",
    "absent",
    "predict_linear",
    "histogram_quantile",
    "topk",
    "vector",
}
WORDS = {"and", "or", "unless", "by", "on", "without", "ignoring", "bool"}
SCRAPED = {"job", "instance", "process"}  # labels that come with the scrape, or in a deployment only


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """Metric -> its labels, as a server of its own tells them."""
    server = Server(tmp_path_factory.mktemp("metrics"), {"BRAINSTEM_DEMO": "0"})
    server.start()
    try:
        started = requests.post(server.url + "/api/v1/utils/ai-tasks/", timeout=10, json={
            "title": "One", "task_type": "nlp", "task_config": {"content": "Two ships left the harbour at noon."}})  # fmt: skip
        assert started.status_code == 201, started.text
        assert requests.get(server.url + "/tasks", timeout=10).status_code == 200
        answer = requests.get(server.url + "/api/v1/metrics", timeout=10)
        found: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        yield found
    finally:
        server.kill()


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def named(expr: str) -> Iterator[tuple[str, set[str]]]:
    """(metric, labels it is asked by) of an expression; every other word must be one of PromQL that we know."""
    grouped: set[str] = set()
    for group in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expr):
        grouped |= {word.strip() for word in group.split(",")}
    bare = re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)", " ", expr)
    bare = re.sub(r"\[[^\]]*\]", " ", bare)
    for name, labels in re.findall(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?", re.sub(r"\b\d[\w.]*", " ", bare)):
        if name not in FUNCTIONS | WORDS:
            yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels)) | grouped


@pytest.mark.parametrize(("where", "expr"), list(expressions()))
def test_every_metric_and_label_is_exported(exported: dict[str, set[str]], where: str, expr: str) -> None:
    found = list(named(expr))
    assert found, f"{where}: names no metric"
    for metric, labels in found:
        have = exported | OF_PROMETHEUS
        assert metric in have, f"{where}: {metric} is not exported"
        assert labels - SCRAPED <= have[metric] | {"le"}, f"{where}: {metric} has no {labels - have[metric]}"


def test_the_words_are_looked_at() -> None:
    """The check itself: what is not exported is seen, whatever stands around it."""
    expr = 'sum by (le) (rate(not_there_bucket{door="page"}[5m])) > 1 unless on (queue) gone == 1'
    assert list(named(expr)) == [("not_there_bucket", {"door", "le", "queue"}), ("gone", {"le", "queue"})]


def test_what_must_be_told_is_told() -> None:
    """Queue age, dead letters, disk, worker loss: in the rules as in the app; each says what to do."""
    text = " ".join(rule["expr"] for rule in rules())
    for metric in (
        "brainstem_queue_oldest_seconds",
        "brainstem_dead_letters_open",
        "brainstem_disk_free_bytes",
        "brainstem_workers_lost",
    ):
        assert metric in text
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 40
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_every_gauge_of_ours_is_shown(exported: dict[str, set[str]]) -> None:
    """What we export and nobody looks at is a cost without a use."""
    asked = {metric for _, expr in expressions() for metric, _ in named(expr)}
    ours = {name for name in exported if name.startswith("brainstem_") and not name.endswith(("_count", "_sum"))}
    assert ours <= asked, ours - asked


def test_the_dashboard_stands_on_its_grid() -> None:
    """Panels neither overlap nor leave the 24 columns; ids are unique."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
