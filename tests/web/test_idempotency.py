"""`Idempotency-Key`: a request sent again, or twice at once, has one effect and one answer."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.fakes.site import Site

PATH = "/api/v1/utils/ai-tasks/"
BODY = {"title": "Once", "task_type": "test.script", "task_config": {}}


def post(site: Site, key: str, *, who: Any = None, **body: Any) -> Any:
    client = site.program(who or site.cast.alice)
    return client.post(PATH, json={**BODY, **body}, headers={"Idempotency-Key": key})


def test_the_second_time_answers_the_same_and_does_nothing(both_site: Site) -> None:
    site = both_site
    first, second = post(site, "k1"), post(site, "k1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json == second.json
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert site.lab.count("tasks") == 1


def test_another_request_under_the_same_key_is_refused(site: Site) -> None:
    post(site, "k1")
    answer = post(site, "k1", title="Other")
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_mismatch")
    assert site.lab.count("tasks") == 1


def test_keys_belong_to_people(site: Site) -> None:
    assert post(site, "k1").json["id"] != post(site, "k1", who=site.cast.bob).json["id"]


def test_a_refused_request_keeps_no_key(site: Site) -> None:
    assert post(site, "k1", task_type="nothing").status_code == 400
    assert site.lab.count("idempotency_keys") == 0
    assert post(site, "k1").status_code == 201


@pytest.mark.parametrize("key", ["x" * 201, "", " ", "\x7f"])
def test_keys_that_are_none(site: Site, key: str) -> None:
    assert post(site, key).status_code == 400


def test_two_at_once_make_one_task(both_site: Site) -> None:
    site = both_site
    for round in range(3):
        gate = threading.Barrier(4)
        answers: list[Any] = []
        clients = [site.program(site.cast.alice) for _ in range(4)]

        def go(client: Any, round: int = round, gate: Any = gate, answers: list[Any] = answers) -> None:
            gate.wait()
            answers.append(client.post(PATH, json=BODY, headers={"Idempotency-Key": f"twin {round}"}))

        threads = [threading.Thread(target=go, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json["id"] for answer in answers}) == 1
        assert site.lab.count("tasks") == round + 1


def test_without_a_key_each_request_counts(site: Site) -> None:
    client = site.program(site.cast.alice)
    assert client.post(PATH, json=BODY).json["id"] != client.post(PATH, json=BODY).json["id"]
