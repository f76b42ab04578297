"""`open` and `replay` through the installed command: bad input is one error; a replay needs no terminal."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.support.terminal import Terminal, console_command
from tests.console.cli.test_cli import error_of, ups
from tests.patience import PATIENCE_S
from ups.events import encode


def metric(seq: int, step: int, loss: float = 0.5) -> bytes:
    """A metric as another program might write it: no epoch, no split."""
    return encode(seq, 1e9 + seq, "metric", {"step": step, "task": "darcy2d", "values": {"loss": loss}})


def _nothing(path: Path) -> None:
    path.rmdir()


def _empty_file(path: Path) -> None:
    (path / "events.jsonl").touch()


def _no_run(path: Path) -> None:
    (path / "notes.txt").write_text("hello\n")


def _no_events(path: Path) -> None:
    (path / "events.jsonl").write_text("hello\nworld\n")


def _binary(path: Path) -> None:
    (path / "events.jsonl").write_bytes(bytes(range(256)) * 300)


def _torn(path: Path) -> None:
    (path / "events.jsonl").write_bytes(metric(0, 1)[:40])


def _gigantic_line(path: Path) -> None:
    with (path / "events.jsonl").open("wb") as file:
        file.truncate(65 << 20)


def _newer(path: Path) -> None:
    (path / "events.jsonl").write_text('{"version": 9, "kind": "metric", "at": 1.0}\n' * 3)


def _loop(path: Path) -> None:
    (path / "events.jsonl").symlink_to(path / "events.jsonl")


@pytest.mark.parametrize(
    ("make", "exit_code", "says"),
    [
        (_nothing, 4, "nothing at"),
        (_empty_file, 3, "is empty"),
        (_no_run, 3, "is no run directory"),
        (_no_events, 3, "holds no events"),
        (_binary, 3, "holds no events"),
        (_torn, 3, "no whole event"),
        (_gigantic_line, 3, "longer than 64 MiB"),
        (_newer, 3, "holds no events"),
        (_loop, 3, "is no run directory"),
    ],
)
def test_what_is_no_run_is_one_clear_error(
    tmp_path: Path, make: Callable[[Path], None], exit_code: int, says: str
) -> None:
    path = tmp_path / "sent"
    path.mkdir()
    make(path)
    done = ups("open", str(path), "--json")
    assert done.returncode == exit_code, done.stderr
    assert says in error_of(done)["message"]
    assert "Traceback" not in done.stderr


def test_without_a_terminal_open_says_so(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(metric(0, 1))
    done = ups("open", str(tmp_path), "--json")
    assert done.returncode == 2
    assert "needs a terminal" in error_of(done)["message"]


def test_a_replay_tells_every_event_once_and_writes_nothing(tmp_path: Path) -> None:
    events = tmp_path / "sent.jsonl"
    lines = [metric(n, n) for n in range(5000)]
    events.write_bytes(b"".join(lines) + b'{"torn')
    home = tmp_path / "home"
    done = ups("replay", str(events), "--speed", "max", "--json", "--home", str(home))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == list(range(5000))
    assert not home.exists()


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_that_is_none_is_refused(tmp_path: Path, speed: str) -> None:
    done = ups("replay", str(tmp_path), "--speed", speed, "--json")
    assert done.returncode == 2
    assert "is no speed" in error_of(done)["message"]


def test_a_run_or_path_that_is_not_there_is_not_found() -> None:
    done = ups("replay", "0000-none", "--json")
    assert done.returncode == 4
    assert "neither a run nor a path" in error_of(done)["message"]


def test_an_opened_run_is_shown_and_followed_while_it_grows(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"".join(metric(n, n, 0.5) for n in range(200)))
    home = tmp_path / "home"
    with Terminal(console_command("open", str(tmp_path)), env={"UPS_HOME": str(home)}) as terminal:
        terminal.wait_for(r"darcy2d .* train 0\.500", timeout=PATIENCE_S)
        terminal.wait_for("read only")
        with events.open("ab") as file:
            file.write(b"".join(metric(n, n, 0.125) for n in range(200, 400)))
            file.flush()
            terminal.wait_for(r"train 0\.12", timeout=PATIENCE_S)
            file.write(encode(400, time.time(), "done", {"status": "succeeded"}))
            file.flush()
            terminal.wait_for("succeeded", timeout=PATIENCE_S)
        assert "teardown" not in terminal.screen.text
        terminal.press("q")
        while terminal.running and terminal.now < 60:
            terminal.read(0.2)
        assert not terminal.running
    assert not home.exists()
