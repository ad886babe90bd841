"""NVIDIA cards: none, without driver, without some sensors, lost while we look."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from webapp.system.gpu import RETRY, Nvml


class NVMLError(Exception):
    pass


class FakeNvml:
    """The calls of NVML that we use; names in `broken` raise."""

    NVMLError = NVMLError

    def __init__(self, cards: int = 1, broken: tuple[str, ...] = ()) -> None:
        self.cards, self.broken = cards, set(broken)
        self.opened = 0
        answers: dict[str, Any] = {
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: self.cards,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda card: b"Tesla P40",
            "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(gpu=7, memory=3),
            "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(
                total=24576 * 2**20, used=139 * 2**20, free=24437 * 2**20
            ),
            "nvmlDeviceGetTemperature": lambda card, sensor: 26,
            "nvmlDeviceGetClockInfo": lambda card, kind: {0: 544, 2: 405}[kind],
            "nvmlDeviceGetPowerUsage": lambda card: 9530,
            "nvmlDeviceGetEnforcedPowerLimit": lambda card: 250_000,
        }
        for name, answer in answers.items():
            setattr(self, name, self._or_raise(name, answer))

    def _or_raise(self, name: str, answer: Any) -> Any:
        def call(*args: Any) -> Any:
            if name in self.broken:
                raise NVMLError("not supported")
            return answer(*args)

        return call

    def nvmlInit(self) -> None:
        self.opened += 1
        if "nvmlInit" in self.broken:
            raise NVMLError("driver not loaded")


def test_a_card_in_the_documented_shape() -> None:
    assert Nvml(FakeNvml).read() == [
        {
            "index": 0,
            "name": "Tesla P40",
            "utilization": {"gpu_percent": 7, "memory_percent": 3},
            "memory": {"total_mb": 24576, "used_mb": 139, "free_mb": 24437},
            "temperature_fahrenheit": 78.8,
            "clocks": {"graphics_mhz": 544, "memory_mhz": 405},
            "power": {"usage_watts": 9.53, "limit_watts": 250.0},
        }
    ]


def test_several_cards_are_numbered() -> None:
    nvml = Nvml(lambda: FakeNvml(3))
    assert [card["index"] for card in nvml.read()] == [0, 1, 2]
    assert nvml.busy() == (7, 7, 7)


def test_what_a_card_does_not_tell_is_none_and_the_rest_stays() -> None:
    broken = (
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetMemoryInfo",
    )
    card = Nvml(lambda: FakeNvml(broken=broken)).read()[0]
    assert card["power"] == {"usage_watts": None, "limit_watts": 250.0}
    assert card["utilization"] == {"gpu_percent": None, "memory_percent": None}
    assert card["memory"] == {"total_mb": None, "used_mb": None, "free_mb": None}
    assert card["temperature_fahrenheit"] is None
    assert card["name"] == "Tesla P40"


def test_without_the_library_there_are_no_cards() -> None:
    def missing() -> Any:
        raise ImportError("no pynvml")

    nvml = Nvml(missing)
    assert nvml.read() == []
    assert nvml.busy() == ()


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_a_driver_that_does_not_answer_is_no_card_and_is_tried_again_a_minute_later(broken: str) -> None:
    lib, now = FakeNvml(broken=(broken,)), [0.0]
    nvml = Nvml(lambda: lib, clock=lambda: now[0])
    assert nvml.read() == []
    lib.broken.clear()
    assert nvml.read() == []
    assert lib.opened == 1
    now[0] = RETRY + 1
    assert len(nvml.read()) == 1
