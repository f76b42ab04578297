"""A loss that nothing can feel stops the run; shares follow the curriculum."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.ups.training.jobs import tiny_config
from ups.config import TrainConfig, parse_train_config
from ups.data.sampling import PairSampler, probe_windows
from ups.errors import TrainingError
from ups.models.operator import LatentOperator
from ups.training.augment import augmented, to_device
from ups.training.batch import TensorBatch
from ups.training.curriculum import task_shares
from ups.training.losses import Prediction, WeightedLoss, constant, operator_losses, require_reach
from ups.training.objective import predict
from ups.training.setup import new_operator, open_data

Datasets = dict[str, dict[str, Path]]


def prepared(datasets: Datasets) -> tuple[LatentOperator, dict[str, TensorBatch]]:
    config = tiny_config()
    data = open_data(config, datasets)
    batches = {task: to_device(probe_windows(entry.pairs), "cpu") for task, entry in data.items()}
    return new_operator(config, data, 0)[0], batches


def test_the_operator_losses_reach(datasets: Datasets) -> None:
    model, batches = prepared(datasets)
    require_reach(model, operator_losses(tiny_config()), batches, predict)


@pytest.mark.parametrize("detached", [True, False])
def test_loss_without_gradient_is_named(datasets: Datasets, detached: bool) -> None:
    def dead(model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
        mean = prediction.states.mean()
        return mean.detach() if detached else 0.0 * mean

    model, batches = prepared(datasets)
    with pytest.raises(TrainingError, match=r"boundary \(weight 0\.05\) of advection1d reaches no parameter"):
        require_reach(model, (WeightedLoss("boundary", constant(0.05), dead),), batches, predict)
    for unused in (
        WeightedLoss("boundary", constant(0.0), dead),
        WeightedLoss("boundary", constant(0.05), dead, applies=lambda model, task: False),
    ):
        require_reach(model, (unused,), batches, predict)


def test_augmentation_keeps_pairs_together(datasets: Datasets) -> None:
    """The exact solution of a shifted state is the shifted solution."""
    config = tiny_config()
    entry = open_data(config, datasets)["advection1d"]
    batch = PairSampler(entry.pairs, hard_share=0.0).draw(8, np.random.default_rng(0))
    plain = to_device(batch, "cpu")
    moved = augmented(plain, np.random.default_rng(1))
    assert not torch.equal(moved.inputs, plain.inputs)
    for before, after in ((plain.inputs, moved.inputs), (plain.targets[:, 0], moved.targets[:, 0])):
        torch.testing.assert_close(
            torch.fft.rfft(before, dim=1).abs(), torch.fft.rfft(after, dim=1).abs(), atol=1e-4, rtol=1e-4
        )
    difference = torch.fft.rfft(moved.targets[:, 0] - moved.inputs, dim=1).abs()
    torch.testing.assert_close(
        difference, torch.fft.rfft(plain.targets[:, 0] - plain.inputs, dim=1).abs(), atol=1e-4, rtol=1e-4
    )


def curriculum(strategy: str = "balanced") -> TrainConfig:
    return parse_train_config(
        {
            "data": {"task": ["advection1d", "darcy2d"], "task_sampling": {"strategy": strategy}},
            "training": {
                "task_curriculum": {
                    "enabled": True,
                    "stages": [
                        {"epochs": [0, 2], "tasks": ["advection1d"]},
                        {"epochs": [2, 4], "tasks": ["advection1d", "darcy2d"], "weights": "inverse_nrmse"},
                    ],
                }
            },
            "stages": {"operator": {"epochs": 6}},
        }
    )


def test_a_weight_is_a_factor_of_the_share() -> None:
    sampling = {"strategy": "proportional", "weights": {"darcy2d": 3.0}}
    config = parse_train_config(
        {
            "data": {"task": ["advection1d", "darcy2d"], "task_sampling": sampling},
            "stages": {"operator": {"epochs": 1}},
        }
    )
    shares = task_shares(config, 0, {"advection1d": 100, "darcy2d": 10}, {})
    assert shares == {"advection1d": 100.0, "darcy2d": 30.0}


def test_shares_follow_the_curriculum() -> None:
    pairs, nrmse = {"advection1d": 100, "darcy2d": 10}, {"advection1d": 0.1, "darcy2d": 0.4}
    assert task_shares(curriculum(), 1, pairs, nrmse) == {"advection1d": 1.0}
    assert task_shares(curriculum(), 2, pairs, nrmse) == nrmse  # the harder task gets more
    assert task_shares(curriculum(), 2, pairs, {}) == {"advection1d": 1.0, "darcy2d": 1.0}
    assert task_shares(curriculum("proportional"), 5, pairs, nrmse) == {"advection1d": 100.0, "darcy2d": 10.0}
