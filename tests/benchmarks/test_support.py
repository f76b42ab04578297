"""The measuring tools measure: the emulated screen, the driven terminal, the verdict on a bar."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.support.comparison import Row, finish
from benchmarks.support.emulator import Emulator
from benchmarks.support.terminal import Terminal

ECHO = [
    sys.executable,
    "-c",
    "import os, tty; tty.setraw(0); print('ready', *os.get_terminal_size(), end='', flush=True)\n"
    "while (k := os.read(0, 9)) != b'q': print(f'\\r\\n{k!r}', end='', flush=True)\n",
]


class TestEmulator:
    def test_a_sequence_cut_in_two_draws_nothing_wrong(self) -> None:
        screen = Emulator(20, 2)

        for byte in "\x1b[1;3H\x1b[31mé\x1b[0m\x1b]0;title\x07\x1b[?2026$p".encode():
            screen.feed(bytes([byte]))

        assert screen.lines == ["  é", ""]
        assert screen.cell(2, 0).foreground == "red"

    def test_a_new_screen_is_blank(self) -> None:
        screen = Emulator()
        screen.feed(b"\x1b[2J\x1b[H   ")

        assert screen.blank


class TestTerminal:
    def test_it_presses_keys_and_reads_the_screen(self) -> None:
        with Terminal(ECHO, columns=40, rows=5) as terminal:
            terminal.wait_for("ready 40 5")
            terminal.press("up", "x")
            terminal.wait_for("x'")
            terminal.press("q")

            assert terminal.wait_closed() == 0
            assert 0 < terminal.first_frame() <= terminal.now

    def test_what_does_not_come_is_an_error_that_shows_the_screen(self) -> None:
        with Terminal(ECHO) as terminal:
            terminal.wait_for("ready")
            with pytest.raises(TimeoutError, match="ready 120 40"):
                terminal.wait_for("never", timeout=0.1)

    def test_a_terminal_query_is_answered(self) -> None:
        ask = "import os, tty; tty.setraw(0); os.write(1, b'\\x1b[c'); print(os.read(0, 20))"

        with Terminal([sys.executable, "-c", ask]) as terminal:
            terminal.wait_for("62;22c")

    def test_nothing_is_left_running(self) -> None:
        with Terminal(ECHO) as terminal:
            terminal.wait_for("ready")
        assert terminal.processes() == []


class TestVerdict:
    def row(self, ours: float, *, judged: bool = True) -> Row:
        return Row("x", ours, 1.0, "peer", "s", "lower", 1.5, judged)

    def test_exit_code_and_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "rows.json"

        assert finish([self.row(1.5)], out) == 0
        assert finish([self.row(1.6)], out) == 1
        assert finish([self.row(1.6, judged=False)], out) == 0

        (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
        assert row["holds"] is None
        assert row["ratio"] == 1.6
        assert "MISSED" in capsys.readouterr().out

    def test_higher_is_better_is_judged_the_other_way(self) -> None:
        assert Row("x", 3.0, 1.0, "peer", "1/s", "higher", 2.0).holds
        assert not Row("x", 1.0, 1.0, "peer", "1/s", "higher", 2.0).holds
