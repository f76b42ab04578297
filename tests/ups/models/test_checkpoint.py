"""Checkpoints: whole or not there, whenever the process died."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ups.errors import NotFoundError, TrainingError
from ups.models import checkpoint as checkpoints


def write(parent: Path, epoch: int, score: float | None) -> checkpoints.Checkpoint:
    tensors = {"model.safetensors": {"w": torch.full((4,), float(epoch))}}
    return checkpoints.write(parent, "operator", epoch, tensors, {"score": score})


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = write(tmp_path, 3, 0.5).path
    found = checkpoints.read(path)
    assert (found.stage, found.epoch, found.score) == ("operator", 3, 0.5)
    assert torch.equal(found.tensors("model.safetensors")["w"], torch.full((4,), 3.0))
    assert found.tensors("ema.safetensors") == {}


def test_last_and_best_stay_and_the_rest_goes(tmp_path: Path) -> None:
    for epoch, score in enumerate((None, 0.5, 0.2, 0.4, 0.3)):
        write(tmp_path, epoch, score)
        checkpoints.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["operator-0002", "operator-0004"]
    assert checkpoints.read(tmp_path).epoch == 2
    newest = checkpoints.last(tmp_path)
    assert newest is not None
    assert newest.epoch == 4


def test_damaged_checkpoint_is_passed_over_and_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, 1, 0.5)
    damaged = write(tmp_path, 2, 0.1).path
    file = damaged / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    newest = checkpoints.last(tmp_path)
    assert newest is not None
    assert newest.epoch == 1
    with pytest.raises(TrainingError, match="another sha256"):
        checkpoints.read(damaged)


def test_directory_without_a_checkpoint_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        checkpoints.read(tmp_path)


class Died(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("survives", range(7))
def test_death_at_any_sync_or_rename_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    write(tmp_path, 1, 0.5)
    left = [survives]

    def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if left[0] == 0:
                raise Died
            left[0] -= 1
            return function(*args)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", mortal(os.fsync))
        patch.setattr(Path, "rename", mortal(Path.rename))
        try:
            write(tmp_path, 2, 0.1)
            completed = True
        except Died:
            completed = False
    newest = checkpoints.last(tmp_path)
    assert newest is not None
    assert newest.epoch == 2 if completed else newest.epoch in (1, 2)
    assert newest.tensors("model.safetensors")["w"][0] == newest.epoch
    write(tmp_path, 2, 0.1)
    checkpoints.prune(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["operator-0002"]


def test_a_checkpoint_that_was_being_removed_by_a_killed_process_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epoch, score in ((1, 0.9), (2, 0.5)):
        write(tmp_path, epoch, score)

    def killed(path: Path, **_: object) -> None:
        (path / "state.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.prune(tmp_path)
    checkpoints.prune(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["operator-0002"]


@pytest.mark.parametrize(
    ("scores", "winner"),
    [
        ({"operator": 0.3, "diff_residual": 0.2, "diff_residual_control": 0.25}, "diff_residual"),
        ({"operator": 0.2, "diff_residual": 0.3, "consistency_distill": 0.25}, "operator"),
        ({"operator": 0.3, "diff_residual": 0.3, "diff_residual_control": 0.3}, "operator"),
        ({"operator": 0.3, "diff_residual": None, "diff_residual_control": 0.1}, "diff_residual_control"),
    ],
)
def test_best_of_all_stages_is_the_lowest_score_and_the_earlier_among_equals(
    tmp_path: Path, scores: dict[str, float | None], winner: str
) -> None:
    for stage, score in scores.items():
        checkpoints.write(tmp_path, stage, 1, {}, {"score": score})
        checkpoints.prune(tmp_path)
    assert checkpoints.read(tmp_path).stage == winner
    assert len(list(tmp_path.iterdir())) == len(scores)  # each stage keeps its best
