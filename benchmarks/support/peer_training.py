"""Training of a peer for a number of single-thread CPU seconds, on the project's own data path."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.support.peers import Candidate, PeerOperator
from ups.data.sampling import PairSampler
from ups.evaluation.guards import Guards
from ups.evaluation.metrics import relative_error
from ups.models.operator import GridHead
from ups.physics import Symmetry, symmetries, vector_channels
from ups.training.augment import augmented, to_device
from ups.training.batch import TensorBatch
from ups.training.setup import TaskData

_WARMUP = 0.03
_WEIGHT_DECAY = 1e-5


@dataclass(frozen=True, slots=True)
class TrainedPeer:
    """A trained peer, and what its training took."""

    model: PeerOperator
    cpu_seconds: float
    samples: int
    guards: Guards | None = None
    symmetric_average: bool = False

    def given(self, guards: Guards) -> "TrainedPeer":
        """The same weights with our guards and, in two or more dimensions, symmetric averaging."""
        return replace(self, guards=guards, symmetric_average=True)

    def step(self, inputs: Tensor, parameters: Tensor, dt: float) -> Tensor:
        """One step of physical states; see `scoring.Step`."""
        spec = self.model.spec
        maps: Sequence[Symmetry] = symmetries(spec, inputs.shape[1:-1])
        if not self.symmetric_average or inputs.dim() < 4:
            maps = maps[:1]
        source = vector_channels(spec, spec.input_fields or spec.fields)
        target = vector_channels(spec, spec.fields)
        images = [
            symmetry.inverse().apply(self.model(symmetry.apply(inputs, source), parameters), target)
            for symmetry in maps
        ]
        predicted = torch.stack(images).mean(dim=0)
        return predicted if self.guards is None else self.guards.apply(predicted, inputs)


class PeerTrainer:
    """AdamW on the relative L2 error of one step: batch by batch, so that a step can be timed."""

    def __init__(
        self, candidate: Candidate, head: GridHead, data: TaskData, *, seed: int, hard_share: float
    ) -> None:
        torch.manual_seed(seed)
        self.candidate = candidate
        self.model = PeerOperator(candidate, head).train()
        self.sampler = PairSampler(data.pairs, hard_share=hard_share)
        self.random = np.random.default_rng(seed)
        self.optimizer = torch.optim.AdamW(
            self.model.network.parameters(), lr=candidate.rate, weight_decay=_WEIGHT_DECAY
        )

    def batch(self) -> TensorBatch:
        """The next batch, under a random symmetry."""
        drawn = self.sampler.draw(self.candidate.batch_size, self.random)
        return augmented(to_device(drawn, "cpu"), self.random)

    def step(self, batch: TensorBatch, done: float) -> None:
        """One update, after a share `done` of the training."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.candidate.rate * cosine(done)
        predicted = self.model(batch.inputs, batch.parameters)
        loss = relative_error(predicted, batch.targets[:, 0]).mean()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()


def train_peer(
    candidate: Candidate,
    head: GridHead,
    data: TaskData,
    *,
    seconds: float,
    seed: int,
    hard_share: float = 0.0,
) -> TrainedPeer:
    """Train one peer on one task.

    Args:
        candidate: what is trained.
        head: our untrained operator's, for the normalisation.
        data: the task's pairs.
        seconds: of CPU time, as `time.process_time` counts it; torch has to be single-threaded.
        seed: of weights and sampling.
        hard_share: share of a batch that is drawn in proportion to a pair's change.
    """
    fresh = partial(PeerTrainer, candidate, head, data, seed=seed, hard_share=hard_share)
    warming = fresh()  # a first step imports and compiles for seconds, which are nobody's training
    warming.step(warming.batch(), 0.5)
    trainer = fresh()
    steps, used, start = 0, 0.0, time.process_time()
    while used < seconds:
        trainer.step(trainer.batch(), used / seconds)
        steps += 1
        used = time.process_time() - start
    return TrainedPeer(trainer.model.eval(), used, steps * candidate.batch_size)


def cosine(done: float) -> float:
    """Share of the full learning rate after a share `done` of training: a short rise, then a half cosine."""
    if done < _WARMUP:
        return min(1.0, done / _WARMUP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - _WARMUP) / (1 - _WARMUP))))
