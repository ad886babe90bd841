"""The system page: for administrators, asked for every five seconds, honest in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup

from tests.fakes.site import Site
from tests.system.conftest import Machine, cpu
from tests.system.test_gpu import FakeNvml
from webapp.system import service
from webapp.system.gpu import Nvml
from webapp.system.sampler import Reading


def page(site: Site, path: str = "/system") -> BeautifulSoup:
    answer = site.browser(site.cast.root).get(path)
    assert answer.status_code == 200, answer.text
    return BeautifulSoup(answer.text, "lxml")


def words(node: Any) -> str:
    return re.sub(r"\s+", " ", node.get_text(" ")).strip()


def busy(percent: float, memory: float = 10.0) -> list[Reading]:
    """Two readings between which the processor was busy for so much of the time."""
    return [
        Reading(0, 1e9, cpu=cpu(), memory_percent=memory),
        Reading(1, 1e9 + 1, cpu=cpu(user=percent, idle=100 - percent), memory_percent=memory),
    ]


@pytest.mark.parametrize("path", ["/system", "/system/now"])
def test_only_an_administrator_gets_it(site: Site, path: str) -> None:
    assert site.browser(site.cast.alice).get(path).status_code == 403
    assert site.browser(site.cast.root).get(path).status_code == 200
    assert site.client.get(path).status_code in (302, 303, 401)


def test_the_menu_shows_it_to_administrators_only(site: Site) -> None:
    for who, shown in ((site.cast.root, True), (site.cast.alice, False)):
        menu = BeautifulSoup(site.browser(who).get("/tasks").text, "lxml").select_one("nav.nav")
        assert menu is not None
        assert bool(menu.select('a[href="/system"]')) is shown
        assert menu.select('a[href="/logs"]')


def test_the_poll_is_the_same_fragment_as_the_first_paint(site: Site) -> None:
    first, poll = page(site).select_one("#system-now"), page(site, "/system/now").select_one("#system-now")
    assert first is not None
    assert poll is not None
    assert first["hx-get"] == "/system/now"
    assert "every 5s" in first["hx-trigger"]
    assert first.attrs == poll.attrs
    assert [h2.text for h2 in first.select("h2")] == [h2.text for h2 in poll.select("h2")]


def test_it_names_what_is_too_high_in_words(
    site: Site, machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(*busy(93))
    monkeypatch.setattr(service, "memory", lambda: {**dict.fromkeys(
        ("total_gb", "available_gb", "used_gb", "free_gb", "buffers_gb", "cached_gb", "shared_gb")), "usage_percent": 95.0})  # fmt: skip
    found = page(site)
    alert = words(found.select_one(".alert"))
    assert "CPU use is at 93 %, over the limit of 80 %." in alert
    assert "Memory use is at 95 %, over the limit of 90 %." in alert
    assert "Over 80 %" in words(found.select_one('section[aria-labelledby="cpu-title"]'))
    assert words(found.select_one("#system-now [role=status]")) == "Warning: cpu over 80 %. Warning: memory over 90 %."


def test_it_says_so_when_all_is_well(
    site: Site, machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(*busy(80))
    monkeypatch.setattr(service, "LIMITS", {"cpu": 80.0, "memory": 101.0, "disk": 101.0})
    found = page(site)
    assert words(found.select_one(".alert")).startswith("Within limits: CPU 80 %")
    assert not found.select(".badge.tone-warn")


def test_what_the_machine_does_not_report_is_said_and_never_zero(
    site: Site, blind: None, machine: Callable[..., Machine]
) -> None:
    machine(Reading(0, 0), Reading(0.2, 0))
    found = page(site)
    text = words(found.select_one("#system-now"))
    assert text.count("not reported") >= 10
    assert text.count("This machine does not report it.") == 4
    assert not re.search(r"\b0(\.0)? (%|GB|MB|B/s)", text)
    assert "No NVIDIA GPU answers" in text


def test_each_chart_is_also_words_and_a_table(site: Site, machine: Callable[..., Machine]) -> None:
    readings = [Reading(2.0 * i, 1e9 + 2 * i, cpu=cpu(user=i, idle=i)) for i in range(60)]
    fake = machine(*readings)
    from webapp.system import sampler as module

    for _ in range(58):
        module.sampler._add()
    fake.now = readings[-1].at
    found = page(site).select_one('section[aria-labelledby="cpu-title"]')
    assert found is not None
    assert "from 50 % to 50 %" in found.select_one("svg.trend")["aria-label"]  # type: ignore[index]
    rows = found.select("details table tbody tr")
    assert len(rows) == 5
    assert {row.select("td")[0].text for row in rows} == {"50 %"}


def test_a_card_is_shown_with_what_it_tells(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "nvml", Nvml(lambda: FakeNvml(broken=("nvmlDeviceGetPowerUsage",))))
    card = words(page(site).select_one('section[aria-labelledby="gpu-0-title"]'))
    assert "Tesla P40" in card
    assert "139 of 24,576 MB" in card
    assert "26 °C 79 °F" in card
    assert "– of 250 W" in card


def test_nothing_inline(site: Site) -> None:
    found = page(site)
    assert not found.select("[style], [onclick], style")
    assert all(script.get("src") or script.get("nonce") for script in found.select("script"))
