"""Leases of devices: who holds one, when it is free again, which devices count, and which are set aside."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pystematic.errors import ExperimentError
from pystematic.sweep._gpus import MOST_FAILURES, Devices, Lease, find_devices


def folder(tmp_path: Path) -> str:
    return str(tmp_path / "gpus")


def release(leases: list[Lease] | None) -> None:
    for lease in leases or ():
        lease.release()


def test_a_device_is_leased_once(tmp_path: Path) -> None:
    first, second = Devices(["A", "B"], folder(tmp_path)), Devices(["A", "B"], folder(tmp_path))
    mine = first.take(1)
    theirs = second.take(1)
    assert mine is not None
    assert theirs is not None
    assert {mine[0].uuid, theirs[0].uuid} == {"A", "B"}
    assert first.take(1) is None
    release(mine)
    again = second.take(1)
    assert again is not None
    assert again[0].uuid == mine[0].uuid
    release(theirs)
    release(again)


def test_all_or_none_are_leased(tmp_path: Path) -> None:
    first, second = Devices(["A", "B"], folder(tmp_path)), Devices(["A", "B"], folder(tmp_path))
    mine = first.take(1)
    assert second.take(2) is None
    release(mine)
    both = second.take(2)
    assert both is not None
    release(both)


def test_a_lease_lasts_as_long_as_any_process_holds_it(tmp_path: Path) -> None:
    devices = Devices(["A"], folder(tmp_path))
    leases = devices.take(1)
    assert leases is not None
    copy = os.dup(leases[0].fd)  # as a forked run has
    release(leases)
    assert devices.take(1) is None
    os.close(copy)
    again = devices.take(1)
    assert again is not None
    release(again)


def test_all_users_can_share_the_folder(tmp_path: Path) -> None:
    release(Devices(["GPU-1/2"], folder(tmp_path)).take(1))
    assert stat.S_IMODE(os.stat(folder(tmp_path)).st_mode) == 0o1777
    (file,) = Path(folder(tmp_path)).iterdir()
    assert file.name == "GPU-1_2"
    assert stat.S_IMODE(file.stat().st_mode) == 0o666


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExperimentError, match=r"the leases of GPUs cannot be kept in '.*file/gpus'"):
        Devices(["A"], str(tmp_path / "file" / "gpus")).take(1)


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    os.mkdir(folder(tmp_path))
    os.symlink(tmp_path / "elsewhere", os.path.join(folder(tmp_path), "A"))
    with pytest.raises(ExperimentError, match="cannot be kept"):
        Devices(["A"], folder(tmp_path)).take(1)
    assert not (tmp_path / "elsewhere").exists()


def test_a_device_is_set_aside_after_failures_while_others_work() -> None:
    devices = Devices(["A", "B"])
    assert devices.note_outcome(["B"], has_failed=False) == []
    said = [devices.note_outcome(["A"], has_failed=True) for _ in range(MOST_FAILURES)]
    assert said == [[]] * (MOST_FAILURES - 1) + [["A"]]
    assert devices.usable == ["B"]


def test_a_success_forgives_failures() -> None:
    devices = Devices(["A", "B"])
    for _ in range(MOST_FAILURES):
        assert devices.note_outcome(["A"], has_failed=True) == [] or pytest.fail("too early")
        devices.note_outcome(["A"], has_failed=False)
    assert devices.usable == ["A", "B"]


def test_where_all_devices_fail_none_is_set_aside() -> None:
    devices = Devices(["A", "B"])
    for _ in range(2 * MOST_FAILURES):
        for uuid in ("A", "B"):
            devices._failures["B"] = max(1, devices._failures["B"])
            devices.note_outcome([uuid], has_failed=True)
    assert devices.usable == ["A", "B"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("GPU-a,MIG-b", ["GPU-a", "MIG-b"]), ("", []), ("-1", []), ("GPU-a,none,GPU-b", ["GPU-a"])],
)
def test_the_devices_are_those_that_cuda_would_show(
    visible: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_devices().uuids == expected
