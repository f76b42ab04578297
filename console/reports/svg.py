"""A drawing as SVG whose colours come from the page's style, so that it follows a light or dark theme."""

from collections.abc import Iterator
from html import escape

from console.reports.shapes import Drawing, Line, Text

STYLE = """
svg.chart { width: 100%; height: auto; display: block; }
svg.chart path { fill: none; stroke-linejoin: round; }
svg.chart text { font: 11px system-ui, sans-serif; }
svg .l-grid { stroke: var(--grid); } svg .l-axis { stroke: var(--axis); }
svg .l-mark { stroke: var(--muted); }
svg .l-train { stroke: var(--train); } svg .l-val { stroke: var(--val); } svg .l-copy { stroke: var(--copy); }
svg .t-text { fill: var(--text); } svg .t-muted, svg .t-mark { fill: var(--muted); }
svg .t-train { fill: var(--train); } svg .t-val { fill: var(--val); } svg .t-copy { fill: var(--copy); }
svg .faint { opacity: .32; }
"""
"""CSS of every drawing on a page; the page defines the variables."""


def render(drawing: Drawing) -> str:
    """One `<svg>` element; its texts are escaped."""
    size = f"0 0 {drawing.width:g} {drawing.height:g}"
    title = escape(drawing.title)
    body = "".join([*map(_path, drawing.lines), *map(_text, drawing.texts)])
    return (
        f'<svg class="chart" viewBox="{size}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{body}</svg>"
    )


def _path(line: Line) -> str:
    faint = " faint" if line.faint else ""
    dash = f' stroke-dasharray="{line.dash[0]:g} {line.dash[1]:g}"' if line.dash else ""
    return (
        f'<path class="l-{line.ink}{faint}" stroke-width="{line.width:g}"{dash} d="{"".join(_moves(line))}"/>'
    )


def _moves(line: Line) -> Iterator[str]:
    import numpy as np

    command = "M"
    known = np.isfinite(line.x) & np.isfinite(line.y)
    for x, y, drawn in zip(line.x.tolist(), line.y.tolist(), known.tolist(), strict=True):
        if not drawn:
            command = "M"
            continue
        yield f"{command}{x:.1f} {y:.1f}"
        command = "L"


def _text(text: Text) -> str:
    weight = ";font-weight:600" if text.bold else ""
    return (
        f'<text class="t-{text.ink}" x="{text.x:.1f}" y="{text.y:.1f}" text-anchor="{text.anchor}" '
        f'style="font-size:{text.size:g}px{weight}">{escape(text.content)}</text>'
    )
