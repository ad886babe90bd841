"""The report tells the truth: what is down is named, and how bad it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.lab import Lab
from webapp.core.jobs import QUEUES
from webapp.health import metrics, service
from webapp.runtime import Runtime
from webapp.tasks.worker import WorkerHost


@pytest.fixture
def lab(both_rt: Runtime) -> Lab:
    return Lab(both_rt)


def serve(lab: Lab, *queues: str) -> WorkerHost:
    host = WorkerHost(lab.rt, "fast", queues)
    host._write_beat()
    return host


def test_all_well(lab: Lab) -> None:
    serve(lab, *QUEUES)
    found = service.report(lab.rt)
    assert found["status"] == "healthy", found
    assert all(check["ok"] for check in found["checks"].values())
    assert ("redis" in found["checks"]) == bool(lab.rt.settings.redis_url)
    body, ok = service.ready(lab.rt)
    assert (body["status"], ok) == ("ready", True)
    assert body["checks"]["redis"] == ("ok" if lab.rt.settings.redis_url else "not used")
    assert body["checks"]["model"].startswith("none: ")


def test_no_worker_at_all(lab: Lab) -> None:
    found = service.report(lab.rt)
    assert found["status"] == "unhealthy"
    assert "no worker for" in found["checks"]["workers"]["error"]
    assert service.ready(lab.rt)[1] is False


def test_a_queue_without_worker(lab: Lab) -> None:
    serve(lab, *(queue for queue in QUEUES if queue != "crawling"))
    found = service.report(lab.rt)
    assert found["status"] == "degraded"
    assert found["checks"]["workers"]["error"] == "no worker for crawling"
    assert service.ready(lab.rt)[1] is True, "the pages can still be used"


def test_a_worker_that_stopped_beating_counts_no_more(lab: Lab) -> None:
    serve(lab, *QUEUES)
    lab.sql("UPDATE workers SET beat_at = beat_at - 1000")
    assert service.report(lab.rt)["status"] == "unhealthy"


def test_a_database_that_is_away(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise ConnectionError("secret-host:5432 refused")

    monkeypatch.setitem(lab.rt._checks, "database", away)
    found = service.report(lab.rt)
    assert found["status"] == "unhealthy"
    assert found["checks"]["database"] == {"ok": False, "error": "does not answer (ConnectionError)"}
    assert "secret-host" not in str(found)


def test_little_room_is_a_warning(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(lab, *QUEUES)

    def nearly_full(path: Any) -> Any:
        from collections import namedtuple

        return namedtuple("Usage", "total used free")(10**12, 10**12 - 10**8, 10**8)

    monkeypatch.setattr(service.shutil, "disk_usage", nearly_full)
    found = service.report(lab.rt)
    assert found["status"] == "warning"
    assert "only 95 MB free" in found["checks"]["disk"]["error"]


def test_redis_that_is_away(make_rt: Any, request: pytest.FixtureRequest) -> None:
    env = request.getfixturevalue("swept_services").env
    rt = make_rt(**{**env, "REDIS_URL": "redis://127.0.0.1:1/0"})
    found = service.report(rt)
    assert found["status"] == "unhealthy"
    assert found["checks"]["redis"]["ok"] is False


def test_metrics_count_rows_of_all_processes(lab: Lab) -> None:
    from tests.conftest import make_cast

    alice = make_cast(lab.rt).alice
    for _ in range(3):
        lab.start(alice)
    lab.run()
    lab.start(alice, kind="test.crawl")
    serve(lab, *QUEUES)
    text = metrics.text(lab.rt).decode()
    for line in (
        'agent_tasks_total{agent_id="test.script",status="pending"} 2.0',
        'agent_tasks_total{agent_id="test.script",status="completed"} 1.0',
        'queue_depth{queue="inference"} 2.0',
        'queue_depth{queue="crawling"} 1.0',
        'queue_depth{queue="embedding"} 0.0',
        'workers{role="fast"} 1.0',
    ):
        assert line in text, line


def test_ids_make_no_new_series() -> None:
    metrics.count_request("GET", "/api/v1/utils/ai-tasks/<task_id>/", 200)
    names = {sample.labels["endpoint"] for family in metrics._process.collect() for sample in family.samples
             if family.name == "api_requests"}  # fmt: skip
    assert "/utils/ai-tasks/{task_id}/" in names


def test_the_model_that_writes_is_named(make_rt: Any, tmp_path: Any) -> None:
    from tests.fakes import tiny_gguf

    tiny_gguf.write(tmp_path / "a.gguf")
    rt = make_rt(BRAINSTEM_MODELS_DIR=str(tmp_path))
    assert service.ready(rt)[0]["checks"]["model"] == "ok: ggml:a.gguf"


def test_a_model_that_was_not_asked_for_yet_is_not_replaced_by_another(make_rt: Any, tmp_path: Any) -> None:
    """Right after a start nobody knows the servers' models: that is said, instead of naming what will not write."""
    from tests.fakes import tiny_gguf
    from tests.fakes.model_server import ModelServer
    from webapp.engines import service as engines

    tiny_gguf.write(tmp_path / "a.gguf")
    with ModelServer() as models:
        for more in ({}, {"BRAINSTEM_MODELS_DIR": str(tmp_path)}):
            rt = make_rt(BRAINSTEM_MODEL="openai:large@lab", **models.env, **more)
            assert service._model(rt).startswith("not known yet: ")
            engines.available(rt)
            assert service._model(rt) == "ok: openai:large@lab"
