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
        ("training.lambda_spectral=0.05", "training.lambda_spectral"),
        ("training.physics_priors={enabled: true, lambda_boundary: 0.05}", "physics_priors.lambda_boundary"),
        (
            "training.rollout_curriculum={enabled: true, stages: [1, 2], epoch_boundaries: [0, 5]}",
            "rollout_curriculum",
        ),
        ("stages.diff_residual={epochs: 2}", "stages.diff_residual"),
        ("stages.consistency_distill={epochs: 2}", "stages.consistency_distill"),
        ("data.task=[advection1d, darcy2d_mesh]", "darcy2d_mesh"),
        ("data.task=[compressible_ns3d]", "compressible_ns3d"),
        ("data.patch_size=2", "data.patch_size"),
        ("encoder.learning_rate=1e-3", "encoder.learning_rate"),
    ],
)
def test_what_is_not_supported_is_named(override: str, key: str) -> None:
    config = load_train_config(LOCAL, [override])
    assert any(key in sentence for sentence in unsupported(config))
    with pytest.raises(ConfigError):
        require_supported(config)


def test_inverse_losses_are_named_only_where_they_have_a_weight() -> None:
    on = ["training.use_inverse_losses=true", "training.lambda_inv_enc=0.01"]
    assert len(unsupported(load_train_config(LOCAL, on))) == 1
    assert unsupported(load_train_config(LOCAL, on[1:])) == []


def test_curriculum_of_tasks_is_supported() -> None:
    stage = "training.task_curriculum={enabled: true, stages: [{epochs: [0, 2], tasks: [darcy2d]}]}"
    assert unsupported(load_train_config(LOCAL, [stage])) == []


def test_asking_costs_no_torch() -> None:
    code = "import ups.capabilities, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
