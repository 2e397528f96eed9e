"""What the machine does while a run goes on: CPU, memory, disk, network, GPUs. Knows no thread and no recorder."""

from __future__ import annotations

import os
import time

from pystematic.rundir import SYSTEM_PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_GPU_METERS: dict[str, Callable[[Any, Any], int | float]] = {
    "utilization_percent": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
    "memory_used_bytes": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    "temperature_celsius": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    "power_watts": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
}


class SystemMetrics:
    """Reads the machine's meters; each reading takes a millisecond or two.

    Rates, and the shares of the CPU, are of the time since the reading before; the first one lacks them. A meter that
    a machine does not have is left out.

    Args:
        folder: whose disk is looked at.
        node: set in front of the names where several machines work on a run.
    """

    def __init__(self, folder: str | os.PathLike[str], node: str | None = None) -> None:
        import psutil

        self._psutil: Any = psutil
        self._folder = os.fspath(folder)
        self._prefix = SYSTEM_PREFIX if node is None else f"{SYSTEM_PREFIX}{node}/"
        self._process = psutil.Process()
        self._gpus = _Gpus()
        self._counters: dict[str, float] = {}
        self._read_at = time.monotonic()
        self._is_first = True

    def read(self) -> dict[str, int | float]:
        """Return what the meters show, by tag."""
        found: dict[str, int | float] = {}
        for meter in (self._read_cpu, self._read_memory, self._read_disk, self._read_rates, self._gpus.read):
            try:
                found.update(meter())
            except Exception:  # not every machine, container and driver has it, and each says so in its own way
                continue
        self._is_first = False
        return {f"{self._prefix}{name}": value for name, value in found.items()}

    def close(self) -> None:
        """Let go of the GPUs' driver."""
        self._gpus.close()

    def _read_cpu(self) -> dict[str, int | float]:
        # Both compare with the call before, and have nothing to say the first time.
        machine, process = self._psutil.cpu_percent(None), self._process.cpu_percent(None)
        return {} if self._is_first else {"cpu_percent": machine, "process_cpu_percent": process}

    def _read_memory(self) -> dict[str, int | float]:
        memory = self._psutil.virtual_memory()
        return {
            "memory_used_bytes": memory.total - memory.available,
            "memory_percent": memory.percent,
            "process_memory_bytes": self._process.memory_info().rss,
        }

    def _read_disk(self) -> dict[str, int | float]:
        return {"disk_free_bytes": self._psutil.disk_usage(self._folder).free}

    def _read_rates(self) -> dict[str, int | float]:
        now = time.monotonic()
        counters: dict[str, float] = {}
        network, disk = self._psutil.net_io_counters(), self._psutil.disk_io_counters()
        if network is not None:
            counters["network_sent_bytes_per_s"] = network.bytes_sent
            counters["network_received_bytes_per_s"] = network.bytes_recv
        if disk is not None:
            counters["disk_read_bytes_per_s"] = disk.read_bytes
            counters["disk_written_bytes_per_s"] = disk.write_bytes
        before, self._counters = self._counters, counters
        passed_s, self._read_at = now - self._read_at, now
        if passed_s <= 0:
            return {}
        return {name: max(0.0, (count - before[name]) / passed_s) for name, count in counters.items() if name in before}


class _Gpus:
    """NVIDIA's GPUs that this process may use, by the driver's own library; none where it or its package is missing."""

    def __init__(self) -> None:
        self._handles: dict[int, Any] = {}
        self._nvml: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # no package, no driver, no permission
            return
        self._nvml = pynvml
        try:
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                if _is_visible(index, pynvml.nvmlDeviceGetUUID(handle)):
                    self._handles[index] = handle
        except Exception:
            return

    def read(self) -> dict[str, int | float]:
        found: dict[str, int | float] = {}
        nvml = self._nvml
        for index, handle in self._handles.items():
            for name, meter in _GPU_METERS.items():
                try:
                    found[f"gpu-{index}/{name}"] = meter(nvml, handle)
                except Exception:  # this model has no such meter
                    continue
        return found

    def close(self) -> None:
        if self._nvml is not None:
            try:
                self._nvml.nvmlShutdown()
            except Exception:
                return


def _is_visible(index: int, uuid: str | bytes) -> bool:
    """Tell whether CUDA_VISIBLE_DEVICES leaves a GPU to this process."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return True
    uuid = uuid.decode() if isinstance(uuid, bytes) else uuid
    return any(
        word == str(index) or (word.startswith("GPU-") and uuid.startswith(word))
        for word in map(str.strip, chosen.split(","))
    )
