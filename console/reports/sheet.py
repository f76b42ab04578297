"""Curves and newest rollouts as one picture, drawn with Pillow: the standard library has no letters.

A page needs no Pillow; only this module imports it.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.reports import shapes
from console.reports.chart import WIDTH, draw_task
from console.reports.content import ReportContent
from console.reports.rollouts import Bar, Figure, bar_pixels, figures
from console.tui.drawing.text import duration, number, usd
from ups.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Array = np.ndarray[Any, Any]

_SCALE = 2
"""Pixels of the picture for one of a drawing, so that it is sharp where it is enlarged."""
_FINER = 2
"""Lines are drawn so much larger and reduced: Pillow's own have steps."""
_MARGIN, _GAP, _HEAD = 24, 16, 64
_LABEL, _BAR = 18, 26
_INKS: dict[str, tuple[int, int, int]] = {
    "text": (28, 35, 43), "muted": (92, 104, 117), "grid": (230, 234, 238), "axis": (154, 165, 177),
    "train": (11, 102, 184), "val": (180, 84, 10), "copy": (107, 118, 131), "mark": (92, 104, 117),
}  # fmt: skip


def write(content: ReportContent, path: Path) -> None:
    """Write the picture, as a PNG.

    Raises:
        ConfigError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise ConfigError(
            "Pillow is not installed here, and a picture's letters need it",
            hint="pip install 'ups-console[report]', or write the page: --html FILE",
        ) from None
    partial = path.with_name(f".{path.name}.partial")
    _sheet(content).save(partial, format="PNG", compress_level=6)
    partial.replace(path)


def _sheet(content: ReportContent) -> "Image":
    """Heading, charts in two or more columns, rollouts beneath."""
    import PIL.Image

    charts = [_chart(draw_task(content.view, task)) for task in content.tasks]
    columns = 2 if len(charts) <= 6 else math.ceil(math.sqrt(len(charts) / 1.5))
    width = round(columns * (WIDTH + _GAP) - _GAP) * _SCALE
    drawn = [figure for shown in content.rollouts if shown.rollout for figure in figures(shown.rollout)]
    room = round(WIDTH) * _SCALE
    rows = [
        *_in_rows(charts, columns),
        *_in_rows([_figure(figure, room) for figure in drawn if not _is_wide(figure)], columns),
        *([_figure(figure, min(width, 2 * room))] for figure in drawn if _is_wide(figure)),
    ]
    height = _HEAD * _SCALE + sum(max(part.height for part in row) + _GAP * _SCALE for row in rows)
    margin = _MARGIN * _SCALE
    sheet = PIL.Image.new("RGB", (width + 2 * margin, height + 2 * margin), "white")
    _heading(sheet, content, margin)
    top = margin + _HEAD * _SCALE
    for row in rows:
        left = margin
        for part in row:
            sheet.paste(part, (left, top))
            left += part.width + _GAP * _SCALE
        top += max(part.height for part in row) + _GAP * _SCALE
    return sheet


def _in_rows(parts: Sequence["Image"], columns: int) -> list[Sequence["Image"]]:
    return [parts[n : n + columns] for n in range(0, len(parts), columns)]


def _heading(sheet: "Image", content: ReportContent, margin: int) -> None:
    import PIL.ImageDraw

    row, draw = content.row, PIL.ImageDraw.Draw(sheet)
    verdict = f"gates: {row.verdict}" if row.verdict else ""
    facts = [str(row.status), duration(row.seconds), usd(row.usd), verdict, row.note]
    _words(draw, (margin, margin + 18 * _SCALE), f"{row.config}  {row.run}", "text", 20)
    _words(draw, (margin, margin + 40 * _SCALE), "   ".join(filter(None, facts)), "muted", 13)


def _chart(drawing: shapes.Drawing) -> "Image":
    import PIL.Image
    import PIL.ImageDraw

    fine = _SCALE * _FINER
    size = round(drawing.width), round(drawing.height)
    large = PIL.Image.new("RGB", (size[0] * fine, size[1] * fine), "white")
    draw = PIL.ImageDraw.Draw(large)
    for line in drawing.lines:
        _path(draw, line, fine)
    image = large.reduce(_FINER)
    draw = PIL.ImageDraw.Draw(image)
    for text in drawing.texts:
        _words(draw, (text.x * _SCALE, text.y * _SCALE), text.content, text.ink, text.size, text.anchor)
    return image


def _path(draw: "ImageDraw", line: shapes.Line, scale: int) -> None:
    import numpy as np

    ink = _INKS[line.ink]
    if line.faint:
        red, green, blue = (round(255 - 0.32 * (255 - part)) for part in ink)
        ink = (red, green, blue)
    known = np.isfinite(line.x) & np.isfinite(line.y)
    points = np.stack([line.x, line.y], axis=1)
    for piece in np.split(points, np.flatnonzero(~known)):
        whole = piece[np.isfinite(piece).all(axis=1)]
        for part in [whole] if line.dash is None else _dashes(whole, *line.dash):
            if len(part) > 1:
                path = [(x * scale, y * scale) for x, y in part.tolist()]
                draw.line(path, fill=ink, width=round(line.width * scale), joint="curve")


def _dashes(points: "Array", drawn: float, left: float) -> list["Array"]:
    """A straight line from the first point to the last as dashes."""
    import numpy as np

    if len(points) < 2:
        return []
    start, way = points[0], points[-1] - points[0]
    length = float(np.hypot(*way))
    begins = np.arange(0.0, length, drawn + left)
    return [start + np.array([[at], [min(at + drawn, length)]]) / length * way for at in begins]


def _figure(figure: Figure, room: int) -> "Image":
    """The last frame of a field's pictures in `room` pixels of width."""
    import PIL.Image
    import PIL.ImageDraw

    gap, label = 10 * _SCALE, _LABEL * _SCALE
    each = (room - 2 * gap) // 3
    rows, columns = figure.columns[0].pictures[-1].shape[:2]
    tall = each * 3 // 4 if figure.over_time else round(each * rows / columns)
    image = PIL.Image.new("RGB", (room, tall + 4 * label + _BAR * _SCALE), "white")
    draw = PIL.ImageDraw.Draw(image)
    _words(draw, (0, 14 * _SCALE), f"{figure.task} {figure.field}".strip(), "text", 13)
    _words(draw, (0, label + 13 * _SCALE), f"{figure.caption}, {figure.frames[-1]}", "muted", 11)
    top = 3 * label
    for n, column in enumerate(figure.columns):
        left = n * (each + gap)
        _words(draw, (left, top - 5 * _SCALE), column.name, "text", 11)
        pixels = PIL.Image.fromarray(column.pictures[-1])
        picture = pixels.resize((each, tall), PIL.Image.Resampling.NEAREST)
        image.paste(picture, (left, top), picture)
        _bar(image, column.bar, left, top + tall + 6 * _SCALE, each)
    return image


def _is_wide(figure: Figure) -> bool:
    """Whether it takes the width of a row: slices beside one another."""
    rows, columns = figure.columns[0].pictures[-1].shape[:2]
    return not figure.over_time and columns > 1.6 * rows


def _bar(image: "Image", bar: Bar, left: int, top: int, width: int) -> None:
    import PIL.Image
    import PIL.ImageDraw

    image.paste(PIL.Image.fromarray(bar_pixels(bar)).resize((width, 8 * _SCALE)), (left, top))
    draw, line = PIL.ImageDraw.Draw(image), top + 20 * _SCALE
    _words(draw, (left, line), number(bar.low), "muted", 10)
    _words(draw, (left + width, line), number(bar.high), "muted", 10, "end")


@functools.cache
def _font(size: float) -> "FreeTypeFont | ImageFont":
    import PIL.ImageFont

    return PIL.ImageFont.load_default(size)


_PLAINER = {ord("–"): "-", ord("−"): "-"}
"""Pillow's own letters have neither."""
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def _words(
    draw: "ImageDraw", where: tuple[float, float], text: str, ink: str, size: float, anchor: str = "start"
) -> float:
    """Write a text with its baseline at `where`; returns where it ends, in pixels."""
    font, text = _font(size * _SCALE), text.translate(_PLAINER)
    draw.text(where, text, fill=_INKS[ink], font=font, anchor=_ANCHORS[anchor])
    return where[0] + float(draw.textlength(text, font=font))
