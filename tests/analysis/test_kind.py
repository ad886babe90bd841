"""The kind `data_analysis` from the request to the result: where tables come from, what is refused, what a kill costs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.http_server import FakeSite
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.analysis import kind as kind_module
from webapp.core.errors import TaskCancelled

TASKS = "/api/v1/utils/ai-tasks/"
SALES = (
    "day,shop,sold\n"
    + "\n".join(f"2025-01-{n:02d},{'north' if n % 2 else 'south'},{10 + n}" for n in range(1, 31))
    + "\n"
)


@pytest.fixture
def web() -> Iterator[FakeSite]:
    with FakeSite() as made:
        made.page("/sales.csv", SALES.encode(), {"Content-Type": "text/csv"})
        made.page(
            "/page",
            b"<!doctype html><html><body><table><tr><td>1</td></tr></table></body></html>",
            {"Content-Type": "text/html"},
        )
        yield made


@pytest.fixture
def desk(make_rt: Any, web: FakeSite) -> Iterator[Site]:
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{web.port}", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def post(desk: Site, **config: Any) -> Any:
    return desk.program(desk.cast.alice).post(TASKS, json={"task_type": "data_analysis", "task_config": config})


def finished(desk: Site, **config: Any) -> dict[str, Any]:
    answer = post(desk, **config)
    assert answer.status_code == 201, answer.json
    desk.lab.run_all()
    found: dict[str, Any] = desk.program(desk.cast.alice).get(f"{TASKS}{answer.json['id']}/").json
    return found


def uploaded(desk: Site, content: bytes, name: str) -> str:
    answer = desk.program(desk.cast.alice).post("/api/v1/files/", data={"file": (io.BytesIO(content), name)})
    assert answer.status_code == 201, answer.json
    return str(answer.json["id"])


def left_behind(desk: Site) -> list[Path]:
    folder = desk.lab.rt.settings.home_dir / "analysis"
    return list(folder.iterdir()) if folder.is_dir() else []


def test_the_documented_example(desk: Site) -> None:
    """001:159-163, M045."""
    task = finished(desk, data={"values": [1, 2, 3, 4, 5]}, analysis_type="statistical")
    assert task["status"] == "completed", task["error_message"]
    result = task["result_data"]
    assert result["statistics"] == {
        "values": {
            "count": 5,
            "mean": 3.0,
            "std": 1.5811388300841898,
            "min": 1.0,
            "25%": 2.0,
            "50%": 3.0,
            "75%": 4.0,
            "max": 5.0,
        }
    }
    assert result["summary"].startswith(
        "The table has 5 rows and 1 column. values is 3 on average (median 3), from 1 to 5."
    )
    assert left_behind(desk) == []


def test_an_address(desk: Site, web: FakeSite) -> None:
    task = finished(desk, url=web.url("/sales.csv"), group="shop", target="sold")
    assert task["status"] == "completed", task["error_message"]
    result = task["result_data"]
    assert [(one["name"], one["type"]) for one in result["columns"]] == [
        ("day", "date"),
        ("shop", "category"),
        ("sold", "number"),
    ]
    [source] = result["sources"]
    assert (source["url"], source["format"], source["delimiter"]) == (web.url("/sales.csv"), "CSV", ",")
    assert [row["value"] for row in result["comparisons"]["rows"]] == ["sold"]
    assert [request.path for request in web.requests] == ["/sales.csv"]


def test_an_upload_and_several_as_one(desk: Site) -> None:
    halves = SALES.split("\n")
    first = uploaded(desk, "\n".join(halves[:16]).encode(), "a.csv")
    second = uploaded(
        desk,
        json.dumps([dict(zip(("shop", "sold", "day"), ("south", 7, "2025-02-01"), strict=True))]).encode(),
        "b.json",
    )
    result = finished(desk, upload_ids=[first, second])["result_data"]
    assert result["table"]["rows"] == 16
    assert [one["format"] for one in result["sources"]] == ["CSV", "JSON"]
    assert result["columns"][0]["max"] == "2025-02-01"


@pytest.mark.parametrize(
    ("what", "says"),
    [("correlation", "no two columns"), ("comparison", "nothing to compare"), ("trend", "no column of numbers")],
)
def test_what_is_not_there_is_said(desk: Site, what: str, says: str) -> None:
    result = finished(desk, text="name,v\nx,1\ny,2\n", analysis_type=what)["result_data"]
    assert any(says in note for note in result["notes"])


def test_the_target_of_correlations(desk: Site) -> None:
    text = "a,b,c\n" + "".join(f"{n},{n * n % 7},{n * 3 % 11}\n" for n in range(40))
    pairs = finished(desk, text=text, analysis_type="correlation", target="b")["result_data"]["correlations"]["pairs"]
    assert sorted(sorted((one["a"], one["b"])) for one in pairs) == [["a", "b"], ["b", "c"]]


def test_a_pasted_table(desk: Site) -> None:
    result = finished(desk, text="a\tb\n1\tx\n2\ty\n")["result_data"]
    assert [(one["name"], one["type"]) for one in result["columns"]] == [("a", "number"), ("b", "category")]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, ""),
        ({"data": {"values": [1]}, "text": "a\n1\n"}, ""),
        ({"data": {"values": [1]}, "analysis_type": "magic"}, "analysis_type"),
        ({"data": "1,2,3"}, "data"),
        ({"data": {"values": [1]}, "max_categories": 1}, "max_categories"),
        ({"data": {"values": [1]}, "colour": "red"}, "colour"),
        ({"url": "http://127.0.0.2/x.csv"}, "url"),
        ({"data": {"values": [1]}, "target": "a", "group": "a"}, ""),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field_named(desk: Site, config: dict[str, Any], field: str) -> None:
    answer = post(desk, **config)
    assert answer.status_code == 400, answer.json
    assert field in json.dumps(answer.json)


def test_a_file_of_somebody_else_does_not_exist(desk: Site) -> None:
    theirs = (
        desk.program(desk.cast.charlie)
        .post("/api/v1/files/", data={"file": (io.BytesIO(b"a\n1\n"), "a.csv")})
        .json["id"]
    )
    assert post(desk, upload_ids=[theirs]).status_code == 404


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"text": "a,b\n1,2\n3\n"}, "row 2 has 1 cells where 2 were expected"),
        ({"data": {"a": [1, 2], "b": [1]}}, "the columns differ in length"),
        ({"text": "a,b\n1,x\n2,y\n", "group": "c"}, "there is no column"),
        ({"text": "a,b\n1,x\n2,y\n", "group": "b", "target": "b2"}, "there is no column"),
        ({"text": "a,b\n" + "".join(f"{n},v{n}\n" for n in range(40)), "group": "b"}, "from 2 to 12 can be compared"),
    ],
)
def test_what_cannot_be_read_fails_once_and_says_why(desk: Site, config: dict[str, Any], says: str) -> None:
    task = finished(desk, **config)
    assert task["status"] == "failed"
    assert says in task["error_message"]
    assert left_behind(desk) == []


def test_a_page_is_no_table(desk: Site, web: FakeSite) -> None:
    task = finished(desk, url=web.url("/page"))
    assert task["status"] == "failed"
    assert "web page" in task["error_message"]


STEPS = ("read", "describe", "relate", "compare", "follow")


@pytest.mark.parametrize("dies_in", STEPS)
def test_a_killed_run_goes_on_where_it_was(
    desk: Site, web: FakeSite, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    """Whatever step a worker dies in: the address is asked once, and no step that was done is done again."""
    from tests.fakes.kinds import Killed

    plain, done = kind_module._in_child, []

    def once_deadly(task: Any, name: str, *rest: Any) -> Any:
        if name == dies_in and dies_in not in done:
            done.append(name)
            raise Killed
        done.append(name)
        return plain(task, name, *rest)

    monkeypatch.setattr(kind_module, "_in_child", once_deadly)
    task_id = post(desk, url=web.url("/sales.csv")).json["id"]
    desk.lab.crash()
    desk.lab.take_over()
    desk.lab.run_all()
    row = desk.lab.row(task_id)
    assert (row.status, row.crashes) == ("completed", 1), row.error
    assert done == [*STEPS[: STEPS.index(dies_in) + 1], *STEPS[STEPS.index(dies_in) :]]
    assert len(web.requests) == 1
    assert left_behind(desk) == []


def test_a_run_whose_arrays_are_gone_reads_them_again(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fakes.kinds import Killed

    plain, died = kind_module._in_child, []

    def once_deadly(task: Any, name: str, *rest: Any) -> Any:
        if name == "compare" and not died:
            died.append(name)
            raise Killed
        return plain(task, name, *rest)

    monkeypatch.setattr(kind_module, "_in_child", once_deadly)
    task_id = post(desk, text=SALES).json["id"]
    desk.lab.crash()
    for folder in left_behind(desk):
        kind_module._remove(folder)
    desk.lab.take_over()
    desk.lab.run_all()
    assert desk.lab.row(task_id).status == "completed"


def test_a_cancelled_run_leaves_nothing(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(task: Any, name: str, *rest: Any) -> Any:
        task.ask_to_stop()
        raise TaskCancelled("stopped")

    monkeypatch.setattr(kind_module, "_in_child", cancelled)
    task_id = post(desk, text=SALES).json["id"]
    desk.lab.run_all()
    assert desk.lab.row(task_id).status == "cancelled"
    assert left_behind(desk) == []
