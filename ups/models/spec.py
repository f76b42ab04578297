"""What a joint latent operator is made of: enough, with its weights, to build it again.

`OperatorSpec` is stored in every checkpoint. Free of torch, so that an unusable config is refused
before anything is paid for.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
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

    @property
    def symmetric_shape(self) -> tuple[int, ...]:
        """What tells axes apart: they may be exchanged only where it is the same."""
        return self.grid


@dataclass(frozen=True, slots=True)
class PointTask:
    """One task on a mesh or on particles, and how its points are gathered into tokens.

    Samples may have any number of points: with more than `leaves` × `slots`, supernodes hold several.
    """

    task: str
    leaves: int
    """Tokens; a power of two."""
    slots: int
    """Supernodes of a token; a power of two."""
    dt: float
    """Time of one predicted step in the training data, in the task's unit; 0 for static tasks."""
    message_passing_steps: int
    use_coords: bool
    """Tokens are told where within them their supernodes lie."""
    domain: tuple[tuple[float, float], ...] = ()
    """(low, high) of each axis of the data; empty: the task's own."""

    @property
    def spec(self) -> TaskSpec:
        spec = task_spec(self.task)
        return spec.on(self.domain or spec.domain)

    @property
    def num_tokens(self) -> int:
        return self.leaves

    @property
    def depth(self) -> int:
        """Levels of the k-d tree."""
        return (self.leaves * self.slots).bit_length() - 1

    @property
    def transport(self) -> float:
        """Points move by themselves: nothing is shifted."""
        return 0.0

    @property
    def symmetric_shape(self) -> tuple[int, ...]:
        """Points know no cells: only the domain tells axes apart."""
        return (1,) * self.spec.spatial_dims


AnyTask = GridTask | PointTask


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """Shape of a `LatentOperator`."""

    tasks: tuple[AnyTask, ...]
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

    def updated(self, other: "OperatorSpec", tasks: Collection[str]) -> "OperatorSpec":
        """With some tasks as another spec has them."""
        theirs = {task.task: task for task in other.tasks if task.task in tasks}
        return replace(self, tasks=tuple(theirs.get(task.task, task) for task in self.tasks))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "OperatorSpec":
        return cls(**{**content, "tasks": tuple(_task_from_json(task) for task in content["tasks"])})


def _task_from_json(content: Mapping[str, Any]) -> AnyTask:
    if "leaves" in content:
        domain = tuple((float(low), float(high)) for low, high in content.get("domain", ()))
        return PointTask(**{**content, "domain": domain})
    patch = content["patch"]
    given = {"grid": tuple(content["grid"]), "patch": patch if isinstance(patch, int) else tuple(patch)}
    return GridTask(**{**content, **given})


def operator_spec(config: TrainConfig, tasks: tuple[AnyTask, ...]) -> OperatorSpec:
    """The operator that a config describes, for tasks whose grids, or numbers of points, are known.

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
        axes = task.spec.spatial_dims
        if spec.head_dim < 2 * axes:
            raise ConfigError(
                f"operator.pdet.num_heads: {spec.head_dim} dimensions a head cannot hold positions on the"
                f" {axes} axes of {task.task}",
                hint=f"at most {pdet.hidden_dim // (2 * axes)} heads",
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


def point_task(config: TrainConfig, spec: TaskSpec, points: int, dt: float) -> PointTask:
    """How the points of a task are gathered into tokens.

    As many supernodes as the largest sample has points, at most `data.supernodes`, in as many leaves as
    `latent.tokens` allows.

    Args:
        config: the experiment.
        spec: a task on a mesh or on particles, on the domain of the data.
        points: of the largest training sample.
        dt: time of one predicted step.

    Raises:
        ConfigError: not even a fourth of the points find room in the latent space.
    """
    channels = max(len(spec.fields), len(spec.input_fields))
    room = config.latent.dim // channels
    leaves = _power_of_two(min(config.latent.tokens, points))
    wanted = max(leaves, min(_power_of_two(config.data.supernodes), _power_of_two(2 * points - 1)))
    slots = min(wanted // leaves, _power_of_two(max(room, 1)))
    if room < 1 or 4 * leaves * slots < min(points, config.data.supernodes):
        raise ConfigError(
            f"latent.tokens {config.latent.tokens} × latent.dim {config.latent.dim} is too small for the"
            f" {points} points of {spec.name}",
            hint="raise latent.tokens or latent.dim",
        )
    own = task_spec(spec.name).domain
    return PointTask(
        spec.name, leaves, slots, dt, config.data.message_passing_steps, config.data.use_coords,
        () if spec.domain == own else spec.domain,
    )  # fmt: skip


def _power_of_two(limit: int) -> int:
    """The largest power of two that is not above `limit`."""
    return 1 << (limit.bit_length() - 1)


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
