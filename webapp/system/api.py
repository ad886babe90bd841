"""Endpoints of the machine.

GET /api/v1/system/metrics            all of it
GET /api/v1/system/metrics/<part>     cpu, memory, disk, network, gpu, load, swap
GET /api/v1/system/info               uptime, processes, boot time
"""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.system import service
from webapp.system.schemas import (
    CpuOut,
    DiskOut,
    GpusOut,
    LoadOut,
    MemoryOut,
    NetworkOut,
    SwapOut,
    SystemInfoOut,
    SystemMetricsOut,
)
from webapp.web.api import OPTIONAL, Api

system = Api("system", "/api/v1/system", tag="System")


@system.get("/metrics", auth=OPTIONAL, returns=SystemMetricsOut)
def get_metrics(ctx: Ctx) -> Any:
    """All system metrics in one object; what this machine does not report is null."""
    return service.metrics(ctx.rt)


@system.get("/metrics/cpu", auth=OPTIONAL, returns=CpuOut)
def get_cpu(ctx: Ctx) -> Any:
    """CPU use, frequency, temperature and count."""
    return service.cpu()


@system.get("/metrics/memory", auth=OPTIONAL, returns=MemoryOut)
def get_memory(ctx: Ctx) -> Any:
    """Memory of the machine."""
    return service.memory()


@system.get("/metrics/disk", auth=OPTIONAL, returns=DiskOut)
def get_disk(ctx: Ctx) -> Any:
    """Space on the disk that holds the data, and activity of all disks since boot."""
    return service.disk(ctx.rt)


@system.get("/metrics/network", auth=OPTIONAL, returns=NetworkOut)
def get_network(ctx: Ctx) -> Any:
    """Network totals since boot, speeds now, and interfaces."""
    return service.network()


@system.get("/metrics/gpu", auth=OPTIONAL, returns=GpusOut)
def get_gpu(ctx: Ctx) -> Any:
    """NVIDIA GPUs as a bare array, empty without one."""
    return service.gpu()


@system.get("/metrics/load", auth=OPTIONAL, returns=LoadOut)
def get_load(ctx: Ctx) -> Any:
    """Load average over 1, 5 and 15 minutes."""
    return service.load()


@system.get("/metrics/swap", auth=OPTIONAL, returns=SwapOut)
def get_swap(ctx: Ctx) -> Any:
    """Swap space."""
    return service.swap()


@system.get("/info", auth=OPTIONAL, returns=SystemInfoOut)
def get_info(ctx: Ctx) -> Any:
    """Uptime, number of processes, boot time."""
    return service.system()
