"""The losses that keep encoder and decoder each other's inverse (after UPT, Alkin et al. 2024).

`inv_enc` decodes an encoded state, at sampled points or at every cell, and compares it with the state.
`inv_dec` encodes a decoded prediction and compares it with the latents. Both train the learned
refinements of the codec and nothing else: the operator is not in the first, and the latents of the
second are detached. With a gradient through them the operator could lower the loss by moving its
latents to where the codec happens to be exact. Constant latents, and an error relative to them, leave
no such way out: the gradient is zero only where the decoder is inverted. It reaches the decoder's
refinement through the decoded field, and the encoder's through the encoding of that field.

A codec that loses nothing starts at an error of rounding, whose direction says nothing. `settled` takes
the gradient away there, so that the losses pull back a codec that has drifted, and leave alone one that
has not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ups.config import QuerySampling, Training
from ups.evaluation.metrics import relative_error
from ups.models.codec import FieldCodec
from ups.models.operator import LatentOperator
from ups.models.queries import query_points
from ups.training.batch import Moment, TensorBatch
from ups.training.terms import Prediction, WeightedLoss, on_grids

_SETTLED = 1e-3
"""Relative error well below which a codec counts as its own inverse."""


def inverse_losses(training: Training) -> tuple[WeightedLoss, ...]:
    """The inverse losses that a config gives a weight; () where it does not use them."""
    if not training.use_inverse_losses:
        return ()
    terms = (
        ("inv_enc", training.lambda_inv_enc, InverseEncoding(training.query_sampling)),
        ("inv_dec", training.lambda_inv_dec, inverse_decoding),
    )
    return tuple(
        WeightedLoss(name, _rising(weight, training), compute, on_grids)
        for name, weight, compute in terms
        if weight
    )


@dataclass(frozen=True, slots=True)
class InverseEncoding:
    """Mean relative L2 error, in physical units, of decode(encode(u)) against u."""

    queries: QuerySampling

    def __call__(self, model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
        """Of the inputs; for a static task also of the answers, which have a codec of their own."""
        head = model.grid_head(batch.task)
        errors = [self._error(head.source, batch.inputs)]
        if head.target is not head.source:
            errors.append(self._error(head.target, batch.targets[:, 0]))
        return torch.stack(errors).mean()

    def _error(self, codec: FieldCodec, field: Tensor) -> Tensor:
        grid = field.shape[1:-1]
        if not self.queries.enabled or self.queries.num_queries >= math.prod(grid):
            return settled(relative_error(codec.reconstruct(field), field)).mean()
        points = query_points(self.queries.strategy, self.queries.num_queries, grid, len(field))
        points = points.to(field.device)
        decoded = codec.decode_at(codec.encode(codec.normalise(field)), points)
        return settled(relative_error(decoded, codec.at(field, points))).mean()


def inverse_decoding(model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
    """Mean relative L2 error of encode(decode(z)) against z, the latents of the prediction.

    Compared is what the decoder reads of them. A token wider than its patch has directions that no
    field can show; an error there would ask the decoder to hide them in the field.
    """
    codec = model.grid_head(batch.task).target
    latents = prediction.latents.detach()
    again = codec.encode(codec.decode(latents))
    return settled(relative_error(codec.read(again), codec.read(latents))).mean()


def settled(error: Tensor) -> Tensor:
    """max(e − δ, 0): the error where it counts, without any gradient where it is rounding.

    Without any: an optimizer that divides by the size of past gradients makes full steps of the smallest.
    """
    return functional.relu(error - _SETTLED)


def _rising(weight: float, training: Training) -> Callable[[Moment], float]:
    """The capped weight: from zero over the warm-up, at every so-manieth optimizer step."""
    full = min(weight, training.inverse_loss_max_weight)
    warmup, frequency = training.inverse_loss_warmup_epochs, training.inverse_loss_frequency

    def at(moment: Moment) -> float:
        if moment.step % frequency:
            return 0.0
        return full * min(1.0, moment.epoch / warmup) if warmup else full

    return at
