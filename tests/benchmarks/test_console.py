"""The console benchmark: both runs hold the same, sessions are timed by what is on the screen."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import console
from benchmarks.support import heavy_runs, twin_runs
from benchmarks.support.terminal import Terminal
from benchmarks.support.viewing import Session, Viewer, follow, median_of_ratios, percentile, view
from console.runs.event_lines import EventLines, MetricLine
from tests.simulators.wandb_files import records, rows

PAINTER = [
    sys.executable,
    "-c",
    "import os, sys, time, tty; tty.setraw(0); os.write(1, b'begin'); time.sleep(0.3)\n"
    "os.write(1, '\\r\\n⣿⣿⣿⣿'.encode()); time.sleep(0.3); os.write(1, b' 100k|')\n"
    "while True: os.write(1, b'x') if os.read(0, 9) == b'n' else None\n",
]
FEW = console.Sizes(2000, 100, 1, 2, 0.2, 0.4, (20.0,), judged=False)


def metrics(folder: Path) -> list[tuple[float, str | None, float | None]]:
    events = EventLines(folder / "events.jsonl").read()
    return [(e.step, e.task, e.values["loss"]) for e in events if isinstance(e, MetricLine)]


class TestTwinRuns:
    def test_both_hold_the_same_floats(self, tmp_path: Path) -> None:
        ours = twin_runs.write_finished("events", tmp_path / "events", 2, 5)
        theirs = twin_runs.write_finished("wandb", tmp_path / "wandb", 2, 5)

        (record,) = theirs.glob("run-*.wandb")
        written = [
            (row["_step"], f"task{task}", row[f"task{task}/loss"])
            for row in rows(records(record))
            for task in range(2)
        ]
        assert written == metrics(ours)
        assert len(written) == 10

    def test_an_open_run_goes_on_when_told(self, tmp_path: Path) -> None:
        with twin_runs.Writer("events", tmp_path / "run", 1, 3) as writer:
            writer.append(200.0, 0.02)
            assert writer.wait() == 7
            assert [step for step, _, _ in metrics(writer.folder)] == [0, 1, 2, 3, 4, 5, 6]


class TestSession:
    viewer = Viewer("painter", lambda folder: PAINTER, ("n",), loaded=lambda step: r"100k\|")

    def test_a_viewer_is_timed_by_what_it_draws(self, tmp_path: Path) -> None:
        seen = view(self.viewer, tmp_path, 99_999, presses=3, idle_s=0.2)

        assert seen.loaded_s - seen.first_chart_s > 0.2
        assert seen.first_chart_s > 0.2
        assert 0 <= seen.first_chart_cpu_s < seen.load_cpu_s + 0.1  # less than a tick of the clock is 0
        assert len(seen.keys_ms) == 3
        assert seen.peak_mb > 1

    def test_keys_that_draw_nothing_are_an_error(self, tmp_path: Path) -> None:
        silent = Viewer("painter", lambda folder: PAINTER, ("x",))
        with pytest.raises(RuntimeError, match="drew nothing after 1 keys"):
            view(silent, tmp_path, 1, presses=1, idle_s=0.1)

    def test_output_is_waited_for_that_a_key_brings(self) -> None:
        with Terminal(PAINTER) as terminal:
            session = Session(terminal)
            terminal.wait_for("100k")
            assert session.press_for("n", re.compile(b"x")) is not None
            assert session.press_for("n", re.compile(b"y")) is None

    def test_a_run_is_appended_to_at_each_rate(self, tmp_path: Path) -> None:
        told: list[tuple[float, float]] = []
        seen = follow(self.viewer, tmp_path, lambda *order: told.append(order), rates=(1.0, 2.0), seconds=0.2)
        assert told == [(1.0, 0.2), (2.0, 0.2)]
        assert set(seen.live_cpu) == {1.0, 2.0}


class TestFigures:
    def test_a_percentile_is_one_of_the_values(self) -> None:
        assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
        assert percentile([1.0], 0.9) == 1.0

    def test_ratios_are_of_pairs(self) -> None:
        assert median_of_ratios([1.0, 4.0, 9.0], [2.0, 4.0, 0.0]) == 0.75
        assert median_of_ratios([1.0], [0.0]) is None


class TestHeavyRuns:
    def test_a_flood_leaves_what_it_says(self, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        heavy_runs.begin_run(folder, 2)
        events, lines = heavy_runs.flood(folder, tasks=2, events_s=1000, lines_s=3000, seconds=0.1)

        assert (events, lines) == (103, 301)
        assert (folder / "run.log").read_bytes().count(b"\n") == lines
        read = EventLines(folder / "events.jsonl").read()
        assert [event.seq for event in read] == list(range(events))


def test_all_rows_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both programs, once, on few points; LEET by its core alone, which starts in no time."""
    monkeypatch.setattr(console, "leet", lambda scratch: replace(console.core(scratch), name=console.LEET))
    monkeypatch.setattr(console, "_QUICK", FEW)
    assert console.main(["--quick", "--json", str(tmp_path / "rows.json")]) == 0

    content = json.loads((tmp_path / "rows.json").read_text())
    assert {"first chart", "load 5x100k", "key p50", "live CPU", "idle CPU", "peak memory"} <= {
        row["what"] for row in content["rows"]
    }
    assert all(row["holds"] is None for row in content["rows"])
    assert content["machine"]["busy_cores"] > 0
