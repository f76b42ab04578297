"""Fields as pictures of half blocks: two pixels a cell, colours from a perceptually uniform map.

The sequential maps are interpolated in OKLab between a few control points of steadily rising lightness,
so that equal steps of the field look equally large, also where a terminal shows only grey. The diverging
one goes in equal steps of OKLab from its light middle to a dark blue and a dark red.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from console.tui.drawing.text import Row

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Paint = Callable[["Array", int, int, float, float, "Array"], list[Row]]
"""Draws a field in columns × rows cells, between two values, with a colour table: `half_blocks`, for one."""

_FIELD = ("#1b0c41", "#33397a", "#2a6a8c", "#1d9a89", "#5cc562", "#c4dd3d", "#fdf5a0")
FIELD_MAPS = ("field", "diverging", "grey")
"""Maps that a field may be shown in, the usual one first."""
_GREY = ("#161616", "#ffffff")
_LIGHT, _DARK, _STRONGEST = 0.96, 0.40, 0.13
"""Lightness in the middle and at the ends of the diverging map, and chroma at its ends."""
_COLD_HUE, _WARM_HUE = 4.45, 0.55
"""Radians in OKLab."""
_ERROR = ("#000004", "#2a1258", "#67217c", "#ab337c", "#e65164", "#fb9b6a", "#fcf3b8")

_RGB_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_LMS_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


@functools.cache
def colour_table(name: str, entries: int = 256) -> "Array":
    """24-bit colours [entries] of a map: one of `FIELD_MAPS`, or `error`."""
    import numpy as np

    lab = _diverging(entries) if name == "diverging" else _sequential(_CONTROLS[name], entries)
    bytes_ = np.rint(np.clip(_from_oklab(lab), 0, 1) * 255).astype(np.uint32)
    return np.asarray((bytes_[:, 0] << 16) | (bytes_[:, 1] << 8) | bytes_[:, 2])


_CONTROLS = {"field": _FIELD, "grey": _GREY, "error": _ERROR}


def _diverging(entries: int) -> "Array":
    """OKLab colours [entries, 3], light in the middle."""
    import numpy as np

    place = np.linspace(-1, 1, entries)
    hue, far = np.where(place < 0, _COLD_HUE, _WARM_HUE), np.abs(place)
    chroma = _STRONGEST * far
    return np.stack([_LIGHT - (_LIGHT - _DARK) * far, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)


def _sequential(controls: tuple[str, ...], entries: int) -> "Array":
    """OKLab colours [entries, 3] through the controls, lightness rising evenly."""
    import numpy as np

    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in controls])
    lab = _to_oklab(rgb)
    positions = (lab[:, 0] - lab[0, 0]) / (lab[-1, 0] - lab[0, 0])
    wanted = np.linspace(0, 1, entries)
    return np.stack([np.interp(wanted, positions, lab[:, k]) for k in range(3)], axis=1)


def _to_oklab(srgb: "Array") -> "Array":
    import numpy as np

    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ np.array(_RGB_TO_LMS).T) @ np.array(_LMS_TO_LAB).T)


def _from_oklab(lab: "Array") -> "Array":
    import numpy as np

    lms = (lab @ np.linalg.inv(np.array(_LMS_TO_LAB)).T) ** 3
    linear = np.clip(lms @ np.linalg.inv(np.array(_RGB_TO_LMS)).T, 0, None)
    return np.asarray(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))


def resample(field: "Array", rows: int, columns: int) -> "Array":
    """A field [H, W] at `rows` × `columns`: means of areas when shrunk, nearest when enlarged."""
    import numpy as np

    return _resample_axis(_resample_axis(np.asarray(field, dtype=float), rows, 0), columns, 1)


def _resample_axis(field: "Array", wanted: int, axis: int) -> "Array":
    import numpy as np

    have = field.shape[axis]
    if wanted >= have:
        nearest = ((np.arange(wanted) + 0.5) * have / wanted).astype(np.intp)
        return np.asarray(np.take(field, nearest, axis=axis))
    edges = np.linspace(0, have, wanted + 1)
    whole = np.floor(edges).astype(np.intp)
    total = np.concatenate([np.zeros_like(field.take([0], axis)), np.cumsum(field, axis)], axis)
    shape = [1] * field.ndim
    shape[axis] = -1
    # The integral up to an edge inside a cell takes its share of that cell.
    inner = field.take(np.minimum(whole, have - 1), axis) * (edges - whole).reshape(shape)
    integral = total.take(whole, axis) + inner
    return np.asarray(np.diff(integral, axis=axis) * (wanted / have))


def picture_size(shape: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Cells (columns, rows) of the largest picture of a field [H, W] with square pixels."""
    field_rows, field_columns = shape
    pixel_rows = 2 * height
    scale = min(width / field_columns, pixel_rows / field_rows)
    columns = max(1, min(width, round(field_columns * scale)))
    rows = max(1, min(height, round(field_rows * scale / 2)))
    return columns, rows


def coloured(field: "Array", rows: int, columns: int, low: float, high: float, table: "Array") -> "Array":
    """24-bit colours [rows, columns] of a field [H, W]; clipped to low … high, NaN is the lowest."""
    import numpy as np

    pixels = resample(field, rows, columns)
    share = (pixels - low) / (high - low) if high > low else np.zeros_like(pixels)
    return np.asarray(table[np.nan_to_num(np.clip(share, 0, 1) * (len(table) - 1)).astype(np.intp)])


def half_blocks(
    field: "Array", columns: int, rows: int, low: float, high: float, table: "Array"
) -> list[Row]:
    """A field [H, W] in `columns` × `rows` cells; values are clipped to low … high, NaN is the lowest.

    The first axis of the field runs down, the second to the right.
    """
    colours = coloured(field, 2 * rows, columns, low, high, table).tolist()
    drawn: list[Row] = []
    for row in range(rows):
        line: Row = []
        run, last = 0, (-1, -1)
        for pair in zip(colours[2 * row], colours[2 * row + 1], strict=True):
            if pair != last and run:
                line.append(("▀" * run, last))
                run = 0
            run, last = run + 1, pair
        line.append(("▀" * run, last))
        drawn.append(line)
    return drawn
