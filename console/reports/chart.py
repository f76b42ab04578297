"""A task's curves as a drawing: training and validation over the steps, persistence, where stages begin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.reports.axes import linear_ticks, log_ticks, tick_label
from console.reports.shapes import Drawing, Ink, Line, Text
from console.runs.series import Curve, RunView
from console.tui.drawing.braille import column_range
from console.tui.drawing.text import clip, count, number
from console.tui.series import Series

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

WIDTH, HEIGHT = 460.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 14.0, 58.0, 34.0
_MOST_POINTS = 600
"""Of a line; beyond it, the range of the values in each column is drawn instead."""
_LONGEST_NAME = 48
"""Letters of a task's name that fit."""
_SMOOTHED_FROM = 60
"""Points from which on an average is drawn over the raw values."""


@dataclass(frozen=True, slots=True)
class _Trace:
    name: str
    x: "Array"
    y: "Array"
    low: "Array"
    high: "Array"
    ink: Ink


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps steps and values to pixels."""

    x_low: float
    x_high: float
    y_low: float
    """As its logarithm."""
    y_high: float

    def x(self, steps: "Array") -> "Array":
        return _LEFT + (steps - self.x_low) / (self.x_high - self.x_low) * (WIDTH - _LEFT - _RIGHT)

    def y(self, values: "Array") -> "Array":
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(values > 0, np.log10(values), np.nan)
        share = (logs - self.y_low) / (self.y_high - self.y_low)
        return HEIGHT - _BOTTOM - np.clip(share, 0, 1) * (HEIGHT - _TOP - _BOTTOM)


def draw_task(view: RunView, task: str) -> Drawing:
    """The curves of a task; without a point to draw, a frame that says so."""
    traces = _traces(view, task)
    level = view.latest(task, "val", "persistence")
    frame = _frame(traces, level)
    title = Text(_LEFT, 18, clip(task, _LONGEST_NAME), bold=True, size=13)
    if frame is None:
        nothing = Text(WIDTH / 2, HEIGHT / 2, "no curve was measured", "muted", anchor="middle")
        return Drawing(WIDTH, HEIGHT, (), (title, nothing), f"{task}: no curve was measured")
    lines, texts = _axes(frame)
    for position, stage in _stage_marks(view, task):
        lines.append(_vertical(frame, position))
        texts.append(Text(float(frame.x(_array(position))[0]) + 4, _TOP - 5, clip(stage, 24), "mark", 10))
    if level is not None and level > 0:
        y = frame.y(_array(level, level))
        lines.append(Line(frame.x(_array(frame.x_low, frame.x_high)), y, "copy", 1.2, (5, 3)))
    for trace in traces:
        lines += _drawn(trace, frame)
    return Drawing(
        WIDTH, HEIGHT, lines, [title, *texts, *_legend(traces, level)], _spoken(task, traces, level)
    )


def _traces(view: RunView, task: str) -> list[_Trace]:
    kind = "nrmse" if view.has(task, "train", "nrmse") else "loss"
    wanted: list[tuple[str, Curve | None, Ink]] = [
        ("train nRMSE" if kind == "nrmse" else "train loss", view.curve(task, "train", kind), "train"),
        ("validation nRMSE", view.curve(task, "val", "nrmse"), "val"),
    ]
    return [_in_order(name, curve, ink) for name, curve, ink in wanted if curve is not None and len(curve)]


def _in_order(name: str, curve: Curve, ink: Ink) -> _Trace:
    """A trace whose steps never go backwards, as those of an attempt that began anew do."""
    import numpy as np

    order = np.argsort(curve.steps, kind="stable")
    x, y, low, high = (part[order] for part in (curve.steps, curve.values, curve.low, curve.high))
    return _Trace(name, x, y, low, high, ink)


def _frame(traces: Sequence[_Trace], level: float | None) -> _Frame | None:
    import numpy as np

    known = [part[np.isfinite(part) & (part > 0)] for trace in traces for part in (trace.low, trace.high)]
    values = np.concatenate([part.astype(float) for part in known]) if known else np.empty(0)
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    if len(values) > 400:  # a lone spike must not flatten the curve
        high = max(float(np.quantile(values, 0.998)), float(values[: len(values) // 50].max()))
    if level is not None and level > 0:
        low, high = min(low, level), max(high, level)
    y_low, y_high = math.log10(low), math.log10(high)
    margin = max(0.05, 0.06 * (y_high - y_low))
    x_low, x_high = _reach(traces)
    return _Frame(x_low, x_high, y_low - margin, y_high + margin)


def _reach(traces: Sequence[_Trace]) -> tuple[float, float]:
    low, high = min(float(trace.x[0]) for trace in traces), max(float(trace.x[-1]) for trace in traces)
    low = 0.0 if 0 < low < 0.2 * high else low
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _axes(frame: _Frame) -> tuple[list[Line], list[Text]]:
    bottom = HEIGHT - _BOTTOM
    lines, texts = [], []
    for value in log_ticks(10**frame.y_low, 10**frame.y_high, 4):
        y = float(frame.y(_array(value))[0])
        lines.append(Line(_array(_LEFT, WIDTH - _RIGHT), _array(y, y), "grid"))
        texts.append(Text(_LEFT - 6, y + 4, tick_label(value), "muted", anchor="end"))
    for step in linear_ticks(frame.x_low, frame.x_high, 5):
        x = float(frame.x(_array(step))[0])
        lines.append(Line(_array(x, x), _array(bottom, bottom + 4), "axis"))
        texts.append(Text(x, bottom + 16, count(step), "muted", anchor="middle"))
    texts.append(Text(WIDTH - _RIGHT, HEIGHT - 4, "step", "muted", anchor="end"))
    lines.append(Line(_array(_LEFT, _LEFT, WIDTH - _RIGHT), _array(_TOP, bottom, bottom), "axis"))
    return lines, texts


def _vertical(frame: _Frame, position: float) -> Line:
    x = float(frame.x(_array(position))[0])
    return Line(_array(x, x), _array(_TOP, HEIGHT - _BOTTOM), "mark", 1.0, (2, 3))


def _stage_marks(view: RunView, task: str) -> list[tuple[float, str]]:
    """Where each stage begins, from the task's own points; none where there is one stage only."""
    import numpy as np

    first: dict[int, float] = {}
    for split in ("train", "val"):
        track = view.tracks.get((task, split))
        if track is None:
            continue
        stages, at = np.unique(track.stages, return_index=True)
        for stage, step in zip(stages.tolist(), track.steps[at].tolist(), strict=True):
            first[int(stage)] = min(first.get(int(stage), math.inf), float(step))
    if len(first) < 2:
        return []
    return [(step, view.seen_stages[stage]) for stage, step in sorted(first.items())]


def _drawn(trace: _Trace, frame: _Frame) -> list[Line]:
    if trace.ink == "val" or len(trace.x) < _SMOOTHED_FROM:
        return [_raw(trace, frame, faint=False)]
    series = Series()
    series.extend(trace.x, trace.y)
    x, smooth = series.x, series.smooth
    if len(x) > _MOST_POINTS:
        kept = _spread_indices(len(x))
        x, smooth = x[kept], smooth[kept]
    return [_raw(trace, frame, faint=True), Line(frame.x(x), frame.y(smooth), trace.ink, 1.8)]


def _raw(trace: _Trace, frame: _Frame, *, faint: bool) -> Line:
    import numpy as np

    width = 1.0 if faint else 1.8
    if len(trace.x) <= _MOST_POINTS:
        return Line(frame.x(trace.x), frame.y(trace.y), trace.ink, width, faint=faint)
    columns = _MOST_POINTS // 2
    spread = (trace.low, trace.high)
    low, high = column_range(trace.x, trace.y, frame.x_low, frame.x_high, columns, spread)
    steps = np.repeat(np.linspace(frame.x_low, frame.x_high, columns), 2)
    values = np.stack([low, high], axis=1).reshape(-1)
    return Line(frame.x(steps), frame.y(values), trace.ink, width, faint=faint)


def _spread_indices(length: int) -> "Array":
    import numpy as np

    return np.unique(np.linspace(0, length - 1, _MOST_POINTS).astype(np.intp))


def _legend(traces: Sequence[_Trace], level: float | None) -> list[Text]:
    entries: list[tuple[str, Ink]] = [(f"{trace.name} {number(_last(trace))}", trace.ink) for trace in traces]
    if level is not None:
        entries.append((f"persistence {number(level)}", "copy"))
    texts, x = [], _LEFT
    for name, ink in entries:
        texts.append(Text(x, 35, name, ink, 11))
        x += 5.9 * len(name) + 14
    return texts


def _last(trace: _Trace) -> float | None:
    import numpy as np

    finite = trace.y[np.isfinite(trace.y)]
    return float(finite[-1]) if len(finite) else None


def _spoken(task: str, traces: Sequence[_Trace], level: float | None) -> str:
    parts = [f"{trace.name} ends at {number(_last(trace))}" for trace in traces]
    if level is not None:
        parts.append(f"persistence is {number(level)}")
    return f"{task}: {', '.join(parts)}"


def _array(*values: float) -> "Array":
    import numpy as np

    return np.array(values, dtype=float)
