"""Every code block of README and docs does what the page says; the syntax of the pages is told in `pages`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, PageError, PageRun, page_paths, read_blocks


def run_page(text: str, folder: Path) -> PageRun:
    """Run the blocks of a page in a folder; return what is known then."""
    home = folder.parent / "home"
    home.mkdir()
    run = PageRun(folder, home)
    run.run(read_blocks(text))
    return run


def console(*lines: str) -> str:
    return "\n".join(["```console", *lines, "```"])


@pytest.mark.parametrize("page", page_paths(), ids=str)
def test_every_block_of_the_page_does_what_it_says(page: Path, working_dir: Path) -> None:
    run_page((ROOT / page).read_text(encoding="utf-8"), working_dir)


class TestPages:
    """The tests above can fail."""

    def test_another_output_is_shown_beside_the_real_one(self, working_dir: Path) -> None:
        with pytest.raises(PageError) as raised:
            run_page(console("$ echo one; echo two", "one", "three"), working_dir)

        assert str(raised.value) == (
            "line 1: $ echo one; echo two\nprints something else:\n"
            "--- shown\n+++ printed\n@@ -1,2 +1,2 @@\n one\n-three\n+two"
        )

    def test_a_line_too_many_is_another_output(self, working_dir: Path) -> None:
        with pytest.raises(PageError, match="prints something else"):
            run_page(console("$ echo one; echo two", "one"), working_dir)

    def test_dots_are_any_text_and_a_line_of_them_any_lines(self, working_dir: Path) -> None:
        run_page(console("$ printf 'a b\\nc\\nd\\ne\\n'", "a ...", "...", "e"), working_dir)

    def test_gaps_of_a_table_may_have_any_width(self, working_dir: Path) -> None:
        run_page(console("$ echo 'a     b'", "a  b"), working_dir)

    def test_times_and_durations_may_differ(self, working_dir: Path) -> None:
        run_page(console("$ echo '2026-05-06 07:08:09  3m05s'", "2026-01-31 12:00:00  0.4s"), working_dir)

    def test_a_shown_id_is_that_of_one_run_from_then_on(self, working_dir: Path) -> None:
        page = console(
            *("$ echo 2026-05-06_07-08-09_zzzzzz", "2026-01-31_12-00-00_a1b2c3"),
            *("$ echo a1b2c3 is zzzzzz", "a1b2c3 is zzzzzz"),
        )
        run_page(page, working_dir)

        with pytest.raises(PageError, match="prints something else"):
            run_page_again(page + "\n" + console("$ echo a1b2c4", "a1b2c3"), working_dir)

    def test_a_command_that_fails_is_followed_by_its_exit_code(self, working_dir: Path) -> None:
        run_page(console("$ (exit 3)", "$ echo $?", "3"), working_dir)

        with pytest.raises(PageError) as raised:
            run_page_again(console("$ (echo why; exit 3)", "why"), working_dir)

        assert str(raised.value) == "line 1: $ (echo why; exit 3)\nfailed with exit code 3:\nwhy\n"

    def test_a_shell_that_ends_too_early_is_an_error(self, working_dir: Path) -> None:
        with pytest.raises(PageError) as raised:
            run_page(console("$ echo bye; exit", "$ echo"), working_dir)

        assert str(raised.value) == "line 1: $ echo bye; exit\nended the shell:\nbye\n"

    def test_python_is_run(self, working_dir: Path) -> None:
        with pytest.raises(PageError, match=r"line 2: exit code 1:\n(.|\n)*ValueError: no"):
            run_page("text\n```python\nraise ValueError('no')\n```", working_dir)

    def test_a_session_is_compared(self, working_dir: Path) -> None:
        run_page("```pycon\n>>> 1 + 1\n2\n```", working_dir)

        with pytest.raises(PageError, match="exit code 1"):
            run_page_again("```pycon\n>>> 1 + 1\n3\n```", working_dir)

    def test_files_are_there_for_the_blocks_below_them(self, working_dir: Path) -> None:
        page = "```python\n# one.py\nprint('hi')\n```\n<!-- file: two.json -->\n```json\n{}\n```\n"

        run_page(page + console("$ python one.py", "hi", "$ cat two.json", "{}"), working_dir)

    def test_a_file_that_is_not_used_is_an_error(self, working_dir: Path) -> None:
        with pytest.raises(PageError, match=r"^line 1: the file one.py is used by no later block$"):
            run_page("```python\n# one.py\nprint('hi')\n```\n", working_dir)

    @pytest.mark.parametrize("language", ["yaml", "text", ""])
    def test_a_block_that_does_nothing_is_an_error(self, language: str, working_dir: Path) -> None:
        with pytest.raises(PageError, match=r"does nothing; say why: <!-- not run: ... -->$"):
            run_page(f"```{language}\na: 1\n```", working_dir)

    def test_json_without_a_name_is_read(self, working_dir: Path) -> None:
        run_page('```json\n{"a": 1}\n{"a": 2}\n```\n```json\n{\n"a": 1\n}\n```', working_dir)

        with pytest.raises(PageError, match=r"^line 1: this is no JSON: Expecting value: line 1 column 7 \(char 6\)$"):
            run_page_again('```json\n{"a": }\n```', working_dir)

    def test_a_block_may_say_why_it_is_not_run(self, working_dir: Path) -> None:
        run = run_page("<!-- not run: a picture -->\n\n```text\n->\n```", working_dir)

        assert [block.marks for block in run.skipped] == [{"not run": "a picture"}]

    def test_a_block_may_need_a_command(self, working_dir: Path) -> None:
        run = run_page("<!-- run if there is: no-such-command -->\n" + console("$ no-such-command"), working_dir)

        assert len(run.skipped) == 1

    @pytest.mark.parametrize("mark", ["<!-- not run -->", "<!-- not run: -->", "<!-- skip: me -->", "<!-- why -->"])
    def test_a_mark_without_a_reason_is_none(self, mark: str, working_dir: Path) -> None:
        with pytest.raises(PageError) as raised:
            run_page(f"{mark}\n```text\n```", working_dir)

        assert str(raised.value) == (
            f"line 1: {mark!r} is no mark. There are not run, run if there is, file, run, each with ':'"
        )

    def test_a_mark_stands_right_above_its_block(self, working_dir: Path) -> None:
        with pytest.raises(PageError, match=r"^line 2: the mark above this line has no block below it$"):
            run_page("<!-- not run: a picture -->\ntext\n```text\n```", working_dir)

    def test_a_hidden_command_is_run(self, working_dir: Path) -> None:
        run_page("<!-- run: echo hi > there.txt -->\n" + console("$ cat there.txt", "hi"), working_dir)

    def test_a_block_without_an_end_is_an_error(self, working_dir: Path) -> None:
        with pytest.raises(PageError, match=r"^line 1: this block has no end$"):
            run_page("```text\n", working_dir)


def run_page_again(text: str, folder: Path) -> PageRun:
    """Run another page after `run_page` in one test."""
    run = PageRun(folder, folder.parent / "home")
    run.run(read_blocks(text))
    return run
