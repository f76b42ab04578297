"""Rollouts as pictures of pixels, in a terminal that says it is kitty."""

from pathlib import Path

import numpy as np

from benchmarks.support.terminal import Terminal, console_command
from console.home import Home
from console.tui.drawing.picture import colour_table, resample
from tests.console.tui.conftest import record_run
from tests.console.tui.kitty_terminal import KittyTerminal

PATIENCE = 60.0


def test_a_rollout_is_shown_in_pixels_and_taken_back_at_the_end(tmp_path: Path) -> None:
    directory = record_run(Home(root=tmp_path / "home"), "1124-aaaa", done="succeeded")
    kitten = tmp_path / "bin" / "kitten"
    kitten.parent.mkdir()
    kitten.write_text("#!/bin/sh\n")
    kitten.chmod(0o755)
    environment = {
        "UPS_HOME": str(tmp_path / "home"),
        "TERM": "xterm-kitty",
        "COLORTERM": "truecolor",
        "KITTY_WINDOW_ID": "1",
        "PATH": f"{kitten.parent}:/usr/bin:/bin",
    }
    kitty = KittyTerminal()
    with Terminal(console_command("open", str(directory.root)), env=environment) as terminal:
        terminal.wait_for("nRMSE here", PATIENCE)
        while "darcy2d  step" not in terminal.screen.text:
            terminal.press("r")
            terminal.settle()
        kitty.feed(written(terminal))
        shown = list(kitty.pictures.values())
        terminal.press("q")
        terminal.settle(quiet=1.0)
        kitty = KittyTerminal()
        kitty.feed(written(terminal))
    (rollout,) = directory.root.glob("rollouts/darcy2d-270.npz")
    true = np.load(rollout)["true"].astype(np.float32)
    expected = picture_of(true[0, ..., 0], true, shown[0].shape)
    assert any(np.array_equal(picture, expected) for picture in shown), "the truth is not among them"
    assert kitty.pictures == {}, "the terminal was not given its memory back"


def written(terminal: Terminal) -> str:
    return b"".join(chunk.data for chunk in terminal.chunks).decode()


def picture_of(field: np.ndarray, over_all: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What a field should look like, pixel by pixel, on the scale of all frames."""
    low, high = over_all.min(), over_all.max()
    share = (resample(field, shape[0], shape[1]) - low) / (high - low)
    colours = colour_table("field")[(share * 255).astype(int)]
    return np.stack([colours >> 16, colours >> 8, colours], -1).astype(np.uint8)
