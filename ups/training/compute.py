"""How much a stage computes, counted in floating-point operations rather than in seconds.

A count is the same on every machine and in every run, so that what is decided by it (how long a control
lasts) is reproducible.
"""

import copy
from collections.abc import Mapping

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ups.config import TrainConfig
from ups.training.batch import TensorBatch
from ups.training.losses import PROBED_AT
from ups.training.optim import Hybrid, groups_of
from ups.training.trainee import Trainee


def flops_per_sample(
    config: TrainConfig,
    trainee: Trainee,
    module: nn.Module,
    probes: Mapping[str, TensorBatch],
    shares: Mapping[str, float],
) -> float:
    """Operations of one training step per sample of it: prediction, gradient and the optimizer's own.

    Args:
        config: the run's config.
        trainee: the stage.
        module: what it trains; neither it nor any random stream is changed.
        probes: a few pairs of each task, as long as the stage's windows.
        shares: weight of each task's samples.
    """
    probe = copy.deepcopy(module).train()
    objective = trainee.objective(probe)
    optimizer = Hybrid(probe, trainee.schedule.optimizer, muon_dtype=torch.float32, groups=groups_of(config))
    total = sum(shares.values())
    gradients = sizes = 0.0
    for task, share in shares.items():
        sizes += share / total * config.training.batch_size_of(task)
        with torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
            torch.autograd.backward(objective(probes[task], PROBED_AT)[0])
        gradients += share / total * counter.get_total_flops() / len(probes[task])
    with FlopCounterMode(display=False) as counter:
        optimizer.step(0.0)
    own: int = counter.get_total_flops()
    return gradients + own / (config.training.accum_steps * sizes)
