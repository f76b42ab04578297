"""The encoders' bases, fitted once before training, and what the encoders leave out, said out loud."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ups.config import TrainConfig
from ups.data.point_sampling import PointPairs
from ups.data.sampling import Pairs, probe_windows
from ups.data.split import Split, pairs_of
from ups.evaluation.metrics import relative_error
from ups.events import EventType
from ups.models.operator import GridHead, LatentOperator
from ups.training.augment import augmented, to_device
from ups.training.job import EventSink

_SAMPLED_VALUES = 2**25
"""Values of a field's sample: 128 MiB, thousands of even the largest patches."""
_SAMPLES_PER_SYMMETRY = 8
_FRAMES = 8
"""States of each trajectory, on average, on which the floor is measured."""
_WORRYING_SHARE = 1 / 3
"""Of `target_nrmse`."""


def fit_bases(model: LatentOperator, pairs: Mapping[str, Pairs | PointPairs], *, augment: bool) -> None:
    """Project on the leading directions of the train split wherever a patch does not fit a token.

    The sample is the same for the same data: pairs spread evenly over the split, moved as augmentation
    will move them.

    Args:
        model: the operator, which knows its normalisation already.
        pairs: the training pairs of each of its tasks.
        augment: training will augment its batches.
    """
    for task, entry in pairs.items():
        head = model.head(task)
        if not isinstance(head, GridHead) or not isinstance(entry, Pairs):
            continue
        if head.source.projects or head.target.projects:
            inputs, targets = _sampled(entry, augment=augment)
            head.source.fit(inputs)
            if head.target is not head.source:
                head.target.fit(targets)


def warn_of_floors(
    model: LatentOperator, files: Mapping[str, Split], config: TrainConfig, sink: EventSink
) -> None:
    """Warn where what an encoder leaves out of the validation split is much of `target_nrmse`.

    Args:
        model: the untrained operator with its bases fitted.
        files: the validation file of each of its tasks.
        config: the experiment.
        sink: gets a `warning` event for each such task.
    """
    if config.target_nrmse is None:
        return
    for task, fields in files.items():
        head = model.head(task)
        if isinstance(head, GridHead) and head.target.lossless:
            continue
        floor = reconstruction_floor(model, fields, samples=config.evaluation.validation_samples)
        if floor > _WORRYING_SHARE * config.target_nrmse:
            sink.write(
                EventType.WARNING, code="reconstruction",
                message=f"encoding and decoding {task} leaves out {floor:.3g} of it (relative L2, validation"
                f" split), more than a third of target_nrmse {config.target_nrmse:g}",
                hint="raise latent.tokens, latent.dim or data.supernodes, or lower data.patch_size",
            )  # fmt: skip


@torch.no_grad()
def reconstruction_floor(model: LatentOperator, fields: Split, *, samples: int) -> float:
    """Mean relative L2 error, in physical units, of decode(encode(x)) on some states of a file."""
    pairs = pairs_of(fields)
    count = min(len(pairs), samples * _FRAMES)
    chosen = np.linspace(0, len(pairs) - 1, count).astype(np.int64)
    errors, device = [], str(model.task_embedding.device)
    for first in range(0, count, _SAMPLES_PER_SYMMETRY):
        some = chosen[first : first + _SAMPLES_PER_SYMMETRY]
        batch = to_device(pairs.take(some // pairs.starts, some % pairs.starts), device)
        states = batch.targets.flatten(0, 1)
        errors.append(relative_error(model.reconstruct(batch.task, states, batch.geometry), states))
    return float(torch.cat(errors).mean())


def _sampled(pairs: Pairs, *, augment: bool) -> tuple[Tensor, Tensor]:
    """Inputs [M, *S, Ci] and answers [M, *S, C] in physical units."""
    random = np.random.default_rng(0)
    first = probe_windows(pairs)
    count = min(len(pairs), max(1, _SAMPLED_VALUES // max(first.inputs[0].size, first.targets[0].size)))
    chosen = np.linspace(0, len(pairs) - 1, count).astype(np.int64)
    inputs, targets = [], []
    for start in range(0, count, _SAMPLES_PER_SYMMETRY):
        some = chosen[start : start + _SAMPLES_PER_SYMMETRY]
        batch = to_device(pairs.take(some // pairs.starts, some % pairs.starts), "cpu")
        if augment:
            batch = augmented(batch, random)
        inputs.append(batch.inputs)
        targets.append(batch.targets.flatten(0, 1))
    return torch.cat(inputs), torch.cat(targets)
