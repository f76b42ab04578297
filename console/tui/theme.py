"""The console's themes, and the colour that a task keeps on every screen.

Task colours are theme variables `task-1` … `task-15` with defaults, so that they exist under any
theme the user picks. Red is not among them: it is kept for money leaking, loss of data and failure.
"""

import functools

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

THEMES = (
    Theme(
        name="ups-dark",
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
        variables={"frame": "#38424f", "muted": "#7c8896"},
    ),
    Theme(
        name="ups-light",
        primary="#0b5fa5",
        secondary="#51606f",
        accent="#006f86",
        foreground="#1c232b",
        background="#fbfcfd",
        surface="#fbfcfd",
        panel="#e7ecf1",
        success="#1f7a35",
        warning="#8a6100",
        error="#c4162a",
        dark=False,
        variables={
            "frame": "#b3bdc8",
            "muted": "#66727e",
            **{f"task-{n}": colour for n, colour in enumerate(_TASK_COLOURS_LIGHT, 1)},
        },
    ),
)


def variable_defaults() -> dict[str, str]:
    """Values of our own theme variables under a theme that does not set them."""
    return {
        "frame": "#566370",
        "muted": "#84909d",
        **{f"task-{n}": colour for n, colour in enumerate(_TASK_COLOURS, 1)},
    }


@functools.cache
def task_variable(task: str) -> str:
    """Name of the theme variable that holds a task's colour."""
    from ups.tasks import TASK_SPECS

    names = list(TASK_SPECS)
    index = names.index(task) if task in names else sum(task.encode())
    return f"task-{index % len(_TASK_COLOURS) + 1}"
