"""How a config and a grid become a spec: patches, pooling, and refusing what cannot work."""

import json

import pytest

from ups.config import TrainConfig, parse_train_config
from ups.errors import ConfigError
from ups.models.spec import GridTask, OperatorSpec, choose_patch, operator_spec


def config(
    dim: int = 64, tokens: int = 64, pool: int = 1, heads: int = 2, **patch: int | list[int]
) -> TrainConfig:
    return parse_train_config(
        {
            "data": {"task": ["advection1d", "darcy2d", "compressible_ns2d"], "patch_size": pool},
            "latent": {"dim": dim, "tokens": tokens},
            "operator": {
                "pdet": {"input_dim": dim, "hidden_dim": 32, "num_heads": heads, "depth": 1},
                "patch": patch,
            },
            "stages": {"operator": {"epochs": 1}},
        }
    )


@pytest.mark.parametrize(
    ("task", "grid", "edges"),
    [
        ("advection1d", (256,), (4,)),
        ("darcy2d", (64, 64), (8, 8)),
        ("darcy2d", (64, 48), (8, 8)),
        ("compressible_ns2d", (64, 64), (8, 8)),  # 4 channels: 256 values, projected on 64
    ],
)
def test_smallest_patch_that_fits_is_chosen(task: str, grid: tuple[int, ...], edges: tuple[int, ...]) -> None:
    assert choose_patch(config(), task, grid) == edges


def test_edges_differ_where_that_keeps_a_patch_whole() -> None:
    assert choose_patch(config(128, 128), "darcy2d", (128, 128)) == (16, 8)


def test_given_patch_is_taken() -> None:
    assert choose_patch(config(advection1d=16), "advection1d", (256,)) == (16,)
    assert choose_patch(config(darcy2d=[16, 8]), "darcy2d", (64, 64)) == (16, 8)
    assert choose_patch(config(compressible_ns2d=32), "compressible_ns2d", (64, 64)) == (32, 32)


def test_patches_count_pooled_cells() -> None:
    assert choose_patch(config(pool=4), "darcy2d", (128, 128)) == (4, 4)
    task = GridTask("darcy2d", (128, 128), (4, 4), 0.0, pool=4)
    assert (task.coarse, task.tokens) == ((32, 32), (8, 8))


def test_pooling_that_does_not_divide_the_grid_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.patch_size is 5") as caught:
        choose_patch(config(pool=5), "darcy2d", (64, 64))
    assert "2, 4, 8" in caught.value.hint


def test_patch_that_does_not_divide_the_grid_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"operator\.patch\.darcy2d is 7") as caught:
        choose_patch(config(darcy2d=7), "darcy2d", (64, 64))
    assert "8, 16" in caught.value.hint


def test_patch_with_an_edge_too_many_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"operator\.patch\.advection1d is 8 × 8"):
        choose_patch(config(advection1d=[8, 8]), "advection1d", (64,))


def test_patch_that_makes_too_many_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"256 tokens"):
        choose_patch(config(darcy2d=4), "darcy2d", (64, 64))


def test_heads_too_narrow_for_the_axes_are_refused() -> None:
    task = GridTask("compressible_ns3d", (8, 8, 8), 2, 0.05)
    with pytest.raises(
        ConfigError, match="4 dimensions a head cannot hold positions on the 3 axes"
    ) as caught:
        operator_spec(config(heads=8), (task,))
    assert caught.value.hint == "at most 5 heads"


def test_encoder_refinements_exist_only_where_they_are_trained() -> None:
    tasks = (GridTask("advection1d", (256,), 4, 0.05),)
    assert operator_spec(config(), tasks).codec_hidden == 0
    asked = {"use_inverse_losses": True, "lambda_inv_enc": 0.01}
    learned = config().model_copy(update={"training": config().training.model_copy(update=asked)})
    assert operator_spec(learned, tasks).codec_hidden == 32


def test_spec_of_an_older_checkpoint_is_read() -> None:
    spec = operator_spec(config(), (GridTask("darcy2d", (64, 64), 8, 0.0),))
    content = json.loads(json.dumps(spec.to_json()))
    del content["codec_hidden"], content["tasks"][0]["pool"]
    assert OperatorSpec.from_json(content) == spec


def test_spec_survives_json() -> None:
    tasks = (
        GridTask("advection1d", (256,), 4, 0.05, 1.0), GridTask("darcy2d", (64, 64), (8, 4), 0.0, pool=2),
    )  # fmt: skip
    spec = operator_spec(config(), tasks)
    assert OperatorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
