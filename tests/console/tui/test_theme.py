"""Whether every theme can be read, and its series told apart, by every common colour vision."""

import itertools
import math

import numpy as np
import pytest
from textual.theme import Theme

from console.tui.theme import THEMES, task_variable, variable_defaults
from console.tui.widgets.panel import CURSOR_SHARES, INKS
from ups.tasks import TASK_SPECS

_TEXT_INKS = ("title", "muted", "accent", "key", "good", "warn", "bad", "axis", "val")
_SERIES_INKS = ("raw", "level", "cross", "mark")

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def linear(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2's ratio."""
    low, high = sorted(float(_XYZ[1] @ linear(colour)) + 0.05 for colour in (one, other))
    return high / low


def lab(colour: np.ndarray, vision: np.ndarray) -> np.ndarray:
    """CIELAB of what an eye sees of a colour."""
    xyz = _XYZ @ np.clip(vision @ linear(colour), 0, 1) / _WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def colour(theme: Theme, variable: str) -> np.ndarray:
    """A theme variable's colour."""
    values = {**variable_defaults(), **theme.variables}
    return rgb(values.get(variable) or getattr(theme, variable))


def inked(theme: Theme, ink: str, background: np.ndarray) -> np.ndarray:
    variable, share, _ = INKS[ink]
    return background + (colour(theme, variable) - background) * share


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
class TestEveryTheme:
    def test_text_can_be_read_wherever_it_stands(self, theme: Theme) -> None:
        background = colour(theme, "background")
        accent = colour(theme, "accent")
        grounds = {name: colour(theme, name) for name in ("background", "panel")}
        cursors = {f"cursor {share}": background + (accent - background) * share for share in CURSOR_SHARES}
        least = 7.0 if theme.name == "ups-contrast" else 4.5
        faint = {
            f"{ink} on {name}": round(ratio, 2)
            for name, ground in grounds.items()
            for ink in _TEXT_INKS
            if (ratio := contrast(inked(theme, ink, ground), ground)) < least
        }
        faint |= {
            name: ratio
            for name, ground in cursors.items()
            if (ratio := contrast(colour(theme, "foreground"), ground)) < least
        }
        assert faint == {}

    def test_series_stand_out_from_their_background(self, theme: Theme) -> None:
        ground = colour(theme, "background")
        series = {task: colour(theme, task_variable(task)) for task in TASK_SPECS}
        series |= {ink: inked(theme, ink, ground) for ink in _SERIES_INKS}
        faint = {
            name: round(contrast(one, ground), 2)
            for name, one in series.items()
            if contrast(one, ground) < 3.0
        }
        assert faint == {}

    def test_every_task_has_a_colour_of_its_own(self, theme: Theme) -> None:
        colours = [tuple(colour(theme, task_variable(task))) for task in TASK_SPECS]
        assert len(set(colours)) == len(TASK_SPECS) == 15

    def test_red_is_kept_for_money_leaking_loss_of_data_and_failure(self, theme: Theme) -> None:
        red = lab(colour(theme, "error"), VISIONS["all cones"])
        distances = {
            task: float(np.linalg.norm(lab(colour(theme, task_variable(task)), VISIONS["all cones"]) - red))
            for task in TASK_SPECS
        }
        assert min(distances.values()) > 20, distances


def nearest(theme: Theme, names: list[str], vision: np.ndarray) -> float:
    """The distance of the two series that are hardest to tell apart, in CIELAB; 2.3 can just be noticed."""
    seen = [lab(colour(theme, name), vision) for name in names]
    return min(math.dist(one, other) for one, other in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISIONS.values(), ids=VISIONS)
class TestColourBlindSafeSeries:
    THEME = next(theme for theme in THEMES if theme.name == "ups-colourblind")

    def test_all_fifteen_series_can_be_told_apart(self, vision: np.ndarray) -> None:
        assert nearest(self.THEME, [task_variable(task) for task in TASK_SPECS], vision) >= 20

    def test_so_can_good_warning_and_bad(self, vision: np.ndarray) -> None:
        assert nearest(self.THEME, ["success", "warning", "error"], vision) >= 20

    def test_the_default_theme_would_not_do(self, vision: np.ndarray) -> None:
        names = [task_variable(task) for task in TASK_SPECS]
        assert nearest(self.THEME, names, vision) > nearest(THEMES[0], names, vision)
