"""A whole working day in the installed console, in tmux, from nothing to nothing.

Only keys are pressed that the screen names at that moment; what is waited for is what a person would see.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.support.terminal import Terminal, console_command
from console.fleet import processes
from tests.laptop import Laptop

BRAILLE = r"[⡀-⣿]{3}"
PATIENCE = 90.0
"""Seconds; on a loaded machine importing torch alone may take ten."""
MOST_KEYS = 5
"""From the start to the first curve."""


class Person:
    """Presses what the screen says can be pressed, and counts."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.pressed: list[str] = []

    def sees(self, *wanted: str) -> None:
        """Wait until all of it is on the screen."""
        for each in wanted:
            self.terminal.wait_for(each, PATIENCE)

    def no_longer_sees(self, what: str) -> None:
        """Wait until it has gone."""
        self.terminal.wait_for(lambda screen: not re.search(what, screen.text), PATIENCE)

    def press(self, key: str, because: str) -> None:
        """Press a key once the screen says what it does."""
        self.sees(because)
        self.terminal.press(key)
        self.pressed.append(key)

    def write(self, text: str) -> None:
        """Type into a line that is open."""
        self.terminal.press(*text)


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Laptop]:
    """A laptop on which nothing was ever configured."""
    laptop = Laptop(tmp_path, tmp_path / "home" / "store")
    yield laptop
    laptop.run("destroy", "--all", "--yes")


@pytest.fixture
def tmux(newcomer: Laptop, tmp_path: Path) -> Iterator[Terminal]:
    """The console in tmux, as somebody has it who changed nothing."""
    socket = tmp_path / "tmux.socket"
    program = shutil.which("tmux") or "tmux"
    server = [program, "-S", str(socket), "-f", os.devnull]
    environment = {"UPS_HOME": str(newcomer.home), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    started = [*server, "new-session", *console_command()]
    try:
        with Terminal(started, env=environment, cwd=tmp_path) as terminal:
            yield terminal
    finally:
        subprocess.run([*server, "kill-server"], capture_output=True, check=False)


def of_this_home(home: Path) -> list[psutil.Process]:
    """Every process that works for it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("UPS_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.pid != os.getpid()]


@pytest.mark.needs_program("tmux")
def test_a_working_day(newcomer: Laptop, tmux: Terminal) -> None:
    person = Person(tmux)

    # The first run: what to press next is on the screen, and it is not much.
    person.press("m", r"The store is empty\. m makes reference data")
    person.press("enter", "ready: enter launches, free")
    person.sees("advection1d", "· running ·", "on cpu", BRAILLE)
    assert len(person.pressed) <= MOST_KEYS, person.pressed
    first = re.search(r"· (\d{4}-[0-9a-f]{4}) ·", tmux.screen.text)
    assert first is not None

    # Its log: search, the next match, the previous one.
    person.press("shift+tab", "tab pane")
    person.press("/", "/ search")
    person.write("finished|started\r")
    person.sees(r"▸.*(finished|started)")
    tmux.press("n", "N")
    person.sees(r"n N")
    person.press("escape", "log")

    # One chart alone, then all.
    person.press("tab", "tab pane")
    person.press("z", "z zoom")
    person.no_longer_sees("─ darcy2d|rollout")
    person.press("z", "z zoom")
    person.sees("● darcy2d")

    # A second run beside it.
    person.press("1", "1 Launch")
    person.press("enter", "ready: enter launches, free")
    person.sees("● 2 running", r"▸ (?!" + first[1] + r")\S+ running", BRAILLE)

    # The first one is torn down: one key, and five seconds to think better of it.
    person.press("[", r"\[ \] another run")
    person.press("x", f"▸ {first[1]}")
    person.sees("u takes it back")
    person.sees("is gone")

    # History: the two beside one another, then the first one played again.
    person.press("5", "5 History")
    person.sees("2 runs", "stopped")
    person.press("space", "space mark")
    person.press("space", "1 marked")
    person.press("c", "2 marked")
    person.sees("the same config", "validation", BRAILLE)
    person.press("escape", "esc back")
    person.press("P", "P replay")
    person.sees("REPLAY 60×", BRAILLE)
    tmux.press("escape")
    person.sees("2 runs")

    # The second one goes from Fleet; then the day is over.
    person.press("3", "3 Fleet")
    person.press("x", "x teardown")
    person.sees("u takes it back")
    person.sees("● 0 running")
    person.press("q", "q quit")
    assert tmux.wait_closed(30.0) is not None
    alive = processes.wait_until_dead(of_this_home(newcomer.home), timeout_s=PATIENCE)
    assert alive == []  # tmux's server went last
    assert {row["state"] for row in newcomer.json("fleet")} == {"destroyed"}
