"""Metrics as columns: the same however they are cut into pieces."""

import itertools
from array import array

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from console.runs.columns import Metrics, TrackColumns, joined, metrics_of
from console.runs.event_lines import MetricLine, decode_events, decode_metrics
from ups.events import encode

NUMBERS = st.none() | st.floats(-10, 10) | st.sampled_from([float("nan"), float("inf")])
LINES = st.lists(
    st.builds(
        MetricLine,
        st.integers(0, 99),
        st.floats(0, 99),
        st.just("metric"),
        st.dictionaries(st.sampled_from(["loss", "nrmse"]), NUMBERS),
        st.sampled_from(["train", "val"]),
        st.sampled_from([None, "darcy2d"]),
        st.sampled_from(["operator", "refine"]),
        st.floats(0, 9),
        st.floats(0, 99),
        st.none() | st.just({"epoch": 3}),
    ),
    min_size=2,
)


@given(LINES, st.data())
def test_joined_pieces_are_the_whole(lines: list[MetricLine], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(lines) - 1)), "where it is cut"))
    ends = [0, *cuts, len(lines)]
    pieces = [metrics_of(lines[a:b]) for a, b in itertools.pairwise(ends)]
    assert plain(joined(pieces)) == plain(metrics_of(lines))


def plain(metrics: Metrics) -> str:
    """All of it; as text, as NaN is not what it equals."""
    tracks = {key: of_track(points) for key, points in metrics.tracks.items()}
    count, first_t, last_t, last_seq, stage, epoch, stages, _, forecasts = astuple(metrics)
    rest = (count, first_t, last_t, last_seq, stage, epoch, list(stages), forecasts)
    return repr((rest, sorted(tracks.items(), key=repr)))


def of_track(points: TrackColumns) -> tuple[object, ...]:
    values = sorted((name, list(points.column(name))) for name in points.values)
    columns = (list(column) for column in (points.steps, points.epochs, points.times))
    return *columns, list(points.each_stage), values, sorted(points.latest.items())


def test_a_value_that_was_never_told_is_a_gap() -> None:
    points = TrackColumns.of([MetricLine(0, 0.0, "metric", {"loss": 1.0})])
    assert points.column("loss") == array("d", [1.0])
    assert repr(points.column("nrmse")) == repr(array("d", [float("nan")]))


def test_lines_that_are_all_metrics_are_read_at_once_and_others_are_not() -> None:
    metric = encode(1, 1.0, "metric", {"task": "darcy2d", "step": 3, "values": {"loss": 0.5}})
    other = encode(2, 2.0, "note", {"text": 'about "type":"metric"'})
    found = decode_metrics(metric * 3)
    assert found is not None
    assert [(line.step, line.values) for line in found] == [(3.0, {"loss": 0.5})] * 3
    assert decode_metrics(metric + other) is None
    assert decode_metrics(encode(2, 2.0, "note", {"of": {"type": "metric"}})) is None
    assert decode_metrics(metric + b"{torn\n") is None
    assert decode_metrics(metric + b'"type":"metric"\n') is None
    assert len(decode_events(metric + other)) == 2
