"""One process of a training, as torchrun starts it: `-m tests.ups.training.worker JOB.pickle [TROUBLE]`."""

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


def main(job_file: Path, trouble: str = "") -> int:
    ranks = Ranks.from_environment()
    job = TrainingJob(*pickle.loads(job_file.read_bytes()))
    job = replace(job, ranks=ranks)
    arrange(trouble, ranks)
    if not ranks.is_main:
        train(job, _Nowhere())
        return 0
    with EventWriter(job.run_dir.events_path) as sink:
        train(job, sink)
    return 0


class _Nowhere:
    def write(self, *_: Any, **fields: Any) -> None:
        raise AssertionError("only the main process writes events")


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), *sys.argv[2:]))
