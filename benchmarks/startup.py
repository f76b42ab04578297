"""How long the console takes to draw its first screen, beside the smallest Textual app.

Both are started in turn in a terminal of 120 × 40; the time is from just before the start to the first
read after which the screen is not blank. The median of the repetitions counts.
"""

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.terminal import Terminal, console_command

BAR = 1.6
_FLOOR = [sys.executable, str(Path(__file__).parent / "support" / "floor_app.py")]


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
    ours: list[float] = []
    floor: list[float] = []
    loaded = False
    with tempfile.TemporaryDirectory(prefix="ups-startup-") as home:
        for repetition in range(repetitions + 1):
            seconds, torch = start(console_command(), home)
            peer, _ = start(_FLOOR, home)
            loaded = loaded or torch
            if repetition:  # the first start of each fills the file cache and writes bytecode
                ours.append(seconds)
                floor.append(peer)
    median, least = statistics.median, min
    name = "smallest Textual app"
    return [
        Row("first frame", median(ours), median(floor), name, "s", "lower", BAR),
        Row("first frame, fastest", least(ours), least(floor), name, "s", "lower"),
    ], loaded


def start(command: list[str], home: str) -> tuple[float, bool]:
    """Seconds to the first frame, and whether libtorch was loaded half a second later."""
    with Terminal(command, env={"UPS_HOME": home}) as terminal:
        seconds = terminal.first_frame()
        terminal.read_for(0.5)
        return seconds, terminal.maps("libtorch")


if __name__ == "__main__":
    sys.exit(main())
