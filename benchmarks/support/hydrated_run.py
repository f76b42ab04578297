"""A run on an empty disk, its store behind a line of a given speed, timed to its first training step.

As a program (`-m benchmarks.support.hydrated_run RUN_DIR BYTES_PER_S WHOLE`) it is that run; with WHOLE
`1` training begins when the data of all tasks are here.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.throttled import ThrottledStore
from ups import catalog
from ups.config import TrainConfig
from ups.events import Event, EventReader, EventType
from ups.rundir import RunDirectory, RunSpec, config_sha256, render_spec
from ups.store import ObjectStore
from ups.stores.directory import DirectoryStore

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_S = 900.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Box:
    """A machine that has nothing yet."""

    folder: Path
    """Empty."""
    store: DirectoryStore
    bytes_per_s: float

    def seconds_to_first_step(
        self, config: TrainConfig, *, whole: bool = False, precompute: bool = False
    ) -> float:
        """From the start of the process to the first point of a training curve; ends the run then.

        Args:
            config: its first step has to be logged.
            whole: wait for all tasks.
            precompute: build the latent caches that the store lacks first.

        Raises:
            RuntimeError: the run ended before.
        """
        run = self._run_directory(config, precompute=precompute)
        command = [sys.executable, "-m", __name__, str(run.root), str(self.bytes_per_s), str(int(whole))]
        with run.log_path.open("w") as log:
            started = time.time()
            process = subprocess.Popen(
                command, cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                return _first_step(run, process).t - started
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _run_directory(self, config: TrainConfig, *, precompute: bool) -> RunDirectory:
        run = RunDirectory(self.folder / "run")
        run.root.mkdir(parents=True)
        spec = RunSpec(
            run="startup", name="startup", created=time.time(), config=config, tasks=config.data.task,
            stages=("operator",), seed=0, threads=None, store=self.store.url, precompute=precompute,
            datasets=catalog.pins(self.store, config.data.task), code_version="0",
            config_sha256=config_sha256(config),
        )  # fmt: skip
        run.spec_path.write_text(render_spec(spec), encoding="utf-8")
        return run


def _first_step(run: RunDirectory, process: "subprocess.Popen[bytes]") -> Event:
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        over = process.poll() is not None
        events = EventReader(run.events_path).read() if run.events_path.exists() else []
        for event in events:
            if event.type == EventType.METRIC and event.fields["split"] == "train":
                return event
        if over:
            break
        time.sleep(_LOOK_S)
    raise RuntimeError(f"no step was trained:\n{run.log_path.read_text()}")


def main() -> int:
    """The run itself."""
    from remote import pipeline, supply
    from remote.__main__ import main as execute

    run, bytes_per_s, whole = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "1"

    def behind_a_line(url: str) -> ObjectStore:
        return ThrottledStore(Path(url.removeprefix("dir:")), bytes_per_s)

    def one_group(config: TrainConfig) -> list[list[str]]:
        return [list(config.data.task)]

    pipeline.open_store = behind_a_line
    if whole:
        supply.groups = one_group
    return execute(["run", run])


if __name__ == "__main__":
    raise SystemExit(main())
