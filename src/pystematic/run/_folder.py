"""`Folder`: turns a stream of output into the lines that a terminal would show in the end, progress bars folded.

Knows the control sequences of ECMA-48 that progress bars use, and neither files nor times.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Characters of one line without an end, after which it is written all the same ...
LONGEST_LINE = 10_000_000
# ... and of one that control sequences have moved about in, where each change costs the whole of it.
LONGEST_ROW = 100_000
# Rows that may still change; what stands above is taken to be done, as on a terminal that has scrolled.
MOST_ROWS = 100
LONGEST_SEQUENCE = 10_000
# How far the end of a text is looked for at once: many sequences in a long line would make it quadratic.
STRIDE = 4096

_STRINGS = "]P^_X"  # sequences that hold a text: titles, links; they end with BEL or ESC \
_CONTROLS = ("\r", "\x1b", "\b", "\x07")


class Folder:
    """Takes output cut anywhere, and gives whole lines to ``write_line``.

    A plain line is done at its newline. Rows that ``\\r`` or cursor movements have written are kept while they may be
    written again: until a plain line follows, the next bar is under way, or a live display has moved below them.
    """

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self.reset()

    def reset(self) -> None:
        """Forget everything that is pending."""
        # A plain line without an end, in pieces: adding to one text would copy it each time.
        self._pieces: list[str] = []
        self._length = 0
        self._was_cut = False
        # Otherwise, `is_on_screen`, the rows of a screen that may still change, with the cursor.
        self.is_on_screen = False
        self._rows = [""]
        self._is_bar = [False]  # rows that something has been written over, or that \r began
        self._row = self._column = 0
        self._is_hidden = False  # the cursor: a live display is at work
        self._has_climbed = False  # up, with nothing written since
        self._has_returned = False  # by \r, with nothing written since
        self._is_fresh = True  # nothing was written since the cursor came to this row
        self._sequence = ""  # the beginning of a control sequence whose end is still to come

    def feed(self, text: str) -> None:
        """Take the next piece of output."""
        if not text:
            return
        if not self.is_on_screen:
            if not ("\r" in text or "\x1b" in text or "\b" in text or "\x07" in text):
                self._feed_plain(text)
                return
            self._begin_screen()
        if self._sequence:
            text, self._sequence = self._sequence + text, ""
        i = 0
        while i < len(text):
            letter = text[i]
            if letter == "\x1b":
                end = _end_of_sequence(text, i)
                if end is None:
                    self._sequence = text[i:] if len(text) - i < LONGEST_SEQUENCE else ""
                    break
                self._obey(text[i + 1 : end])
                i = end
            elif letter == "\n":
                self._newline()
                i += 1
            elif letter in "\r\b\x07":
                if letter == "\r":
                    self._column, self._has_returned = 0, True
                elif letter == "\b":
                    self._column = max(0, self._column - 1)
                i += 1
            else:
                end = _end_of_text(text, i)
                self._put(text[i:end])
                i = end
        if self._is_plain():
            self._end_screen()

    def settle(self) -> None:
        """Write rows that are finished by all appearance, since another stream is about to write."""
        last = len(self._rows) - 1
        if self.is_on_screen and last > 0 and self._row == last and not self._rows[last].strip() and self._is_at_rest():
            self._commit(last)
            if self._is_plain():
                self._end_screen()

    def close(self) -> None:
        """Write everything that is pending."""
        if self.is_on_screen:
            is_last_blank = not self._rows[-1].strip()  # no newline has made it a line
            self._commit(len(self._rows) - is_last_blank)
        elif self._pieces:
            self._write_line("".join(self._pieces))
        self.reset()

    # -- plain lines ---------------------------------------------------------------------------------------------

    def _feed_plain(self, text: str) -> None:
        first, newline, rest = text.partition("\n")
        self._pieces.append(first)
        self._length += len(first)
        if newline:
            self._end_plain_line()
            *lines, last = rest.split("\n")
            for line in lines:
                self._write_line(line)
            self._pieces, self._length = ([last], len(last)) if last else ([], 0)
        if self._length > LONGEST_LINE:
            self._end_plain_line()
            self._was_cut = True

    def _end_plain_line(self) -> None:
        if self._length or not self._was_cut:  # the end of a line that was cut is none of its own
            self._write_line("".join(self._pieces))
        self._pieces, self._length, self._was_cut = [], 0, False

    def _begin_screen(self) -> None:
        line = "".join(self._pieces)
        self.reset()
        self.is_on_screen = True
        self._rows, self._column, self._is_fresh = [line], len(line), not line

    def _is_plain(self) -> bool:
        """Tell whether nothing is left that a plain line could not hold."""
        return (
            len(self._rows) == 1
            and not (self._is_bar[0] or self._is_hidden or self._has_returned or self._sequence)
            and self._column == len(self._rows[0])
        )

    def _end_screen(self) -> None:
        line = self._rows[0]
        self.reset()
        if line:
            self._pieces, self._length = [line], len(line)

    # -- a screen ------------------------------------------------------------------------------------------------

    def _put(self, text: str) -> None:
        if self._has_climbed:
            # Whatever redraws itself goes up to its own first row: what stands above is nobody's any more.
            self._commit(self._row)
        elif self._has_returned and not self._is_fresh and not self._is_hidden:
            self._commit(self._row)  # a bar on this row goes on without going up, so those above are done
        row = self._rows[self._row]
        if not row.strip() and not self._column:  # cleared by somebody, with spaces
            row = ""
            self._is_bar[self._row] = False
        if self._has_returned or self._is_hidden or self._column < len(row):
            self._is_bar[self._row] = True
        end = self._column + len(text)
        self._rows[self._row] = row[: self._column].ljust(self._column) + text + row[end:]
        self._column = end
        self._has_climbed = self._has_returned = self._is_fresh = False
        if end > LONGEST_ROW:
            self._commit(self._row + 1)

    def _newline(self) -> None:
        self._column = 0
        if not any(row.strip() for row in self._rows[self._row + 1 :]):  # cleared, and free again
            del self._rows[self._row + 1 :], self._is_bar[self._row + 1 :]
        is_last = self._row == len(self._rows) - 1
        if is_last and not self._is_fresh and not self._is_hidden:
            self._commit(self._row)
        self._has_returned = self._has_climbed = False
        if is_last:
            is_done = self._row == 0 and not self._is_bar[0] and not self._is_hidden
            self._rows.append("")
            self._is_bar.append(False)
            self._row += 1
            if is_done:
                self._commit(1)
        else:
            self._row += 1
        self._is_fresh = True
        if len(self._rows) > MOST_ROWS:
            self._commit(len(self._rows) - MOST_ROWS)

    def _commit(self, count: int) -> None:
        """Write the first ``count`` rows and take them off the screen."""
        for row, is_bar in zip(self._rows[:count], self._is_bar[:count], strict=True):
            line = row.rstrip() if is_bar else row
            if line or not is_bar:  # a bar that was cleared leaves nothing
                self._write_line(line)
        del self._rows[:count], self._is_bar[:count]
        self._row -= count
        if not self._rows:
            self._rows, self._is_bar = [""], [False]
        if self._row < 0:
            self._row = self._column = 0

    def _obey(self, sequence: str) -> None:
        """Follow a control sequence: cursor movements, erasing; colours and all else change no text."""
        if sequence[0] != "[":
            return
        final, arguments = sequence[-1], sequence[1:-1]
        if arguments == "?25":
            self._is_hidden = final == "l"
            return
        count = max(1, int(arguments[:6])) if arguments.isdecimal() else 1
        if final in "AF":
            self._climb(count)
        elif final in "BE":
            self._row = min(self._row + count, len(self._rows) - 1)
            self._is_fresh = True
        elif final == "C":
            self._column += min(count, LONGEST_ROW)
        elif final == "D":
            self._column = max(0, self._column - count)
        elif final == "G":
            self._column = min(count - 1, LONGEST_ROW)
        elif final == "K":
            self._erase_in_row(arguments)
        elif final in "Hf" or (final == "J" and arguments not in ("", "0")):
            self._commit(len(self._rows))  # the screen begins anew; what it showed was shown
        elif final == "J":
            self._erase_in_row("")
            below = self._row + 1
            self._rows[below:] = [""] * len(self._rows[below:])
            self._is_bar[below:] = [True] * len(self._is_bar[below:])
        if final in "EF":
            self._column = 0

    def _climb(self, count: int) -> None:
        missing = min(count - self._row, MOST_ROWS)
        if missing > 0:  # rows that looked done and are written, but are used again
            self._rows[:0] = [""] * missing
            self._is_bar[:0] = [True] * missing
            self._row += missing
        self._row = max(0, self._row - count)
        self._has_climbed = self._is_fresh = True
        self._has_returned = False

    def _erase_in_row(self, how: str) -> None:
        row = self._rows[self._row]
        erased = {"2": "", "1": " " * min(self._column + 1, len(row)) + row[self._column + 1 :]}.get(
            how, row[: self._column]
        )
        if erased != row:
            self._rows[self._row] = erased
            self._is_bar[self._row] = True

    def _is_at_rest(self) -> bool:
        return not (self._is_hidden or self._has_climbed or self._sequence)


def _end_of_text(text: str, start: int) -> int:
    """Return where the next control character is, or some place before it."""
    end = min(start + STRIDE, len(text))
    for control in ("\n", *_CONTROLS):
        at = text.find(control, start, end)
        if at >= 0:
            end = at
    return end


def _end_of_sequence(text: str, start: int) -> int | None:
    """Return the end of the control sequence at ``start``, or None where the text ends first (ECMA-48, 5.3-5.6)."""
    kind = text[start + 1 : start + 2]
    if not kind:
        return None
    if kind == "[":
        for i in range(start + 2, len(text)):
            if "@" <= text[i] <= "~":
                return i + 1
        return None
    if kind in _STRINGS:
        ends = [at + len(mark) for mark in ("\x07", "\x1b\\") if (at := text.find(mark, start + 2)) >= 0]
        return min(ends, default=None)
    i = start + 1
    while i < len(text) and " " <= text[i] <= "/":
        i += 1
    return i + 1 if i < len(text) else None
