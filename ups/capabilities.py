"""What a config asks for that this version cannot do yet, said before anything is paid for.

Free of torch, so that the console can ask. A key that carries a weight is never silently ignored.
"""

from collections.abc import Iterator

from ups.config import TrainConfig
from ups.errors import ConfigError
from ups.tasks import Modality, task_spec

_LARGEST_DIMENSION = 2


def unsupported(config: TrainConfig) -> list[str]:
    """One sentence for each thing that cannot be done, naming its key and what to do; [] where all can."""
    return [*_tasks(config), *_stages(config), *_losses(config), *_machinery(config)]


def require_supported(config: TrainConfig) -> None:
    """Raises ConfigError with everything that this version cannot do."""
    found = unsupported(config)
    if found:
        more = "" if len(found) == 1 else "also: " + " · ".join(found[1:])
        raise ConfigError(found[0], hint=more)


def _tasks(config: TrainConfig) -> Iterator[str]:
    for name in config.data.task:
        spec = task_spec(name)
        if spec.modality is not Modality.GRID:
            yield f"data.task: {name} lives on a {spec.modality}, which cannot be trained yet: leave it out"
        elif spec.spatial_dims > _LARGEST_DIMENSION:
            yield f"data.task: {name} is {spec.spatial_dims}-D, which cannot be trained yet: leave it out"
    if config.data.patch_size > 1:
        yield "data.patch_size: pooling the field is not supported: set it to 1"


def _stages(config: TrainConfig) -> Iterator[str]:
    for name in config.stages.names:
        if name != "operator":
            yield f"stages.{name}: only the operator stage can be trained: remove the section"
    rollout = config.training.rollout_curriculum
    if rollout.enabled and any(steps != 1 for steps in rollout.stages):
        yield "training.rollout_curriculum: unrolling more than one step is not supported: set enabled: false"


def _losses(config: TrainConfig) -> Iterator[str]:
    training = config.training
    if training.use_inverse_losses and (training.lambda_inv_enc or training.lambda_inv_dec):
        yield (
            "training.use_inverse_losses: the encoder is a fixed isometry, which such losses cannot improve:"
            " set it to false"
        )
    if training.physics_priors.enabled:
        for name, weight in training.physics_priors.model_dump().items():
            if name.startswith("lambda_") and weight:
                yield f"training.physics_priors.{name}: this loss is not supported: set it to 0"
    if training.lambda_spectral:
        yield "training.lambda_spectral: the spectral loss is not supported: set it to 0"
    if config.encoder.learning_rate is not None:
        yield "encoder.learning_rate: the encoder is fixed and learns nothing: leave it null"


def _machinery(config: TrainConfig) -> Iterator[str]:
    if config.training.compile:
        yield "training.compile: torch.compile is not supported: set it to false"
