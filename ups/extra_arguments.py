"""`TRAIN_EXTRA_ARGS`: what was handed on to the training script, as overrides of a config.

    --set training.batch_size=4 --batch-size 4 --latent-dim 64 --stage operator latent.tokens=64

Words are split as a shell would split them, and nothing is expanded. Light to import.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ups.errors import ConfigError

VARIABLE = "TRAIN_EXTRA_ARGS"

KEYS: Mapping[str, tuple[str, ...]] = {
    "--batch-size": ("training.batch_size",),
    "--accum-steps": ("training.accum_steps",),
    "--time-stride": ("training.time_stride",),
    "--dt": ("training.dt",),
    "--patience": ("training.patience",),
    "--num-workers": ("training.num_workers",),
    "--num-queries": ("training.query_sampling.num_queries",),
    "--grad-clip": ("training.grad_clip",),
    "--lambda-spectral": ("training.lambda_spectral",),
    "--latent-dim": ("latent.dim", "operator.pdet.input_dim", "diffusion.latent_dim"),
    "--latent-len": ("latent.tokens",),
    "--latent-tokens": ("latent.tokens",),
    "--hidden-dim": ("operator.pdet.hidden_dim", "diffusion.hidden_dim"),
    "--depth": ("operator.pdet.depth",),
    "--num-heads": ("operator.pdet.num_heads",),
    "--epochs": ("stages.operator.epochs",),
    "--lr": ("stages.operator.optimizer.lr",),
    "--seed": ("seed",),
    "--supernodes": ("data.supernodes",),
    "--message-passing-steps": ("data.message_passing_steps",),
}
"""Option with a value → the config keys that it sets. A new one is a line here."""
SWITCHES: Mapping[str, str] = {
    "--amp": "training.amp=true",
    "--no-amp": "training.amp=false",
    "--compile": "training.compile=true",
    "--no-compile": "training.compile=false",
}
"""Option without a value → its override."""


@dataclass(frozen=True, slots=True)
class ExtraArguments:
    """What the words ask for."""

    overrides: tuple[str, ...] = ()
    """`key.path=value`, in their order."""
    tasks: tuple[str, ...] = ()
    stage: str | None = None


def parse(text: str) -> ExtraArguments:
    """What a line of extra arguments asks for.

    Raises:
        ConfigError: a quote is not closed, an option lacks its value, or options are unknown; names them all.
    """
    try:
        words = iter(shlex.split(text))
    except ValueError:
        raise ConfigError(f"{VARIABLE}: a quote is opened and not closed") from None
    overrides: list[str] = []
    unknown: list[str] = []
    was_unknown = False
    tasks: tuple[str, ...] = ()
    stage: str | None = None
    for word in words:
        name, joined, value = word.partition("=")
        follows_unknown, was_unknown = was_unknown, False
        if not name.startswith("-"):
            if joined and name:
                overrides.append(word)
            elif not follows_unknown:  # else it is the value of what is unknown
                unknown.append(word)
        elif word in SWITCHES:
            overrides.append(SWITCHES[word])
        elif name in KEYS or name in ("--set", "--stage", "--tasks"):
            value = value if joined else _value(name, words)
            if name == "--stage":
                stage = value
            elif name == "--tasks":
                tasks = tuple(filter(None, (task.strip() for task in value.split(","))))
            else:
                overrides += _overrides(name, value)
        else:
            unknown.append(word)
            was_unknown = not joined
    if unknown:
        raise ConfigError(f"{VARIABLE}: unknown: {', '.join(unknown)}", hint=_hint(unknown))
    return ExtraArguments(tuple(overrides), tasks, stage)


def _value(name: str, words: Iterator[str]) -> str:
    value = next(words, None)
    if value is None or value.startswith("--"):
        raise ConfigError(f"{VARIABLE}: {name} lacks its value", hint=f"write {name} VALUE")
    return value


def _overrides(name: str, value: str) -> list[str]:
    if name != "--set":
        return [f"{key}={value}" for key in KEYS[name]]
    if not value.partition("=")[1]:
        raise ConfigError(
            f"{VARIABLE}: --set {value} is no KEY=VALUE", hint="write --set training.batch_size=4"
        )
    return [value]


def _hint(unknown: list[str]) -> str:
    from ups.yaml_config import nearest

    known = (*KEYS, *SWITCHES, "--set", "--stage", "--tasks")
    near = dict.fromkeys(name for word in unknown for name in nearest(word.partition("=")[0], known))
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}Any key of a config can be set: --set key.path=value"
