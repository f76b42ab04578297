"""The console's log under load: files of gigabytes, a hundred thousand new lines a second.

`LogSession` is a console in a terminal with one run's log in front; the functions press its keys and take
the time to the first byte that comes back, or to the bytes that say what the key was pressed for.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.terminal import Terminal
from console.home import Home
from tests.console.recorded import record

RUN = "1130-0001"
LINE_BYTES = 100
_APP = Path(__file__).with_name("log_app.py")
_CONTROL = re.compile(rb"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_FRAME_S = 0.002
"""Output with less silence in it is one frame."""
KEYS = ("up", "pageup", "pageup", "down", "pagedown", "home", "end", "up", "right", "left", "end")
"""Each changes what is in sight, wherever they are begun."""

_FLOOD = """
import sys, time
path, wanted, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
written, portion, began = 0, rate // 50, time.monotonic()
with open(path, "ab", buffering=0) as file:
    while written < wanted:
        count = min(portion, wanted - written)
        lines = (b"2026-11-30 10:00:00  operator epoch 3 step %9d  darcy2d loss 0.018 val 0.0201 of 0.44\\n"
                 % n for n in range(written, written + count))
        file.write(b"".join(lines))
        written += count
        time.sleep(max(0.0, began + written / rate - time.monotonic()))
print(time.monotonic() - began)
"""


@dataclass(frozen=True, slots=True)
class Flood:
    """What a console did while lines came."""

    lines_per_second: float
    """As they were written."""
    frames_per_second: float
    key_seconds: tuple[float, ...]
    """Of each key, to the frame that shows what it did."""
    lines_shown: int
    """In the title at the end; the lines that the file has, where nothing was lost."""
    lines_written: int


def write_log(path: Path, size: int) -> int:
    """Write a log of about so many bytes, with an error in its middle; returns the number of lines."""
    block = b"".join(
        b"2026-11-30 10:%02d:%02d  operator epoch 3 step %9d  darcy2d loss 0.0183 val 0.0201 (copying 0.44)\n"
        % (n // 60 % 60, n % 60, n)
        for n in range(10_000)
    )
    blocks = max(1, size // len(block))
    with path.open("wb") as file:
        for index in range(blocks):
            file.write(block)
            if index == (blocks - 1) // 2:
                file.write(b"2026-11-30 10:00:00  error: the only one\n")
    return blocks * 10_000 + 1


@contextmanager
def log_session(folder: Path, *, size: int) -> Iterator["LogSession"]:
    """A console that shows the log of a run, its size in bytes given, over all of a terminal of 120 × 40."""
    directory = record(Home(folder), RUN, "local_2task", 0.1, curve=(0.5, 0.4))
    lines = write_log(directory.log_path, size)
    with Terminal([sys.executable, str(_APP), str(folder)], env={"UPS_HOME": str(folder)}) as terminal:
        session = LogSession(terminal, directory.log_path, lines)
        session.open()
        yield session


class LogSession:
    """A console in a terminal with a run's log in front."""

    def __init__(self, terminal: Terminal, path: Path, lines: int) -> None:
        self.terminal = terminal
        self.path = path
        self.lines = lines
        self.open_seconds = 0.0
        """From the key that opens Live to the last lines of the log."""

    def open(self) -> None:
        """Go to Live and give the log all the room."""
        self.terminal.wait_for("Launch")
        self.terminal.settle(0.5)
        self.open_seconds = self.press("2", rb"step +9999 ")
        self.terminal.settle(0.5)
        self.terminal.press("shift+tab", "z")
        self.terminal.wait_for(f"{self.lines:,} lines", 60.0)
        self.terminal.settle(0.5)

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the console."""
        return sum(process.memory_info().rss for process in self.terminal.processes())

    def press(self, key: str, shows: bytes = b"", timeout: float = 30.0) -> float:
        """Seconds from a key to the first output, or to output that holds an expression.

        Raises:
            TimeoutError: it did not come.
        """
        pressed, text = self.terminal.now, b""
        self.terminal.press(key)
        while self.terminal.now < pressed + timeout:
            if self.terminal.read(0.05):
                chunk = self.terminal.chunks[-1]
                text = text[-4096:] + _CONTROL.sub(b"", chunk.data)
                if re.search(shows, text):
                    return chunk.seconds - pressed
        raise TimeoutError(f"{key!r} did not show {shows!r}; the screen:\n{self.terminal.screen.text}")

    def key_seconds(self, rounds: int, keys: Sequence[str] = KEYS) -> list[float]:
        """Seconds from each of these keys to the first output, so many times."""
        found = []
        for _ in range(rounds):
            for key in keys:
                found.append(self.press(key))
                self.terminal.settle(0.05)
        return found

    def search_seconds(self, text: str) -> tuple[float, float]:
        """Seconds from enter to the first line that holds a text, and to the count of all of them."""
        self.terminal.press("/", *text)
        self.terminal.settle(0.2)
        began = self.terminal.now
        first = self.press("enter", rb"\xe2\x96\xb8")
        self.terminal.wait_for(r"[\d,]+ found ·", 120.0)
        return first, self.terminal.now - began

    def flood(self, seconds: float, lines_per_second: int = 100_000) -> Flood:
        """Have lines appended for so long, and let go of the end and take it up again meanwhile."""
        lines = int(seconds * lines_per_second)
        begun = len(self.terminal.chunks)
        self.press("end") if "following" not in self.terminal.screen.text else None
        writer = subprocess.Popen(
            [sys.executable, "-c", _FLOOD, str(self.path), str(lines), str(lines_per_second)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        keys = []
        with writer:
            self.terminal.read_for(0.5)
            begun, began = len(self.terminal.chunks), self.terminal.now
            self.terminal.read_for(max(1.0, seconds / 3))
            frames = _frames([chunk.seconds for chunk in self.terminal.chunks[begun:]])
            frames_per_second = frames / (self.terminal.now - began)
            while writer.poll() is None:
                keys.append(self.press("up", b"paused"))
                self.terminal.read_for(0.3)
                keys.append(self.press("end", b"following"))
                self.terminal.read_for(0.3)
            assert writer.stdout is not None
            took = float(writer.stdout.read())
        self.terminal.settle(0.5)
        self.lines += lines
        self.terminal.wait_for(r"[\d,]+ lines")
        shown = re.search(r"([\d,]+) lines", self.terminal.screen.text)
        assert shown is not None
        number = int(shown[1].replace(",", ""))
        return Flood(lines / took, frames_per_second, tuple(keys), number, self.lines)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _frames(stamps: Sequence[float]) -> int:
    """Bursts of output."""
    return sum(1 for before, at in zip([-1.0, *stamps], stamps, strict=False) if at - before > _FRAME_S)
