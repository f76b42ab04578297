"""Runs that are much larger, or grow much faster, than those that people have.

As a program it appends to a run directory at a given pace, as a box would that has gone mad.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.support.twin_runs import task_names
from console.home import Home
from tests.console.recorded import record
from ups.events import encode

_BLOCK_STEPS = 10_000
_SLICE_S = 0.02
CONFIG = "local_2task"


def event_block(first: int, steps: int, names: list[str], seq: int, began: float) -> bytes:
    """The lines of some steps of all tasks, as `EventWriter` writes them."""
    import numpy as np

    rng = np.random.default_rng(first)
    step = np.arange(first, first + steps)
    falling = 0.02 + np.exp(-step / 200_000)
    rows = (falling[:, None] * np.exp(rng.normal(0, 0.08, (steps, len(names))))).tolist()
    lines = []
    for at, row in zip(step.tolist(), rows, strict=True):
        t, epoch = began + 0.01 * at, at // 1000
        for name, loss in zip(names, row, strict=True):
            lines.append(
                f'{{"seq":{seq},"t":{t:.3f},"type":"metric","stage":"operator","epoch":{epoch},"step":{at},'
                f'"task":"{name}","split":"train","values":{{"loss":{loss}}}}}\n'
            )
            seq += 1
    return "".join(lines).encode()


def log_block(first: int, lines: int) -> bytes:
    """Lines of a log, each of 100 bytes, numbered."""
    line = (
        b"2026-11-30 10:00:00  operator epoch 3 step %9d  darcy2d loss 0.0183 val 0.0201 (copying 0.44) ok\n"
    )
    return b"".join(line % number for number in range(first, first + lines))


def write_home(root: Path, *, runs: int, tasks: int, steps: int, log_bytes: int) -> str:
    """A home of so many runs; the newest has so many tasks, steps of each and bytes of log.

    Returns:
        The id of the newest.
    """
    home = Home(root)
    for number in range(1, runs + 1):
        directory = record(home, f"1130-{number:04}", CONFIG, 0.1, curve=(0.5, 0.4, 0.3))
    names, began = task_names(tasks), time.time() - 0.01 * steps
    with directory.events_path.open("wb") as events:
        events.write(encode(0, began, "run", {"name": "large", "tasks": names, "stages": ["operator"]}))
        for first in range(0, steps, _BLOCK_STEPS):
            count = min(_BLOCK_STEPS, steps - first)
            events.write(event_block(first, count, names, 1 + first * tasks, began))
        end = {"status": "succeeded", "exit_code": 0, "summary": ""}
        events.write(encode(1 + steps * tasks, began + 0.01 * steps, "done", end))
    block = log_block(0, 100_000)
    with directory.log_path.open("wb") as log:
        for _ in range(max(1, log_bytes // len(block))):
            log.write(block)
    return f"1130-{runs:04}"


def begin_run(folder: Path, tasks: int) -> None:
    """An open run with its first step."""
    folder.mkdir(parents=True)
    names, now = task_names(tasks), time.time()
    first = encode(0, now, "run", {"name": "flood", "tasks": names, "stages": ["operator"]})
    (folder / "events.jsonl").write_bytes(first + event_block(0, 1, names, 1, now))
    (folder / "run.log").write_bytes(log_block(0, 1))


def flood(folder: Path, *, tasks: int, events_s: int, lines_s: int, seconds: float) -> tuple[int, int]:
    """Append at this pace; returns the events and log lines that the run then has."""
    names, now = task_names(tasks), time.time()
    steps, lines = 1, 1
    with (
        (folder / "events.jsonl").open("ab", buffering=0) as events,
        (folder / "run.log").open("ab", buffering=0) as log,
    ):
        for due in _slices(seconds):
            wanted = 1 + int(due * events_s / tasks)
            events.write(event_block(steps, wanted - steps, names, 1 + steps * tasks, now))
            wanted_lines = 1 + int(due * lines_s)
            log.write(log_block(lines, wanted_lines - lines))
            steps, lines = wanted, wanted_lines
    return 1 + steps * tasks, lines


def _slices(seconds: float) -> Iterator[float]:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        yield passed
        time.sleep(_SLICE_S)
    yield seconds


def main() -> None:
    """Append, then tell how much there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--events", type=int, required=True, help="a second")
    parser.add_argument("--lines", type=int, required=True, help="a second")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    print(*flood(options.folder, tasks=options.tasks, events_s=options.events, lines_s=options.lines,
                 seconds=options.seconds))  # fmt: skip


if __name__ == "__main__":
    main()
