"""Starts trainings of several processes with torchrun, and leaves no process behind."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

from remote.watchdog import marked_processes
from ups.training.job import TrainingJob

_ROOT = Path(__file__).parents[3]
_MARK = "UPS_TEST_GANG"


@contextlib.contextmanager
def launched(*command: str, processes: int = 2, restarts: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A command under torchrun, which prints to a pipe; whatever is left of it at the end is killed."""
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
        "--max-restarts", str(restarts), *command,
    ]  # fmt: skip
    mark = uuid.uuid4().hex  # the processes that torchrun starts are sessions of their own
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT), _MARK: mark}
    process = subprocess.Popen(
        launcher, env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        for pid in marked_processes(f"{_MARK}={mark}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def torchrun(*command: str, processes: int = 2, restarts: int = 0, timeout_s: float = 240) -> tuple[int, str]:
    """Run a command under torchrun to its end; returns the exit code and what was printed."""
    with launched(*command, processes=processes, restarts=restarts) as process:
        printed, _ = process.communicate(timeout=timeout_s)
    return process.returncode, printed


def run_gang(*jobs: TrainingJob, trouble: str = "", processes: int = 2) -> tuple[int, str]:
    """Trainings by the same several processes, one after another."""
    job_files = [job.run_dir.root / "job.pickle" for job in jobs]
    for job, job_file in zip(jobs, job_files, strict=True):
        job_file.write_bytes(pickle.dumps((job.spec, job.run_dir, job.datasets, job.device)))
    command = ("-m", "tests.ups.training.worker", trouble, *map(str, job_files))
    return torchrun(*command, processes=processes)
