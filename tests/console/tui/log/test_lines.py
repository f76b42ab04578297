"""Lines found cell by cell, held against an implementation that reads the whole file."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.tui.drawing.ansi import plain
from console.tui.log.file import Change, Log
from console.tui.log.lines import START, Lines, NotCountedError, Place
from console.tui.log.matching import ERRORS, WARNINGS, EndlessPatternError, MatchingLines, criterion
from console.tui.log.text import line_text

_CELL = 32
_PIECES = st.sampled_from([
    b"\n", b"\n", b"\r", b"\r\n", b"loss 0.1", b"Error: no", b"\x1b[31m", b"\x1b[0m", b"\xff\xfe",
    b"\xe2\x82", "µ漢👍".encode(), b"\t", b"\x00\x07", b"\x1b[2K", b"x" * 20, b"y" * 70, b" 50 %", b"\b",
    b"\x1b]0;t\x07", b"",
])  # fmt: skip
_CONTENT = st.lists(_PIECES, max_size=40).map(b"".join)
_OURS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def whole(contents: list[bytes]) -> dict[Place, bytes]:
    """Every line of files, read the simple way."""
    found = {}
    for part, content in enumerate(contents):
        offset = 0
        for line in content.removesuffix(b"\n").split(b"\n") if content else []:
            found[Place(part, offset)] = line
            offset += len(line) + 1
    return found


def walked(lines: Lines) -> list[Place]:
    found, place = [], lines.after(START, patience=-1)
    while place is not None:
        found.append(place)
        place = lines.after(place, patience=-1)
    return found


def count(lines: Lines, start: Place | None = None) -> None:
    for _ in lines.count_cells(start):
        pass


def agree(lines: Lines, places: list[Place]) -> None:
    """Everything that can be asked of lines is as it should be."""
    assert walked(lines) == places
    assert lines.last() == (places[-1] if places else None)
    assert lines.first() == (places[0] if places else None)
    count(lines)
    assert (lines.total, lines.uncounted, lines.progress) == (len(places), 0, 1.0)
    for number, place in enumerate(places):
        assert lines.before(place) == (places[number - 1] if number else None)
        assert lines.number_of(place) == number
        assert lines.below(place) == len(places) - number - 1
        assert lines.at(number) == place
    assert lines.at(len(places)) is None


@_OURS
@given(st.lists(st.lists(_CONTENT, min_size=1, max_size=4), min_size=1, max_size=3))
def test_lines_are_those_of_the_whole_file_while_it_grows(
    tmp_path_factory: pytest.TempPathFactory, portions: list[list[bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    paths = [folder / str(n) for n in range(len(portions))]
    log = Log(lambda: paths, cell=_CELL)
    lines = Lines(log, patience=-1)
    wanted = MatchingLines(lines, (criterion("error|loss"), criterion("0")), patience=-1)
    contents: list[bytes] = []
    for path, pieces in zip(paths, portions, strict=True):
        contents.append(b"")
        for piece in pieces:
            with path.open("ab") as file:
                file.write(piece)
            contents[-1] += piece
            assert log.refresh() is not Change.REPLACED
            lines.grown()
            wanted.grown()
            expected = whole(contents)
            agree(lines, list(expected))
            texts = {place: plain(line_text(lines, place, patient=True).text) for place in expected}
            agree(
                wanted, [p for p, text in texts.items() if re.search("(?i)error|loss", text) and "0" in text]
            )
            for place, line in expected.items():
                if len(line) <= _CELL:
                    assert texts[place] == plain(line.decode("utf-8", "replace"))


@_OURS
@given(
    _CONTENT, st.sampled_from(["loss", "l.ss", "^E", r"\s+5", "x$", "(?i)error", "µ", "Error:", "^$", "["])
)
def test_an_expression_finds_what_it_finds_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, pattern: str
) -> None:
    path = tmp_path_factory.mktemp("log") / "run.log"
    path.write_bytes(content)
    lines = Lines(Log(lambda: [path], cell=_CELL))
    wanted = criterion(pattern)
    places = [p for p in walked(lines) if wanted.expression.search(plain(line_text(lines, p).text))]
    agree(MatchingLines(lines, (wanted,), patience=-1), places)


@pytest.fixture
def log_of(tmp_path: Path) -> Callable[..., Log]:
    def log_of(content: bytes, cell: int = _CELL) -> Log:
        path = tmp_path / "run.log"
        path.write_bytes(content)
        return Log(lambda: [path], cell=cell)

    return log_of


def test_numbers_are_estimated_until_all_is_counted(log_of: Callable[..., Log]) -> None:
    lines = Lines(log_of(b"0123456\n" * 400))
    assert lines.last() == Place(0, 399 * 8)
    assert lines.uncounted == 99
    assert lines.total == 400
    next(lines.count_cells(Place(0, 160)))
    assert lines.progress == pytest.approx(0.02)


def test_counting_begins_where_somebody_looks(log_of: Callable[..., Log]) -> None:
    lines = Lines(log_of(b"a\n" * 16 + b"bc\n" * 32))
    assert list(lines.count_cells(Place(0, 0))) == [16, 10, 11, 11]


def test_nobody_waits_for_the_end_of_a_gigantic_line(log_of: Callable[..., Log]) -> None:
    log = log_of(b"short\n" + b"x" * 9000 + b"\nend\n")
    lines = Lines(log, patience=3)
    assert lines.last() == Place(0, 9007)
    with pytest.raises(NotCountedError):
        lines.before(Place(0, 9007))
    count(lines)
    assert lines.before(Place(0, 9007)) == Place(0, 6)
    text = line_text(lines, Place(0, 6))
    assert (len(text.text), text.hidden, text.is_end) == (_CELL, 9000 - _CELL, False)


def test_a_gigantic_progress_bar_is_its_last_state(log_of: Callable[..., Log]) -> None:
    lines = Lines(log_of(b"".join(b"\r%d %%" % n for n in range(2000)) + b"\nend\n"))
    count(lines)
    text = line_text(lines, Place(0, 0))
    assert plain(text.text) == "1999 %"
    assert text.is_end


@pytest.mark.parametrize("rewritten", [b"", b"other\n", b"1\n2\n3\nand more\n"])
def test_a_log_that_was_truncated_or_rewritten_is_noticed(
    log_of: Callable[..., Log], rewritten: bytes
) -> None:
    log = log_of(b"one\ntwo\n")
    log.parts[0].path.write_bytes(rewritten)
    assert log.refresh() is Change.REPLACED


def test_a_rotated_log_is_noticed(log_of: Callable[..., Log]) -> None:
    log = log_of(b"one\ntwo\n")
    path = log.parts[0].path
    path.replace(path.with_name("run.log.1"))
    assert log.refresh() is Change.NONE
    assert log.parts[0].read(0, 4) == b"one\n"
    path.write_bytes(b"one\ntwo\nthree\n")
    assert log.refresh() is Change.REPLACED
    assert log.size == 14


def test_files_join_when_they_come(tmp_path: Path) -> None:
    paths = [tmp_path / "launch.log", tmp_path / "run.log"]
    log = Log(lambda: paths)
    lines = Lines(log)
    assert lines.last() is None
    for path in paths:
        path.write_bytes(path.name.encode())
        assert log.refresh() is Change.GREW
        lines.grown()
    assert [line_text(lines, place).text for place in walked(lines)] == ["launch.log", "run.log"]


@pytest.mark.parametrize(
    ("line", "is_error", "is_warning"),
    [
        ("2026-11-24 10:00:03  error: no space left", True, True),
        ("Traceback (most recent call last):", True, True),
        ("torch.OutOfMemoryError: CUDA out of memory", True, True),
        ("2026-11-24 10:00:03  warning: the loss went up", False, True),
        ("10:00:03 ! the box does not answer", False, True),
        ("UserWarning: deprecated", False, True),
        ("operator epoch 3  darcy2d loss 0.1 val error 0.2", False, False),
        ("0 errors, no warnings", False, False),
    ],
)
def test_levels(line: str, is_error: bool, is_warning: bool) -> None:
    assert bool(ERRORS.expression.search(line)) is is_error
    assert bool(WARNINGS.expression.search(line)) is is_warning


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|b*)*c", "((a+)b)+", "(x{2,})+", r"(\(a+)*", "(?:a+)+"])
def test_a_repeat_within_a_repeat_is_refused(pattern: str) -> None:
    with pytest.raises(EndlessPatternError):
        criterion(pattern)


@pytest.mark.parametrize("pattern", ["(a+)b", "(ab)+", r"(\+)+", "[(a+)]+", "(a+)?", "a+(b)+", "(a{2})+"])
def test_other_repeats_are_not(pattern: str) -> None:
    assert criterion(pattern)


@pytest.mark.parametrize(
    ("pattern", "finds", "not_in"),
    [
        ("loss", "LOSS", "los"),
        ("Loss", "Loss", "loss"),
        ("a.c", "aBc", "ac"),
        ("a[", "A[", "a"),
        (r"\Sa", "xa", " a"),
    ],
)
def test_capitals_count_where_there_are_some(pattern: str, finds: str, not_in: str) -> None:
    assert criterion(pattern).expression.search(finds)
    assert not criterion(pattern).expression.search(not_in)
