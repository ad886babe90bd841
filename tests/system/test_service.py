"""The documented object, field by field, on this machine and on machines that tell nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.system.conftest import Machine, cpu, sensor
from webapp.runtime import Runtime
from webapp.system import schemas, service
from webapp.system.sampler import Reading

NUMBER = (int, float)

# 002:3069-3162. A tuple is the type of a value, which may also be None.
DOCUMENTED: dict[str, Any] = {
    "timestamp": (str,),
    "cpu": {
        "usage_percent": NUMBER,
        "frequency_ghz": {"current": NUMBER, "min": NUMBER, "max": NUMBER},
        "frequency_mhz": {"current": NUMBER, "min": NUMBER, "max": NUMBER},
        "temperature_celsius": NUMBER,
        "temperature_fahrenheit": NUMBER,
        "times_percent": {"user": NUMBER, "system": NUMBER, "idle": NUMBER},
        "count": {"physical": (int,), "logical": (int,)},
    },
    "memory": {f"{name}_gb": NUMBER for name in ("total", "available", "used", "free", "buffers", "cached", "shared")}
    | {"usage_percent": NUMBER},
    "disk": {
        "usage": {"total_gb": NUMBER, "used_gb": NUMBER, "free_gb": NUMBER, "usage_percent": NUMBER},
        "io": {f"{way}_{what}": (int,) for way in ("read", "write") for what in ("count", "bytes", "time_ms")},
    },
    "network": {
        "io": dict.fromkeys(service.NETWORK_IO, (int,)),
        "speeds": {f"{name}_per_sec": NUMBER for name in ("bytes_sent", "bytes_recv", "packets_sent", "packets_recv")},
        "interfaces": [{"name": (str,), "isup": (bool,), "speed_mbps": (int,), "mtu": (int,)}],
    },
    "gpu": [],
    "load_average": {"1m": NUMBER, "5m": NUMBER, "15m": NUMBER},
    "swap": {f"{name}_gb": NUMBER for name in ("total", "used", "free")}
    | {"usage_percent": NUMBER, "sin": (int,), "sout": (int,)},
    "system": {
        "uptime": {"seconds": (int,), "formatted": (str,)},
        "processes": {"total_count": (int,)},
        "boot_time": (str,),
    },
}


def check(found: Any, wanted: Any, where: str = "") -> None:
    if isinstance(wanted, dict):
        assert isinstance(found, dict), where
        assert set(found) == set(wanted), where
        for name in wanted:
            check(found[name], wanted[name], f"{where}.{name}")
    elif isinstance(wanted, list):
        assert isinstance(found, list), where
        for item in found:
            check(item, wanted[0], f"{where}[]")
    else:
        assert found is None or isinstance(found, wanted), f"{where}: {found!r}"


def leaves(found: Any) -> list[Any]:
    if isinstance(found, dict):
        return [leaf for value in found.values() for leaf in leaves(value)]
    return [leaf for value in found for leaf in leaves(value)] if isinstance(found, list) else [found]


def test_every_documented_field_and_no_other(rt: Runtime, no_gpu: None) -> None:
    found = service.metrics(rt)
    check(found, DOCUMENTED)
    schemas.SystemMetricsOut.model_validate(found)
    assert found["timestamp"].endswith("Z")


def test_this_machine_tells_the_main_things(rt: Runtime) -> None:
    found = service.metrics(rt)
    assert 0 <= found["cpu"]["usage_percent"] <= 100
    assert sum(found["cpu"]["times_percent"].values()) <= 100.5
    assert found["memory"]["total_gb"] > found["memory"]["used_gb"] > 0
    assert found["disk"]["usage"]["total_gb"] > 0
    assert found["system"]["processes"]["total_count"] > 0
    assert found["system"]["boot_time"].endswith("Z")


def test_a_machine_that_tells_nothing_gives_nulls_and_no_field_is_missing(
    rt: Runtime, blind: None, machine: Callable[..., Machine]
) -> None:
    machine(Reading(0, 0), Reading(0.2, 0))
    found = service.metrics(rt)
    check(found, DOCUMENTED)
    timestamp = found.pop("timestamp")
    assert found.pop("gpu") == []
    assert found["network"].pop("interfaces") == []
    assert timestamp
    assert set(leaves(found)) == {None}


def test_speeds_are_differences_and_not_the_totals(rt: Runtime, machine: Callable[..., Machine]) -> None:
    def counters(grown: int) -> dict[str, float]:
        return dict.fromkeys(("bytes_sent", "bytes_recv", "packets_sent", "packets_recv"), 1000000 + grown)

    machine(Reading(0, 0, network=counters(0)), Reading(0.5, 0, network=counters(50)))
    assert set(service.network()["speeds"].values()) == {100}


def test_cpu_use_comes_from_two_readings(machine: Callable[..., Machine]) -> None:
    machine(Reading(0, 0, cpu=cpu(user=5, idle=5)), Reading(0.2, 0, cpu=cpu(user=8, idle=6)))
    found = service.cpu()
    assert found["usage_percent"] == 75
    assert found["times_percent"] == {"user": 75, "system": 0, "idle": 25}


@pytest.mark.parametrize(
    ("chips", "celsius"),
    [
        ({}, None),
        ({"acpitz": [sensor(30)], "nvme": [sensor(50)]}, None),
        ({"coretemp": [sensor(60, "Core 0"), sensor(42, "Package id 0"), sensor(61, "Core 1")]}, 42),
        ({"coretemp": [sensor(60, "Core 0"), sensor(61, "Core 1")]}, 61),
        ({"k10temp": [sensor(55.25, "Tctl"), sensor(48, "Tccd1")]}, 55.2),
        ({"cpu_thermal": [sensor(0)]}, None),
        ({"cpu_thermal": [sensor(None)]}, None),
    ],
    ids=["none", "no cpu chip", "package", "hottest core", "amd", "zero", "nothing"],
)
def test_temperature_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, chips: dict[str, Any], celsius: float | None
) -> None:
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: chips, raising=False)
    found = service.cpu()
    assert found["temperature_celsius"] == celsius
    fahrenheit = found["temperature_fahrenheit"]
    assert fahrenheit is None if celsius is None else fahrenheit == pytest.approx(celsius * 1.8 + 32, abs=0.2)


def test_a_frequency_of_zero_is_one_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=2596.122, min=0.0, max=3000.0))
    found = service.cpu()
    assert found["frequency_mhz"] == {"current": 2596.1, "min": None, "max": 3000.0}
    assert found["frequency_ghz"] == {"current": 2.596, "min": None, "max": 3.0}


def test_an_interface_without_a_known_speed_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = {
        "lo": SimpleNamespace(isup=True, speed=0, mtu=65536),
        "eth0": SimpleNamespace(isup=False, speed=1000, mtu=1500),
    }
    monkeypatch.setattr(psutil, "net_if_stats", lambda: stats)
    assert service.network()["interfaces"] == [
        {"name": "eth0", "isup": False, "speed_mbps": 1000, "mtu": 1500},
        {"name": "lo", "isup": True, "speed_mbps": None, "mtu": 65536},
    ]


def test_uptime_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.time, "time", lambda: 1_000_000 + 1_329_890.7)
    monkeypatch.setattr(psutil, "boot_time", lambda: 1_000_000.0)
    found = service.system()
    assert found["uptime"] == {"seconds": 1329890, "formatted": "15d 9h 24m"}
    assert found["boot_time"] == "1970-01-12T13:46:40Z"


def usage(cpu: float | None, memory: float | None, disk: float | None) -> dict[str, Any]:
    return {
        "cpu": {"usage_percent": cpu},
        "memory": {"usage_percent": memory},
        "disk": {"usage": {"usage_percent": disk}},
    }


def test_warnings_above_the_limits_only() -> None:
    assert service.warnings(usage(80, 90, 90)) == {}
    assert service.warnings(usage(None, None, None)) == {}
    assert list(service.warnings(usage(80.1, 90.1, 90.1))) == ["cpu", "memory", "disk"]
    assert service.warnings(usage(93.4, 5, 5)) == {"cpu": "CPU use is at 93 %, over the limit of 80 %."}
