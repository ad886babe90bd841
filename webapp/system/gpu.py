"""NVIDIA cards by NVML. A machine without card, driver or library has none: that is an answer, not an error."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

RETRY = 60.0  # seconds until a driver that was not there is looked for again


class Nvml:
    """The driver, opened at the first question and again after it failed."""

    def __init__(self, load: Callable[[], Any] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load or (lambda: importlib.import_module("pynvml"))
        self._clock = clock
        self._lib: Any = None
        self._not_before = float("-inf")
        self._lock = threading.Lock()

    def read(self) -> list[dict[str, Any]]:
        """Each card in the documented shape; what a card does not tell is None."""
        return [self._card(index, card) for index, card in enumerate(self._cards())]

    def busy(self) -> tuple[float | None, ...]:
        """Use of each card in percent."""
        return tuple(_number(self._ask("nvmlDeviceGetUtilizationRates", card), "gpu") for card in self._cards())

    def _cards(self) -> list[Any]:
        with self._lock:
            if self._lib is None and not self._open():
                return []
            try:
                count = self._lib.nvmlDeviceGetCount()
                return [self._lib.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            except self._lib.NVMLError as exc:
                log.info("the NVIDIA driver stopped answering: %s", exc)
                self._close()
                return []

    def _open(self) -> bool:
        if self._clock() < self._not_before:
            return False
        try:
            lib = self._load()
        except ImportError:
            self._not_before = float("inf")
            return False
        try:
            lib.nvmlInit()
        except (lib.NVMLError, OSError) as exc:
            log.debug("no NVIDIA driver: %s", exc)
            self._not_before = self._clock() + RETRY
            return False
        self._lib = lib
        return True

    def _close(self) -> None:
        lib, self._lib = self._lib, None
        self._not_before = self._clock() + RETRY
        try:
            lib.nvmlShutdown()
        except lib.NVMLError as exc:
            log.debug("the driver was gone already: %s", exc)

    def _card(self, index: int, card: Any) -> dict[str, Any]:
        use = self._ask("nvmlDeviceGetUtilizationRates", card)
        memory = self._ask("nvmlDeviceGetMemoryInfo", card)
        name = self._ask("nvmlDeviceGetName", card)
        celsius = self._ask("nvmlDeviceGetTemperature", card, 0)  # NVML_TEMPERATURE_GPU
        return {
            "index": index,
            "name": name.decode(errors="replace") if isinstance(name, bytes) else name,
            "utilization": {"gpu_percent": _number(use, "gpu"), "memory_percent": _number(use, "memory")},
            "memory": {f"{part}_mb": _megabytes(memory, part) for part in ("total", "used", "free")},
            "temperature_fahrenheit": None if celsius is None else round(celsius * 9 / 5 + 32, 1),
            "clocks": {
                "graphics_mhz": self._ask("nvmlDeviceGetClockInfo", card, 0),  # NVML_CLOCK_GRAPHICS
                "memory_mhz": self._ask("nvmlDeviceGetClockInfo", card, 2),  # NVML_CLOCK_MEM
            },
            "power": {
                "usage_watts": _watts(self._ask("nvmlDeviceGetPowerUsage", card)),
                "limit_watts": _watts(self._ask("nvmlDeviceGetEnforcedPowerLimit", card)),
            },
        }

    def _ask(self, name: str, *args: Any) -> Any:
        """Not every card answers every question; the rest of its answers still count."""
        lib = self._lib
        if lib is None:
            return None
        try:
            return getattr(lib, name)(*args)
        except (lib.NVMLError, AttributeError):
            return None


def _number(answer: Any, part: str) -> float | None:
    return None if answer is None else getattr(answer, part)


def _megabytes(memory: Any, part: str) -> int | None:
    return None if memory is None else int(getattr(memory, part)) // 2**20


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else round(milliwatts / 1000, 2)


nvml = Nvml()
