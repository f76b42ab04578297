"""The console's log beside a small one: 2 GB opened, scrolled and searched, 100,000 lines a second followed.

The console runs in a terminal of 120 × 40 with the log over all of it. Times are from a key to the first
byte that it brings; memory is resident, beyond that of the same console with a log of 2 MB. The bounds are
fixed figures.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.log_load import log_session, percentile

SMALL = 2_000_000
KEY_S, FLOOD_KEY_S, FRAMES, MEMORY_MB = 0.050, 0.100, 10.0, 50.0


def main() -> int:
    """Measure, print, and return the exit code."""
    options = arguments(__doc__).parse_args()
    large, rounds, flood_s = (200_000_000, 3, 6.0) if options.quick else (2_000_000_000, 8, 20.0)
    return finish(measured(large, rounds, flood_s), options.json)


def measured(large: int, rounds: int, flood_s: float) -> list[Row]:
    """The rows: a log of `large` bytes, its keys pressed so many times, then lines for so many seconds."""
    with tempfile.TemporaryDirectory(prefix="ups-log-") as folder:
        with log_session(Path(folder) / "small", size=SMALL) as small:
            small_open, small_memory = small.open_seconds, small.memory_bytes
            small_keys = small.key_seconds(rounds)
        with log_session(Path(folder) / "large", size=large) as session:
            keys = session.key_seconds(rounds)
            first, whole = session.search_seconds("the only one")
            session.terminal.press("escape")
            memory = (session.memory_bytes - small_memory) / 1e6
            flood = session.flood(flood_s)
    fast = "100,000 lines/s"
    name = f"{large / 1e9:g} GB"
    return [
        Row(f"{name} opened: key to its end", session.open_seconds, small_open, "2 MB", "s", "lower"),
        Row(f"{name}, key to paint, p50", percentile(keys, 0.5), percentile(small_keys, 0.5), "2 MB", "s",
            "lower"),
        Row(f"{name}, key to paint, p95", percentile(keys, 0.95), KEY_S, "bound", "s", "lower", 1.0),
        Row(f"{name}, memory beyond that of 2 MB", memory, MEMORY_MB, "bound", "MB", "lower", 1.0),
        Row(f"{name} searched, first match in its middle", first, whole, "whole file", "s", "lower"),
        Row(f"{fast}, frames per second", flood.frames_per_second, FRAMES, "bound", "/s", "higher", 1.0),
        Row(f"{fast}, key to its effect, p95", percentile(flood.key_seconds, 0.95), FLOOD_KEY_S, "bound", "s",
            "lower", 1.0),
        Row("lines shown of those written", flood.lines_shown, flood.lines_written, "written", "", "higher",
            1.0),
        Row("lines written per second", flood.lines_per_second, 100_000, "wanted", "/s", "higher"),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
