"""The console on runs that are much larger, or grow much faster, than those that people have."""

import math
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support import heavy_runs
from benchmarks.support.comparison import Row
from benchmarks.support.terminal import Terminal, console_command
from benchmarks.support.viewing import Session, percentile

KEYS = (
    "right", "left", "l", "l", "s", "s", "z", "z", "o", "o", "tab", "left", "right", "shift+tab", "5", "2",
)  # fmt: skip
"""Live's keys, and the way to the list of runs and back; each draws something."""
_CROSS, _CROSSED, _UNCROSS = "left", re.compile(rb"step \d"), "escape"
"""A key of Live, what it shows in however narrow a chart and no line of the log holds, and how it goes."""
_FLOOR = [sys.executable, str(Path(__file__).with_name("floor_app.py"))]
_FRAME = b"\x1b[?2026h"
"""Begins each frame where the terminal knows synchronised output."""
_BOUND = "required"


@dataclass(frozen=True, slots=True)
class HeavySizes:
    """How much there is to look at."""

    runs: int
    tasks: int
    steps: int
    log_bytes: int
    starts: int
    """Of the console and of the smallest Textual app."""
    rounds: int
    """Of all keys."""
    events_s: int
    lines_s: int
    flood_s: float
    judged: bool = True


FULL = HeavySizes(20, 15, 1_000_000, 2_000_000_000, 5, 6, 20_000, 100_000, 20.0)
QUICK = HeavySizes(20, 15, 10_000, 20_000_000, 2, 1, 5_000, 20_000, 4.0, judged=False)


def large(scratch: Path, sizes: HeavySizes) -> list[Row]:
    """Opening, keys and memory with a home full of runs, the newest of them huge."""
    home = scratch / "home"
    heavy_runs.write_home(
        home, runs=sizes.runs, tasks=sizes.tasks, steps=sizes.steps, log_bytes=sizes.log_bytes
    )
    env = {"UPS_HOME": str(home)}
    ours, floor = [], []
    for _ in range(sizes.starts + 1):
        ours.append(_first_frame(console_command(), env))
        floor.append(_first_frame(_FLOOR, env))
    while_loading, after, loaded_s, peak_mb = _looked_at(env, sizes)

    def bound(what: str, figure: float, most: float, unit: str) -> Row:
        return Row(what, figure, most, _BOUND, unit, "lower", 1.0, sizes.judged)

    return [
        Row("first frame", statistics.median(ours[1:]), statistics.median(floor[1:]), "smallest Textual app",
            "s", "lower", 1.6, sizes.judged),
        bound("key p95 while it loads", percentile(while_loading, 0.95), 50.0, "ms"),
        bound("key p95", percentile(after, 0.95), 50.0, "ms"),
        Row("key p50", statistics.median(after), 50.0, _BOUND, "ms", "lower"),
        bound("peak memory", peak_mb, 250.0, "MB"),
        Row("loaded", loaded_s, sizes.tasks * sizes.steps / 1e6, "1 µs an event", "s", "lower"),
    ]  # fmt: skip


def _first_frame(command: Sequence[str], env: dict[str, str]) -> float:
    with Terminal(command, env=env) as terminal:
        seconds = terminal.first_frame()
        terminal.read_for(0.3)
        return seconds


def _looked_at(env: dict[str, str], sizes: HeavySizes) -> tuple[list[float], list[float], float, float]:
    """Milliseconds of keys while the run loads and after that, seconds of loading, memory at most."""
    with Terminal(console_command(), env=env) as terminal:
        session = Session(terminal)
        session.until_quiet()
        began = terminal.now
        terminal.press("2")
        session.read_for(1.0)
        while_loading = _pressed(session, KEYS, 1)
        session.until_quiet(600.0)
        loaded_s = terminal.chunks[-1].seconds - began
        after = _pressed(session, KEYS, sizes.rounds)
        return while_loading, after, loaded_s, session.peak_mb


def _pressed(session: Session, keys: Sequence[str], rounds: int) -> list[float]:
    times = [session.press(key) for _ in range(rounds) for key in keys]
    return [seconds for seconds in times if seconds is not None]


def flood(scratch: Path, sizes: HeavySizes) -> list[Row]:
    """Frames, keys and what is shown at the end, while a run grows madly."""
    folder = scratch / "flood"
    heavy_runs.begin_run(folder, sizes.tasks)
    with Terminal(
        console_command("open", str(folder)), env={"UPS_HOME": str(scratch / "flood-home")}
    ) as terminal:
        session = Session(terminal)
        session.read_for(3.0)
        writer = subprocess.Popen(
            [sys.executable, heavy_runs.__file__, str(folder), "--tasks", str(sizes.tasks),
             "--events", str(sizes.events_s), "--lines", str(sizes.lines_s), "--seconds", str(sizes.flood_s)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        session.read_for(1.0)
        first, began = len(terminal.chunks), terminal.now
        keys: list[float] = []
        while writer.poll() is None:
            keys.append(session.press_for(_CROSS, _CROSSED) or math.inf)
            session.read_for(0.2)
            terminal.press(_UNCROSS)
            session.read_for(0.2)
        frames = sum(chunk.data.count(_FRAME) for chunk in terminal.chunks[first:])
        rate = frames / (terminal.now - began)
        behind = _catch_up_s(session)
        assert writer.stdout is not None
        events, lines = map(int, writer.stdout.read().split())
        held = sum((folder / name).read_bytes().count(b"\n") for name in ("events.jsonl", "run.log"))
        peak = session.peak_mb
    return [
        Row("frames", rate, 10.0, _BOUND, "/s", "higher", 1.0, sizes.judged),
        Row("key p95", percentile(keys, 0.95), 100.0, _BOUND, "ms", "lower", 1.0, sizes.judged),
        Row("key p50", statistics.median(keys), 100.0, _BOUND, "ms", "lower"),
        Row("lines on disk", held, events + lines, "written", "", "higher", 1.0, sizes.judged),
        Row("behind at the end", behind, 1.0, _BOUND, "s", "lower"),
        Row("peak memory", peak, 250.0, _BOUND, "MB", "lower"),
    ]  # fmt: skip


def _catch_up_s(session: Session) -> float:
    """Seconds until nothing but the clock is drawn any more."""
    began = session.terminal.now
    while session.read_for(0.5) > 0.2 and session.terminal.now < began + 60:
        pass
    return session.terminal.now - 0.5 - began
