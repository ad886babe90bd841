"""Shapes of the system endpoints (contract 6.1). Everything may be null: not every machine tells everything."""

from __future__ import annotations

from pydantic import Field, RootModel

from webapp.web.api import ApiModel

Number = float | None
Count = int | None


class CpuFrequency(ApiModel):
    current: Number
    min: Number
    max: Number


class CpuTimes(ApiModel):
    user: Number
    system: Number
    idle: Number


class CpuCount(ApiModel):
    physical: Count
    logical: Count


class CpuOut(ApiModel):
    usage_percent: Number
    frequency_ghz: CpuFrequency
    frequency_mhz: CpuFrequency
    temperature_celsius: Number
    temperature_fahrenheit: Number
    times_percent: CpuTimes
    count: CpuCount


class MemoryOut(ApiModel):
    total_gb: Number
    available_gb: Number
    used_gb: Number
    free_gb: Number
    usage_percent: Number
    buffers_gb: Number
    cached_gb: Number
    shared_gb: Number


class DiskUsage(ApiModel):
    total_gb: Number
    used_gb: Number
    free_gb: Number
    usage_percent: Number


class DiskIo(ApiModel):
    read_count: Count
    write_count: Count
    read_bytes: Count
    write_bytes: Count
    read_time_ms: Count
    write_time_ms: Count


class DiskOut(ApiModel):
    usage: DiskUsage
    io: DiskIo


class NetworkIo(ApiModel):
    bytes_sent: Count
    bytes_recv: Count
    packets_sent: Count
    packets_recv: Count
    errin: Count
    errout: Count
    dropin: Count
    dropout: Count


class NetworkSpeeds(ApiModel):
    """Differences between two readings, not totals."""

    bytes_sent_per_sec: Number
    bytes_recv_per_sec: Number
    packets_sent_per_sec: Number
    packets_recv_per_sec: Number


class NetworkInterface(ApiModel):
    name: str
    isup: bool
    speed_mbps: Count
    mtu: Count


class NetworkOut(ApiModel):
    io: NetworkIo
    speeds: NetworkSpeeds
    interfaces: list[NetworkInterface]


class GpuUtilization(ApiModel):
    gpu_percent: Number
    memory_percent: Number


class GpuMemory(ApiModel):
    total_mb: Count
    used_mb: Count
    free_mb: Count


class GpuClocks(ApiModel):
    graphics_mhz: Count
    memory_mhz: Count


class GpuPower(ApiModel):
    usage_watts: Number
    limit_watts: Number


class GpuOut(ApiModel):
    index: int
    name: str | None
    utilization: GpuUtilization
    memory: GpuMemory
    temperature_fahrenheit: Number
    clocks: GpuClocks
    power: GpuPower


class GpusOut(RootModel[list[GpuOut]]):
    """A bare array, empty without an NVIDIA card."""


class LoadOut(ApiModel):
    one: Number = Field(alias="1m")
    five: Number = Field(alias="5m")
    fifteen: Number = Field(alias="15m")


class SwapOut(ApiModel):
    total_gb: Number
    used_gb: Number
    free_gb: Number
    usage_percent: Number
    sin: Count
    sout: Count


class SystemUptime(ApiModel):
    seconds: Count
    formatted: str | None


class SystemProcesses(ApiModel):
    total_count: Count


class SystemInfoOut(ApiModel):
    uptime: SystemUptime
    processes: SystemProcesses
    boot_time: str | None


class SystemMetricsOut(ApiModel):
    timestamp: str
    cpu: CpuOut
    memory: MemoryOut
    disk: DiskOut
    network: NetworkOut
    gpu: list[GpuOut]
    load_average: LoadOut
    swap: SwapOut
    system: SystemInfoOut
