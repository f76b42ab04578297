"""What a config asks for that this version cannot do yet, said before anything is paid for.

Free of torch, so that the console can ask. A key that carries a weight is never silently ignored.
"""

from collections.abc import Iterator

from ups.config import TrainConfig
from ups.errors import ConfigError


def unsupported(config: TrainConfig) -> list[str]:
    """One sentence for each thing that cannot be done, naming its key and what to do; [] where all can."""
    return [*_stages(config), *_losses(config)]


def require_supported(config: TrainConfig) -> None:
    """Raises ConfigError with everything that this version cannot do."""
    found = unsupported(config)
    if found:
        more = "" if len(found) == 1 else "also: " + " · ".join(found[1:])
        raise ConfigError(found[0], hint=more)


def _stages(config: TrainConfig) -> Iterator[str]:
    names, pdet = config.stages.names, config.operator.pdet
    width = pdet.hidden_dim // pdet.num_heads
    if len(names) > 1 and config.diffusion.hidden_dim % width:
        yield (
            f"diffusion.hidden_dim: {config.diffusion.hidden_dim} is no multiple of the operator's head width"
            f" {width}: set it to operator.pdet.hidden_dim"
        )
    if "consistency_distill" in names and "diff_residual" not in names:
        yield (
            "stages.consistency_distill: there is no corrector to distil:"
            " define stages.diff_residual too, or remove the section"
        )


def _losses(config: TrainConfig) -> Iterator[str]:
    training = config.training
    if config.encoder.learning_rate is not None and not training.learns_codec:
        yield (
            "encoder.learning_rate: without inverse losses the encoder is fixed and learns nothing:"
            " leave it null, or set training.use_inverse_losses"
        )
