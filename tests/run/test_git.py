"""What git knows of a program's folder, whatever the repository is like: a patch that makes the same tree again."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pystematic.run import _git
from pystematic.run._git import GitQuery, GitState, find_root
from tests.builders import make_repository, run_git


def ask(folder: Path, ignored_dir: Path | None = None, is_late: Callable[[], bool] = lambda: False) -> GitState:
    query = GitQuery(str(folder), None if ignored_dir is None else str(ignored_dir))
    try:
        found = query.answer(is_late)
    finally:
        query.close()
    assert found is not None
    return found


def tree(folder: Path) -> dict[bytes, tuple[str, bytes]]:
    """Return every file below a folder, as bytes, with its kind and content."""
    found = {}
    root = os.fsencode(folder)
    for parent, folders, names in os.walk(root):
        if parent == root:
            folders[:] = [name for name in folders if name != b".git"]
            names = [name for name in names if name != b".git"]  # of a worktree
        for name in [*names, *(one for one in folders if os.path.islink(os.path.join(parent, one)))]:
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                content = ("link", os.readlink(path))
            else:
                content = ("executable" if mode & 0o100 else "file", Path(os.fsdecode(path)).read_bytes())
            found[os.path.relpath(path, root)] = content
    return found


def rebuild(repository: Path, state: GitState, folder: Path) -> dict[bytes, tuple[str, bytes]]:
    """Return the tree that the recorded commit and patch make."""
    commit = state.facts["commit"]
    if commit is None:
        folder.mkdir()
        run_git(folder, "init", "--quiet")
    else:
        run_git(repository.parent, "clone", "--quiet", "--no-checkout", str(repository), str(folder))
        run_git(folder, "checkout", "--quiet", "--detach", str(commit))
    if state.patch:
        (folder.parent / "patch").write_bytes(state.patch)
        run_git(folder, "apply", "--whitespace=nowarn", str(folder.parent / "patch"))
    return tree(folder)


def assert_same_again(repository: Path, folder: Path) -> GitState:
    state = ask(repository)
    assert rebuild(repository, state, folder) == tree(repository)
    assert "left_out" not in state.facts
    return state


@pytest.fixture
def repository(working_dir: Path) -> Path:
    return make_repository(working_dir / "repository", {"a.py": "a = 1\n", "folder/b.py": "b = 1\nb = 2\n"})


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere"


# -- facts -----------------------------------------------------------------------------------------------------------


def test_a_clean_repository_has_a_commit_a_branch_and_no_patch(repository: Path) -> None:
    state = ask(repository / "folder")
    commit = run_git(repository, "rev-parse", "HEAD").strip()
    assert state.facts == {"commit": commit, "branch": "main", "remote": None, "dirty": False}
    assert (state.patch, state.is_complete) == (b"", True)


def test_a_folder_outside_of_a_repository_has_no_answer(working_dir: Path) -> None:
    query = GitQuery(str(working_dir))
    assert query.answer() is None
    query.close()
    assert find_root(str(working_dir)) is None


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    run_git(repository, "checkout", "--quiet", "--detach")
    assert ask(repository).facts["branch"] is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://someone:pa55word@example.org/x.git", "https://example.org/x.git"),
        ("https://token@example.org:8443/a@b/x.git", "https://example.org:8443/a@b/x.git"),
        ("git@example.org:x.git", "git@example.org:x.git"),
        ("/some/path", "/some/path"),
    ],
)
def test_the_remote_is_named_without_credentials(repository: Path, url: str, shown: str) -> None:
    run_git(repository, "remote", "add", "origin", url)
    run_git(repository, "remote", "add", "other", "https://example.org/other.git")
    assert ask(repository).facts["remote"] == shown


def test_the_only_remote_is_named_whatever_it_is_called(repository: Path) -> None:
    run_git(repository, "remote", "add", "upstream", "https://example.org/x.git")
    assert ask(repository).facts["remote"] == "https://example.org/x.git"


def test_of_several_remotes_none_is_chosen_by_chance(repository: Path) -> None:
    for name in ("one", "two"):
        run_git(repository, "remote", "add", name, f"https://example.org/{name}.git")
    assert ask(repository).facts["remote"] is None


def test_the_repository_is_left_as_it_is(repository: Path) -> None:
    (repository / "a.py").write_text("a = 2\n", encoding="utf-8")
    os.utime(repository / "folder" / "b.py", (1, 1))  # git would note in its index that only the time has changed
    before = tree(repository / ".git")
    ask(repository)
    assert tree(repository / ".git") == before


# -- patches ---------------------------------------------------------------------------------------------------------


def test_changes_staged_and_not_and_new_files_come_back(repository: Path, elsewhere: Path) -> None:
    (repository / "a.py").write_text("a = 2", encoding="utf-8")
    run_git(repository, "add", "a.py")
    (repository / "a.py").write_text("a = 3", encoding="utf-8")
    (repository / "folder" / "b.py").unlink()
    (repository / "new.py").write_text("new\n", encoding="utf-8")
    (repository / "staged.bin").write_bytes(bytes(range(256)))
    run_git(repository, "add", "staged.bin")
    state = assert_same_again(repository, elsewhere)
    assert state.facts["dirty"] is True


def test_more_changed_files_than_a_command_line_should_name_come_back(
    repository: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".env").write_text("first\n", encoding="utf-8")
    run_git(repository, "add", "--all")
    run_git(repository, "commit", "--quiet", "--message", "x")
    for name in (".env", "a.py", "folder/b.py"):
        (repository / name).write_text("changed\n", encoding="utf-8")
    monkeypatch.setattr(_git, "LONGEST_COMMAND", 10)
    rebuilt = rebuild(repository, ask(repository), elsewhere)
    assert {name: content for name, (_, content) in rebuilt.items()} == {
        b".env": b"first\n",
        b"a.py": b"changed\n",
        b"folder/b.py": b"changed\n",
    }


def test_kinds_of_files_come_back(repository: Path, elsewhere: Path) -> None:
    (repository / "a.py").chmod(0o755)
    (repository / "folder" / "b.py").unlink()
    (repository / "folder" / "b.py").symlink_to("../a.py")
    (repository / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (repository / "run.sh").chmod(0o755)
    (repository / "empty.py").touch()
    assert_same_again(repository, elsewhere)


def test_a_file_that_became_a_folder_and_a_folder_that_became_a_file_come_back(
    repository: Path, elsewhere: Path
) -> None:
    (repository / "a.py").unlink()
    (repository / "a.py").mkdir()
    (repository / "a.py" / "inside.py").write_text("x\n", encoding="utf-8")
    shutil.rmtree(repository / "folder")
    (repository / "folder.py").write_text("x\n", encoding="utf-8")
    assert_same_again(repository, elsewhere)


ODD_NAMES = [
    "with space.py", " .py", "trailing .py", 'quo"te.py', "apo'strophe.py", "new\nline.py", "tab\t.py",
    "back\\slash.py", "ünïcode.py", "日本.py", "-dash.py", ":colon.py", "*star?.py", "[a].py", "#hash.py", "!bang.py",
    "{a}.py", "~.py", "a -> b.py", "\x7f.py", "\x01.py", os.fsdecode(b"latin-\xfc.py"), "e\u0301.py", "b/dev/null.py",
    "$HOME.py",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("tracked", [True, False])
def test_odd_file_names_come_back(repository: Path, elsewhere: Path, name: str, tracked: bool) -> None:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("first\n", encoding="utf-8")
    if tracked:
        run_git(repository, "add", "--all")
        run_git(repository, "commit", "--quiet", "--message", "odd")
        path.write_text("second\n", encoding="utf-8")
    assert_same_again(repository, elsewhere)


@pytest.mark.parametrize(
    "settings_",
    [
        {"diff.noprefix": "true"},
        {"diff.mnemonicPrefix": "true"},
        {"diff.context": "0"},
        {"diff.relative": "true"},
        {"color.ui": "always"},
        {"diff.external": "false"},
        {"diff.renames": "copies"},
        {"core.quotePath": "false"},
        {"status.showUntrackedFiles": "normal"},
        {"diff.submodule": "log"},
        {"diff.suppressBlankEmpty": "true"},
        {"diff.ignoreSubmodules": "all"},
        {"core.fsmonitor": "false"},
        {"diff.algorithm": "patience"},
        {"diff.wordRegex": "."},
    ],
)
def test_no_configuration_makes_a_patch_that_does_not_apply(
    repository: Path, elsewhere: Path, settings_: dict[str, str]
) -> None:
    for name, value in settings_.items():
        run_git(repository, "config", name, value)
    (repository / "folder" / "b.py").write_text("b = 0\n\nb = 2\n", encoding="utf-8")
    (repository / "ü x.py").write_text("x\n", encoding="utf-8")
    (repository / "a.py").rename(repository / "c.py")
    run_git(repository, "add", "a.py", "c.py")
    assert_same_again(repository, elsewhere)


def test_variables_of_tools_and_hooks_do_not_lead_astray(
    repository: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_repository(repository.parent / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "nothing"))
    monkeypatch.setenv("GIT_DIFF_OPTS", "--unified=0")
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    (repository / "a.py").write_text("a = 2\n", encoding="utf-8")
    (repository / "note.ipynb").write_text("{}\n", encoding="utf-8")
    state = ask(repository)
    monkeypatch.undo()
    assert state.facts["commit"] == run_git(repository, "rev-parse", "HEAD").strip()
    assert rebuild(repository, state, elsewhere)[b"a.py"] == ("file", b"a = 2\n")


def test_a_worktree_is_a_repository_of_its_own(repository: Path, elsewhere: Path) -> None:
    run_git(repository, "remote", "add", "origin", "https://example.org/x.git")
    worktree = repository.parent / "worktree"
    run_git(repository, "worktree", "add", "--quiet", "-b", "side", str(worktree))
    (worktree / "a.py").write_text("a = 2\n", encoding="utf-8")
    state = assert_same_again(worktree, elsewhere)
    assert (state.facts["branch"], state.facts["remote"]) == ("side", "https://example.org/x.git")


def test_a_repository_without_a_commit_is_patched_from_nothing(working_dir: Path, elsewhere: Path) -> None:
    repository = working_dir / "unborn"
    repository.mkdir()
    run_git(repository, "init", "--quiet", "--initial-branch", "main")
    (repository / "staged.py").write_text("staged\n", encoding="utf-8")
    run_git(repository, "add", "staged.py")
    (repository / "staged.py").write_text("changed\n", encoding="utf-8")
    (repository / "untracked.py").write_text("untracked\n", encoding="utf-8")
    state = assert_same_again(repository, elsewhere)
    assert (state.facts["commit"], state.facts["branch"]) == (None, "main")


def test_a_repository_with_long_ids_and_no_commit(working_dir: Path) -> None:
    repository = working_dir / "long"
    repository.mkdir()
    run_git(repository, "init", "--quiet", "--object-format", "sha256")
    (repository / "staged.py").write_text("staged\n", encoding="utf-8")
    run_git(repository, "add", "staged.py")
    assert b"+staged\n" in ask(repository).patch


def test_a_conflict_is_recorded_as_it_lies_in_the_folder(repository: Path, elsewhere: Path) -> None:
    run_git(repository, "checkout", "--quiet", "-b", "side")
    for branch, text in (("side", "a = 'side'\n"), ("main", "a = 'main'\n")):
        run_git(repository, "checkout", "--quiet", branch)
        (repository / "a.py").write_text(text, encoding="utf-8")
        run_git(repository, "commit", "--quiet", "--all", "--message", branch)
    with pytest.raises(subprocess.CalledProcessError):
        run_git(repository, "merge", "side")
    assert_same_again(repository, elsewhere)


def make_submodule(repository: Path) -> Path:
    inner = make_repository(repository.parent / "inner")
    run_git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    run_git(repository, "commit", "--quiet", "--message", "with a submodule")
    return repository / "sub"


def test_another_commit_of_a_submodule_is_in_the_patch(repository: Path, tmp_path: Path) -> None:
    submodule = make_submodule(repository)
    (submodule / "more.py").touch()
    run_git(submodule, "add", "--all")
    run_git(submodule, "commit", "--quiet", "--message", "more")
    commit = run_git(submodule, "rev-parse", "HEAD").strip()
    (repository / "a.py").write_text("a = 2\n", encoding="utf-8")
    state = ask(repository)
    assert f"+Subproject commit {commit}\n".encode() in state.patch
    assert "left_out" not in state.facts
    assert rebuild(repository, state, tmp_path / "again")[b"a.py"] == ("file", b"a = 2\n")


def test_changes_inside_of_a_submodule_are_named_as_left_out(repository: Path) -> None:
    submodule = make_submodule(repository)
    (submodule / "README.md").write_text("changed\n", encoding="utf-8")
    state = ask(repository)
    assert state.facts["left_out"] == ["sub (changes inside of the submodule)"]
    assert state.patch == b""


def test_a_program_inside_of_a_submodule_belongs_to_it(repository: Path) -> None:
    submodule = make_submodule(repository)
    assert ask(submodule).facts["commit"] == run_git(submodule, "rev-parse", "HEAD").strip()


# -- what is left out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.local",
        "id_rsa",
        "server.pem",
        "a.key",
        "my_secrets.json",
        "credentials.yaml",
        "note.ipynb",
        "x.p12",
    ],
)
@pytest.mark.parametrize("tracked", [True, False])
def test_secrets_and_notebooks_are_left_out_and_named(
    repository: Path, elsewhere: Path, name: str, tracked: bool
) -> None:
    (repository / name).write_text("first\n", encoding="utf-8")
    if tracked:
        run_git(repository, "add", "--all")
        run_git(repository, "commit", "--quiet", "--message", "x")
    (repository / name).write_text("never recorded\n", encoding="utf-8")
    (repository / "a.py").write_text("a = 2\n", encoding="utf-8")
    state = ask(repository)
    assert state.facts["left_out"] == [name]
    assert b"never recorded" not in state.patch
    assert rebuild(repository, state, elsewhere)[b"a.py"] == ("file", b"a = 2\n")


def test_a_python_module_about_secrets_is_source(repository: Path, elsewhere: Path) -> None:
    (repository / "secret_sharing.py").write_text("x\n", encoding="utf-8")
    assert_same_again(repository, elsewhere)


@pytest.mark.parametrize(
    ("name", "content"),
    [("data.bin", b"x"), ("binary.py", b"a\0b"), ("large.py", b"x" * 200_000), ("weights.pt", b"x")],
)
def test_untracked_files_that_are_no_small_sources_are_named(repository: Path, name: str, content: bytes) -> None:
    (repository / name).write_bytes(content)
    state = ask(repository)
    assert (state.facts["left_out"], state.patch, state.facts["dirty"]) == ([name], b"", False)


def test_untracked_links_folders_and_pipes_are_no_sources(repository: Path) -> None:
    (repository / "link.py").symlink_to("a.py")
    make_repository(repository / "inner")
    os.mkfifo(repository / "pipe.py")
    state = ask(repository)
    assert (state.facts["left_out"], state.patch) == (["inner/", "link.py"], b"")


def test_ignored_files_are_no_sources(repository: Path) -> None:
    (repository / ".git" / "info" / "exclude").write_text("ignored.py\n", encoding="utf-8")
    (repository / "ignored.py").touch()
    assert "left_out" not in ask(repository).facts


def test_the_folder_of_the_runs_is_neither_recorded_nor_named(repository: Path) -> None:
    (repository / "output" / "train").mkdir(parents=True)
    (repository / "output" / "train" / "run.json").write_text("{}", encoding="utf-8")
    (repository / "output2.py").write_text("x\n", encoding="utf-8")
    state = ask(repository, repository / "output")
    assert "left_out" not in state.facts
    assert b"output2.py" in state.patch
    assert b"run.json" not in state.patch


def test_untracked_sources_are_taken_up_to_a_size_together(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_git, "LARGEST_UNTRACKED_SUM_BYTES", 25)
    for name in ("b.py", "c.py", "d.py"):
        (repository / name).write_bytes(b"0123456789")
    state = ask(repository)
    assert state.facts["left_out"] == ["d.py"]
    assert state.patch.count(b"new file mode") == 2


def test_of_very_many_untracked_files_some_are_named_and_all_counted(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_git, "MOST_LEFT_OUT", 2)
    monkeypatch.setattr(_git, "MOST_UNTRACKED", 1)
    for i in range(5):
        (repository / f"{i}.py").touch()
    state = ask(repository)
    assert state.facts["left_out"] == ["1.py", "2.py"]
    assert state.facts["left_out_count"] == 4


def test_a_huge_diff_is_left_out_and_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_git, "LARGEST_PATCH_BYTES", 100_000)
    (repository / "a.py").write_bytes(b"x = 1\n" * 100_000)
    state = ask(repository)
    assert str(state.facts["left_out"]).startswith("['(the diff has ")
    assert (state.patch, state.is_complete) == (b"", False)


def test_a_whole_home_in_a_repository_is_not_searched(repository: Path) -> None:
    run_git(repository, "config", "status.showUntrackedFiles", "no")
    (repository / "new.py").touch()
    assert ask(repository).patch == b""


# -- where git gives no answer ---------------------------------------------------------------------------------------


def without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.parametrize("packed", [True, False])
def test_without_git_the_commit_is_read_from_the_repository(
    repository: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = run_git(repository, "rev-parse", "HEAD").strip()
    if packed:
        run_git(repository, "pack-refs", "--all")
    without_git(monkeypatch)
    state = ask(repository)
    assert state.facts == {
        "error": "git cannot be started: No such file or directory",
        "commit": commit,
        "branch": "main",
        "remote": None,
    }
    assert (state.patch, state.is_complete) == (b"", False)


def test_without_git_a_detached_head_and_a_worktree_are_read(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = run_git(repository, "rev-parse", "HEAD").strip()
    worktree = repository.parent / "worktree"
    run_git(repository, "worktree", "add", "--quiet", "-b", "side", str(worktree))
    run_git(repository, "checkout", "--quiet", "--detach")
    without_git(monkeypatch)
    assert (ask(repository).facts["commit"], ask(repository).facts["branch"]) == (commit, None)
    assert (ask(worktree).facts["commit"], ask(worktree).facts["branch"]) == (commit, "side")


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.write_text("gitdir: /nowhere\n")])
def test_what_only_looks_like_a_repository_is_none(working_dir: Path, make: Callable[[Path], Any]) -> None:
    make(working_dir / ".git")
    state = ask(working_dir)
    assert state.facts == {"error": "git gave no answer", "commit": None, "branch": None, "remote": None}


def test_git_that_is_too_slow_is_ended(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    state = ask(repository, is_late=lambda: True)
    assert state.facts["error"] == "git gave no answer"
    assert not state.is_complete


def test_a_question_may_be_forgotten(repository: Path) -> None:
    query = GitQuery(str(repository))
    query.close()
    query.close()


def test_a_program_that_waits_for_any_child_may_take_git_away(repository: Path) -> None:
    query = GitQuery(str(repository))
    os.wait()
    found = query.answer()
    assert found is not None
    assert found.is_complete


def test_many_open_files_are_no_obstacle(repository: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert ask(repository).is_complete
    finally:
        for fd in files:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- a law -----------------------------------------------------------------------------------------------------------

NAMES = st.lists(
    st.one_of(
        st.sampled_from(["a", "b", "c d", 'e"', "ü"]),
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=4),
    ).filter(lambda name: name not in (".", "..") and not name.lower().startswith((".git", ".env"))),
    min_size=1,
    max_size=2,
).map(lambda parts: "/".join(parts) + ".py")
CONTENTS = st.one_of(
    st.text(st.sampled_from("ab\n\r\t +-@\\ü"), max_size=30).map(str.encode),
    st.lists(st.sampled_from([b"x\n", b"y\n", b"\n", b"long line\r\n"]), max_size=30).map(b"".join),
)
FILES = st.dictionaries(NAMES, st.tuples(CONTENTS, st.booleans()), max_size=5)


def write_all(folder: Path, files: dict[str, tuple[bytes, bool]]) -> None:
    for name, (content, executable) in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError:  # a folder of that name, or a file in place of its folder
            continue
        path.chmod(0o755 if executable else 0o644)


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(committed=FILES, staged=FILES, left=FILES, keep=st.booleans())
def test_commit_and_patch_make_the_tree_that_was_run(
    working_dir: Path,
    tmp_path: Path,
    committed: dict[str, tuple[bytes, bool]],
    staged: dict[str, tuple[bytes, bool]],
    left: dict[str, tuple[bytes, bool]],
    keep: bool,
) -> None:
    for name in ("repository", "elsewhere"):
        shutil.rmtree(working_dir / name, ignore_errors=True)
    repository = working_dir / "repository"
    repository.mkdir()
    run_git(repository, "init", "--quiet")
    write_all(repository, committed)
    run_git(repository, "add", "--all")
    run_git(repository, "commit", "--quiet", "--allow-empty", "--message", "first")
    if not keep:
        clear(repository)
    write_all(repository, staged)
    run_git(repository, "add", "--all")
    write_all(repository, left)
    assert_same_again(repository, working_dir / "elsewhere")
