"""Whole sessions of the installed console in a real terminal."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.support.terminal import Terminal, console_command
from tests.laptop import Laptop

BRAILLE = r"[⡀-⣿]{3}"
PATIENCE = 90.0
"""Seconds; on a loaded machine importing torch alone may take ten."""


@contextmanager
def console(laptop: Laptop, *, columns: int = 120, rows: int = 40, **more: str) -> Iterator[Terminal]:
    environment = {"UPS_HOME": str(laptop.home), "UPS_STORE": f"dir:{laptop.store}", **more}
    with Terminal(console_command(), columns=columns, rows=rows, env=environment) as terminal:
        yield terminal


def launch(terminal: Terminal) -> None:
    """Launch the default config from the first screen and wait for its first curve."""
    terminal.wait_for("ready: enter launches", PATIENCE)
    terminal.press("enter")
    terminal.wait_for("advection1d", PATIENCE)
    terminal.wait_for(BRAILLE, PATIENCE)


def mirrored_seqs(laptop: Laptop) -> list[int]:
    (events,) = laptop.home.glob("runs/*/attempt-1/events.jsonl")
    return [json.loads(line)["seq"] for line in events.read_text().splitlines()]


def test_a_run_outlives_its_console_and_ends_with_its_teardown(laptop: Laptop) -> None:
    with console(laptop) as terminal:
        launch(terminal)
        assert laptop.processes()
        terminal.press("x")
        terminal.wait_for("u takes it back", PATIENCE)
        terminal.press("u")
        terminal.read_for(7.0)
        assert laptop.processes()
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.wait_closed()
    assert laptop.processes(), "leaving the console must not end the run"
    before = len(mirrored_seqs(laptop))
    with console(laptop) as terminal:
        terminal.wait_for("● 1 running", PATIENCE)
        terminal.press("2")
        terminal.wait_for(BRAILLE, PATIENCE)
        until = time.monotonic() + PATIENCE
        while len(mirrored_seqs(laptop)) <= before + 3 and time.monotonic() < until:
            terminal.read_for(0.5)
        seqs = mirrored_seqs(laptop)
        assert len(seqs) > before
        assert seqs == list(range(len(seqs)))
        assert laptop.processes()
        terminal.press("x")
        terminal.wait_for("takes it back", PATIENCE)
        until = time.monotonic() + PATIENCE
        while laptop.processes() and time.monotonic() < until:
            terminal.read_for(0.5)
        terminal.press("3")
        terminal.wait_for("destroyed", PATIENCE)
        terminal.press("q")
        assert terminal.wait_closed(PATIENCE) is not None
    assert laptop.processes() == []
    (row,) = laptop.json("fleet")
    assert row["state"] == "destroyed"
    published = laptop.store / "runs" / row["run"] / "attempt-1"
    assert list(published.glob("checkpoints/*"))
    assert mirrored_seqs(laptop) == list(range(len(mirrored_seqs(laptop))))


def test_an_empty_store_offers_reference_data(tmp_path: Path) -> None:
    environment = {"UPS_HOME": str(tmp_path / "home")}
    with Terminal(console_command(), env=environment) as terminal:
        terminal.wait_for(r"\bm\b.*(make|reference|data)", PATIENCE)


def test_a_terminal_that_is_too_small_says_so_and_recovers(tmp_path: Path) -> None:
    environment = {"UPS_HOME": str(tmp_path / "home")}
    with Terminal(console_command(), columns=50, rows=12, env=environment) as terminal:
        terminal.wait_for("60", PATIENCE)
        terminal.resize(120, 40)
        terminal.wait_for("before paying", PATIENCE)


def test_no_color_means_none(tmp_path: Path) -> None:
    environment = {"UPS_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    with Terminal(console_command(), env=environment) as terminal:
        terminal.wait_for("before paying", PATIENCE)
        written = b"".join(chunk.data for chunk in terminal.chunks)
    colours = set(re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)[;m]", written))
    assert [colour for colour in colours if len(set(colour)) > 1] == []


def test_resizing_suspending_and_a_locale_without_utf_8_are_survived(tmp_path: Path) -> None:
    environment = {"UPS_HOME": str(tmp_path / "home"), "LC_ALL": "C", "PS1": "prompt> ", "HISTFILE": ""}
    with Terminal(["bash", "--norc", "--noprofile", "-i"], env=environment) as terminal:
        terminal.wait_for("prompt>", PATIENCE)
        terminal.press(*" ".join(console_command()), "enter")
        terminal.wait_for("before paying", PATIENCE)
        for n in range(30):
            terminal.resize(20 + 4 * n, 5 + n)
            terminal.read(0.01)
        terminal.resize(100, 30)
        terminal.wait_for("before paying(.|\n)*q quit", PATIENCE)
        assert terminal.screen.text.isascii()
        terminal.press("\x1a")
        terminal.wait_for("Stopped", PATIENCE)
        terminal.press(*"fg", "enter")
        terminal.settle(1.0, PATIENCE)  # what was drawn before it stopped may still be there
        terminal.wait_for("before paying(.|\n)*q quit", PATIENCE)
        terminal.press("q")
        terminal.wait_for(r"\A\s*prompt>", PATIENCE)
        terminal.press(*"exit", "enter")
        terminal.wait_closed()
