"""One process of trainings, as torchrun starts it: `-m tests.ups.training.worker TROUBLE JOB.pickle …`."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.ups.training.trouble import arrange
from ups.events import EventWriter
from ups.ranks import Ranks
from ups.training.job import TrainingJob
from ups.training.run import train


def main(trouble: str, *job_files: Path) -> int:
    ranks = Ranks.from_environment()
    arrange(trouble, ranks)
    for number, job_file in enumerate(job_files):
        job = TrainingJob(*pickle.loads(job_file.read_bytes()))
        # The processes meet anew for each, as if they had been started anew.
        work(replace(job, ranks=replace(ranks, start=f"{ranks.restarts}.{number}")))
    return 0


def work(job: TrainingJob) -> None:
    """The part of this process in a training."""
    if not job.ranks.is_main:
        train(job, _Nowhere())
        return
    with EventWriter(job.run_dir.events_path) as sink:
        train(job, sink)


class _Nowhere:
    def write(self, *_: Any, **fields: Any) -> None:
        raise AssertionError("only the main process writes events")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], *map(Path, sys.argv[2:])))
