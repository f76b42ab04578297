import pytest

from console.tui.drawing.ansi import LogLines, ansi_row, plain


def fed(*pieces: bytes, capacity: int = 100) -> LogLines:
    lines = LogLines(capacity)
    for piece in pieces:
        lines.feed(piece)
    return lines


def test_lines_may_be_cut_anywhere() -> None:
    text = "erste Zeile µ\nzweite ✓\r\n\nlast".encode()
    for cut in range(len(text)):
        assert list(fed(text[:cut], text[cut:]).lines) == ["erste Zeile µ", "zweite ✓", "", "last"]


def test_a_progress_bar_takes_one_line() -> None:
    assert list(fed(b"start\n", b"10 %\r", b"20 %\r", b"100 %\ndone\n").lines) == ["start", "100 %", "done"]


def test_the_ring_counts_what_left_it() -> None:
    lines = fed(*(f"{n}\n".encode() for n in range(10)), capacity=4)
    assert list(lines.lines) == ["6", "7", "8", "9"]
    assert lines.dropped == 6


def test_undecodable_bytes_do_not_stop_it() -> None:
    assert list(fed(b"\xff\xfe ok\n").lines) == ["�� ok"]


def test_colours_become_inks() -> None:
    assert ansi_row("\x1b[1;31mred\x1b[0m plain") == [("red", "ansi:bold_red"), (" plain", "text")]
    assert ansi_row("\x1b[38;5;208mo\x1b[39mx") == [("o", "ansi:color(208)"), ("x", "text")]
    assert ansi_row("\x1b[38;2;1;2;3mo") == [("o", "ansi:#010203")]


@pytest.mark.parametrize("escape", ["\x1b[2K", "\x1b[3A", "\x1b]0;title\x07", "\x1b[?25l", "\x1b(B", "\x07"])
def test_what_would_move_a_terminal_is_dropped(escape: str) -> None:
    assert plain(f"a{escape}b") == "ab"
    assert "\x1b" not in "".join(text for text, _ in ansi_row(f"a{escape}b"))
