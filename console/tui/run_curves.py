"""The charts of a run, kept up to date with what is known of it.

Only new points are copied out of the run, under its lock, so that the worker that fills it and the screen
that draws it hardly ever wait for one another.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from console.runs.series import RunView
from console.runs.track import Track
from console.tui import placing
from console.tui.alerts import judge
from console.tui.curves import Curves, Line
from console.tui.drawing.axes import XAxis
from console.tui.live_run import LiveRun
from console.tui.placing import Bill, Epochs
from console.tui.series import Series

if TYPE_CHECKING:
    import numpy as np

    from console.runs.series import Curve

    Array = np.ndarray[Any, Any]


class _Synced(Struct):
    """How far a series has taken over its curve."""

    series: Series
    taken: int = 0
    version: int = 0


class RunCurves:
    """One chart a task."""

    def __init__(self, live: LiveRun, axis: XAxis = XAxis.STEP, bill: Bill = Bill()) -> None:  # noqa: B008
        self.live = live
        self.axis = axis
        self.bill = bill
        self.charts: dict[str, Curves] = {}
        self._synced: dict[tuple[str, str, str], _Synced] = {}
        self._offsets: dict[str, float] = {}
        """stage → what is added to its steps, so that stages follow one another on the axis."""
        self._begins: list[tuple[float, str]] = []
        """(step over all stages, name) at which each stage but the first begins."""
        self._epochs: Epochs | None = None

    def sync(self) -> list[str]:
        """Take over new points; returns the tasks whose chart changed."""
        view, changed = self.live.view, []
        with self.live.lock:
            tasks = list(view.tasks) or sorted({task for task, _ in view.tracks if task})
            self._find_stages(view)
            anew = self._find_epochs(view)
            for task in tasks:
                if self._sync_task(view, task):
                    changed.append(task)
            if anew:
                self._place_all(view)
                changed = tasks
        return changed

    def use(self, axis: XAxis, bill: Bill) -> Callable[[float], float]:
        """Lay the points out along another axis.

        Returns:
            Says where a position of the axis that was used before lies on this one.
        """
        if (axis, bill) == (self.axis, self.bill):
            return lambda position: position
        longest = max((s.series for s in self._synced.values()), key=len, default=Series(1))
        before = longest.x.copy()
        self.axis, self.bill = axis, bill
        with self.live.lock:
            self._find_epochs(self.live.view)
            self._place_all(self.live.view)
        after = longest.x.copy()
        return lambda position: placing.moved(position, before, after)

    # --- one task ----------------------------------------------------------------------------

    def _sync_task(self, view: RunView, task: str) -> bool:
        chart = self.charts.get(task)
        new = chart is None
        if chart is None:
            chart = self.charts[task] = Curves(task)
        kind = "nrmse" if view.has(task, "train", "nrmse") else "loss"
        chart.quantity = "nRMSE" if kind == "nrmse" else "loss"
        chart.train, moved = self._series(view, (task, "train", kind))
        chart.val, val_moved = self._series(view, (task, "val", "nrmse"))
        chart.level = view.latest(task, "val", "persistence") or None
        if new or moved or val_moved:
            chart.stages = self._marks(view)
            chart.alert = judge(
                chart.train,
                train_is_finite=chart.train is None or view.latest(task, "train", kind) is not None,
                val=view.curve(task, "val", "nrmse"),
                level=chart.level,
                plateaus=_plateaus(view, task),
            )
        return new or moved or val_moved

    def _series(self, view: RunView, key: tuple[str, str, str]) -> tuple[Series | None, bool]:
        curve = view.curve(*key)
        if curve is None:
            return None, False
        state = self._synced.get(key)
        if state is None or state.version != curve.version or state.taken > len(curve):
            state = self._synced[key] = _Synced(Series(), 0, curve.version)
        if state.taken == len(curve):
            return state.series, state.taken == 0
        new = slice(state.taken, len(curve))
        x = self._places(view, curve, new)
        state.series.extend(x, curve.values[new], curve.low[new], curve.high[new])
        state.taken = len(curve)
        return state.series, True

    # --- the x axis --------------------------------------------------------------------------

    def _places(self, view: RunView, curve: "Curve", chosen: slice) -> "Array":
        """Positions of points on the axis that is used."""
        if self.axis is XAxis.TIME:
            return curve.times[chosen] - (view.first_t or 0.0)
        if self.axis is XAxis.DOLLARS:
            return self.bill.dollars(curve.times[chosen])
        steps: Array = curve.steps[chosen] + self._offsets_of(view, curve.stages[chosen])
        return self._epochs.of(steps) if self.axis is XAxis.EPOCH and self._epochs is not None else steps

    def _place_all(self, view: RunView) -> None:
        for key, state in self._synced.items():
            curve = view.curve(*key)
            if curve is not None and state.version == curve.version:
                state.series.place(self._places(view, curve, slice(0, state.taken)))
        for chart in self.charts.values():
            chart.stages = self._marks(view)

    def _marks(self, view: RunView) -> list[tuple[float, str]]:
        """Where stages begin on the axis that is used."""
        if self.axis is XAxis.STEP or not self._begins:
            return self._begins
        curve = _longest(view)
        if curve is None:
            return []
        steps = curve.steps + self._offsets_of(view, curve.stages)
        after = self._places(view, curve, slice(None))
        return [(placing.moved(step, steps, after), name) for step, name in self._begins]

    def _find_epochs(self, view: RunView) -> bool:
        """Find where epochs begin, if that is asked for; tells whether points have to move for it."""
        curve = _longest(view) if self.axis is XAxis.EPOCH else None
        if curve is None:
            return False
        steps = curve.steps + self._offsets_of(view, curve.stages)
        before = self._epochs
        self._epochs = placing.epochs_of(steps, curve.epochs, curve.stages)
        return before is not None and len(before.steps) != len(self._epochs.steps)

    def _offsets_of(self, view: RunView, stages: "Array") -> "Array":
        """What is added to the steps of points of these stages."""
        import numpy as np

        return np.array([self._offsets.get(name, 0.0) for name in view.seen_stages])[stages]

    def _find_stages(self, view: RunView) -> None:
        """Place each stage behind the ones before it, where its steps start again."""
        for index, stage in enumerate(view.seen_stages):
            if stage in self._offsets:
                continue
            ends, starts = _boundaries(view.tracks.values(), index)
            if not starts:
                continue
            before = max(
                (end + self._offsets.get(view.seen_stages[of], 0.0) for of, end in ends), default=None
            )
            restarts = before is not None and min(starts) <= before
            self._offsets[stage] = before if restarts and before is not None else 0.0
            if before is not None:
                self._begins.append((before, stage))


def _plateaus(view: RunView, task: str) -> list[float]:
    """When the box warned that a task had levelled off."""
    return [notice.t for notice in view.notices if notice.task == task and notice.code == "plateau"]


def _longest(view: RunView) -> "Curve | None":
    """Of the curves of tasks the one with most points: epochs and stages are read from it."""
    tracks = [(key, track) for key, track in view.tracks.items() if track.values and len(track)]
    if not tracks:
        return None
    (task, split), track = max(tracks, key=lambda item: len(item[1]))
    return view.curve(task, split, next(iter(track.values)))


def _boundaries(tracks: Iterable[Track], stage: int) -> tuple[list[tuple[int, float]], list[float]]:
    """Last steps before a stage with their stages, and first steps of it, over all tracks."""
    import numpy as np

    ends: list[tuple[int, float]] = []
    starts: list[float] = []
    for track in tracks:
        own = track.stages == stage
        if not own.any():
            continue
        index = int(np.argmax(own))
        starts.append(float(track.steps[index]))
        if index:
            ends.append((int(track.stages[index - 1]), float(track.steps[index - 1])))
    return ends, starts


def overlay(charts: Sequence[Curves]) -> Curves:
    """One chart with the validation curves of all tasks, each in its colour."""
    joined = Curves("all tasks")
    joined.others = [
        Line(chart.name, chart.val, f"task:{chart.name}") for chart in charts if chart.val is not None
    ]
    joined.stages = charts[0].stages if charts else []
    return joined
