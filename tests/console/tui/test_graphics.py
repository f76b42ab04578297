"""Which terminals are taken for ones that show pixels."""

from pathlib import Path

import pytest

from console.tui.graphics import shows_pixels

COLOURS = {"COLORTERM": "truecolor"}


@pytest.fixture
def kitty(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "kitten"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return {**COLOURS, "TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1", "PATH": str(tmp_path)}


def test_kitty_and_ghostty_do(kitty: dict[str, str]) -> None:
    assert shows_pixels(kitty)
    assert shows_pixels({**COLOURS, "TERM_PROGRAM": "ghostty"})


def test_a_kitty_that_came_without_kitten_is_too_old(kitty: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "kitten").unlink()
    assert not shows_pixels(kitty)


@pytest.mark.parametrize(
    "change", [{"TMUX": "/tmp/tmux-0/default,1,0"}, {"STY": "1.pts"}, {"NO_COLOR": "1"}, {"COLORTERM": ""}]
)
def test_what_stands_between_or_takes_the_colours_does_not(
    kitty: dict[str, str], change: dict[str, str]
) -> None:
    assert not shows_pixels(kitty | change)


def test_others_do_not() -> None:
    assert not shows_pixels({**COLOURS, "TERM_PROGRAM": "WezTerm"})
    assert not shows_pixels({})
