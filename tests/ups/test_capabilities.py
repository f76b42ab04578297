"""What cannot be done is said by its key, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from ups.capabilities import require_supported, unsupported
from ups.config import load_train_config
from ups.errors import ConfigError

LOCAL = Path(__file__).parents[2] / "configs" / "local_2task.yaml"


def test_embedded_default_is_supported() -> None:
    assert unsupported(load_train_config(LOCAL)) == []


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("stages.diff_residual=null", "stages.consistency_distill"),
        ("encoder.learning_rate=1e-3", "encoder.learning_rate"),
    ],
)
def test_what_is_not_supported_is_named(override: str, key: str) -> None:
    config = load_train_config(LOCAL, [override])
    assert any(key in sentence for sentence in unsupported(config))
    with pytest.raises(ConfigError):
        require_supported(config)


def test_rate_of_the_encoder_is_supported_where_the_encoder_learns() -> None:
    rate, used = "encoder.learning_rate=1e-3", "training.use_inverse_losses=true"
    assert unsupported(load_train_config(LOCAL, [rate, used, "training.lambda_inv_dec=0.01"])) == []
    assert len(unsupported(load_train_config(LOCAL, [rate, used]))) == 1


@pytest.mark.parametrize("override", ["data.task=[compressible_ns3d]", "data.patch_size=2"])
def test_three_dimensions_and_pooling_are_supported(override: str) -> None:
    assert (
        unsupported(load_train_config(LOCAL, ["operator.patch={}", "training.batch_size=2", override])) == []
    )


def test_curriculum_of_tasks_is_supported() -> None:
    stage = "training.task_curriculum={enabled: true, stages: [{epochs: [0, 2], tasks: [darcy2d]}]}"
    assert unsupported(load_train_config(LOCAL, [stage])) == []


def test_asking_costs_no_torch() -> None:
    code = "import ups.capabilities, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_stages_after_the_operator_are_supported() -> None:
    stages = ["stages.diff_residual={epochs: 2}", "stages.consistency_distill={epochs: 2}"]
    assert unsupported(load_train_config(LOCAL, stages)) == []


def test_corrector_whose_width_does_not_suit_the_operator_is_named() -> None:
    config = load_train_config(LOCAL, ["stages.diff_residual={epochs: 2}", "diffusion.hidden_dim=100"])
    (sentence,) = unsupported(config)
    assert sentence.startswith("diffusion.hidden_dim: 100")


def test_meshes_and_particles_are_supported() -> None:
    config = load_train_config(LOCAL, ["data.task=[advection1d, darcy2d_mesh, particles_advect]"])
    assert unsupported(config) == []
