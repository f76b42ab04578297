import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.tui.drawing.ansi import ansi_row, break_row, marked, plain, plain_lines, skip_cells
from console.tui.drawing.text import row_width


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("10 %\r20 %\r100 %", "100 %"),
        ("100 %\r9", "900 %"),
        ("100 %\r", "100 %"),
        ("done\r\r", "done"),
        ("a long one\r\x1b[2Kshort", "short"),
        ("a long one\rshort\x1b[K", "short"),
        ("|\b/\b-\b", "-"),
        ("12 %\b\b\b\b34 %", "34 %"),
        ("漢字\ra", "a 字"),
        ("a\tb", "a       b"),
        ("漢\tb", "漢      b"),
        ("\x1b[31ma\x1b[0m\tb", "a       b"),
    ],
)
def test_a_line_is_what_a_terminal_shows_of_it(line: str, shown: str) -> None:
    assert plain(line) == shown


@given(st.lists(st.text("abc ", max_size=12), min_size=1, max_size=8))
def test_later_states_overwrite_earlier_ones_column_by_column(states: list[str]) -> None:
    screen: list[str] = []
    for state in states:
        screen[: len(state)] = state
    assert plain("\r".join(states)) == "".join(screen)


def test_colours_become_inks() -> None:
    assert ansi_row("\x1b[1;31mred\x1b[0m plain") == [("red", "ansi:bold,red"), (" plain", "text")]
    assert ansi_row("\x1b[38;5;208mo\x1b[39mx") == [("o", "ansi:color(208)"), ("x", "text")]
    assert ansi_row("\x1b[38;2;1;2;3mo") == [("o", "ansi:#010203")]
    assert ansi_row("\x1b[91;102mo") == [("o", "ansi:bright_red,on_bright_green")]


def test_the_last_state_of_a_progress_bar_keeps_its_colours() -> None:
    assert ansi_row("\x1b[31m10 %\r\x1b[32m20 %") == [("20 %", "ansi:green")]
    assert ansi_row("\x1b[31mabcd\rxy\x1b[0m")[0] == ("xy", "ansi:red")


def test_numbers_beyond_measure_in_a_sequence_do_no_harm() -> None:
    assert ansi_row("\x1b[" + "9" * 6000 + "mx") == [("x", "text")]
    assert ansi_row("\x1b[" + "1;" * 6000 + "mx") == [("x", "ansi:bold")]


@pytest.mark.parametrize("escape", ["\x1b[2K", "\x1b[3A", "\x1b]0;title\x07", "\x1b[?25l", "\x1b(B", "\x1bc"])
def test_what_would_move_a_terminal_is_dropped(escape: str) -> None:
    assert plain(f"a{escape}b") == "ab"
    assert "\x1b" not in "".join(text for text, _ in ansi_row(f"a{escape}b"))


@pytest.mark.parametrize(
    ("tricky", "shown"),
    [
        ("\x07", "^G"), ("\x00", "^@"), ("\x7f", "^?"), ("\x9b", "<U+009B>"), ("\u202e", "<U+202E>"),
        ("\u2066", "<U+2066>"), ("\u200b", ""), ("\ufeff", ""), ("\u2028", "<U+2028>"), ("\x1b", "^["),
        ("👨\u200d👩\u200d👧", "👨👩👧"), ("👍🏽", "👍"), ("❤\ufe0f", "❤"), ("🇩🇪", "DE"),
        ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301"),
    ],
)  # fmt: skip
def test_what_would_deceive_the_eye_is_spelled_out_or_dropped(tricky: str, shown: str) -> None:
    assert plain(f"a{tricky}") == f"a{shown}"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_text_reaches_the_terminal_that_it_could_obey(text: str) -> None:
    for line in text.split("\n"):
        shown = plain(line)
        assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u200b" for c in shown)
    assert plain_lines(text) == "\n".join(map(plain, text.split("\n")))


@given(st.text("a漢é👍 ", max_size=30), st.integers(2, 9))
def test_rows_are_cut_and_broken_at_columns(text: str, width: int) -> None:
    rows = break_row([(text, "text")], width)
    assert "".join(piece for row in rows for piece, _ in row) == text
    assert all(row_width(row) <= width for row in rows)
    assert row_width(skip_cells([(text, "text")], width)) == max(0, cell_len(text) - width)


def test_what_is_looked_for_is_marked_across_colours() -> None:
    import re

    row = marked([("one t", "ansi:red"), ("wo three", "text")], re.compile("two"), "match")
    assert row == [("one ", "ansi:red"), ("t", "match"), ("wo", "match"), (" three", "text")]
