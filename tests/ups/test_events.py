"""The run protocol: nothing is lost, doubled or renumbered, wherever a process died."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ups.events
from ups.events import EventReader, EventType, EventWriter, decode, encode, finite, lines_holding

_RESERVED = {"seq", "t", "type"}
_NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name not in _RESERVED)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.dictionaries(
    _NAMES.filter(str.isidentifier).filter(lambda n: n not in ("kind", "self")), _VALUES, max_size=3
)
_KINDS = st.sampled_from(list(EventType))
_EVENTS = st.lists(st.tuples(_KINDS, _FIELDS), min_size=1, max_size=8)

tmp = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def write_all(path: Path, events: list[tuple[EventType, dict[str, Any]]]) -> None:
    with EventWriter(path, clock=lambda: 1.5) as writer:
        for kind, fields in events:
            writer.write(kind, **fields)


def fresh(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.unlink(missing_ok=True)
    return path


class TestWriting:
    @tmp
    @given(events=_EVENTS)
    def test_what_is_written_is_read_back_in_order(self, tmp_path: Path, events: Any) -> None:
        path = fresh(tmp_path)
        write_all(path, events)
        read = EventReader(path).read()
        assert [event.seq for event in read] == list(range(len(events)))
        assert [(event.type, dict(event.fields)) for event in read] == [
            (str(kind), finite(fields)) for kind, fields in events
        ]

    @tmp
    @given(events=_EVENTS, more=_EVENTS, data=st.data())
    def test_a_tail_torn_at_any_byte_is_cut_and_the_numbers_go_on(
        self, tmp_path: Path, events: Any, more: Any, data: st.DataObject
    ) -> None:
        path = fresh(tmp_path)
        write_all(path, events)
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut])
        whole = content[:cut].count(b"\n")
        write_all(path, more)
        read = EventReader(path).read()
        assert [event.seq for event in read] == list(range(whole + len(more)))
        assert path.read_bytes().startswith(content[: content[:cut].rfind(b"\n") + 1])
        assert path.read_bytes().count(b"\n") == whole + len(more)

    @tmp
    @given(events=_EVENTS, garbage=st.binary(max_size=60))
    def test_garbage_after_the_last_event_is_cut(self, tmp_path: Path, events: Any, garbage: bytes) -> None:
        path = fresh(tmp_path)
        write_all(path, events)
        with path.open("ab") as file:
            file.write(b"\0" + garbage)  # what a crashed file system leaves
        write_all(path, events)
        assert [event.seq for event in EventReader(path).read()] == list(range(2 * len(events)))

    def test_opening_again_and_again_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write_all(path, [(EventType.HEARTBEAT, {})])
        before = path.read_bytes()
        for _ in range(3):
            EventWriter(path).close()
        assert path.read_bytes() == before

    @tmp
    @given(value=_VALUES)
    def test_a_line_is_strict_json_with_null_for_what_is_not_finite(self, tmp_path: Path, value: Any) -> None:
        line = encode(0, 0.0, "metric", {"value": value})
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        record = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert record["value"] == finite(value)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_non_finite_numbers_are_null_at_any_depth(self, value: float) -> None:
        assert finite({"a": [value, {"b": value}], "c": 1.0}) == {"a": [None, {"b": None}], "c": 1.0}


class TestReading:
    def test_there_are_no_events_before_the_file(self, tmp_path: Path) -> None:
        assert EventReader(tmp_path / "events.jsonl").read() == []

    @tmp
    @given(events=_EVENTS, steps=st.lists(st.integers(1, 40), max_size=20))
    def test_a_growing_file_yields_each_event_once(
        self, tmp_path: Path, events: Any, steps: list[int]
    ) -> None:
        path, source = fresh(tmp_path), tmp_path / "source.jsonl"
        source.unlink(missing_ok=True)
        write_all(source, events)
        content, reader, read, end = source.read_bytes(), EventReader(path), [], 0
        for step in [*steps, len(source.read_bytes())]:
            end += step
            path.write_bytes(content[:end])
            read += reader.read()
        assert [event.seq for event in read] == list(range(len(events)))

    @tmp
    @given(events=_EVENTS, limit=st.integers(1, 200))
    def test_any_limit_reads_everything_in_the_end(self, tmp_path: Path, events: Any, limit: int) -> None:
        path = fresh(tmp_path)
        write_all(path, events)
        reader, read = EventReader(path), []
        while batch := reader.read(limit_bytes=limit):
            read += batch
        assert [event.seq for event in read] == list(range(len(events)))

    def test_reading_goes_on_at_a_kept_offset(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write_all(path, [(EventType.HEARTBEAT, {})] * 2)
        first = EventReader(path)
        first.read()
        write_all(path, [(EventType.DONE, {"status": "succeeded"})])
        assert [event.seq for event in EventReader(path, offset=first.offset).read()] == [2]

    def test_unknown_types_and_fields_are_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        path.write_text('{"seq":0,"t":1,"type":"from_the_future","colour":{"r":1}}\n')
        [event] = EventReader(path).read()
        assert event.type == "from_the_future"
        assert event.to_json() == {"seq": 0, "t": 1.0, "type": "from_the_future", "colour": {"r": 1}}

    @pytest.mark.parametrize(
        "line",
        [b"", b"{", b"5", b"null", b"[]", b"{}", b'{"seq":"a","t":0,"type":"x"}', b"\xff\xfe",
         b'{"seq":1e999,"t":0,"type":"x"}', b"[" * 100_000, b'{"seq":0,"t":null,"type":"x"}'],
    )  # fmt: skip
    def test_what_is_no_event_is_none(self, line: bytes) -> None:
        assert decode(line) is None


class TestLinesHolding:
    @pytest.mark.parametrize("block", [1, 5, 16, 1 << 20])
    def test_they_are_those_that_a_look_at_each_finds_however_the_file_is_cut(
        self, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ups.events, "_BLOCK_BYTES", block)
        path = tmp_path / "events.jsonl"
        lines = [b"first\n", b"ab\n", b"\n", b"xx ab cd ab\n", b"a\n", b"b cd\n", b"cd\n", b"torn ab"]
        path.write_bytes(b"".join(lines))
        found = list(lines_holding(path, [b"ab", b"cd"]))
        assert found == [line for line in lines if line == b"first\n" or b"ab" in line or b"cd" in line]

    def test_a_file_that_is_not_there_has_none(self, tmp_path: Path) -> None:
        assert list(lines_holding(tmp_path / "none", [b"a"])) == []
