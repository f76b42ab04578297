"""Drives a terminal program in a pty: presses keys, reads the screen, takes the time.

What the program writes is only stamped when it is read; the screen is emulated when it is asked for, so
that a measurement does not pay for the emulator. Terminal queries are answered as xterm does.
"""

import contextlib
import os
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect
import psutil

from benchmarks.support.emulator import Emulator

KEYS = {
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "tab": "\t",
    "shift+tab": "\x1b[Z", "enter": "\r", "escape": "\x1b", "space": " ", "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~", "home": "\x1b[H", "end": "\x1b[F", "backspace": "\x7f",
    "ctrl+c": "\x03", "ctrl+d": "\x04", "ctrl+q": "\x11",
}  # fmt: skip
"""Names that `Terminal.press` takes beside single characters."""

_QUERY = re.compile(
    rb"\x1b\[(?P<attributes>>?)0?c"
    rb"|\x1b\[(?P<status>[56])n"
    rb"|\x1b\[(?P<mode>\??\d+)\$p"
    rb"|\x1b\[>(?P<version>)0?q"
    rb"|\x1b\](?P<colour>1[0-2]);\?(?P<end>\x07|\x1b\\)"
)
_KNOWN_MODES = {b"?25", b"?1000", b"?1003", b"?1006", b"?1049", b"?2004", b"?2026"}
# Settings of whoever measures that would change what a program draws, or have it compile its modules anew
# at every start.
_FOREIGN = (
    "TMUX", "TERM_PROGRAM", "KITTY_WINDOW_ID", "NO_COLOR", "LINES", "COLUMNS", "CI", "VTE_VERSION",
    "FORCE_COLOR", "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip


def console_command(*arguments: str) -> list[str]:
    """The installed `ups-console` of this interpreter's environment, with arguments."""
    beside = Path(sys.executable).with_name("ups-console")
    program = str(beside) if beside.exists() else shutil.which("ups-console")
    if program is None:
        raise FileNotFoundError("ups-console is not installed: `make install`")
    return [program, *arguments]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one read brought."""

    seconds: float
    """Since just before the program was started."""
    data: bytes


class Terminal:
    """A program in a terminal of a fixed size; ends the program when left as a context."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 120,
        rows: int = 40,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.columns, self.rows = columns, rows
        self.chunks: list[Chunk] = []
        self._fed, self._tail = 0, b""
        self._emulator = Emulator(columns, rows)
        self._started = time.monotonic()
        self._child = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=_environment(env or {}),
            cwd=str(cwd) if cwd else None,
            timeout=None,
            dimensions=(rows, columns),
        )
        self.pid: int = self._child.pid
        self._fd: int = self._child.child_fd
        self._open = True
        os.set_blocking(self._fd, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def running(self) -> bool:
        """The program has not closed its terminal."""
        return self._open

    def read(self, seconds: float) -> bool:
        """Wait at most so long for output and keep it; True if there was any."""
        if not self._open:
            return False
        if not select.select([self._fd], [], [], max(0.0, seconds))[0]:
            return False
        stamp = self.now
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return False
        except OSError:  # Linux says EIO where the other end has closed
            data = b""
        if not data:
            self._open = False
            return False
        self.chunks.append(Chunk(stamp, data))
        self._answer_queries(data)
        return True

    def read_for(self, seconds: float) -> None:
        """Read until so much time has passed."""
        end = self.now + seconds
        while self._open and (left := end - self.now) > 0:
            self.read(left)

    def settle(self, quiet: float = 0.15, limit: float = 5.0) -> bool:
        """Read until there was no output for `quiet` seconds; False if it took longer than `limit`."""
        end = self.now + limit
        while self._open and self.now < end:
            if not self.read(quiet):
                return True
        return not self._open

    @property
    def screen(self) -> Emulator:
        """The screen as far as it has been read."""
        for chunk in self.chunks[self._fed :]:
            self._emulator.feed(chunk.data)
        self._fed = len(self.chunks)
        return self._emulator

    def wait_for(self, wanted: str | Callable[[Emulator], bool], timeout: float = 10.0) -> None:
        """Read until a regular expression is on the screen, or a condition on it holds.

        Raises:
            TimeoutError: it did not come; shows the screen.
        """
        pattern = re.compile(wanted) if isinstance(wanted, str) else None
        end = self.now + timeout
        while True:
            met = pattern.search(self.screen.text) if pattern else wanted(self.screen)  # type: ignore[operator]
            if met:
                return
            if self.now >= end or not self._open:
                why = "did not come" if self._open else "did not come before the program ended"
                raise TimeoutError(f"{wanted!r} {why}; the screen:\n{self.screen.text}")
            self.read(min(0.05, end - self.now))

    def first_frame(self, timeout: float = 30.0) -> float:
        """Seconds from the start to the first screen that is not blank.

        Raises:
            TimeoutError: the screen stayed blank.
        """
        self.wait_for(lambda screen: not screen.blank, timeout)
        replay = Emulator(self.columns, self.rows)
        for chunk in self.chunks:
            replay.feed(chunk.data)
            if not replay.blank:
                return chunk.seconds
        raise AssertionError("the screen is not blank, but no chunk drew on it")

    def press(self, *keys: str) -> None:
        """Press keys: names of `KEYS` or single characters."""
        for key in keys:
            os.write(self._fd, KEYS.get(key, key).encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size, as a window does."""
        _ = self.screen
        self.columns, self.rows = columns, rows
        self._emulator.resize(columns, rows)
        self._child.setwinsize(rows, columns)

    def processes(self) -> list[psutil.Process]:
        """The program and its descendants."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.Error:
            return []

    def cpu_seconds(self) -> float:
        """CPU time that the program and its living descendants have spent."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def maps(self, library: str) -> bool:
        """Some process of the program has a library loaded whose file name contains `library`."""
        for process in self.processes():
            try:
                maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if library in maps:
                return True
        return False

    def wait_closed(self, timeout: float = 5.0) -> int | None:
        """Read until the program has ended; its exit status, None if it has not or was killed."""
        end = self.now + timeout
        while self._open and self.now < end:
            self.read(0.1)
        if self._open:
            return None
        self._child.wait()
        status: int | None = self._child.exitstatus
        return status

    def close(self) -> None:
        """End the program and what it has started, politely first."""
        processes = self.processes()
        for process in processes:
            _signal(process, signal.SIGTERM)
        end = self.now + 2.0
        while self._open and self.now < end:
            self.read(0.05)
        for process in processes:
            _signal(process, signal.SIGKILL)
        self._child.close(force=True)
        self._open = False

    def _answer_queries(self, data: bytes) -> None:
        if b"\x1b" not in data and not self._tail:
            return
        text, end = self._tail + data, 0
        for match in _QUERY.finditer(text):
            end = match.end()
            os.write(self._fd, _answer(match))
        start = text.rfind(b"\x1b", end)
        self._tail = text[start:] if start >= 0 and len(text) - start < 64 else b""


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **extra}


def _answer(match: re.Match[bytes]) -> bytes:
    found = match.groupdict()
    if found["attributes"] is not None:
        return b"\x1b[>41;380;0c" if found["attributes"] else b"\x1b[?62;22c"
    if found["status"] is not None:
        return b"\x1b[0n" if found["status"] == b"5" else b"\x1b[1;1R"
    if found["mode"] is not None:
        state = b"2" if found["mode"] in _KNOWN_MODES else b"0"
        return b"\x1b[" + found["mode"] + b";" + state + b"$y"
    if found["version"] is not None:
        return b"\x1bP>|XTerm(380)\x1b\\"
    rgb = b"rgb:0000/0000/0000" if found["colour"] == b"11" else b"rgb:dddd/dddd/dddd"
    return b"\x1b]" + found["colour"] + b";" + rgb + found["end"]


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
