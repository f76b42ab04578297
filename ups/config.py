"""The typed schema of `configs/*.yaml`, and loading with errors that name file, line and key.

Every key is documented where it is defined. An unknown key is an error that suggests the nearest
known one. Free of torch.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ups.errors import ConfigError
from ups.tasks import TASK_SPECS, task_spec

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
StageName = Literal["operator", "diff_residual", "consistency_distill"]
STAGES: tuple[StageName, ...] = ("operator", "diff_residual", "consistency_distill")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Section(BaseModel):
    """Base of every section: unknown keys are errors, attribute docstrings are the documentation."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)


class TaskSampling(Section):
    strategy: Literal["balanced", "proportional"] = "balanced"
    """Samples per task and epoch: equal, or in proportion to the dataset's pairs."""


class Data(Section):
    task: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(min_length=1)
    """Tasks learned jointly; a single name means a list of one."""
    split: Literal["train", "val", "test"] = "train"
    """Split that is trained on (or, in an evaluation config, evaluated)."""
    root: str = "data/pdebench"
    """Where old scripts kept the data; the store decides now, `PDEBENCH_ROOT` overrides."""
    patch_size: int = Field(1, ge=1)
    """Pool the field by this factor before anything else."""
    supernodes: int = Field(2048, ge=1)
    """Meshes and particles: supernodes of the encoder."""
    message_passing_steps: int = Field(3, ge=1)
    """Meshes and particles: rounds of message passing."""
    use_coords: bool = True
    """Meshes and particles: positions are encoder inputs."""
    task_sampling: TaskSampling = TaskSampling()

    @model_validator(mode="after")
    def _tasks_exist(self) -> "Data":
        for name in self.task:
            if name not in TASK_SPECS:
                near = difflib.get_close_matches(name, TASK_SPECS, n=1)
                raise ValueError(
                    f"there is no task {name!r}" + (f"; did you mean {near[0]}?" if near else "")
                )
        if len(set(self.task)) != len(self.task):
            raise ValueError("a task is listed twice")
        return self


class Latent(Section):
    dim: int = Field(128, ge=8)
    """Width of a latent token."""
    tokens: int = Field(128, ge=1)
    """Most tokens that a state may be cut into."""


class Pdet(Section):
    input_dim: int = Field(128, ge=8)
    """Must equal `latent.dim`."""
    hidden_dim: int = Field(384, ge=8)
    """Width of the transformer blocks."""
    depth: int = Field(12, ge=1)
    num_heads: int = Field(8, ge=1)
    attention_type: Literal["standard"] = "standard"
    qk_norm: bool = True
    """RMS-normalise queries and keys, with a learned gain per head."""
    mlp_ratio: float = Field(4.0, gt=0)
    drop_path: Share = 0.0
    """Stochastic depth, linear from 0 in the first block to this in the last."""
    dropout: Share = 0.0

    @model_validator(mode="after")
    def _heads_divide(self) -> "Pdet":
        if self.hidden_dim % self.num_heads or (self.hidden_dim // self.num_heads) % 2:
            raise ValueError(
                f"hidden_dim {self.hidden_dim} must be a multiple of 2 × num_heads ({2 * self.num_heads})"
            )
        return self


class Operator(Section):
    architecture_type: Literal["pdet_stack"] = "pdet_stack"
    pdet: Pdet = Pdet()
    patch: dict[str, int] = {}
    """Patch edge per task in cells; tasks not listed get one that fits `latent.tokens`."""


class Encoder(Section):
    learning_rate: float | None = Field(None, gt=0)
    """Learning rate of the learned encoder refinements; null: the stage's own."""


class Diffusion(Section):
    latent_dim: int = Field(128, ge=8)
    hidden_dim: int = Field(384, ge=8)


class QuerySampling(Section):
    enabled: bool = False
    num_queries: int = Field(2048, ge=1)
    """Points per sample at which the decoder is queried in the inverse losses."""
    strategy: Literal["uniform", "stratified"] = "uniform"


class PhysicsPriors(Section):
    enabled: bool = False
    lambda_divergence: Weight = 0.0
    lambda_conservation: Weight = 0.0
    lambda_boundary: Weight = 0.0
    lambda_positivity: Weight = 0.0
    lambda_latent_norm: Weight = 0.0
    lambda_latent_diversity: Weight = 0.0


class TaskStage(Section):
    epochs: tuple[int, int]
    """[first, past the last) epoch."""
    tasks: tuple[str, ...] = Field(min_length=1)
    weights: Literal["uniform", "inverse_nrmse"] = "uniform"
    """`inverse_nrmse` gives harder tasks (higher validation nRMSE) more samples."""


class TaskCurriculum(Section):
    enabled: bool = False
    stages: tuple[TaskStage, ...] = ()

    @model_validator(mode="after")
    def _without_gaps(self) -> "TaskCurriculum":
        expected = 0
        for stage in self.stages:
            first, end = stage.epochs
            if first != expected or end <= first:
                raise ValueError(
                    f"stage {list(stage.epochs)} must begin at epoch {expected} and not be empty"
                )
            expected = end
        return self


class RolloutCurriculum(Section):
    enabled: bool = False
    stages: tuple[int, ...] = (1,)
    """Steps unrolled in training."""
    epoch_boundaries: tuple[int, ...] = (0,)
    """Epoch at which each of `stages` begins."""

    @model_validator(mode="after")
    def _same_length(self) -> "RolloutCurriculum":
        if len(self.stages) != len(self.epoch_boundaries):
            raise ValueError("stages and epoch_boundaries must have the same length")
        if list(self.epoch_boundaries) != sorted(set(self.epoch_boundaries)) or self.epoch_boundaries[0] != 0:
            raise ValueError("epoch_boundaries must begin at 0 and increase")
        return self


class Refinement(Section):
    """The field-space network after the decoder."""

    channels: int = Field(16, ge=1)
    """Width in 2-D; 1-D uses 1.5 times as many."""
    layers: int = Field(2, ge=0)
    """Convolutions in 2-D; 1-D uses twice as many, dilated. 0 leaves it out."""


class Guards(Section):
    """Inference guards, calibrated on the training split only."""

    conserve: bool = True
    """Restore the mean of a channel that the training data conserve."""
    clamp: bool = True
    """Clamp to the widened range of the training data."""


class Training(Section):
    batch_size: int | dict[str, int] = 8
    """Samples per micro-batch; a mapping gives each task its own, with `default` for the rest."""
    accum_steps: int = Field(1, ge=1)
    """Micro-batches per optimizer step."""
    time_stride: int = Field(1, ge=1)
    """Stored frames per predicted step."""
    dt: float | None = Field(None, gt=0)
    """Accepted from old configs and ignored: the data state their own dt."""
    patience: int | None = Field(None, ge=1)
    """Epochs without a better validation nRMSE before a stage ends; null: never."""
    samples_per_epoch: int | None = Field(None, ge=1)
    """Samples of all tasks that make an epoch; null: as many as there are training pairs."""
    num_workers: int = Field(0, ge=0)
    use_parallel_encoding: bool = False
    pin_memory: bool = False
    prefetch_factor: int | None = Field(None, ge=1)
    amp: bool = True
    """bfloat16 autocast where measuring at start-up shows it to be faster."""
    compile: bool = False
    grad_clip: float | None = Field(None, gt=0)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    lambda_inv_enc: Weight = 0.0
    lambda_inv_dec: Weight = 0.0
    use_inverse_losses: bool = False
    inverse_loss_frequency: int = Field(1, ge=1)
    inverse_loss_warmup_epochs: int = Field(0, ge=0)
    inverse_loss_max_weight: Weight = 0.05
    query_sampling: QuerySampling = QuerySampling()
    physics_priors: PhysicsPriors = PhysicsPriors()
    lambda_spectral: Weight = 0.0
    log_per_task_metrics: bool = True
    """Accepted from old configs; per-task metrics are always logged."""
    task_curriculum: TaskCurriculum = TaskCurriculum()
    rollout_curriculum: RolloutCurriculum = RolloutCurriculum()
    augment: bool = True
    """Random symmetries of each task's equation."""
    noise: Weight = 0.01
    """Standard deviation of the input noise in units of the normalised state."""
    hard_pair_share: Share = 0.7
    """Share of a batch drawn in proportion to a pair's relative change."""
    warmup: Share = 0.03
    """Share of the stage's samples over which the learning rate rises; then linear to zero."""
    refinement: Refinement = Refinement()
    transport_skip: Literal["auto", "off"] = "auto"
    """Shift the state by the calibrated velocity × dt first, where that halves persistence error."""
    guards: Guards = Guards()
    log_every: int = Field(10, ge=1)
    """Optimizer steps between two points of a task's training curve."""

    def batch_size_of(self, task: str) -> int:
        """Samples per micro-batch of a task."""
        if isinstance(self.batch_size, int):
            return self.batch_size
        return self.batch_size.get(task, self.batch_size.get("default", 8))


class Optimizer(Section):
    name: Literal["muon_hybrid", "adamw"] = "muon_hybrid"
    lr: float = Field(1.4e-3, gt=0)
    """Learning rate of Muon (and of AdamW where `name` is adamw)."""
    adamw_lr: float | None = Field(None, gt=0)
    """Learning rate of the AdamW half of muon_hybrid; null: two thirds of `lr`."""
    weight_decay: Weight = 0.0
    muon_momentum: Share = 0.95
    muon_ns_steps: int = Field(5, ge=1)
    muon_backend: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of the Newton–Schulz iteration; auto measures."""
    betas: tuple[float, float] = (0.9, 0.98)


class Stage(Section):
    epochs: int = Field(ge=1)
    patience: int | None = Field(None, ge=1)
    """Overrides `training.patience`."""
    optimizer: Optimizer = Optimizer()


class Stages(Section):
    operator: Stage
    diff_residual: Stage | None = None
    consistency_distill: Stage | None = None

    @property
    def names(self) -> tuple[StageName, ...]:
        """The stages that the config defines, in the order in which they run."""
        return tuple(name for name in STAGES if getattr(self, name) is not None)


class Distributed(Section):
    strategy: Literal["ddp", "fsdp2"] = "ddp"


class Gates(Section):
    """Decision gates of a chain of runs, on the aggregate one-step nRMSE of the test split."""

    proceed: float | None = Field(None, gt=0)
    """At or below: go on to the next config."""
    stop: float | None = Field(None, gt=0)
    """Above: something is wrong, stop the chain."""


class Ttc(Section):
    enabled: bool = False
    candidates: int = Field(8, ge=1)
    steps: int = Field(1, ge=1)
    beam: int = Field(1, ge=1)
    noise: Weight = 0.0
    weights: dict[str, float] = {}


class Evaluation(Section):
    symmetric_average: bool = True
    """Average the prediction over the symmetries of 2-D problems."""
    rollout_steps: int | None = Field(None, ge=1)
    """Steps of a rollout; null: to the end of the trajectory."""
    batch_size: int = Field(32, ge=1)
    every: int = Field(1, ge=1)
    """Validate after every this many epochs (always after the last)."""
    validation_samples: int = Field(32, ge=1)
    """Most samples per task in the validation inside training; the final evaluation uses all."""


class Wandb(Section):
    enabled: bool = False
    project: str = "universal-simulator"
    entity: str | None = None
    tags: tuple[str, ...] = ()


class Logging(Section):
    wandb: Wandb = Wandb()


class TrainConfig(Section):
    """One experiment: what is learned from which tasks, how long, and how it is judged."""

    seed: int = Field(0, ge=0)
    deterministic: bool = False
    benchmark: bool = False
    """Let cuDNN search for the fastest kernels."""
    data: Data
    latent: Latent = Latent()
    encoder: Encoder = Encoder()
    operator: Operator = Operator()
    diffusion: Diffusion = Diffusion()
    training: Training = Training()
    stages: Stages
    evaluation: Evaluation = Evaluation()
    distributed: Distributed = Distributed()
    logging: Logging = Logging()
    gates: Gates = Gates()
    target_nrmse: float | None = Field(None, gt=0)
    """One-step nRMSE that this config exists to reach."""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        if self.operator.pdet.input_dim != self.latent.dim:
            raise ValueError(
                f"operator.pdet.input_dim ({self.operator.pdet.input_dim}) "
                f"must equal latent.dim ({self.latent.dim})"
            )
        for index, stage in enumerate(self.training.task_curriculum.stages):
            for name in stage.tasks:
                if name not in self.data.task:
                    raise ValueError(
                        f"training.task_curriculum.stages[{index}] names {name}, which is not in data.task"
                    )
        for name in self.operator.patch:
            task_spec(name)
        return self


class EvalConfig(Section):
    """What is evaluated, and with which test-time compute."""

    checkpoint: str | None = None
    """Run id or checkpoint path; null: given on the command line."""
    data: Data | None = None
    ttc: Ttc = Ttc()
    evaluation: Evaluation = Evaluation()


_S = TypeVar("_S", bound=Section)


def load_train_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read and validate a training config.

    Args:
        path: the YAML file.
        overrides: `key.path=value` pairs as given to `--set`; values are YAML.

    Raises:
        ConfigError: unreadable, not YAML, or not the schema; names file, line and key.
    """
    return _load(TrainConfig, path, overrides)


def load_eval_config(path: Path, overrides: Sequence[str] = ()) -> EvalConfig:
    """Read and validate an evaluation config; raises like `load_train_config`."""
    return _load(EvalConfig, path, overrides)


def parse_train_config(content: Mapping[str, Any], source: str = "run.yaml") -> TrainConfig:
    """Validate an already parsed config, such as the one a run directory pins."""
    return _validate(TrainConfig, dict(content), source, {})


def _load(schema: type[_S], path: Path, overrides: Sequence[str]) -> _S:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no config {path}", hint="`ups-console validate` takes a path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        content = yaml.safe_load(text)
        lines = _key_lines(yaml.compose(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a mapping of keys to values", hint="see configs/local_2task.yaml")
    for override in overrides:
        _apply(content, override)
    return _validate(schema, content, str(path), lines)


def _validate(schema: type[_S], content: dict[str, Any], source: str, lines: Mapping[str, int]) -> _S:
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        location = [part for part in first["loc"] if not _is_tag(part)]
        key = ".".join(str(part) for part in location)
        line = next((lines[k] for k in _prefixes(location) if k in lines), None)
        where = f"{source}:{line}" if line is not None else source
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(location[-1]), _known_keys(schema, location[:-1]), n=1)
            hint = f"did you mean {near[0]}?" if near else "see docs/configs.md for the keys"
            raise ConfigError(f"{where}: unknown key {key}", hint=hint) from None
        message = first["msg"].removeprefix("Value error, ")
        missing = first["type"] == "missing"
        text = f"{where}: {key} is missing" if missing else f"{where}: {key or 'config'}: {message}"
        others = len(error.errors()) - 1
        raise ConfigError(text, hint=f"and {others} more" if others else "") from None


def _is_tag(part: int | str) -> bool:
    """Pydantic's location names the branch of a union it tried; that is no key of the file."""
    return isinstance(part, str) and (part in {"int", "float", "str"} or "[" in part)


def _prefixes(location: Sequence[int | str]) -> Iterable[str]:
    for end in range(len(location), 0, -1):
        yield ".".join(str(part) for part in location[:end])


def _known_keys(schema: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    current: Any = schema
    for part in location:
        if isinstance(part, int):
            continue
        current = _section_of(current.model_fields[part].annotation)
        if current is None:
            return []
    return list(current.model_fields)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_section_of(argument) for argument in getattr(annotation, "__args__", ()))
    return next((section for section in found if section is not None), None)


def _apply(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override}: write key.path=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from None
    *parents, last = key.strip().split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {override}: {parent} is not a section")
    content[last] = value


def _key_lines(node: yaml.Node | None, prefix: str = "") -> dict[str, int]:
    """Line (from 1) of every key path of a YAML document."""
    lines: dict[str, int] = {}
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(index), value, value) for index, value in enumerate(node.value)]
    else:
        return lines
    for name, key, value in children:
        path = f"{prefix}.{name}" if prefix else name
        lines[path] = key.start_mark.line + 1
        lines.update(_key_lines(value, path))
    return lines
