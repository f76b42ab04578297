"""Batches that are read ahead are the same batches, and nobody waits for a reader that failed."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ups.converted import write_advection, write_darcy
from tests.ups.training.jobs import curve, make_job, run_job, tiny_config
from ups.data.fields import Fields
from ups.data.sampling import Batch, Pairs, PairSampler, TaskRotation
from ups.training.curriculum import rollout_steps
from ups.training.stream import EpochPlan, epoch_batches, read_ahead

Datasets = dict[str, dict[str, Path]]


@given(st.lists(st.integers()), st.integers(0, 5))
def test_order_and_number_do_not_depend_on_the_depth(items: list[int], depth: int) -> None:
    assert list(read_ahead(iter(items), depth)) == items


def test_an_error_of_the_reader_reaches_who_waits() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    found = read_ahead(failing(), 2)
    assert next(found) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


def test_a_reader_that_is_abandoned_ends() -> None:
    found = read_ahead(iter(range(100)), 2)
    assert next(found) == 0
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def drawn(folder: Path, *, samples: int, seed: int = 0) -> list[list[Batch]]:
    samplers = {
        "advection1d": PairSampler(Pairs(Fields.open(write_advection(folder)["train"])), hard_share=0.7),
        "darcy2d": PairSampler(Pairs(Fields.open(write_darcy(folder)["train"])), hard_share=0.7),
    }
    plan = EpochPlan({"advection1d": 1.0, "darcy2d": 1.0}, {"advection1d": 4, "darcy2d": 2},
                     {"advection1d": 3, "darcy2d": 1}, samples, 3)  # fmt: skip
    return list(epoch_batches(plan, samplers, TaskRotation(samplers), np.random.default_rng(seed)))


def test_an_epoch_has_its_samples_in_steps_of_homogeneous_batches(tmp_path: Path) -> None:
    groups = drawn(tmp_path, samples=50)
    assert all(len(group) == 3 for group in groups)
    total = sum(len(batch) for group in groups for batch in group)
    last = sum(map(len, groups[-1]))
    assert total - last < 50 <= total
    for batch in (batch for group in groups for batch in group):
        assert batch.targets.shape[:2] == ((4, 3) if batch.task == "advection1d" else (2, 1))


def test_windows_follow_one_another(tmp_path: Path) -> None:
    fields = Fields.open(write_advection(tmp_path)["train"])
    assert fields.states is not None
    batch = PairSampler(Pairs(fields, stride=2), hard_share=0.7).draw(32, np.random.default_rng(0), 3)
    for row, (sample, frame) in enumerate(zip(batch.samples, batch.frames, strict=True)):
        assert frame + 6 < fields.states.shape[1]
        np.testing.assert_array_equal(batch.targets[row], fields.states[sample, frame + 2 : frame + 7 : 2])


def test_unrolled_steps_follow_the_curriculum() -> None:
    config = tiny_config(
        rollout_curriculum={"enabled": True, "stages": [1, 2, 4], "epoch_boundaries": [0, 2, 5]}
    )
    assert [rollout_steps(config, epoch) for epoch in (0, 1, 2, 4, 5, 9)] == [1, 1, 2, 2, 4, 4]
    assert rollout_steps(tiny_config(), 9) == 1


def test_unrolled_training_learns_and_does_not_depend_on_reading_ahead(
    tmp_path: Path, datasets: Datasets
) -> None:
    curriculum = {"enabled": True, "stages": [1, 3], "epoch_boundaries": [0, 1]}
    jobs = [
        make_job(tmp_path / name, datasets, tiny_config(rollout_curriculum=curriculum, num_workers=workers))
        for name, workers in (("direct", 0), ("ahead", 2))
    ]
    for job in jobs:
        run_job(job)
    direct, ahead = (curve(job, "val") for job in jobs)
    assert direct == ahead
    assert curve(jobs[0], "train") == curve(jobs[1], "train")
    nrmse = [values["nrmse"] for _, _, task, values in direct if task == "advection1d"]
    assert nrmse[-1] < nrmse[0]
