"""Which cache a config would read, and which cannot be kept."""

from typing import Any

import pytest

from remote.precompute import CacheShape
from ups.config import TrainConfig, parse_train_config
from ups.errors import ConfigError


def config(**data: Any) -> TrainConfig:
    return parse_train_config(
        {
            "data": {"task": ["darcy2d"], **data},
            "operator": {"patch": {"darcy2d": [16, 8]}},
            "stages": {"operator": {"epochs": 1}},
        }
    )


def test_cache_of_a_config_is_cut_as_its_model_cuts() -> None:
    shape = CacheShape.of_config(config())
    assert (shape.version, dict(shape.patch)) == ("upt_128d_128tok", {"darcy2d": (16, 8)})


def test_pooled_fields_are_not_cached() -> None:
    with pytest.raises(ConfigError, match=r"data\.patch_size: pooled fields are not cached"):
        CacheShape.of_config(config(patch_size=2))
