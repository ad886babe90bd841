"""Models of other packages: the example of the document, run; one that is broken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.engines.test_calls import HELLO
from tests.fakes.http_server import FakeSite
from webapp.core.errors import BlockedAddress, NoModel, TaskCancelled, Upstream
from webapp.engines import providers, service
from webapp.engines.base import Completion, EngineInfo
from webapp.engines.providers import Provider
from webapp.runtime import Runtime


@pytest.fixture
def acme() -> Iterator[FakeSite]:
    with FakeSite() as site:
        site.page("/complete", b"A house of bees.", {"Content-Type": "text/plain"})
        yield site


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    """Under a name, as an installed package's entry point would be."""

    def put(name: str, provider: Any) -> None:
        monkeypatch.setitem(providers.providers._known(), name, ("tests:provider", "a test"))
        monkeypatch.setitem(providers.providers._loaded, name, provider)

    return put


def documented(url: str) -> Any:
    """The provider that the document prints."""
    text = (ROOT / "docs" / "adding-a-model-provider.md").read_text("utf-8")
    [printed] = re.findall(r"\n(    class Acme:\n.*?PROVIDER = [^\n]*\n)", text, re.DOTALL)
    names: dict[str, Any] = {"EngineInfo": EngineInfo, "Completion": Completion, "Provider": Provider, "Upstream": Upstream,
                             "TaskCancelled": TaskCancelled, "URL": url}  # fmt: skip
    exec("import json\n" + re.sub(r"(?m)^    ", "", printed), names)
    return names["PROVIDER"]


@pytest.fixture
def rt(make_rt: Callable[..., Runtime], acme: FakeSite, install: Callable[[str, Any], None]) -> Runtime:
    install("acme", documented(acme.url("/complete")))
    return make_rt(BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{acme.port}")


def test_the_documented_one_is_listed_chosen_and_measured(rt: Runtime) -> None:
    [info] = service.available(rt)
    assert (info.id, info.family, info.available, info.context) == ("acme:small", "acme", True, 8192)
    assert service.choose(rt).id == "acme:small"
    assert service.choose(rt, "small").id == "acme:small"
    pieces: list[str] = []
    done = service.generate(rt, "acme:small", HELLO, on_text=pieces.append, timeout=10)
    assert (done.text, done.model, done.finish) == ("A house of bees.", "acme:small", "stop")
    assert "".join(pieces) == done.text
    from webapp.engines import calls

    with rt.unit(write=False) as db:
        [seen] = calls.metrics(db)
    assert (seen.model, seen.calls, seen.failed) == ("acme:small", 1, 0)


def test_it_is_on_the_models_page(site: Any, acme: FakeSite, install: Callable[[str, Any], None]) -> None:
    install("acme", documented(acme.url("/complete")))
    assert "small of Acme" in site.browser(site.cast.alice).get("/models").text
    assert "acme:small" in site.program(site.cast.alice).get("/api/v1/models/available").text


def test_it_goes_out_through_the_gate(make_rt: Any, acme: FakeSite, install: Callable[[str, Any], None]) -> None:
    install("acme", documented(acme.url("/complete")))
    with pytest.raises(BlockedAddress):
        service.generate(make_rt(), "acme:small", HELLO, timeout=10)
    assert acme.requests == []


def test_a_broken_one_is_listed_with_its_reason_and_disturbs_nobody(
    rt: Runtime, install: Callable[[str, Any], None]
) -> None:
    def broken(tools: Any) -> list[str]:
        raise KeyError("nothing set up")

    install("broken", Provider("Broken", broken, lambda tools, model: pytest.fail("never asked for")))
    by_id = {one.id: one for one in service.available(rt)}
    assert by_id["acme:small"].available
    assert not by_id["broken:"].available
    assert "nothing set up" in str(by_id["broken:"].missing)
    assert service.choose(rt).id == "acme:small"


def test_names_that_are_taken_or_unknown(rt: Runtime, install: Callable[[str, Any], None]) -> None:
    install("openai", Provider("Pretends", lambda tools: ["x"], lambda tools, model: pytest.fail("not this one")))
    assert [one.id for one in service.available(rt)] == ["acme:small"]
    for name in ("openai:x", "nobody:x", "acme:"):
        with pytest.raises(NoModel):
            service.engine(rt, name)
