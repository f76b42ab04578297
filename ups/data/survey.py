"""What one pass over a train split measures, for normalisation, guards and the static baseline.

Free of torch. Everything is accumulated in float64, a block of trajectories at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ups.data.fields import FieldArray, Fields
from ups.data.split import Split
from ups.errors import DataError

Doubles = NDArray[np.float64]

_READ_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Survey:
    """Statistics of a train split, per channel."""

    mean: Doubles
    """[C] of the predicted fields, as are `std`, `low`, `high`."""
    std: Doubles
    low: Doubles
    high: Doubles
    input_mean: Doubles
    """[Ci]; of the states for a time stepper."""
    input_std: Doubles
    mean_field: Doubles | None
    """[*S, C] mean of each cell; static tasks only, and on points [C], since no two samples share any."""
    residual_std: Doubles
    """[C] deviation from `mean_field` (static) or from `mean`."""
    drift: Doubles | None
    """[C] mean change of the spatial mean in one stored step, in units of `std`; None for static tasks and
    on particles, whose own mean nothing conserves."""


def survey(fields: Split) -> Survey:
    """Measure a train split.

    Raises:
        DataError: a value is not finite, or a channel never varies.
    """
    if fields.states is not None:
        moments = _moments(fields, fields.states)
        drift = _drift(fields.states) / moments.std if isinstance(fields, Fields) else None
        return Survey(
            moments.mean, moments.std, moments.low, moments.high, moments.mean, moments.std,
            None, moments.std, drift,
        )  # fmt: skip
    assert fields.inputs is not None
    assert fields.targets is not None
    targets, inputs = _moments(fields, fields.targets), _moments(fields, fields.inputs)
    if not isinstance(fields, Fields):
        return Survey(
            targets.mean, targets.std, targets.low, targets.high, inputs.mean, inputs.std,
            targets.mean, targets.std, None,
        )  # fmt: skip
    mean_field = _blocks_mean(fields.targets)
    residual = np.sqrt(np.maximum(targets.square - _channel_mean(mean_field**2), 1e-24))
    return Survey(
        targets.mean, targets.std, targets.low, targets.high, inputs.mean, inputs.std,
        mean_field, residual, None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Moments:
    mean: Doubles
    std: Doubles
    low: Doubles
    high: Doubles
    square: Doubles


def _moments(fields: Split, array: FieldArray) -> _Moments:
    channels = array.shape[-1]
    total, square, count = np.zeros(channels), np.zeros(channels), 0
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    for block in _blocks(array):
        flat = block.reshape(-1, channels).astype(np.float64)
        total += flat.sum(axis=0)
        square += (flat**2).sum(axis=0)
        count += len(flat)
        low, high = np.minimum(low, flat.min(axis=0)), np.maximum(high, flat.max(axis=0))
    if not np.isfinite(total).all():
        raise DataError(
            f"{fields.path} holds values that are not finite", hint="convert or make the data again"
        )
    mean, square = total / count, square / count
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    if not (std > 1e-12).all():
        raise DataError(f"a channel of {fields.path} never varies: nothing can be learned from it")
    return _Moments(mean, std, low, high, square)


def _drift(states: FieldArray) -> Doubles:
    total, count = np.zeros(states.shape[-1]), 0
    for block in _blocks(states):
        means = block.reshape(*block.shape[:2], -1, block.shape[-1]).mean(
            axis=2, dtype=np.float64
        )  # [n, T, C]
        steps = np.abs(np.diff(means, axis=1))
        total += steps.sum(axis=(0, 1))
        count += steps.shape[0] * steps.shape[1]
    return total / max(count, 1)


def _blocks_mean(array: FieldArray) -> Doubles:
    total = np.zeros(array.shape[1:])
    for block in _blocks(array):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(array)


def _channel_mean(field: Doubles) -> Doubles:
    mean: Doubles = field.reshape(-1, field.shape[-1]).mean(axis=0)
    return mean


def _blocks(array: FieldArray) -> Iterator[NDArray[np.float32]]:
    rows = max(1, _READ_BYTES // max(1, array[0].nbytes))
    for first in range(0, len(array), rows):
        yield np.asarray(array[first : first + rows])
