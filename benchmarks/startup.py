"""How long the console takes to draw its first screen, beside the smallest Textual app.

Both are started in turn in a terminal of 120 × 40; the time is from just before the start to the first
read after which the screen is not blank. The median of the repetitions counts.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.terminal import Terminal, console_command

BAR = 1.6
_FLOOR = [sys.executable, str(Path(__file__).parent / "support" / "floor_app.py")]


@dataclass(frozen=True, slots=True)
class Start:
    """One start of one program."""

    seconds: float
    """To the first frame."""
    cpu_seconds: float
    """Spent by the time the first frame was seen: says more than the clock on a busy machine."""
    torch: bool
    """libtorch was loaded half a second later."""


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--reps", type=int, default=15, help="starts of each program (default: 15)")
    options = parser.parse_args()
    repetitions = min(options.reps, 7) if options.quick else options.reps
    rows, loaded = measured(repetitions)
    code = finish(rows, options.json)
    if loaded:
        print("libtorch was loaded while the console opened")
    return 1 if loaded else code


def measured(repetitions: int) -> tuple[list[Row], bool]:
    """The rows, and whether the console has loaded torch."""
    ours: list[Start] = []
    floor: list[Start] = []
    with tempfile.TemporaryDirectory(prefix="ups-startup-") as home:
        for _ in range(repetitions + 1):
            ours.append(start(console_command(), home))
            floor.append(start(_FLOOR, home))
    del ours[0], floor[0]  # the first start of each fills the file cache and writes bytecode

    def row(what: str, figure: Callable[[Start], float], bar: float | None = None) -> Row:
        medians = [statistics.median(map(figure, starts)) for starts in (ours, floor)]
        return Row(what, *medians, "smallest Textual app", "s", "lower", bar)

    rows = [
        row("first frame", lambda start: start.seconds, BAR),
        row("first frame, CPU", lambda start: start.cpu_seconds),
    ]
    return rows, any(start.torch for start in ours)


def start(command: list[str], home: str) -> Start:
    """Start a program and look at it for half a second.

    Raises:
        RuntimeError: it ended by itself; what it drew is no first screen.
    """
    with Terminal(command, env={"UPS_HOME": home}) as terminal:
        seconds = terminal.first_frame()
        cpu_seconds = terminal.cpu_seconds()
        terminal.read_for(0.5)
        if not terminal.running:
            raise RuntimeError(f"{command[0]} ended:\n{terminal.screen.text.strip()}")
        return Start(seconds, cpu_seconds, terminal.maps("libtorch"))


if __name__ == "__main__":
    sys.exit(main())
