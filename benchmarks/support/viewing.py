"""One session of a terminal viewer of runs: how soon it shows, what its keys, its idling and its memory cost.

While it is measured nothing is emulated: what it writes is stamped as it is read, and replayed when it has
ended. CPU and memory are those of its whole process tree.
"""

import bisect
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.support.emulator import Emulator
from benchmarks.support.terminal import Terminal

CHART = r"[\u2801-\u28ff]{4}"
"""Four cells of dots in a row: a curve."""
_QUIET_S, _QUIET_CPU = 0.7, 0.1
_STILL_S = 0.08
"""A key is pressed when nothing was drawn for so long."""
_LOST_KEY_S = 1.0
_CALM_CPU = 0.5


@dataclass(frozen=True, slots=True)
class Viewer:
    """A program that shows a run."""

    name: str
    command: Callable[[Path], Sequence[str]]
    """Of the folder that its run is in."""
    keys: Sequence[str]
    """Pressed in turn; each draws something."""
    env: Mapping[str, str] = field(default_factory=dict)
    loaded: Callable[[int], str] | None = None
    """What is on the screen once this last step is; None: the last thing that it drew before it was quiet."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """What a session was like. Times are since just before the start."""

    first_chart_s: float
    first_chart_cpu_s: float
    """Spent by then."""
    loaded_s: float
    load_cpu_s: float
    """Of everything until it was quiet."""
    keys_ms: Sequence[float]
    """From each key to the first that is drawn after it."""
    idle_cpu: float
    """Share of one core, as are all of these."""
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Following:
    """What a session on an open run was like."""

    idle_cpu: float
    live_cpu: Mapping[float, float]
    """Steps a second → share of one core."""
    peak_mb: float


class Session:
    """A viewer in a terminal, whose memory is watched all the time."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.peak_mb = 0.0
        self._next_look = 0.0
        self._spent: list[tuple[float, float]] = [(0.0, 0.0)]
        """(seconds since the start, CPU seconds spent by then), as often as was looked."""

    def read(self, seconds: float) -> bool:
        """Read once, and look at the memory now and then."""
        came = self.terminal.read(seconds)
        if self.terminal.now >= self._next_look:
            self.peak_mb = max(self.peak_mb, memory_mb(self.terminal.processes()))
            self._spent.append((self.terminal.now, self.cpu_seconds()))
            self._next_look = self.terminal.now + 0.05
        if not self.terminal.running:
            raise RuntimeError(f"the viewer ended:\n{self.terminal.screen.text.strip()}")
        return came

    def read_for(self, seconds: float) -> float:
        """Read for so long; the share of a core that the program used."""
        begin, spent = self.terminal.now, self.cpu_seconds()
        while self.terminal.now < begin + seconds:
            self.read(min(0.05, max(0.0, begin + seconds - self.terminal.now)))
        return (self.cpu_seconds() - spent) / (self.terminal.now - begin)

    def cpu_seconds(self) -> float:
        """Of the tree, children that have ended included."""
        return sum(map(_cpu_seconds, self.terminal.processes()))

    def spent_at(self, seconds: float) -> float:
        """CPU seconds spent by a time since the start, between two looks in proportion."""
        after = bisect.bisect([at for at, _ in self._spent], seconds)
        (begin, less), (end, more) = (
            self._spent[max(0, after - 1)],
            self._spent[min(after, len(self._spent) - 1)],
        )
        return less + (more - less) * (seconds - begin) / (end - begin) if end > begin else less

    def until_quiet(self, limit: float = 120.0) -> float:
        """Read until it draws nothing and computes nothing; CPU seconds spent by then.

        Raises:
            TimeoutError: it never was quiet.
        """
        while self.terminal.now < limit:
            last = self.terminal.chunks[-1].seconds if self.terminal.chunks else self.terminal.now
            if self.terminal.now - last < _QUIET_S or not self.terminal.chunks:
                self.read(0.05)
            elif self.read_for(_QUIET_S) < _QUIET_CPU and self.terminal.chunks[-1].seconds == last:
                return self.cpu_seconds()
        raise TimeoutError(f"not quiet after {limit:g} s:\n{self.terminal.screen.text}")

    def until_calm(self, limit: float = 60.0) -> None:
        """Read until loading is over, also where something is animated for ever."""
        self.read_for(2.0)
        while self.read_for(1.0) > _CALM_CPU and self.terminal.now < limit:
            pass

    def press(self, key: str) -> float | None:
        """Press a key; milliseconds to the first output after it, None where there was none."""
        still = self.terminal.now
        while self.terminal.now - still < _STILL_S and self.terminal.now - still < 1.0:
            if self.read(_STILL_S):
                still = self.terminal.now
        before, pressed = len(self.terminal.chunks), self.terminal.now
        self.terminal.press(key)
        while len(self.terminal.chunks) == before and self.terminal.now - pressed < _LOST_KEY_S:
            self.terminal.read(0.1)
        if len(self.terminal.chunks) == before:
            return None
        return 1000 * (self.terminal.chunks[before].seconds - pressed)

    def press_for(self, key: str, shows: re.Pattern[bytes]) -> float | None:
        """Press a key; milliseconds to the first output that holds this, None where it did not come.

        For a program that draws all the time, key or not.
        """
        before, pressed = len(self.terminal.chunks), self.terminal.now
        self.terminal.press(key)
        while self.terminal.now - pressed < _LOST_KEY_S:
            self.terminal.read(0.1)
            for chunk in self.terminal.chunks[before:]:
                before += 1
                if shows.search(chunk.data):
                    return 1000 * (chunk.seconds - pressed)
        return None


def view(viewer: Viewer, folder: Path, last_step: int, *, presses: int, idle_s: float) -> Viewing:
    """Look at a finished run.

    Raises:
        RuntimeError: the viewer ended, or its keys draw nothing.
        TimeoutError: it did not show what it should.
    """
    with Terminal(viewer.command(folder), env=viewer.env) as terminal:
        session = Session(terminal)
        load_cpu_s = session.until_quiet()
        ready = len(terminal.chunks)
        keys = [session.press(viewer.keys[index % len(viewer.keys)]) for index in range(presses)]
        session.read_for(0.7)
        idle = session.read_for(idle_s)
        loaded_s = (
            seconds_until(terminal, viewer.loaded(last_step), ready)
            if viewer.loaded
            else terminal.chunks[ready - 1].seconds
        )
        answered = [key for key in keys if key is not None]
        if len(answered) < 0.9 * len(keys):
            raise RuntimeError(f"{viewer.name} drew nothing after {len(keys) - len(answered)} keys")
        chart_s = seconds_until(terminal, CHART, ready)
        return Viewing(
            chart_s, session.spent_at(chart_s), loaded_s, load_cpu_s, answered, idle, session.peak_mb
        )


def follow(
    viewer: Viewer,
    folder: Path,
    append: Callable[[float, float], None],
    *,
    rates: Sequence[float],
    seconds: float,
) -> Following:
    """Look at an open run while it grows.

    Args:
        viewer: what looks.
        folder: of the run.
        append: begins to append so many steps a second, for so many seconds.
        rates: steps a second, one after the other.
        seconds: for each rate.
    """
    with Terminal(viewer.command(folder), env=viewer.env) as terminal:
        session = Session(terminal)
        session.until_calm()
        idle = session.read_for(seconds / 2)
        live: dict[float, float] = {}
        for rate in rates:
            append(rate, seconds)
            live[rate] = session.read_for(seconds)
            session.read_for(1.0)
        return Following(idle, live, session.peak_mb)


def seconds_until(terminal: Terminal, pattern: str, chunks: int | None = None) -> float:
    """When a regular expression first matched the screen.

    Args:
        terminal: what was read from it is replayed.
        pattern: to be found.
        chunks: how many of its chunks; None: all.

    Raises:
        TimeoutError: it never did; shows the screen.
    """
    sought, replay = re.compile(pattern), Emulator(terminal.columns, terminal.rows)
    for chunk in terminal.chunks[:chunks]:
        replay.feed(chunk.data)
        if sought.search(replay.text):
            return chunk.seconds
    raise TimeoutError(f"{pattern!r} did not come; the screen:\n{replay.text}")


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Resident memory of all of them."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def median_of_ratios(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Over the pairs whose second is not 0; None where there is none."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True) if other]
    return statistics.median(ratios) if ratios else None


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
