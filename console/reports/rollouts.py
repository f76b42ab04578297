"""A rollout as pictures of pixels: some frames of prediction, truth and error, and the scales beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.tui.drawing.picture import colour_table
from console.tui.drawing.rollout import Rollout, Scales, frame_nrmse, scales
from console.tui.drawing.scatter import bounds
from console.tui.drawing.text import number

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MOST_FRAMES = 3
_MOST_FIELDS = 4
_POINTS_SIDE = 240
"""Pixels of the longer side of a picture of scattered points."""
_STORED_SLICES = 4
"""A volume of no more planes than that is stored as slices already."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A colour bar: what its ends stand for, and its colours."""

    low: float
    high: float
    colours: "Array"
    """[256] 24-bit."""


@dataclass(frozen=True, slots=True)
class Column:
    """Prediction, truth or error: a picture for each frame that is shown, all on one scale."""

    name: str
    pictures: tuple["Array", ...]
    """Each [height, width, 4] bytes."""
    bar: Bar


@dataclass(frozen=True, slots=True)
class Figure:
    """One field of a rollout."""

    task: str
    field: str
    """Empty where there is one only."""
    caption: str
    frames: tuple[str, ...]
    """What each row of pictures is."""
    columns: tuple[Column, Column, Column]
    over_time: bool
    """One dimension: each picture is position, to the right, over time, downwards."""


def figures(rollout: Rollout) -> list[Figure]:
    """A figure for each of the first fields of a rollout."""
    return [_figure(rollout, channel) for channel in range(min(rollout.pred.shape[-1], _MOST_FIELDS))]


def _figure(rollout: Rollout, channel: int) -> Figure:
    import numpy as np

    scale = scales(rollout, channel)
    pred, true = rollout.pred[..., channel], rollout.true[..., channel]
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(pred - true)
    over_time = rollout.positions is None and pred.ndim == 2
    shown = [] if over_time else _chosen(rollout.num_frames)
    places = (rollout.pred_positions, rollout.positions, rollout.positions)
    columns = [
        _column(name, values, where, scale, shown)
        for name, values, where in zip(
            ("prediction", "truth", "|error|"), (pred, true, error), places, strict=True
        )
    ]
    names = rollout.fields or tuple(f"field {n}" for n in range(rollout.pred.shape[-1]))
    first, last = (f"{float(rollout.times[n]):.3g}" for n in (0, -1))
    frames = tuple(_frame_name(rollout, n) for n in shown) or (f"t = {first} … {last}, downwards",)
    return Figure(
        task=rollout.task,
        field=names[channel % len(names)] if rollout.pred.shape[-1] > 1 else "",
        caption=_caption(rollout),
        frames=frames,
        columns=(columns[0], columns[1], columns[2]),
        over_time=over_time,
    )


def _chosen(frames: int) -> list[int]:
    import numpy as np

    return [int(n) for n in np.unique(np.linspace(0, frames - 1, min(_MOST_FRAMES, frames)).round())]


def _frame_name(rollout: Rollout, frame: int) -> str:
    error = f"nRMSE {number(frame_nrmse(rollout, frame))}"
    return error if rollout.num_frames == 1 else f"t = {float(rollout.times[frame]):.3g}, {error}"


def _caption(rollout: Rollout) -> str:
    parts = [f"step {rollout.step:,}", f"sample {rollout.sample}" if rollout.sample else ""]
    if rollout.nrmse is not None:
        parts.append(f"nRMSE {number(rollout.nrmse)}")
    if rollout.persistence is not None:
        parts.append(f"persistence {number(rollout.persistence)}")
    if rollout.spatial_dims == 3 and rollout.positions is None:
        parts.append("slices through the middle")
    return ", ".join(part for part in parts if part)


def _column(name: str, values: "Array", where: "Array | None", scale: Scales, shown: Sequence[int]) -> Column:
    is_error = name == "|error|"
    low, high = (0.0, (scale.high - scale.low) / scale.factor) if is_error else (scale.low, scale.high)
    bar = Bar(low, high, colour_table("error" if is_error else "field"))
    if where is not None:
        box = bounds(where)
        pictures = tuple(_scattered(values[n], where[n], box, bar) for n in shown)
    elif not shown:
        pictures = (_painted(values, bar),)
    else:
        pictures = tuple(_painted(_side_by_side(values[n]), bar) for n in shown)
    return Column(name, pictures, bar)


def _side_by_side(values: "Array") -> "Array":
    """A plane [H, W] as it is; of a volume its slices with a gap of NaN between."""
    import numpy as np

    if values.ndim == 2:
        return values
    if values.shape[0] <= _STORED_SLICES:
        slices = list(values)
    else:
        slices = [np.take(values, values.shape[axis] // 2, axis) for axis in range(3)]
    height = max(part.shape[0] for part in slices)
    gap = max(1, height // 16)
    padded = [
        np.pad(part.astype(float), ((0, height - part.shape[0]), (0, gap)), constant_values=np.nan)
        for part in slices
    ]
    return np.concatenate(padded, axis=1)[:, :-gap]


def _painted(values: "Array", bar: Bar) -> "Array":
    """Values [H, W] as pixels; what is not a number is clear, what is beyond the scale takes its end."""
    import numpy as np

    share = (np.asarray(values, dtype=float) - bar.low) / (bar.high - bar.low)
    index = np.nan_to_num(np.clip(share, 0, 1) * (len(bar.colours) - 1)).astype(np.intp)
    colours = bar.colours[index]
    opaque = np.where(np.isnan(share), 0, 255)
    return np.stack([colours >> 16, colours >> 8 & 255, colours & 255, opaque], axis=-1).astype(np.uint8)


def _scattered(values: "Array", positions: "Array", box: tuple["Array", "Array"], bar: Bar) -> "Array":
    """Values [P] as discs where the points are; first axis down, second to the right."""
    import numpy as np

    low, high = (corner[:2] if len(corner) > 1 else np.append(corner, corner) for corner in box)
    places = positions[:, :2] if positions.shape[1] > 1 else np.repeat(positions, 2, axis=1)
    size = high - low
    sides = np.maximum(24, np.rint(_POINTS_SIDE * size / size.max())).astype(int)
    radius = int(np.clip(0.55 * np.sqrt(sides[0] * sides[1] / max(1, len(values))), 1, 8))
    shown = np.isfinite(values) & np.isfinite(places).all(axis=1)
    centres = np.rint((places[shown] - low) / size * (sides - 1 - 2 * radius)).astype(int) + radius
    picture = np.full((sides[0], sides[1]), np.nan)
    reach = np.arange(-radius, radius + 1)
    for down in reach:
        for right in reach[reach**2 + down**2 <= (radius + 0.4) ** 2]:
            rows, columns = centres[:, 0] + down, centres[:, 1] + right
            inside = (rows >= 0) & (rows < sides[0]) & (columns >= 0) & (columns < sides[1])
            picture[rows[inside], columns[inside]] = values[shown][inside]
    return _painted(picture, bar)


def bar_pixels(bar: Bar) -> "Array":
    """The bar itself as pixels [1, 256, 4], its low end on the left."""
    import numpy as np

    return _painted(np.linspace(bar.low, bar.high, 256)[None], bar)
