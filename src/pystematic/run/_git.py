"""What git knows of a program's folder: commit, branch, remote, and the changes that no commit holds.

Two processes of git at most. They are started without the module `subprocess`, whose import costs more than they do,
and leave the repository as it is. Knows no run.
"""

from __future__ import annotations

import os
import select  # here, and not by the thread that asks: see `_system` about forks
import signal
import sys

from pystematic._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LARGEST_PATCH_BYTES = 20 << 20
LARGEST_UNTRACKED_BYTES = 100 << 10
LARGEST_UNTRACKED_SUM_BYTES = 2 << 20
MOST_UNTRACKED = 1000
MOST_LEFT_OUT = 200
LONGEST_COMMAND = 100_000  # characters of file names in one command line; the system takes more, in all its words
# Some tools and git's own hooks set variables that would lead our git to another repository, or to another format.
_VARIABLES_KEPT = ("GIT_CONFIG", "GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
# The tree without files, which git knows without having it, by the repository's format of ids.
_EMPTY_TREES = {
    "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_SOURCE_ENDINGS = (
    *(".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".cu", ".cuh", ".rs", ".go", ".jl"),
    *(".r", ".m", ".lua", ".js", ".ts", ".sh", ".bash", ".sql", ".yaml", ".yml", ".toml", ".json", ".ini", ".cfg"),
    *(".md", ".rst", ".txt", ".sbatch", ".slurm", ".proto", ".cmake"),
)
_SOURCE_NAMES = ("makefile", "dockerfile", "snakefile", "cmakelists.txt", "requirements.txt")
# Files that are secrets by their name; a notebook's changes are mostly its outputs.
_SECRET_BEGINNINGS = (".env", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", ".pypirc", ".npmrc")
_SECRET_ENDINGS = (".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".asc", ".gpg", ".ppk")
_SECRET_PARTS = ("secret", "credential", "password", "private_key", "service_account")


@record
class GitState:
    """What was found. ``facts`` goes into ``environment.json``; ``patch`` is empty where nothing is uncommitted.

    ``is_complete`` is false where git could not be asked, so that nobody knows what is uncommitted.
    """

    facts: dict[str, object]
    patch: bytes
    is_complete: bool = True


class GitQuery:
    """A question to git that is asked at once and answered later.

    Args:
        folder: any folder of the repository.
        ignored_dir: whose files are no sources, though git may not know that: the folder of the runs.
    """

    def __init__(self, folder: str, ignored_dir: str | None = None) -> None:
        self._problem: str | None = None
        self._status: _GitProcess | None = None
        self._config: dict[str, str] = {}
        self.root = find_root(folder)
        if self.root is None:
            return
        self._ignored = None if ignored_dir is None else os.path.relpath(os.path.realpath(ignored_dir), self.root)
        self._git_dir, self._common_dir = _git_dirs(self.root)
        self._config = _read_config(os.path.join(self._common_dir, "config"))
        # In a repository of a whole home folder the owner has switched the search for untracked files off.
        which = "no" if self._config.get("status.showuntrackedfiles") in ("no", "false", "off", "0") else "all"
        self._status = self._ask(
            [
                *("status", "--porcelain=v2", "--branch", "--no-ahead-behind", "-z", "--no-renames"),
                f"--untracked-files={which}",
            ]
        )

    def answer(self, is_late: Callable[[], bool] = lambda: False) -> GitState | None:
        """Wait for git; return None outside of a repository.

        Args:
            is_late: asked from time to time whether to give up; what is known by then is returned.
        """
        if self.root is None:
            return None
        status = None if self._status is None else self._status.read(is_late)
        remote = _remote_in(self._config)
        if status is None:
            commit, branch = _read_head(self._git_dir, self._common_dir)
            problem = self._problem or "git gave no answer"
            return GitState({"error": problem, "commit": commit, "branch": branch, "remote": remote}, b"", False)
        facts, changed, untracked, left_out = _parse_status(status)
        facts["remote"] = remote
        wanted = [path for path in changed if not _is_left_out(path)]
        left_out += [path for path in changed if _is_left_out(path)]
        is_complete = True
        patch = b""
        if wanted:
            found = self._diff(facts["commit"] is not None, wanted, left_out, is_late)
            patch, is_complete = found or b"", found is not None
        patch += self._untracked_patch(untracked, left_out, is_late)
        if left_out:
            facts["left_out"] = left_out[:MOST_LEFT_OUT]
            if len(left_out) > MOST_LEFT_OUT:
                facts["left_out_count"] = len(left_out)
        facts["dirty"] = bool(changed)
        return GitState(facts, patch, is_complete)

    def close(self) -> None:
        """Forget the question."""
        if self._status is not None:
            self._status.end()

    def _diff(
        self, has_commit: bool, wanted: list[str], left_out: list[str], is_late: Callable[[], bool]
    ) -> bytes | None:
        base = "HEAD" if has_commit else _EMPTY_TREES[self._config.get("extensions.objectformat", "sha1")]
        # By name, so that git need not look which of the others have changed, and note that in its index.
        refresh, paths = "false", [f":(top,literal){path}" for path in wanted]
        if sum(map(len, paths)) > LONGEST_COMMAND:
            refresh, paths = "true", [":(top)", *(f":(exclude,top,literal){path}" for path in left_out)]
        process = self._ask(
            [
                *("-c", f"diff.autoRefreshIndex={refresh}"),
                # All that a configuration could make such that `git apply` would not take it.
                *("diff", base, "--patch", "--binary", "--unified=3", "--no-color", "--no-ext-diff", "--no-textconv"),
                *("--no-renames", "--no-relative", "--submodule=short", "--ignore-submodules=dirty"),
                *("--src-prefix=a/", "--dst-prefix=b/", "--", *paths),
            ]
        )
        patch = None if process is None else process.read(is_late)
        if patch is None:
            left_out.append("(git gave no diff)")
        elif len(patch) > LARGEST_PATCH_BYTES:
            left_out.append(f"(the diff has {len(patch)} bytes or more)")
            return None
        return patch

    def _untracked_patch(self, untracked: list[str], left_out: list[str], is_late: Callable[[], bool]) -> bytes:
        assert self.root is not None
        parts: list[bytes] = []
        total = 0
        for path in untracked:
            if self._ignored is not None and path.startswith(self._ignored + "/"):
                continue
            is_room = total < LARGEST_UNTRACKED_SUM_BYTES and len(parts) < MOST_UNTRACKED
            content = None
            if is_room and _is_source(path) and not _is_left_out(path) and not is_late():
                content = _read_small(os.path.join(self.root, path))
            if content is None or total + len(content) > LARGEST_UNTRACKED_SUM_BYTES:
                left_out.append(path)
                continue
            total += len(content)
            parts.append(_as_new_file(path, content, os.access(os.path.join(self.root, path), os.X_OK)))
        return b"".join(parts)

    def _ask(self, arguments: Sequence[str]) -> _GitProcess | None:
        assert self.root is not None
        try:
            return _GitProcess(["git", "-C", self.root, "-c", "core.fsmonitor=false", *arguments])
        except (OSError, ValueError) as error:
            self._problem = f"git cannot be started: {getattr(error, 'strerror', None) or error}"
            return None


class _GitProcess:
    """One process of git whose output is collected."""

    def __init__(self, argv: list[str]) -> None:
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GIT_") or name.startswith(_VARIABLES_KEPT)
        }
        environ["GIT_OPTIONAL_LOCKS"] = "0"  # do not write the index: others may be at work
        environ["GIT_TERMINAL_PROMPT"] = "0"
        self._pid: int | None = None
        self._popen: object = None
        if sys.platform == "win32" or not hasattr(os, "posix_spawnp"):
            import subprocess

            popen = subprocess.Popen(
                argv, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert popen.stdout is not None
            self._popen, self._fd = popen, os.dup(popen.stdout.fileno())
            popen.stdout.close()
            return
        read_fd, write_fd = os.pipe()
        try:
            self._pid = os.posix_spawnp(
                argv[0],
                argv,
                environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, write_fd, 1),  # first: it may be 0 or 2 where the program has no console
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setpgroup=0,  # a Ctrl-C is not meant for it
                setsigdef=[signal.SIGPIPE],
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        self._fd = read_fd

    def read(self, is_late: Callable[[], bool]) -> bytes | None:
        """Return what it printed, None if it failed or was too slow. Reads little more than is of use."""
        parts: list[bytes] = []
        size = 0
        complete = False
        while not is_late():
            if sys.platform != "win32" and not _is_readable(self._fd, 0.2):
                continue
            part = os.read(self._fd, 1 << 16)
            if not part:
                complete = True
                break
            parts.append(part)
            size += len(part)
            if size > LARGEST_PATCH_BYTES:
                self.end()
                return b"".join(parts)
        code = self.end(kill=not complete)
        return b"".join(parts) if complete and code in (0, None) else None

    def end(self, *, kill: bool = True) -> int | None:
        """Reap the process; return its exit code, None where somebody else has reaped it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._popen is not None:
            popen, self._popen = self._popen, None
            if kill:
                popen.kill()  # type: ignore[attr-defined]
            return int(popen.wait())  # type: ignore[attr-defined]
        pid, self._pid = self._pid, None
        if pid is None:
            return None
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if not reaped:  # so its number is still its own
                if kill:
                    os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
            return os.waitstatus_to_exitcode(status)
        except (ChildProcessError, ProcessLookupError):  # the program itself waits for any child
            return None


def _is_readable(fd: int, limit_s: float) -> bool:
    poll = select.poll()  # `select.select` takes no descriptor above 1023
    poll.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(limit_s * 1000))


def find_root(folder: str) -> str | None:
    """Return the top folder of the repository that ``folder`` lies in, or None."""
    current = os.path.realpath(folder)
    while True:
        if os.path.exists(os.path.join(current, ".git")):
            return current
        parent = os.path.dirname(current)
        if parent == current:
            return None
        current = parent


def _parse_status(output: bytes) -> tuple[dict[str, object], list[str], list[str], list[str]]:
    """Read ``git status --porcelain=v2 --branch -z`` (git-status(1)).

    Returns:
        Facts, changed and untracked paths, and what is said of changes that a patch cannot hold.
    """
    facts: dict[str, object] = {"commit": None, "branch": None}
    changed: list[str] = []
    untracked: list[str] = []
    unheld: list[str] = []
    for entry in os.fsdecode(output).split("\0"):
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            if name == "branch.oid" and value != "(initial)":
                facts["commit"] = value
            elif name == "branch.head" and value != "(detached)":
                facts["branch"] = value
        elif kind == "1":
            fields = rest.split(" ", 7)
            if len(fields) < 8:  # cut off
                continue
            submodule, path = fields[1], fields[7]
            if submodule[0] != "S" or submodule[1] == "C" or fields[0][0] != ".":
                changed.append(path)
            if submodule[0] == "S" and submodule[2:] != "..":
                unheld.append(f"{path} (changes inside of the submodule)")
        elif kind == "u":
            changed.append(rest.split(" ", 9)[-1])
        elif kind == "?":
            untracked.append(rest)
    return facts, changed, untracked, unheld


def _git_dirs(root: str) -> tuple[str, str]:
    """Return the folders of what belongs to this working tree, and of what all working trees share."""
    path = os.path.join(root, ".git")
    if os.path.isfile(path):  # a worktree or a submodule: "gitdir: PATH"
        path = os.path.join(root, _read_text(path).partition("gitdir:")[2].strip())
    common = _read_text(os.path.join(path, "commondir")).strip()
    return path, os.path.join(path, common) if common else path


def _read_head(git_dir: str, common_dir: str) -> tuple[str | None, str | None]:
    """Return commit and branch from the files of the repository, where git itself does not answer."""
    head = _read_text(os.path.join(git_dir, "HEAD")).strip()
    if not head.startswith("ref:"):
        return (head if _is_object_id(head) else None), None
    ref = head[4:].strip()
    branch = ref.removeprefix("refs/heads/")
    for folder in (git_dir, common_dir):
        commit = _read_text(os.path.join(folder, ref)).strip()
        if _is_object_id(commit):
            return commit, branch
    for line in _read_text(os.path.join(common_dir, "packed-refs")).splitlines():
        commit, _, name = line.partition(" ")
        if name == ref and _is_object_id(commit):
            return commit, branch
    return None, branch


def _is_object_id(text: str) -> bool:
    return len(text) in (40, 64) and all(letter in "0123456789abcdef" for letter in text)


def _read_config(path: str) -> dict[str, str]:
    """Read the plain entries of a repository's configuration: ``remote.origin.url`` to its first value."""
    entries: dict[str, str] = {}
    section = ""
    for line in _read_text(path).splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            name, quote, subsection = stripped.strip("[]").partition('"')
            section = name.strip().lower() + ("." + subsection.rstrip('"') if quote else "")
        elif stripped and stripped[0] not in "#;":
            key, _, value = stripped.partition("=")
            entries.setdefault(f"{section}.{key.strip().lower()}", value.strip().strip('"'))
    return entries


def _remote_in(config: dict[str, str]) -> str | None:
    """Return the address of ``origin``, or of the only remote, without user name and password."""
    urls = [url for name, url in config.items() if name.startswith("remote.") and name.endswith(".url")]
    url = config.get("remote.origin.url") or (urls[0] if len(urls) == 1 else None)
    if url is None or "://" not in url:
        return url
    scheme, _, rest = url.partition("://")
    host, slash, place = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{place}"


def _is_left_out(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    return (
        name.startswith(_SECRET_BEGINNINGS)
        or name.endswith((*_SECRET_ENDINGS, ".ipynb"))
        or (any(part in name for part in _SECRET_PARTS) and not name.endswith((".py", ".md", ".rst")))
    )


def _is_source(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    return name.endswith(_SOURCE_ENDINGS) or name in _SOURCE_NAMES


def _read_small(path: str) -> bytes | None:
    """Return a small text file's content, None for any other."""
    try:
        if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > LARGEST_UNTRACKED_BYTES:
            return None
        with open(path, "rb") as file:
            content = file.read(LARGEST_UNTRACKED_BYTES + 1)
    except OSError:
        return None
    return None if b"\0" in content or len(content) > LARGEST_UNTRACKED_BYTES else content


def _as_new_file(path: str, content: bytes, executable: bool) -> bytes:
    """Return the part of a patch that makes a file: https://git-scm.com/docs/diff-format#generate_patch_text_with_p."""
    name = os.fsencode(path)
    old, new = b"a/" + name, b"b/" + name
    if any(byte < 32 or byte >= 127 or byte in b'"\\' for byte in name):
        quoted = "".join(
            chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in name
        ).encode()
        old, new = b'"a/' + quoted + b'"', b'"b/' + quoted + b'"'
    mode = b"100755" if executable else b"100644"
    head = b"diff --git " + old + b" " + new + b"\nnew file mode " + mode + b"\n"
    if not content:
        return head + b"index 0000000..e69de29\n"
    lines = content.split(b"\n")
    end = b"" if lines[-1] == b"" else b"\n\\ No newline at end of file"
    lines = lines[:-1] if lines[-1] == b"" else lines
    body = b"\n".join(b"+" + line for line in lines)
    # A name with a space is ended by a tab there, as git does, so that `patch` finds its end.
    tab = b"\t" if b" " in name else b""
    hunk = b"@@ -0,0 +1" + (b"" if len(lines) == 1 else b",%d" % len(lines)) + b" @@\n"
    return head + b"--- /dev/null\n+++ " + new + tab + b"\n" + hunk + body + end + b"\n"


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
