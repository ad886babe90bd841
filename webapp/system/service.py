"""The machine in the documented shape (contract 6.1). A value that cannot be known is None, never zero or a guess."""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from webapp.core.db import iso, utcnow
from webapp.runtime import Runtime
from webapp.system.gpu import nvml
from webapp.system.sampler import Rates, ask, sampler

LIMITS = {"cpu": 80.0, "memory": 90.0, "disk": 90.0}  # percent; above it we warn (002:3232-3241)

# Chips that measure the processor. Others (battery, disk, mainboard) say nothing about it.
CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "cpu")
WHOLE_CPU = ("package", "tctl", "tdie")  # labels of the sensor for all cores

DISK_IO = ("read_count", "write_count", "read_bytes", "write_bytes")
NETWORK_IO = ("bytes_sent", "bytes_recv", "packets_sent", "packets_recv", "errin", "errout", "dropin", "dropout")
SPEEDS = ("bytes_sent", "bytes_recv", "packets_sent", "packets_recv")


def metrics(rt: Runtime) -> dict[str, Any]:
    """Everything at once, all speeds from the same two readings."""
    rates = sampler.look()
    return {
        "timestamp": iso(utcnow()),
        "cpu": cpu(rates),
        "memory": memory(),
        "disk": disk(rt),
        "network": network(rates),
        "gpu": gpu(),
        "load_average": load(),
        "swap": swap(),
        "system": system(),
    }


def cpu(rates: Rates | None = None) -> dict[str, Any]:
    rates = rates or sampler.look()
    celsius = _cpu_celsius(ask("sensors_temperatures") or {})
    megahertz = _frequency()
    return {
        "usage_percent": rates.cpu_percent(),
        "frequency_ghz": {name: _rounded(value, 3, 1000) for name, value in megahertz.items()},
        "frequency_mhz": megahertz,
        "temperature_celsius": _rounded(celsius, 1),
        "temperature_fahrenheit": None if celsius is None else round(celsius * 9 / 5 + 32, 1),
        "times_percent": {name: rates.cpu_percent(name) for name in ("user", "system", "idle")},
        "count": {"physical": ask("cpu_count", logical=False), "logical": ask("cpu_count")},
    }


def _frequency() -> dict[str, float | None]:
    """psutil writes 0 for what the system does not tell."""
    found = ask("cpu_freq")
    return {name: _rounded(getattr(found, name, None) or None, 1) for name in ("current", "min", "max")}


def _cpu_celsius(chips: dict[str, list[Any]]) -> float | None:
    """The sensor of the whole processor, else its hottest core."""
    for chip in CPU_CHIPS:
        sensors = [one for one in chips.get(chip, ()) if one.current]
        whole = [one for one in sensors if (one.label or "").lower().startswith(WHOLE_CPU)]
        if sensors:
            return max(float(one.current) for one in whole or sensors)
    return None


def memory() -> dict[str, Any]:
    found = ask("virtual_memory")
    sizes = ("total", "available", "used", "free")
    more = ("buffers", "cached", "shared")  # not on every system
    return {
        **{f"{name}_gb": _gigabytes(found, name) for name in sizes},
        "usage_percent": getattr(found, "percent", None),
        **{f"{name}_gb": _gigabytes(found, name) for name in more},
    }


def disk(rt: Runtime) -> dict[str, Any]:
    """Space where the data of this installation lives; activity of all disks."""
    space = ask("disk_usage", str(data_folder(rt)))
    activity = ask("disk_io_counters")
    return {
        "usage": {**{f"{name}_gb": _gigabytes(space, name) for name in ("total", "used", "free")},
                  "usage_percent": getattr(space, "percent", None)},
        "io": {**{name: getattr(activity, name, None) for name in DISK_IO},
               "read_time_ms": getattr(activity, "read_time", None),
               "write_time_ms": getattr(activity, "write_time", None)},
    }  # fmt: skip


def data_folder(rt: Runtime) -> Path:
    folder: Path = rt.settings.home_dir.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def network(rates: Rates | None = None) -> dict[str, Any]:
    """Sums over all interfaces, loopback included, as the totals of the system have it."""
    rates = rates or sampler.look()
    totals = ask("net_io_counters")
    return {
        "io": {name: getattr(totals, name, None) for name in NETWORK_IO},
        "speeds": {f"{name}_per_sec": rates.per_second("network", name) for name in SPEEDS},
        "interfaces": [_interface(name, one) for name, one in sorted((ask("net_if_stats") or {}).items())],
    }


def _interface(name: str, found: Any) -> dict[str, Any]:
    return {"name": name, "isup": found.isup, "speed_mbps": found.speed or None, "mtu": found.mtu or None}


def gpu() -> list[dict[str, Any]]:
    return nvml.read()


def load() -> dict[str, float | None]:
    try:
        one, five, fifteen = os.getloadavg()
    except (OSError, AttributeError):  # Windows has no such thing
        return {"1m": None, "5m": None, "15m": None}
    return {"1m": round(one, 2), "5m": round(five, 2), "15m": round(fifteen, 2)}


def swap() -> dict[str, Any]:
    found = ask("swap_memory")
    return {
        **{f"{name}_gb": _gigabytes(found, name) for name in ("total", "used", "free")},
        "usage_percent": getattr(found, "percent", None),
        "sin": getattr(found, "sin", None),
        "sout": getattr(found, "sout", None),
    }


def system() -> dict[str, Any]:
    booted = ask("boot_time")
    processes = ask("pids")
    seconds = None if booted is None else max(0, int(time.time() - booted))
    return {
        "uptime": {"seconds": seconds, "formatted": None if seconds is None else _days(seconds)},
        "processes": {"total_count": None if processes is None else len(processes)},
        "boot_time": None if booted is None else datetime.fromtimestamp(booted, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def warnings(found: dict[str, Any]) -> dict[str, str]:
    """What is over its limit, in words, by part: cpu, memory, disk."""
    used = {
        "cpu": ("CPU use", found["cpu"]["usage_percent"]),
        "memory": ("Memory use", found["memory"]["usage_percent"]),
        "disk": ("The disk", found["disk"]["usage"]["usage_percent"]),
    }
    words = {"cpu": "is at", "memory": "is at", "disk": "is filled to"}
    return {
        part: f"{name} {words[part]} {value:.0f} %, over the limit of {LIMITS[part]:.0f} %."
        for part, (name, value) in used.items()
        if value is not None and value > LIMITS[part]
    }


def _days(seconds: int) -> str:
    minutes = seconds // 60
    return f"{minutes // 1440}d {minutes // 60 % 24}h {minutes % 60}m"


def _gigabytes(found: Any, name: str) -> float | None:
    return _rounded(getattr(found, name, None), 2, 2**30)


def _rounded(value: float | None, digits: int, unit: float = 1) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value / unit, digits)
