import pytest

from console.tui.drawing.text import (
    ago,
    clip,
    clip_start,
    count,
    drop_spans,
    duration,
    fit_row,
    number,
    size,
    usd,
    wrap_row,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.01834, "0.0183"),
        (1.0, "1.00"),
        (123.4, "123"),
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (3.2e-7, "3.20e-7"),
    ],
)
def test_a_measurement_has_three_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(950, "950"), (12_500, "12.5k"), (3e6, "3M")])
def test_a_count_is_short(value: float, shown: str) -> None:
    assert count(value) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(112, "1:52"), (7500, "2 h 05"), (None, "–"), (0.4, "0:00")])
def test_a_duration_is_read_at_a_glance(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_money_owed_is_never_shown_as_nothing() -> None:
    assert usd(0.001) == "<$0.01"
    assert usd(0) == "$0.00"


def test_sizes_are_decimal() -> None:
    assert size(6_100_000_000) == "6.1 GB"
    assert size(316_000_000) == "316 MB"


def test_the_last_sign_of_life() -> None:
    assert ago(0.4) == "now"
    assert ago(32_400) == "9 h ago"


def test_a_cut_text_says_so() -> None:
    assert clip("reaction_diffusion2d", 8) == "reactio…"
    assert clip("short   ", 5) == "short"


def test_a_row_is_cut_or_padded_to_its_width() -> None:
    assert fit_row([("ab", "good"), ("cdef", "bad")], 4) == [("ab", "good"), ("c…", "bad")]
    assert fit_row([("ab", "good")], 4) == [("ab", "good"), ("  ", "text")]


def test_spans_that_do_not_fit_are_left_out_whole() -> None:
    assert drop_spans([("name", "title"), ("  0.0183", "text"), ("  more", "muted")], 12) == [
        ("name", "title"),
        ("  0.0183", "text"),
    ]


def test_words_wrap_and_keep_their_ink() -> None:
    rows = wrap_row([("one two", "good"), (" three", "bad")], 8)
    assert ["".join(text for text, _ in row) for row in rows] == ["one two", "three"]
    assert rows[1] == [("three", "bad")]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("/home/me", 8, "/home/me"), ("/home/me", 5, "…e/me"), ("/home/me", 1, "…"), ("数据集", 5, "…据集")],
)
def test_a_long_text_that_is_being_typed_shows_its_end(text: str, width: int, shown: str) -> None:
    assert clip_start(text, width) == shown
