"""The same run twice: as a genuine offline run of wandb, and as `events.jsonl`.

Both hold the same floats at the same steps. wandb has one record a step with all metrics in it, an events
file one line a task. The values of a step depend on the seed and the step alone, so that a run can be
continued by another process.

As a program it keeps one run open and does what is asked of it a line at a time; see `Writer`.
"""

import argparse
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ups.events import encode

QUIETLY = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
"""wandb asks nobody and tells nobody."""
STEPS_AN_EPOCH = 1000
_SECONDS_A_STEP = 0.01


def losses(step: int, tasks: int, seed: int = 0) -> list[float]:
    """The loss of each task at a step: falling, and noisy."""
    rng = random.Random((seed << 40) ^ (step * 2_654_435_761))
    return [
        (0.02 * (task + 1) + math.exp(-step / (3000.0 * (task + 1))) * (1 + 0.2 * task))
        * math.exp(rng.gauss(0.0, 0.08))
        for task in range(tasks)
    ]


def task_names(tasks: int) -> list[str]:
    return [f"task{index}" for index in range(tasks)]


class OpenRun(Protocol):
    """A run that steps are written to."""

    folder: Path
    """What a viewer is started on."""

    def log(self, step: int) -> None:
        """Write one step of all tasks."""

    def finish(self) -> None:
        """Write its end."""


class EventsRun:
    """A run directory with nothing in it but events."""

    def __init__(self, folder: Path, tasks: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self._names, self._seq = folder, task_names(tasks), 0
        self._began = time.time()
        self._file = (folder / "events.jsonl").open("wb", buffering=0)
        self._write([{"type": "run", "name": "bench", "tasks": self._names, "stages": ["operator"]}])

    def log(self, step: int) -> None:
        self.log_many(range(step, step + 1))

    def log_many(self, steps: range) -> None:
        """Write some steps at once."""
        self._write([event for step in steps for event in self._of_step(step)])

    def finish(self) -> None:
        self._write([{"type": "done", "status": "succeeded", "exit_code": 0, "summary": ""}])
        self._file.close()

    def _of_step(self, step: int) -> Iterator[dict[str, Any]]:
        for name, loss in zip(self._names, losses(step, len(self._names)), strict=True):
            yield {
                "t": round(self._began + _SECONDS_A_STEP * step, 3), "type": "metric", "stage": "operator",
                "epoch": step // STEPS_AN_EPOCH, "step": step, "task": name, "split": "train",
                "values": {"loss": loss},
            }  # fmt: skip

    def _write(self, events: list[dict[str, Any]]) -> None:
        lines = []
        for event in events:
            fields = {name: value for name, value in event.items() if name not in ("t", "type")}
            lines.append(encode(self._seq, event.get("t", self._began), event["type"], fields))
            self._seq += 1
        self._file.write(b"".join(lines))


class WandbRun:
    """An offline run, as wandb writes it; without system metrics and console, which the twin lacks too."""

    def __init__(self, folder: Path, tasks: int) -> None:
        folder.mkdir(parents=True)
        os.environ.update(QUIETLY)
        import wandb

        self._keys = [f"{name}/loss" for name in task_names(tasks)]
        self._run = wandb.init(
            project="bench",
            name="bench",
            dir=str(folder),
            settings=wandb.Settings(
                mode="offline", silent=True, console="off", x_disable_stats=True, x_disable_meta=True,
                disable_git=True, save_code=False,
            ),
        )  # fmt: skip
        self.folder = max((folder / "wandb").glob("offline-run-*")).absolute()

    def log(self, step: int) -> None:
        self._run.log(dict(zip(self._keys, losses(step, len(self._keys)), strict=True)), step=step)

    def finish(self) -> None:
        self._run.finish()


KINDS: dict[str, type[EventsRun] | type[WandbRun]] = {"events": EventsRun, "wandb": WandbRun}


def write_finished(kind: str, folder: Path, tasks: int, steps: int) -> Path:
    """Write a whole run in a process of its own; returns what a viewer is started on."""
    with Writer(kind, folder, tasks, steps) as writer:
        writer.finish()
        return writer.folder


class Writer:
    """A process that holds a run open and appends to it when told to."""

    def __init__(self, kind: str, folder: Path, tasks: int, steps: int) -> None:
        """Args:
        kind: one of `KINDS`.
        folder: new.
        tasks: curves.
        steps: written before this returns.
        """
        command = [sys.executable, __file__, kind, str(folder), "--tasks", str(tasks), "--steps", str(steps)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.folder = Path(self._answer())

    def append(self, rate: float, seconds: float) -> None:
        """Begin to append so many steps a second, for so long; `wait` waits for the end."""
        self._say(f"append {rate} {seconds}")

    def wait(self) -> int:
        """Wait until what was told is done; the steps written so far."""
        return int(self._answer())

    def finish(self) -> None:
        """End the run."""
        self._say("finish")
        self.wait()

    def _say(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the writer ended with {self._process.wait()}")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def ticks(rate: float, seconds: float) -> Iterator[int]:
    """0, 1, 2, … at `rate` a second, without drift."""
    began = time.monotonic()
    for count in range(int(rate * seconds)):
        time.sleep(max(0.0, began + count / rate - time.monotonic()))
        yield count


def main() -> None:
    """Write the run, say where it is, and obey."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    run: OpenRun = KINDS[options.kind](options.folder, options.tasks)
    for step in range(options.steps):
        run.log(step)
    written = options.steps
    time.sleep(0.0 if options.kind == "events" else 2.0)  # until wandb-core has written what it holds
    print(run.folder, flush=True)
    for line in sys.stdin:
        match line.split():
            case ["append", rate, seconds]:
                for _ in ticks(float(rate), float(seconds)):
                    run.log(written)
                    written += 1
            case ["finish"]:
                run.finish()
        print(written, flush=True)


if __name__ == "__main__":
    main()
