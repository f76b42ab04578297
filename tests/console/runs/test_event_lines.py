from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.runs.event_lines import EventLines, MetricLine, decode_line
from ups.events import decode, encode

NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
METRICS = st.fixed_dictionaries({
    "stage": st.text(max_size=8), "epoch": st.integers(0, 10**6), "step": st.integers(0, 2**53),
    "task": st.none() | st.text(max_size=8), "split": st.sampled_from(["train", "val", "test"]),
    "values": st.dictionaries(st.text(max_size=8), NUMBERS, max_size=5),
})  # fmt: skip


@settings(deadline=None)
@given(METRICS, st.integers(0, 2**53), st.floats(0, 1e10))
def test_a_metric_is_what_the_long_way_reads(fields: dict[str, object], seq: int, t: float) -> None:
    line = encode(seq, t, "metric", fields)
    fast, slow = decode_line(line), decode(line)
    assert isinstance(fast, MetricLine)
    assert slow is not None
    assert fast.to_json() == slow.to_json()
    named = (fast.stage, fast.epoch, fast.step, fast.task, fast.split, fast.values)
    assert named == tuple(slow.fields[name] for name in ("stage", "epoch", "step", "task", "split", "values"))


@pytest.mark.parametrize(
    "line",
    [
        b'{"seq":1,"t":2.0,"type":"metric","values":{"loss":NaN}}',
        b'{"seq":1,"t":2.0,"type":"metric","values":{"loss":{"deep":1}}}',
        b'{"seq":1,"t":2.0,"type":"metric","step":null,"values":{}}',
        b'{"seq":1,"t":2.0,"type":"metric"}',
        b'{"seq":1,"t":2.0,"type":"metric","values":{},"unknown":[1]}',
        b'{"seq":1,"t":2.0,"type":"other","x":"metric","values":{}}',
        b'{"seq":1,"t":2.0,"type":"phase","detail":"\\"type\\":\\"metric\\""}',
    ],
)
def test_a_line_of_another_form_is_read_the_long_way(line: bytes) -> None:
    slow, fast = decode(line), decode_line(line)
    assert slow is not None
    assert fast is not None
    assert repr(fast.fields) == repr(slow.fields)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_line_is_an_error(line: bytes) -> None:
    decode_line(line)
    decode_line(b'{"type":"metric",' + line)


def test_what_is_torn_comes_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reader = EventLines(path)
    assert reader.read() == []
    first, second = encode(0, 1.0, "run", {"name": "x"}), encode(1, 2.0, "metric", {"values": {"loss": 0.5}})
    path.write_bytes(first + second[:20])
    assert [event.seq for event in reader.read()] == [0]
    path.write_bytes(first + second)
    [metric] = reader.read()
    assert metric.fields["values"] == {"loss": 0.5}


def test_each_line_of_a_file_is_read_as_it_is_by_itself(tmp_path: Path) -> None:
    """Whatever stands beside it: blocks are decoded at once where all of their lines allow it."""
    metrics = [
        encode(i, float(i), "metric", {"values": {"loss": 0.5}, "step": i, "new": [i]}) for i in range(900)
    ]
    odd = [
        b"\n",
        b"{torn\n",
        encode(901, 1.0, "phase", {"phase": "train"}),
        b'{"type":"metric","seq":1}\n',
        b"\r\n",
    ]
    long = [encode(902, 1.0, "note", {"text": "x" * 100_000}), encode(903, 1.0, "metric", {"values": {}})]
    path = tmp_path / "events.jsonl"
    for lines in (metrics, [*metrics, *odd, *metrics], [*long, *metrics[:3]], odd, [*metrics, long[0]]):
        path.write_bytes(b"".join(lines))
        expected = [event for line in lines if (event := decode(line)) is not None]
        for limit in (1 << 22, 5000):
            reader, found = EventLines(path), []
            while events := reader.read(limit_bytes=limit):
                found += events
            assert [event.to_json() for event in found] == [event.to_json() for event in expected]
