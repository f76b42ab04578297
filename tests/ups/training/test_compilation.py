"""A compiled run learns what an eager one does, keeps its files, and never fails for want of a compiler."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.ups.training.jobs import curve, events, make_job, run_job, tiny_config, tiny_datasets
from ups.config import TrainConfig
from ups.events import EventType
from ups.models import checkpoint as checkpoints
from ups.models.pdet import Block, PdetStack
from ups.models.spec import GridTask, operator_spec
from ups.training.compilation import DISABLE, compile_blocks

Datasets = dict[str, dict[str, Path]]
ONE_JOB = Path(__file__)
"""Run as a program it trains the tiny job into the folder that it is given."""


def one_task(*, compiled: bool) -> TrainConfig:
    """One task, one epoch, two blocks: one compiled function to train with, and one to validate."""
    content = tiny_config(compile=compiled, samples_per_epoch=24, ema_decay=0.9).model_dump(mode="json")
    content["data"]["task"], content["stages"]["operator"]["epochs"] = ["advection1d"], 1
    content["operator"]["pdet"]["drop_path"] = 0.0
    return TrainConfig.model_validate(content)


class Warnings:
    """A sink that keeps the warnings."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def write(self, kind: EventType, **fields: Any) -> None:
        assert kind is EventType.WARNING
        self.seen.append(fields)


@pytest.fixture
def stack() -> Iterator[PdetStack]:
    task = GridTask("advection1d", (32,), 2, 0.05)
    yield PdetStack(operator_spec(one_task(compiled=True), (task,)))
    torch.compiler.reset()


@pytest.mark.needs_program("g++")
def test_a_compiled_run_computes_what_an_eager_one_does(tmp_path: Path, datasets: Datasets) -> None:
    jobs = [
        make_job(tmp_path / str(compiled), datasets, one_task(compiled=compiled))
        for compiled in (True, False)
    ]
    results = [run_job(job) for job in jobs]

    assert [events(job, EventType.WARNING) for job in jobs] == [[], []]
    for split in ("train", "val"):
        ours, theirs = (curve(job, split) for job in jobs)
        assert [point[:3] for point in ours] == [point[:3] for point in theirs] != []
        for point, expected in zip(ours, theirs, strict=True):
            assert point[3] == pytest.approx(expected[3], abs=1e-4)
    weights = [checkpoints.read(result.checkpoint).tensors(checkpoints.MODEL_FILE) for result in results]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-4, rtol=0)


def test_compiling_is_in_place_and_a_copy_is_not_compiled(stack: PdetStack) -> None:
    names = list(stack.state_dict())

    assert compile_blocks(stack, lambda: None, Warnings())

    assert list(stack.state_dict()) == names
    assert all(is_compiled(block) for block in blocks(stack))
    assert not any(is_compiled(block) for block in blocks(copy.deepcopy(stack)))


@pytest.mark.parametrize(("value", "forbidden"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_environment_overrides(
    stack: PdetStack, monkeypatch: pytest.MonkeyPatch, value: str, forbidden: bool
) -> None:
    monkeypatch.setenv(DISABLE, value)
    sink = Warnings()

    assert compile_blocks(stack, lambda: None, sink) is not forbidden

    assert [DISABLE in warning["message"] for warning in sink.seen] == [True] * forbidden
    assert is_compiled(blocks(stack)[0]) is not forbidden


def test_a_rehearsal_that_runs_out_of_memory_says_nothing_about_the_compiler(stack: PdetStack) -> None:
    sink = Warnings()

    assert compile_blocks(stack, raising(torch.OutOfMemoryError("full")), sink)
    assert not compile_blocks(stack, raising(RuntimeError("no compiler\nat all")), sink)

    assert ["no compiler" in warning["message"] for warning in sink.seen] == [True]
    assert not is_compiled(blocks(stack)[0])


def test_a_run_without_a_compiler_is_eager_and_says_so(tmp_path: Path) -> None:
    environment = {
        **os.environ, "CXX": str(tmp_path / "c++"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    subprocess.run([sys.executable, str(ONE_JOB), str(tmp_path)], env=environment, check=True, timeout=120)

    job = make_job(tmp_path / "run", {}, one_task(compiled=True))
    (warning,) = events(job, EventType.WARNING)
    assert warning.fields["code"] == "compile"
    assert curve(job, "val")


def blocks(stack: PdetStack) -> list[Block]:
    return [part for part in stack.modules() if isinstance(part, Block)]


def is_compiled(block: Block) -> bool:
    return block._compiled_call_impl is not None


def raising(error: Exception) -> Callable[[], None]:
    def rehearse() -> None:
        raise error

    return rehearse


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_job(make_job(folder / "run", tiny_datasets(folder), one_task(compiled=True)))
