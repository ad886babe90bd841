"""Schemathesis at every operation of the OpenAPI document: no 5xx, no undocumented status, no answer of another shape.

`make test` tries the same few requests each time. `make fuzz` tries new ones for ten minutes (`FUZZ_SECONDS`, shared by
all operations) and prints the seed of a failure; `FUZZ_SEED=that make fuzz` tries the same again.
"""

from __future__ import annotations

import logging
import os
import re
import time
import traceback
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fakes.belongings import Belongings, kept
from tests.fakes.site import Site, name_of, routes
from webapp.tasks.kinds import kinds

OPERATIONS = [route for route in routes() if not route.page and route.method != "WS"]
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
EXAMPLES = 3  # of requests that fit the document, and as many that don't

# What is no fault of ours: there is no model here, no worker, no network.
IN_NEED = {"no_model", "still_working", "dns", "connection"}

WAITING = {"/v1/chat/completions"}  # answers when the work is done, however long that takes


class Bench:
    """The application, everything of alice's in it, and the way back to that after each operation."""

    def __init__(self, site: Site) -> None:
        import schemathesis

        self.site = site
        self.alices = Belongings(site)
        self.schema = schemathesis.openapi.from_wsgi("/openapi.json", site.app)

    def operation(self, route: Any) -> Any:
        return self.schema[_braces(route.path)][route.method]

    def credential(self, route: Any) -> dict[str, str]:
        cast = self.site.cast
        return self.site.bearer(cast.root if route.auth == "admin" else cast.alice)


def _braces(path: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


@pytest.fixture(scope="module")
def bench(calm: Site) -> Bench:
    return Bench(calm)


def requests(bench: Bench, route: Any) -> Any:
    """Requests as documented and requests that are not, most of them with the ids of things that are there."""
    from schemathesis import GenerationMode

    operation = bench.operation(route)
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

    @st.composite
    def planted(draw: Any) -> Any:
        case = draw(cases)
        if draw(st.sampled_from([True, True, True, False])):
            words = _words(bench, route)
            for place in (case.path_parameters, case.query, case.body):
                _plant(draw, place, words)
        return case

    return planted()


def _words(bench: Bench, route: Any) -> dict[str, list[Any]]:
    """What a field of this name may hold so that the request comes further than to the first look-up."""
    alices, path = bench.alices, route.path
    tasks = [alices.done, alices.failed, *([] if route.stream else [alices.waiting])]  # a stream of that would not end
    known = {name: [value] for name, value in alices.ids(path).items()}
    return known | {
        "task_id": tasks, "ids": [[alices.done, alices.failed, "none"]],
        "id": [alices.knowledge["document_id"]], "collections": [[alices.knowledge["collection_id"]]],
        "agent_id": ["auto", "research"], "agent": ["research", "general"], "username": ["alice", "charlie"],
        "name": [*NAMES.get(path.split("<")[0], ["A name"])], "model_name": ["brainstem", "minilm"],
        "model": ["brainstem", "minilm"], "task_type": ["test.script", "summary", "data", "text", "no.kind"], "url": ["https://alice.example/"], "cron": ["0 9 * * 1"],
        "urls": [["https://alice.example/"]], "plugin": ["slack", "email"], "start": [0], "end": [5],
    }  # fmt: skip


EXAMPLES_OF_KINDS = [(name, example) for name, kind in kinds.all() for example in kind.examples]
NAMES = {
    "/api/v1/operations/queues/": ["inference", "crawling"],
    "/api/v1/operations/schedules/": ["maintenance.retention", "maintenance.sweep"],
    "/api/v1/admin/users/": ["open_tasks", "daily_tasks"],
}


def _plant(draw: Any, value: Any, words: dict[str, list[Any]]) -> None:
    if isinstance(value, dict):
        if {"task_type", "task_config"} <= set(value) and draw(st.booleans()):
            value["task_type"], value["task_config"] = draw(st.sampled_from(EXAMPLES_OF_KINDS))
            return
        for name, inner in value.items():
            fits = [word for word in words.get(name, ()) if type(word) is type(inner)]
            many = words.get(name.removesuffix("s"), ()) if isinstance(inner, list) and not fits else ()
            if fits:
                value[name] = draw(st.sampled_from(fits))
            elif many:
                value[name] = [draw(st.sampled_from(many)), *inner[1:]]
            else:
                _plant(draw, inner, words)
    elif isinstance(value, list):
        for inner in value:
            _plant(draw, inner, words)


def attempt(bench: Bench, route: Any, number: int, examples: int) -> None:
    from schemathesis.specs.openapi import checks

    conform = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance,
               checks.response_headers_conformance]  # fmt: skip

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=requests(bench, route))
    def tried(case: Any) -> None:
        answer = case.call(headers=bench.credential(route))
        place = f"{name_of(route)}: {answer.status_code} {answer.text[:500]} for {case.as_curl_command()[:1500]}"
        in_need = route.path == "/api/v1/ready" or (answer.status_code > 500 and answer.json()["code"] in IN_NEED)
        assert answer.status_code < 500 or in_need, place
        case.validate_response(answer, checks=conform)

    with Causes() as causes:
        try:
            tried()
        except BaseException as error:
            error.add_note("\n".join([f"FUZZ_SEED={number}", *causes.told[-3:]]))
            raise


class Causes(logging.Handler):
    """What the application wrote of its own faults: the answer says nothing of them, and some don't come twice."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        self.told.append(f"{record.getMessage()}\n{trace[-4000:]}")

    def __enter__(self) -> Causes:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)


@pytest.mark.parametrize("route", OPERATIONS, ids=name_of)
def test_what_is_documented_is_what_happens(bench: Bench, route: Any) -> None:
    with kept(bench.site), bench.site.lab.working() if route.path in WAITING else nullcontext():
        if not SECONDS:
            return attempt(bench, route, SEED, 2 * EXAMPLES)
        end, number = time.monotonic() + SECONDS / len(OPERATIONS), SEED or time.time_ns() % 2**32
        while time.monotonic() < end:
            attempt(bench, route, number, 25)
            number += 1
    return None
