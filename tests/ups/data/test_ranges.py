"""The journal of what has arrived never says more than was written, however it was cut short."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ups.data import ranges
from ups.data.ranges import RangeJournal, Ranges

SIZE = 60
SPANS = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair))),
    max_size=12,
)
IN_A_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def bytes_of(spans: "list[tuple[int, int]] | Ranges") -> set[int]:
    return {byte for begin, end in spans for byte in range(begin, end)}


@given(SPANS, st.integers(0, SIZE), st.integers(0, SIZE))
def test_what_is_missing_and_what_is_there_are_the_whole(
    spans: list[tuple[int, int]], begin: int, end: int
) -> None:
    found = Ranges()
    for span in spans:
        found.add(*span)
    assert bytes_of(found) == bytes_of(spans)
    assert found.bytes == len(bytes_of(spans))
    edges = [edge for span in found for edge in span]
    assert edges == sorted(set(edges)), "the ranges are disjoint, ascending and do not touch"
    missing = list(found.missing(begin, end))
    assert bytes_of(missing) == set(range(begin, end)) - bytes_of(spans)
    assert all(first < last for first, last in missing)


@IN_A_FOLDER
@given(SPANS, SPANS, st.floats(0, 1))
def test_a_journal_cut_anywhere_keeps_what_was_noted_before(
    tmp_path: Path, first: list[tuple[int, int]], second: list[tuple[int, int]], share: float
) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    for spans in (first, second):  # the second process goes on with what the first noted
        journal = RangeJournal(path, "a file")
        for span in spans:
            journal.note(*span)
        journal.close()
    content = path.read_bytes()
    cut = content[: round(share * len(content))]
    path.write_bytes(cut)
    whole_lines = [line.split() for line in cut.decode().split("\n")[1:-1]]
    again = RangeJournal(path, "a file")
    again.close()
    assert bytes_of(again.ranges) == bytes_of([(int(begin), int(end)) for begin, end in whole_lines])
    assert bytes_of(again.ranges) <= bytes_of(first) | bytes_of(second)


def test_a_journal_of_another_file_is_dropped(tmp_path: Path) -> None:
    journal = RangeJournal(tmp_path / "journal", "version 1")
    journal.note(0, 10)
    journal.close()
    assert RangeJournal(tmp_path / "journal", "version 2").ranges.bytes == 0


def test_after_a_restart_of_the_machine_only_what_was_synced_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = RangeJournal(tmp_path / "journal", "a file")
    journal.note(0, 10)
    journal.synced()
    journal.note(10, 30)
    journal.close()
    monkeypatch.setattr(ranges, "_boot_id", lambda: "another boot")
    assert RangeJournal(tmp_path / "journal", "a file").ranges.bytes == 10
