"""Choosing patches, and refusing those that cannot work."""

import json

import pytest

from ups.config import TrainConfig, parse_train_config
from ups.errors import ConfigError
from ups.models.spec import GridTask, OperatorSpec, choose_patch, operator_spec


def config(dim: int = 64, tokens: int = 64, **patch: int) -> TrainConfig:
    return parse_train_config(
        {
            "data": {"task": ["advection1d", "darcy2d", "compressible_ns2d"]},
            "latent": {"dim": dim, "tokens": tokens},
            "operator": {
                "pdet": {"input_dim": dim, "hidden_dim": 32, "num_heads": 2, "depth": 1},
                "patch": patch,
            },
            "stages": {"operator": {"epochs": 1}},
        }
    )


def test_smallest_patch_that_fits_is_chosen() -> None:
    assert choose_patch(config(), "advection1d", (256,)) == 4
    assert choose_patch(config(), "darcy2d", (64, 64)) == 8
    assert choose_patch(config(), "darcy2d", (64, 48)) == 8


def test_given_patch_is_taken() -> None:
    assert choose_patch(config(advection1d=16), "advection1d", (256,)) == 16


def test_patch_that_does_not_divide_the_grid_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"operator\.patch\.darcy2d is 7") as caught:
        choose_patch(config(darcy2d=7), "darcy2d", (64, 64))
    assert "8, 16" in caught.value.hint


def test_patch_with_more_values_than_the_latent_width_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"256 values, more than latent\.dim 64"):
        choose_patch(config(), "compressible_ns2d", (64, 64))


def test_patch_that_makes_too_many_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"256 tokens"):
        choose_patch(config(darcy2d=4), "darcy2d", (64, 64))


def test_spec_survives_json() -> None:
    tasks = (GridTask("advection1d", (256,), 4, 0.05, 1.0), GridTask("darcy2d", (64, 64), 8, 0.0))
    spec = operator_spec(config(), tasks)
    assert OperatorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
