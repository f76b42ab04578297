"""What a joint latent operator is made of: enough, with its weights, to build it again.

`OperatorSpec` is stored in every checkpoint. Free of torch, so that an unusable config is refused
before anything is paid for.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ups.config import TrainConfig
from ups.errors import ConfigError
from ups.tasks import TaskSpec, task_spec


@dataclass(frozen=True, slots=True)
class GridTask:
    """One task on its grid, and how its states are cut into tokens."""

    task: str
    grid: tuple[int, ...]
    """Cells along each axis."""
    patch: int
    """Edge of a patch in cells."""
    dt: float
    """Time of one predicted step in the training data, in the task's unit; 0 for static tasks."""
    transport: float = 0.0
    """Multiple of velocity × dt by which the state is shifted first; 0 leaves it out."""

    @property
    def spec(self) -> TaskSpec:
        return task_spec(self.task)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Patches along each axis."""
        return tuple(cells // self.patch for cells in self.grid)

    @property
    def num_tokens(self) -> int:
        return math.prod(self.tokens)


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """Shape of a `LatentOperator`."""

    tasks: tuple[GridTask, ...]
    latent_dim: int
    hidden_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float
    qk_norm: bool
    drop_path: float
    dropout: float
    refinement_channels: int
    refinement_layers: int

    @property
    def head_dim(self) -> int:
        return self.hidden_dim // self.num_heads

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "OperatorSpec":
        tasks = tuple(GridTask(**{**task, "grid": tuple(task["grid"])}) for task in content["tasks"])
        return cls(**{**content, "tasks": tasks})


def operator_spec(config: TrainConfig, tasks: tuple[GridTask, ...]) -> OperatorSpec:
    """The operator that a config describes, for tasks whose grids are known."""
    pdet, refinement = config.operator.pdet, config.training.refinement
    return OperatorSpec(
        tasks=tasks,
        latent_dim=config.latent.dim,
        hidden_dim=pdet.hidden_dim,
        depth=pdet.depth,
        num_heads=pdet.num_heads,
        mlp_ratio=pdet.mlp_ratio,
        qk_norm=pdet.qk_norm,
        drop_path=pdet.drop_path,
        dropout=pdet.dropout,
        refinement_channels=refinement.channels,
        refinement_layers=refinement.layers,
    )


def choose_patch(config: TrainConfig, task: str, grid: tuple[int, ...]) -> int:
    """The patch edge of a task: `operator.patch` where given, else the smallest that fits.

    Raises:
        ConfigError: the patch does not divide the grid, or does not fit the latent space.
    """
    spec = task_spec(task)
    given = config.operator.patch.get(task)
    if given is not None:
        if any(cells % given for cells in grid):
            raise ConfigError(
                f"operator.patch.{task} is {given}, which does not divide the grid {_text(grid)}",
                hint=f"use one of {', '.join(map(str, _divisors(grid)))}",
            )
        _check_fits(config, spec, grid, given)
        return given
    for patch in _divisors(grid):
        if _num_tokens(grid, patch) <= config.latent.tokens:
            _check_fits(config, spec, grid, patch)
            return patch
    raise ConfigError(f"latent.tokens {config.latent.tokens} is too few for the grid {_text(grid)} of {task}")


def _check_fits(config: TrainConfig, spec: TaskSpec, grid: tuple[int, ...], patch: int) -> None:
    channels = max(len(spec.fields), len(spec.input_fields))
    values = patch ** len(grid) * channels
    if values > config.latent.dim:
        raise ConfigError(
            f"a patch of {spec.name} ({patch} cells a side, {channels} channels) has {values} values,"
            f" more than latent.dim {config.latent.dim}",
            hint=f"set operator.patch.{spec.name} smaller and latent.tokens larger, or raise latent.dim",
        )
    tokens = _num_tokens(grid, patch)
    if tokens > config.latent.tokens:
        raise ConfigError(
            f"operator.patch.{spec.name} {patch} makes {tokens} tokens of the grid {_text(grid)},"
            f" more than latent.tokens {config.latent.tokens}",
            hint=f"set latent.tokens to {tokens}, or the patch larger",
        )


def _num_tokens(grid: tuple[int, ...], patch: int) -> int:
    return math.prod(cells // patch for cells in grid)


def _divisors(grid: tuple[int, ...]) -> list[int]:
    common = math.gcd(*grid)
    return [edge for edge in range(1, common + 1) if common % edge == 0]


def _text(grid: tuple[int, ...]) -> str:
    return " × ".join(map(str, grid))
