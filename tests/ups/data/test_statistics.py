"""What is measured of samples, whatever their size and in whatever parts they come."""

import numpy as np
import pytest

from ups.data.statistics import Moments


def samples(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 2.0, shape).astype(np.float32)


@pytest.mark.parametrize(
    "shape",
    [(300, 41, 32, 1), (7, 5, 3), (3, 40, 50, 60, 2), (2, 70_001, 1), (1, 1, 1)],
    ids=["many small", "odd", "large", "odd and large", "one value"],
)
def test_moments_are_those_of_each_sample_and_channel(shape: tuple[int, ...]) -> None:
    values = samples(*shape)
    moments = Moments.of(values)
    flat = values.reshape(shape[0], -1, shape[-1]).astype(np.float64)
    assert np.allclose(moments.total, flat.sum(axis=1), rtol=1e-12)
    assert np.allclose(moments.square, (flat**2).sum(axis=1), rtol=1e-12)
    assert np.array_equal(moments.low, flat.min(axis=1))
    assert np.array_equal(moments.high, flat.max(axis=1))
    assert np.array_equal(moments.count, np.full(shape[0], flat.shape[1]))


def test_moments_do_not_depend_on_the_block_that_a_sample_comes_in() -> None:
    values = samples(60, 41, 64, 2)
    together = Moments.of(values)
    apart = Moments.joined([Moments.of(values[first : first + 7]) for first in range(0, 60, 7)])
    assert np.array_equal(together.packed(), apart.packed())
