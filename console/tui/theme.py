"""The console's themes, and the colour that a task keeps on every screen.

Task colours are theme variables `task-1` … `task-15` with defaults, so that they exist under any
theme the user picks. Red is not among them: it is kept for money leaking, loss of data and failure.
tests/console/tui/test_theme.py holds every ink of every theme against WCAG's contrasts, and the series of
`ups-colourblind` against simulated deuteranopia and protanopia: add a theme here, and it is judged there.
"""

import functools
from dataclasses import replace

from textual.theme import Theme

_TASK_COLOURS = (
    "#5fb3f5", "#f2a65a", "#b48ef2", "#e8d55c", "#4fd1b0",
    "#8ccf5e", "#d48fd0", "#c9a27c", "#7f9cf5", "#56c8d8",
    "#f5b8a0", "#a3b96b", "#c7b7f0", "#9fd6a8", "#d9b35f",
)  # fmt: skip
_TASK_COLOURS_LIGHT = (
    "#0b66b8", "#a85a00", "#6a3fc0", "#7d6b00", "#00765c",
    "#3f7a12", "#8d3a88", "#7a4f26", "#3a4fc0", "#00707f",
    "#a0502f", "#556b15", "#5e4a9c", "#2f7a3d", "#7d5c00",
)  # fmt: skip

_TASK_COLOURS_APART = (
    "#8059ff", "#ffff26", "#1a8c66", "#00f2ff", "#e6ffa6",
    "#738000", "#408099", "#5973cc", "#bfbf1a", "#59cc8c",
    "#8cb3ff", "#ccffe6", "#66bfb3", "#f2ff73", "#a6bf59",
)  # fmt: skip
"""Apart in lightness and along blue and yellow, which every common colour vision tells apart."""


def _numbered(colours: tuple[str, ...]) -> dict[str, str]:
    return {f"task-{n}": colour for n, colour in enumerate(colours, 1)}


DARK, LIGHT = "ups-dark", "ups-light"
"""What a terminal's background chooses, where the user has not."""

_DARK = Theme(
    name=DARK,
    primary="#4c9be8",
    secondary="#7a8aa0",
    accent="#58c4dc",
    foreground="#d7dce2",
    background="#0f1318",
    surface="#0f1318",
    panel="#1a212a",
    success="#62c073",
    warning="#e0b040",
    error="#f0525f",
    dark=True,
    variables={"frame": "#38424f", "muted": "#8894a2"},
)

THEMES = (
    _DARK,
    Theme(
        name=LIGHT,
        primary="#0b5fa5",
        secondary="#51606f",
        accent="#006478",
        foreground="#1c232b",
        background="#fbfcfd",
        surface="#fbfcfd",
        panel="#e7ecf1",
        success="#1a6b2e",
        warning="#7a5600",
        error="#c4162a",
        dark=False,
        variables={"frame": "#b3bdc8", "muted": "#515c67", **_numbered(_TASK_COLOURS_LIGHT)},
    ),
    Theme(
        name="ups-contrast",
        primary="#8ec7ff",
        secondary="#c8d2dc",
        accent="#5ef0ff",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#1c1c1c",
        success="#6dff8a",
        warning="#ffd84a",
        error="#ff8088",
        dark=True,
        variables={"frame": "#8c96a0", "muted": "#c8d2dc"},
    ),
    replace(
        _DARK,
        name="ups-colourblind",
        success="#56b4e9",
        warning="#f0e442",
        error="#ff7a3c",
        variables={**_DARK.variables, **_numbered(_TASK_COLOURS_APART)},
    ),
)
"""The first one is the default."""


def variable_defaults() -> dict[str, str]:
    """Values of our own theme variables under a theme that does not set them."""
    return {
        "frame": "#566370",
        "muted": "#84909d",
        **_numbered(_TASK_COLOURS),
    }


@functools.cache
def task_variable(task: str) -> str:
    """Name of the theme variable that holds a task's colour."""
    from ups.tasks import TASK_SPECS

    names = list(TASK_SPECS)
    index = names.index(task) if task in names else sum(task.encode())
    return f"task-{index % len(_TASK_COLOURS) + 1}"
