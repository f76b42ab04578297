"""A rollout file as pictures: prediction, truth and error of a frame, each on one honest scale.

The colour range is that of the truth over *all* frames, the error's factor too: a frame is never
made to look better by a scale of its own.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.tui.drawing.braille import Raster
from console.tui.drawing.picture import Paint, colour_table, half_blocks, picture_size
from console.tui.drawing.scatter import bounds, scatter
from console.tui.drawing.text import Row, fit, number

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Rollout:
    """The content of a rollout file."""

    task: str
    step: int
    sample: str
    fields: tuple[str, ...]
    pred: "Array"
    """[F,*S,C] float32."""
    true: "Array"
    """[F,*S,C] float32."""
    times: "Array"
    """[F] seconds."""
    nrmse: float | None = None
    """Of the rollout event; the frames' own mean where it is not given."""
    persistence: float | None = None
    positions: "Array | None" = None
    """[F,P,D] where the points of a mesh or the particles are; S is then P. None on a grid."""
    pred_positions: "Array | None" = None
    """[F,P,D] where the prediction has moved them."""

    @property
    def num_frames(self) -> int:
        return int(self.pred.shape[0])

    @property
    def spatial_dims(self) -> int:
        return self.pred.ndim - 2 if self.positions is None else int(self.positions.shape[-1])


def read_rollout(path: Path, fields: dict[str, Any]) -> Rollout:
    """Read a rollout file.

    Args:
        path: The npz file.
        fields: Fields of its `rollout` event.

    Raises:
        ValueError: it is no rollout, or holds arrays that do not fit one another.
    """
    import numpy as np

    with np.load(path, allow_pickle=False) as content:
        if not {"pred", "true"} <= set(content.files):
            raise ValueError(f"{path.name} holds no prediction")
        pred, true = (content[name].astype(np.float32) for name in ("pred", "true"))
        names = ("positions", "pred_positions")
        positions, moved = (content[name] if name in content.files else None for name in names)
        times = content["times"] if "times" in content.files else np.arange(len(pred), dtype=float)
        meta = json.loads(str(content["meta"][()])) if "meta" in content.files else {}
    if pred.shape != true.shape or pred.ndim < 3 or len(pred) == 0:
        raise ValueError(f"{path.name}: prediction {pred.shape} and truth {true.shape} are no rollout")
    if any(there is not None and there.shape[:-1] != pred.shape[:-1] for there in (positions, moved)):
        raise ValueError(f"{path.name}: positions do not fit the prediction {pred.shape}")
    return Rollout(
        task=str(meta.get("task", fields.get("task", ""))),
        step=int(meta.get("step", fields.get("step", 0)) or 0),
        sample=str(meta.get("sample", "")),
        fields=tuple(str(name) for name in meta.get("fields", ())),
        pred=pred,
        true=true,
        times=np.resize(np.atleast_1d(times), len(pred)),
        nrmse=_number(fields.get("nrmse")),
        persistence=_number(fields.get("persistence")),
        positions=positions,
        pred_positions=positions if moved is None else moved,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


@dataclass(frozen=True, slots=True)
class Scales:
    """Value range and error factor of one channel over all frames."""

    low: float
    high: float
    factor: float
    """|error| × factor fills the range at the largest error."""


def scales(rollout: Rollout, channel: int) -> Scales:
    """The scales of a channel; NaN and infinity do not count."""
    import numpy as np

    true = rollout.true[..., channel]
    finite = true[np.isfinite(true)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    error = np.abs(rollout.pred[..., channel] - true)
    finite_error = error[np.isfinite(error)]
    largest = float(np.quantile(finite_error, 0.999)) if len(finite_error) else 0.0
    return Scales(low, high, _round_factor((high - low) / largest) if largest > 0 else 1.0)


def _round_factor(factor: float) -> float:
    """The roundest factor of 1, 2, 5 × 10ⁿ that is not above `factor`; at least 1."""
    if factor <= 1:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(factor))
    return max(f * decade for f in (1, 2, 5) if f * decade <= factor * 1.0001)


def frame_nrmse(rollout: Rollout, frame: int) -> float:
    """‖pred − true‖ / ‖true‖ of one frame over space and channels."""
    import numpy as np

    norm = float(np.linalg.norm(rollout.true[frame]))
    return float(np.linalg.norm(rollout.pred[frame] - rollout.true[frame])) / norm if norm else math.nan


def is_lines(rollout: Rollout) -> bool:
    """Whether its frames are lines, which have no colour map."""
    return rollout.spatial_dims == 1 and rollout.positions is None


def colour_range(scale: Scales, colours: str) -> tuple[float, float]:
    """The values at the ends of a colour map; those of a diverging one lie evenly about zero."""
    if colours == "diverging" and scale.low < 0 < scale.high:
        reach = max(-scale.low, scale.high)
        return -reach, reach
    return scale.low, scale.high


def draw_frame(
    rollout: Rollout,
    frame: int,
    channel: int,
    width: int,
    height: int,
    colours: str = "field",
    paint: Paint = half_blocks,
) -> list[Row]:
    """One frame in `width` × `height` cells: pictures for planes and points, braille lines for 1-D.

    Args:
        rollout: what is drawn.
        frame: of it.
        channel: the field of it.
        width: cells.
        height: cells.
        colours: the map of prediction and truth, one of `FIELD_MAPS`.
        paint: draws a picture.
    """
    if is_lines(rollout):
        return _draw_lines(rollout, frame, channel, width, height)
    return _draw_planes(rollout, frame, channel, width, height, colours, paint)


def plane(values: "Array") -> "Array":
    """A frame [*S] as a plane [H, W]: volumes show the slices they are stored as, side by side."""
    import numpy as np

    if values.ndim == 2:
        return values
    slices = values if values.shape[0] <= 4 else values[[values.shape[0] // 2]]
    return np.concatenate(list(slices.reshape(-1, *slices.shape[-2:])), axis=1)


def _pictured(rollout: Rollout, frame: int, channel: int) -> tuple["Array", "Array", "Array"]:
    """Prediction, truth and the size of the error of a frame, as planes."""
    import numpy as np

    pred, true = (values[frame, ..., channel] for values in (rollout.pred, rollout.true))
    if rollout.positions is None or rollout.pred_positions is None:
        return plane(pred), plane(true), np.abs(plane(pred) - plane(true))
    low, high = bounds(rollout.positions)
    there, moved = rollout.positions[frame], rollout.pred_positions[frame]
    return (
        scatter(pred, moved, low, high),
        scatter(true, there, low, high),
        scatter(np.abs(pred - true), there, low, high),
    )


def _draw_planes(
    rollout: Rollout, frame: int, channel: int, width: int, height: int, colours: str, paint: Paint
) -> list[Row]:
    scale = scales(rollout, channel)
    pred, true, error = _pictured(rollout, frame, channel)
    each = (width - 4) // 3
    columns, rows = picture_size((pred.shape[0], pred.shape[1]), each, max(1, height - 1))
    field, heat = colour_table(colours), colour_table("error")
    low, high = colour_range(scale, colours)
    span = scale.high - scale.low
    pictures = [
        paint(pred, columns, rows, low, high, field),
        paint(true, columns, rows, low, high, field),
        paint(error * scale.factor, columns, rows, 0, span, heat),
    ]
    cell = max(columns, min(each, 12))
    names = ("prediction", "truth", _error_name(scale.factor))
    head: Row = [(" ", "text")]
    for name in names:
        head += [(fit(name, cell), "muted"), ("  ", "text")]
    drawn = [head]
    gap = (" " * (cell - columns + 2), "text")
    for row in range(rows):
        line: Row = [(" ", "text")]
        for picture in pictures:
            line += [*picture[row], gap]
        drawn.append(line)
    return drawn


def _error_name(factor: float) -> str:
    return f"|error| × {factor:g}" if factor != 1 else "|error|"


def _draw_lines(rollout: Rollout, frame: int, channel: int, width: int, height: int) -> list[Row]:
    """Truth and prediction over one another; the error, magnified, in a band beneath."""
    scale = scales(rollout, channel)
    band = max(2, height // 4) if height >= 8 else 0
    span = scale.high - scale.low
    pred, true = rollout.pred[frame, :, channel], rollout.true[frame, :, channel]
    upper = Raster(width - 8, height - 1 - band)
    _line(upper, true, scale.low - 0.05 * span, scale.high + 0.05 * span, "val")
    _line(upper, pred, scale.low - 0.05 * span, scale.high + 0.05 * span, f"task:{rollout.task}")
    head: Row = [
        (" ━ ", f"task:{rollout.task}"),
        ("prediction", "muted"),
        ("  ━ ", "val"),
        ("truth", "muted"),
    ]
    rows = [head]
    for n, row in enumerate(upper.rows()):
        label = number(scale.high) if n == 0 else number(scale.low) if n == upper.height - 1 else ""
        rows.append([(fit(label, 7, "right") + "│", "axis"), *row])
    if band:
        head += [("  ━ ", "warn"), (f"{_error_name(scale.factor)}, below", "muted")]
        lower = Raster(width - 8, band)
        _line(lower, abs(pred - true) * scale.factor, 0.0, span, "warn")
        rows += [[(" " * 7 + "┊", "axis"), *row] for row in lower.rows()]
    return rows


def _line(raster: Raster, values: "Array", low: float, high: float, ink: str) -> None:
    import numpy as np

    from console.tui.drawing.braille import column_range

    positions = np.linspace(0, 1, len(values)) if len(values) > 1 else np.zeros(1)
    least, greatest = column_range(positions, np.asarray(values, dtype=float), 0.0, 1.0, raster.columns)
    top = raster.lines - 1

    def dots(value: "Array") -> "Array":
        return np.clip(np.rint((high - value) / (high - low) * top), 0, top)

    raster.spans(dots(greatest), dots(least), ink)
