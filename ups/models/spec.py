"""What a joint latent operator is made of: enough, with its weights, to build it again.

`OperatorSpec` is stored in every checkpoint. Free of torch, so that an unusable config is refused
before anything is paid for.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ups import patches
from ups.config import TrainConfig
from ups.errors import ConfigError
from ups.tasks import TaskSpec, task_spec


@dataclass(frozen=True, slots=True)
class GridTask:
    """One task on its grid, and how its states are cut into tokens."""

    task: str
    grid: tuple[int, ...]
    """Cells along each axis."""
    patch: int | patches.Edges
    """Edge of a patch in (pooled) cells; several give each axis its own."""
    dt: float
    """Time of one predicted step in the training data, in the task's unit; 0 for static tasks."""
    transport: float = 0.0
    """Multiple of velocity × dt by which the state is shifted first; 0 leaves it out."""
    pool: int = 1
    """Cells along each axis that are averaged before anything is cut."""

    @property
    def spec(self) -> TaskSpec:
        return task_spec(self.task)

    @property
    def coarse(self) -> tuple[int, ...]:
        """Cells along each axis after pooling."""
        return tuple(cells // self.pool for cells in self.grid)

    @property
    def edges(self) -> patches.Edges:
        """Cells of a patch along each axis, after pooling."""
        return patches.edges_of(self.patch, len(self.grid))

    @property
    def patch_cells(self) -> int:
        return math.prod(self.edges)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Patches along each axis."""
        return patches.cut(self.coarse, self.edges)

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
    codec_hidden: int = 0
    """Hidden width of the learned refinements of encoder and decoder; 0 leaves them out."""

    @property
    def head_dim(self) -> int:
        return self.hidden_dim // self.num_heads

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "OperatorSpec":
        return cls(**{**content, "tasks": tuple(_grid_task(task) for task in content["tasks"])})


def _grid_task(content: Mapping[str, Any]) -> GridTask:
    patch = content["patch"]
    given = {"grid": tuple(content["grid"]), "patch": patch if isinstance(patch, int) else tuple(patch)}
    return GridTask(**{**content, **given})


def operator_spec(config: TrainConfig, tasks: tuple[GridTask, ...]) -> OperatorSpec:
    """The operator that a config describes, for tasks whose grids are known.

    Raises:
        ConfigError: the attention heads are too narrow to tell positions apart.
    """
    pdet, refinement = config.operator.pdet, config.training.refinement
    spec = OperatorSpec(
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
        codec_hidden=config.latent.dim // 2 if config.training.learns_codec else 0,
    )
    for task in tasks:
        if spec.head_dim < 2 * len(task.grid):
            raise ConfigError(
                f"operator.pdet.num_heads: {spec.head_dim} dimensions a head cannot hold positions on the"
                f" {len(task.grid)} axes of {task.task}",
                hint=f"at most {pdet.hidden_dim // (2 * len(task.grid))} heads",
            )
    return spec


def choose_patch(config: TrainConfig, task: str, grid: tuple[int, ...]) -> patches.Edges:
    """The patch of a task: `operator.patch` where given, else the one that `ups.patches` chooses.

    Args:
        config: the experiment; where it pools the field, patches count pooled cells.
        task: the task.
        grid: cells along each axis, before pooling.

    Raises:
        ConfigError: the pooling or the patch does not divide the grid, or makes too many tokens.
    """
    factor = config.data.patch_size
    if any(cells % factor for cells in grid):
        raise ConfigError(
            f"data.patch_size is {factor}, which does not divide the grid {_text(grid)} of {task}",
            hint=f"use one of {', '.join(map(str, patches.divisors(grid)))}",
        )
    coarse = tuple(cells // factor for cells in grid)
    given = config.operator.patch.get(task)
    if given is not None:
        return _given(config, task, coarse, patches.edges_of(given, len(coarse)))
    spec = task_spec(task)
    channels = max(len(spec.fields), len(spec.input_fields))
    return patches.choose(coarse, tokens=config.latent.tokens, cells=config.latent.dim // channels)


def _given(config: TrainConfig, task: str, grid: tuple[int, ...], edges: patches.Edges) -> patches.Edges:
    if not patches.divides(grid, edges):
        raise ConfigError(
            f"operator.patch.{task} is {_text(edges)}, which does not divide the grid {_text(grid)}",
            hint=f"use one of {', '.join(map(str, patches.divisors(grid)))}, or a list with an edge per axis",
        )
    tokens = math.prod(patches.cut(grid, edges))
    if tokens > config.latent.tokens:
        raise ConfigError(
            f"operator.patch.{task} {_text(edges)} makes {tokens} tokens of the grid {_text(grid)},"
            f" more than latent.tokens {config.latent.tokens}",
            hint=f"set latent.tokens to {tokens}, or the patch larger",
        )
    return edges


def _text(cells: tuple[int, ...]) -> str:
    return " × ".join(map(str, cells))
