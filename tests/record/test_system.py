"""The machine's meters: what they show, what is left out where a machine lacks one, and that nothing of it raises."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from pystematic.record import SystemMetrics

ALWAYS = {
    "system/memory_used_bytes",
    "system/memory_percent",
    "system/process_memory_bytes",
    "system/disk_free_bytes",
}


class Driver(types.ModuleType):
    """Stands for NVIDIA's library on a machine with two GPUs, the second of which has no meter of its power."""

    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, gpu: int) -> str:  # noqa: N802
        return f"GPU-{gpu}aaaa-bbbb"

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> Any:  # noqa: N802
        return types.SimpleNamespace(gpu=10 + gpu)

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> Any:  # noqa: N802
        return types.SimpleNamespace(used=1000 + gpu)

    def nvmlDeviceGetTemperature(self, gpu: int, sensor: int) -> int:  # noqa: N802
        return 50 + gpu

    def nvmlDeviceGetPowerUsage(self, gpu: int) -> int:  # noqa: N802
        if gpu == 1:
            raise RuntimeError("not supported")
        return 120_500


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    driver = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield driver
    assert driver.open == 0


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_the_first_reading_lacks_what_needs_a_reading_before() -> None:
    first = SystemMetrics(".").read()

    assert first.keys() >= ALWAYS
    assert not {name for name in first if "cpu" in name or "per_s" in name}


def test_the_second_reading_has_shares_and_rates() -> None:
    metrics = SystemMetrics(".")
    metrics.read()
    second = metrics.read()

    assert second.keys() >= {*ALWAYS, "system/cpu_percent", "system/process_cpu_percent"}
    assert 0 <= second["system/cpu_percent"] <= 100
    assert second["system/network_sent_bytes_per_s"] >= 0


def test_the_readings_are_of_this_process_and_machine() -> None:
    found = SystemMetrics("/").read()

    assert 1 << 20 < found["system/process_memory_bytes"] < psutil.virtual_memory().total
    assert 0 < found["system/memory_used_bytes"] <= psutil.virtual_memory().total
    assert found["system/disk_free_bytes"] <= psutil.disk_usage("/").total


def test_rates_are_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sent = [100.0], [5000]
    monkeypatch.setattr(
        psutil, "net_io_counters", lambda: types.SimpleNamespace(bytes_sent=sent[0], bytes_recv=0), raising=True
    )
    monkeypatch.setattr("pystematic.record._system.time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    metrics = SystemMetrics(".")
    metrics.read()
    clock[0], sent[0] = 110.0, 6000

    assert metrics.read()["system/network_sent_bytes_per_s"] == 100.0


def test_a_counter_that_begins_anew_gives_no_negative_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [5000]
    monkeypatch.setattr(psutil, "net_io_counters", lambda: types.SimpleNamespace(bytes_sent=sent[0], bytes_recv=0))
    metrics = SystemMetrics(".")
    metrics.read()
    sent[0] = 0

    assert metrics.read()["system/network_sent_bytes_per_s"] == 0


@pytest.mark.parametrize("meter", ["cpu_percent", "virtual_memory", "disk_usage", "net_io_counters"])
def test_a_meter_that_fails_leaves_the_others(meter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "not in this container")

    monkeypatch.setattr(psutil, meter, refuse)
    metrics = SystemMetrics(".")
    metrics.read()

    assert len(metrics.read()) >= 4


def test_a_machine_without_counters_has_no_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    metrics = SystemMetrics(".")
    metrics.read()

    assert not [name for name in metrics.read() if "per_s" in name]


def test_several_machines_have_names_of_their_own() -> None:
    assert {name.rpartition("/")[0] for name in SystemMetrics(".", node="node-1").read()} == {"system/node-1"}


def test_gpus_have_meters_and_one_that_lacks_one_keeps_the_others(driver: Driver) -> None:
    metrics = SystemMetrics(".")
    found = {name: value for name, value in metrics.read().items() if "gpu" in name}
    metrics.close()

    assert found == {
        "system/gpu-0/utilization_percent": 10,
        "system/gpu-0/memory_used_bytes": 1000,
        "system/gpu-0/temperature_celsius": 50,
        "system/gpu-0/power_watts": 120.5,
        "system/gpu-1/utilization_percent": 11,
        "system/gpu-1/memory_used_bytes": 1001,
        "system/gpu-1/temperature_celsius": 51,
    }


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("0", {"gpu-0"}), (" 1 ", {"gpu-1"}), ("GPU-1aaaa", {"gpu-1"}), ("", set()), ("1,0", {"gpu-0", "gpu-1"})],
)
def test_only_the_gpus_of_this_process_are_read(
    visible: str, gpus: set[str], driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    metrics = SystemMetrics(".")
    found = metrics.read()
    metrics.close()

    assert {name.split("/")[1] for name in found if "gpu" in name} == gpus


def test_a_machine_without_a_driver_has_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoDriver(Driver):
        def nvmlInit(self) -> None:  # noqa: N802
            raise RuntimeError("driver not loaded")

    monkeypatch.setitem(sys.modules, "pynvml", NoDriver())
    metrics = SystemMetrics(".")

    assert not [name for name in metrics.read() if "gpu" in name]
    metrics.close()
