"""Leases of GPUs by ``flock`` on a file per device, so that the sweeps of all users share a machine.

A lease is an open descriptor: it ends when all processes that hold it have closed it or died, whatever killed them.
Knows neither torch nor CUDA.
"""

from __future__ import annotations

import os

from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = "/tmp/pystematic-gpus"
# For machines whose devices or folder for temporary files are others; and for tests.
DEVICES_VARIABLE, FOLDER_VARIABLE = "PYSTEMATIC_GPU_UUIDS", "PYSTEMATIC_GPU_DIR"
# So many failures in a row, while runs on other devices succeed, and a device gets no further run.
MOST_FAILURES = 3
_DRIVER = "/proc/driver/nvidia/gpus"


class Lease:
    """One device, as long as ``fd`` is open anywhere."""

    def __init__(self, uuid: str, fd: int) -> None:
        self.uuid = uuid
        self.fd = fd

    def release(self) -> None:
        """Close this process's hold."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Devices:
    """The devices of this machine that runs of this executor may use.

    Args:
        uuids: their UUIDs.
        folder: where the files are that are locked; made if need be, for all users.
    """

    def __init__(self, uuids: Sequence[str], folder: str = FOLDER) -> None:
        self.uuids = list(uuids)
        self.folder = folder
        self._failures = dict.fromkeys(self.uuids, 0)
        self._aside: list[str] = []

    def take(self, count: int) -> list[Lease] | None:
        """Lease ``count`` devices that nobody else has, those with fewest failures first; None: they are not free.

        Raises:
            ExperimentError: the folder cannot be used.
        """
        leases: list[Lease] = []
        for uuid in sorted(self.usable, key=lambda uuid: self._failures[uuid]):
            if len(leases) == count:
                break
            lease = self._try(uuid)
            if lease is not None:
                leases.append(lease)
        if len(leases) == count:
            return leases
        for lease in leases:
            lease.release()
        return None

    @property
    def usable(self) -> list[str]:
        """The devices that are not set aside."""
        return [uuid for uuid in self.uuids if uuid not in self._aside]

    def note_outcome(self, uuids: Iterable[str], has_failed: bool) -> list[str]:
        """Count how a run ended on its devices; return those that are set aside from now on.

        One device always stays; and where all fail alike, the runs are to blame.
        """
        aside = []
        for uuid in uuids:
            self._failures[uuid] = self._failures.get(uuid, 0) + 1 if has_failed else 0
            others_work = any(self._failures[other] == 0 for other in self.usable if other != uuid)
            if self._failures[uuid] >= MOST_FAILURES and others_work and uuid not in self._aside:
                self._aside.append(uuid)
                aside.append(uuid)
        return aside

    def _try(self, uuid: str) -> Lease | None:
        import fcntl  # not on Windows, where there are no leases

        fd = self._open(uuid)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        return Lease(uuid, fd)

    def _open(self, uuid: str) -> int:
        path = os.path.join(self.folder, "".join(c if c.isalnum() or c in "-_." else "_" for c in uuid))
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            _make_shared_folder(self.folder)
            try:
                # Not with O_CREAT at once: the kernel refuses that for another user's file in such a folder
                # (fs.protected_regular).
                return os.open(path, flags)
            except FileNotFoundError:
                pass
            try:
                fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                return os.open(path, flags)
            os.fchmod(fd, 0o666)
            return fd
        except OSError as error:
            raise ExperimentError(
                f"the leases of GPUs cannot be kept in {self.folder!r}: {error.strerror}. Every user of this machine "
                f"must be able to write there (mode 1777); {FOLDER_VARIABLE} names another folder."
            ) from None


def _make_shared_folder(folder: str) -> None:
    try:
        os.mkdir(folder)
    except FileExistsError:
        return
    os.chmod(folder, 0o1777)


def find_devices() -> Devices:
    """Return the devices that this process may use: those of CUDA_VISIBLE_DEVICES, or all of the driver's."""
    folder = os.environ.get(FOLDER_VARIABLE) or FOLDER
    named = os.environ.get(DEVICES_VARIABLE)
    if named is not None:
        return Devices([name.strip() for name in named.split(",") if name.strip()], folder)
    present = _uuids_of_driver()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return Devices(present, folder)
    chosen = []
    for name in visible.split(","):
        name = name.strip()
        if name.startswith(("GPU-", "MIG-")):
            chosen.append(next((uuid for uuid in present if uuid.startswith(name)), name))
        elif name.isdecimal() and int(name) < len(present):
            chosen.append(present[int(name)])
        else:  # as CUDA itself does: nothing counts from the first bad one on
            break
    return Devices(chosen, folder)


def _uuids_of_driver() -> list[str]:
    """Return UUIDs in the order of the bus, which is nvidia-smi's: no library, no CUDA context."""
    found = []
    try:
        entries = sorted(os.listdir(_DRIVER))
    except OSError:
        return []
    for entry in entries:
        try:
            with open(os.path.join(_DRIVER, entry, "information"), encoding="utf-8", errors="replace") as file:
                for line in file:
                    name, _, value = line.partition(":")
                    if name.strip() == "GPU UUID":
                        found.append(value.strip())
        except OSError:
            continue
    return found
