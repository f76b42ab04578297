import math
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from console.runs.columns import TrackColumns
from console.runs.event_lines import MetricLine
from console.runs.track import Track

STAGES = {"operator": 0, "diff_residual": 1}


def lines(values: Sequence[float | None], *, first: int = 0, stage: str = "operator") -> list[MetricLine]:
    return [
        MetricLine(step, float(step), "metric", {"loss": value}, "train", "advection1d", stage, 0.0, step)
        for step, value in enumerate(values, first)
    ]


def points(values: Sequence[float | None], *, first: int = 0) -> TrackColumns:
    return TrackColumns.of(lines(values, first=first))


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), max_size=20), st.sampled_from([32, 64, 256]))
def test_however_long_a_run_is_its_track_is_short_and_hides_no_spike(
    portions: list[int], capacity: int
) -> None:
    track, random = Track(capacity), np.random.default_rng(len(portions))
    everything = np.empty(0)
    for count in portions:
        values = random.normal(size=count)
        track.extend(points(values.tolist(), first=len(everything)), STAGES)
        everything = np.concatenate([everything, values])
    if not portions:
        return
    rows, loss = len(track), track.values["loss"]
    assert rows <= capacity
    assert (np.diff(track.steps) > 0).all()
    assert loss.low[:rows].min() == np.float32(everything.min())
    assert loss.high[:rows].max() == np.float32(everything.max())
    assert loss.latest == everything[-1]
    if len(everything) <= capacity - capacity // 8:
        assert loss.mean[:rows].tolist() == everything.tolist()
    starts = [*track.steps.astype(int), len(everything)]
    for row in range(rows):
        piece = everything[starts[row] : starts[row + 1]]
        assert math.isclose(loss.mean[row], piece.mean(), rel_tol=1e-9, abs_tol=1e-9)
        assert loss.low[row] == np.float32(piece.min())


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_taking_a_run_up_again_drops_what_came_after(before: int, step: int) -> None:
    track = Track(64)
    track.extend(points([1.0] * before), STAGES)
    track.drop_after(0, step)
    assert (track.steps <= step).all()
    track.extend(points([2.0] * 300, first=step + 1), STAGES)
    assert (np.diff(track.steps) > 0).all()
    assert track.values["loss"].latest == 2.0


def test_a_later_stage_goes_with_what_is_dropped_before_it() -> None:
    track = Track()
    both = [*lines([1.0] * 4), *lines([2.0] * 4, stage="diff_residual")]
    track.extend(TrackColumns.of(both), STAGES)
    track.drop_after(0, 2)
    assert track.steps.tolist() == [0, 1, 2]
    assert track.version == 1
    track.drop_after(1, 0)  # none of it came
    assert track.version == 1


def test_a_value_that_is_told_late_or_not_always_has_gaps() -> None:
    track = Track()
    track.extend(points([1.0, None, math.inf]), STAGES)
    other = MetricLine(3, 3.0, "metric", {"nrmse": 0.5}, "train", "advection1d", "operator", 0, 3)
    track.extend(TrackColumns.of([other]), STAGES)
    assert track.values["loss"].mean[:4].tolist()[:1] == [1.0]
    assert np.isnan(track.values["loss"].mean[1:4]).all()
    assert np.isnan(track.values["nrmse"].mean[:3]).all()
    assert track.values["nrmse"].latest == 0.5
    assert track.values["loss"].latest is None


def test_a_value_that_is_told_no_longer_leaves_a_gap_also_where_rows_were_joined() -> None:
    track = Track(64)
    track.extend(points([1.0] * 64), STAGES)
    for step in range(64, 96):
        other = MetricLine(step, step, "metric", {"nrmse": 0.5}, "train", "advection1d", "operator", 0, step)
        track.extend(TrackColumns.of([other]), STAGES)
    newest = track.steps >= 64
    assert newest.any()
    assert np.isnan(track.values["loss"].mean[: len(track)][newest]).all()
    assert track.values["loss"].latest == 1.0
