"""Screens as plain text: their cells, and below them which style each cell has."""

import asyncio
import difflib
import string
import time
from pathlib import Path
from typing import Any

import pytest
from rich.color import Color as RichColor
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.pilot import Pilot

from console.tui.theme import variable_defaults
from tests.console.tui.conftest import seen
from tests.patience import PATIENCE_S

GOLDENS = Path(__file__).parents[2] / "goldens"
RENEW = "python -m pytest tests/console/tui/test_goldens.py --update-goldens"
_LETTERS = string.ascii_letters + string.digits
_NAMED = ("foreground", "muted", "frame", "accent", "success", "warning", "error", "background", "panel")
_SETTLED_LOOKS, _LOOK_S = 8, 0.05
_DIFFERENT_LOOKS = 100
"""A screen that differs may only be late: nothing but a failure waits so long."""
_FOLLOWING = frozenset({"follow"})
"""Groups of workers that never end while a run is shown."""


def dump(app: App[Any]) -> str:
    """All cells, then a letter for the style of each, `.` for plain text; then what the letters mean.

    Cells of pictures, which have colours of their own, are `#`.
    """
    strips = app.screen._compositor.render_strips()
    lines = [strip.text.rstrip() for strip in strips]
    letters: dict[str, str] = {}
    styles = []
    names = _names(app)
    for strip in strips:
        line = []
        for segment in strip:
            line.append(_letter(segment.style or Style.null(), names, letters) * segment.cell_length)
        styles.append("".join(line).rstrip("."))
    legend = [f"{letter} {style}" for style, letter in letters.items()]
    return "\n".join([*lines, "--- styles", *styles, "--- where", *legend, ""])


def _names(app: App[Any]) -> dict[str, str]:
    """Colour → the theme's variable that has it."""
    variables = {**variable_defaults(), **app.theme_variables}
    return {Color.parse(variables[name]).hex.lower(): name for name in reversed(_NAMED) if name in variables}


def _letter(style: Style, names: dict[str, str], letters: dict[str, str]) -> str:
    ink, ground = _colour(style.color, names), _colour(style.bgcolor, names)
    flags = [flag for flag in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, flag)]
    text = " ".join([ink, *([f"on {ground}"] if ground != "background" else []), *flags])
    if text == "foreground":
        return "."
    if text not in letters:
        if len(letters) == len(_LETTERS):
            return "#"
        letters[text] = _LETTERS[len(letters)]
    return letters[text]


def _colour(colour: RichColor | None, names: dict[str, str]) -> str:
    if colour is None:
        return "foreground"
    code = colour.get_truecolor().hex.lower()
    return names.get(code, code)


async def check(pilot: Pilot[Any], name: str, *texts: str, renew: bool) -> None:
    """Wait until the screen is as it is written down under this name; fail with the difference.

    Args:
        pilot: of an app that is on its way to the screen.
        name: of the golden.
        texts: without which the screen is not there yet.
        renew: write the screen down instead, once it has settled.
    """
    path = GOLDENS / f"{name}.txt"
    wanted = path.read_text() if path.exists() and not renew else None
    deadline = time.monotonic() + PATIENCE_S
    found, looks, enough = "", 0, _SETTLED_LOOKS if wanted is None else _DIFFERENT_LOOKS
    while looks < enough and time.monotonic() < deadline:
        await pilot.pause()
        now = dump(pilot.app)
        if now == wanted:
            return
        is_settled = now == found and all(text in now for text in texts) and not _busy(pilot.app)
        found, looks = now, looks + 1 if is_settled else 0
        await asyncio.sleep(_LOOK_S)
    if missing := [text for text in texts if text not in found]:
        pytest.fail(f"{name}: {missing} never came; on the screen was:\n{seen(pilot.app)}", pytrace=False)
    if renew:
        GOLDENS.mkdir(exist_ok=True)
        path.write_text(found)
        return
    before = wanted.splitlines() if wanted is not None else []
    lines = difflib.unified_diff(before, found.splitlines(), str(path.name), "the screen", lineterm="", n=2)
    difference = "\n".join(lines)
    pytest.fail(
        f"{name} is not as it was. If that is as it shall be:\n{RENEW}\n\n{difference}", pytrace=False
    )


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until nothing is read and nothing changes, as before a page that holds what is beneath it."""
    before, looks, deadline = "", 0, time.monotonic() + PATIENCE_S
    while looks < _SETTLED_LOOKS // 2 + 1 and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_S)
        now = seen(pilot.app)
        before, looks = now, looks + 1 if now == before and not _busy(pilot.app) else 0


def _busy(app: App[Any]) -> bool:
    return any(worker.is_running and worker.group not in _FOLLOWING for worker in app.workers)
