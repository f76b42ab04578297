"""A drawing as a list of shapes in pixels, which becomes SVG for a page and pixels for a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Ink = Literal["text", "muted", "grid", "axis", "train", "val", "copy", "mark"]
"""What a shape is for; each form of the drawing has its own colour for it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A path through points; it is broken where a coordinate is NaN."""

    x: "Array"
    y: "Array"
    ink: Ink
    width: float = 1.0
    dash: tuple[float, float] | None = None
    faint: bool = False
    """Drawn lightly: it stands behind another line that says the same more clearly."""


@dataclass(frozen=True, slots=True)
class Text:
    """A word; `anchor` says which end of it lies at x, and y is its baseline."""

    x: float
    y: float
    content: str
    ink: Ink = "text"
    size: float = 11.0
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes in a frame; the origin is at the top left."""

    width: float
    height: float
    lines: Sequence[Line] = field(default_factory=tuple)
    texts: Sequence[Text] = field(default_factory=tuple)
    title: str = ""
    """What a reader who does not see it is told."""
