"""One finished tiny run, shared by the tests that only look at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.ups.training.jobs import make_job, run_job, tiny_datasets
from ups.training.job import TrainingJob, TrainingResult


@pytest.fixture(autouse=True, scope="session")
def _threads() -> Iterator[None]:
    """Training sets torch's threads; leave them as they were."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    return tiny_datasets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, datasets: dict[str, dict[str, Path]]
) -> tuple[TrainingJob, TrainingResult]:
    job = make_job(tmp_path_factory.mktemp("run"), datasets)
    return job, run_job(job)
