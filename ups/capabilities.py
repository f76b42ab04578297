"""What a config asks for that this version cannot do yet, said before anything is paid for.

Free of torch, so that the console can ask. A key that carries a weight is never silently ignored.
"""

from collections.abc import Iterator

from ups.config import TrainConfig
from ups.errors import ConfigError


def unsupported(config: TrainConfig) -> list[str]:
    """One sentence for each thing that cannot be done, naming its key and what to do; [] where all can."""
    return [*_stages(config), *_losses(config), *_machinery(config)]


def require_supported(config: TrainConfig) -> None:
    """Raises ConfigError with everything that this version cannot do."""
    found = unsupported(config)
    if found:
        more = "" if len(found) == 1 else "also: " + " · ".join(found[1:])
        raise ConfigError(found[0], hint=more)


def _stages(config: TrainConfig) -> Iterator[str]:
    for name in config.stages.names:
        if name != "operator":
            yield f"stages.{name}: only the operator stage can be trained: remove the section"


def _losses(config: TrainConfig) -> Iterator[str]:
    training = config.training
    if training.physics_priors.enabled:
        for name, weight in training.physics_priors.model_dump().items():
            if name.startswith("lambda_") and weight:
                yield f"training.physics_priors.{name}: this loss is not supported: set it to 0"
    if config.encoder.learning_rate is not None and not training.learns_codec:
        yield (
            "encoder.learning_rate: without inverse losses the encoder is fixed and learns nothing:"
            " leave it null, or set training.use_inverse_losses"
        )


def _machinery(config: TrainConfig) -> Iterator[str]:
    if config.training.compile:
        yield "training.compile: torch.compile is not supported: set it to false"
    if config.distributed.strategy != "ddp":
        yield f"distributed.strategy: {config.distributed.strategy} is not supported: leave it at ddp"
