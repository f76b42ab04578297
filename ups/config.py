"""The typed schema of `configs/*.yaml`: every key, its default and its documentation.

`docs/configs.md` is written from this module. An unknown key is an error that suggests the nearest
known one (`ups.yaml_config`). Free of torch.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ups import plateau
from ups.tasks import TASK_SPECS
from ups.yaml_config import KeyedError, Section, load_section, nearest, validate_section, walk

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0.0)]
StageName = Literal["operator", "diff_residual", "consistency_distill"]
STAGES: tuple[StageName, ...] = ("operator", "diff_residual", "consistency_distill")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _check_task(name: str, *key: str | int) -> None:
    if name not in TASK_SPECS:
        near = nearest(name, TASK_SPECS)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise KeyedError(f"there is no task {name!r}{hint}", *key)


class TaskSampling(Section):
    strategy: Literal["balanced", "proportional"] = "balanced"
    """Samples per task and epoch: equal, or in proportion to the dataset's pairs."""
    weights: dict[str, Weight] = Field(default_factory=dict)
    """Factor of a task's share; 1 for tasks not listed."""


class Data(Section):
    task: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(min_length=1)
    """Tasks learned jointly; a single name means a list of one."""
    split: Literal["train", "val", "test"] = "train"
    """Split that is trained on."""
    root: str = "data/pdebench"
    """Folder, beside the run, of links `{task}_{split}.h5` to its data; `PDEBENCH_ROOT` overrides."""
    patch_size: int = Field(1, ge=1)
    """Pool the field by this factor before anything else."""
    supernodes: int = Field(2048, ge=1)
    """Meshes and particles: supernodes of the encoder."""
    message_passing_steps: int = Field(3, ge=1)
    """Meshes and particles: rounds of message passing."""
    use_coords: bool = True
    """Meshes and particles: positions are encoder inputs."""
    task_sampling: TaskSampling = TaskSampling()
    """How samples are shared between the tasks."""

    @model_validator(mode="after")
    def _tasks_exist(self) -> "Data":
        for index, name in enumerate(self.task):
            _check_task(name, "task", index)
        if len(set(self.task)) != len(self.task):
            raise KeyedError("a task is listed twice", "task")
        return self

    @model_validator(mode="after")
    def _somebody_learns(self) -> "Data":
        weights = self.task_sampling.weights
        for name in weights:
            if name not in self.task:
                raise KeyedError("is none of data.task", "task_sampling", "weights", name)
        if not any(weights.get(name, 1.0) for name in self.task):
            raise KeyedError("leaves no task any samples", "task_sampling", "weights")
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
    """Transformer blocks."""
    num_heads: int = Field(8, ge=1)
    """Attention heads; `hidden_dim` is a multiple of twice as many."""
    attention_type: Literal["standard"] = "standard"
    """Full softmax attention over the latent tokens."""
    qk_norm: bool = True
    """Layer-normalise queries and keys, with a learned gain per head."""
    mlp_ratio: float = Field(4.0, gt=0)
    """Width of a block's MLP in units of `hidden_dim`."""
    drop_path: Share = 0.0
    """Stochastic depth, linear from 0 in the first block to this in the last."""
    dropout: Share = 0.0
    """Dropout in attention and MLP."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "Pdet":
        if self.hidden_dim % self.num_heads or (self.hidden_dim // self.num_heads) % 2:
            raise KeyedError(
                f"{self.hidden_dim} must be a multiple of 2 × num_heads ({2 * self.num_heads})", "hidden_dim"
            )
        return self


class Operator(Section):
    architecture_type: Literal["pdet_stack"] = "pdet_stack"
    """The operator's architecture: a stack of transformer blocks."""
    pdet: Pdet = Pdet()
    """Sizes of the `pdet_stack`."""
    patch: dict[str, Count | tuple[Count, ...]] = Field(default_factory=dict)
    """Patch edge per task in (pooled) cells, or an edge per axis; tasks not listed get one that fits."""


class Encoder(Section):
    learning_rate: float | None = Field(None, gt=0)
    """Learning rate of the learned refinements of encoder and decoder; null: the stage's own."""


class Diffusion(Section):
    latent_dim: int = Field(128, ge=8)
    """Width of the corrector's tokens; `latent.dim` as a rule."""
    hidden_dim: int = Field(384, ge=8)
    """Width of the corrector's blocks."""


class QuerySampling(Section):
    enabled: bool = False
    """Query a sample of the points instead of every cell."""
    num_queries: int = Field(2048, ge=1)
    """Points per sample at which the decoder is queried in the inverse losses."""
    strategy: Literal["uniform", "stratified"] = "uniform"
    """How the points are drawn: anywhere, or one from each cell of a coarse grid."""


class PhysicsPriors(Section):
    enabled: bool = False
    """Add these losses to the stage's own."""
    lambda_divergence: Weight = 0.0
    """Divergence of incompressible velocity fields."""
    lambda_conservation: Weight = 0.0
    """Change of conserved means."""
    lambda_boundary: Weight = 0.0
    """Violation of the boundary condition; not applicable on periodic domains."""
    lambda_positivity: Weight = 0.0
    """Negative values of fields that cannot be negative."""
    lambda_latent_norm: Weight = 0.0
    """Size of the predicted latents."""
    lambda_latent_diversity: Weight = 0.0
    """Collapse of the predicted latents onto one another."""


class TaskStage(Section):
    epochs: tuple[int, int]
    """[first, past the last) epoch."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """Tasks learned in these epochs; each is one of `data.task`. A task is judged from when it is first
    learned, and its data may come until then."""
    weights: Literal["uniform", "inverse_nrmse"] = "uniform"
    """`inverse_nrmse` gives harder tasks (higher validation nRMSE) more samples."""


class TaskCurriculum(Section):
    enabled: bool = False
    """Follow `stages`; otherwise all tasks are learned from the first epoch."""
    stages: tuple[TaskStage, ...] = ()
    """Consecutive ranges of epochs from 0, without a gap; past the last one all tasks are learned."""

    @model_validator(mode="after")
    def _without_gaps(self) -> "TaskCurriculum":
        expected = 0
        for index, stage in enumerate(self.stages):
            first, end = stage.epochs
            if first != expected or end <= first:
                raise KeyedError(
                    f"[{first}, {end}) must begin at epoch {expected} and not be empty: no gap, no overlap",
                    *("stages", index, "epochs"),
                )
            expected = end
        if self.enabled and not self.stages:
            raise KeyedError("is enabled without stages", "stages")
        return self


class RolloutCurriculum(Section):
    enabled: bool = False
    """Unroll as `stages` says; otherwise one step."""
    stages: tuple[int, ...] = (1,)
    """Steps unrolled in training."""
    epoch_boundaries: tuple[int, ...] = (0,)
    """Epoch at which each of `stages` begins."""

    @model_validator(mode="after")
    def _same_length(self) -> "RolloutCurriculum":
        if len(self.stages) != len(self.epoch_boundaries):
            raise KeyedError("must be as many as stages", "epoch_boundaries")
        boundaries = self.epoch_boundaries
        if list(boundaries) != sorted(set(boundaries)) or boundaries[:1] != (0,):
            raise KeyedError("must begin at 0 and increase", "epoch_boundaries")
        return self


class Refinement(Section):
    """The field-space network after the decoder."""

    channels: int = Field(16, ge=1)
    """Size: in 1-D and 2-D the convolutions, over groups of 2 or 2 × 2 cells, are twice as wide."""
    layers: int = Field(2, ge=0)
    """Convolutions; in 1-D half as many again, dilated. 0 leaves it out."""


class Guards(Section):
    """Inference guards, calibrated on the training split only."""

    conserve: bool = True
    """Restore the mean of a channel that the training data conserve."""
    clamp: bool = True
    """Clamp to the widened range of the training data."""


class Training(Section):
    batch_size: Count | dict[str, Count] = 8
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
    """Worker processes that read fields where there is no latent cache."""
    use_parallel_encoding: bool = False
    """Encode fields in the workers where there is no latent cache."""
    pin_memory: bool = False
    """Copy batches to the GPU from page-locked memory."""
    prefetch_factor: int | None = Field(None, ge=1)
    """Batches that are read ahead, per worker."""
    amp: bool = True
    """bfloat16 autocast where the device has matrix units for it."""
    compile: bool = False
    """Compile the model with `torch.compile`; `TORCHINDUCTOR_DISABLE=1` overrides."""
    grad_clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; null: not clipped."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Decay per optimizer step of the averaged weights; null: none are kept."""
    lambda_inv_enc: Weight = 0.0
    """Weight of decoding an encoded state back to the field."""
    lambda_inv_dec: Weight = 0.0
    """Weight of encoding a decoded latent back to the latent."""
    use_inverse_losses: bool = False
    """Train the encoder and decoder refinements with the two inverse losses."""
    inverse_loss_frequency: int = Field(1, ge=1)
    """Optimizer steps between two uses of the inverse losses."""
    inverse_loss_warmup_epochs: int = Field(0, ge=0)
    """Epochs over which the inverse losses rise from zero to their weight."""
    inverse_loss_max_weight: Weight = 0.05
    """Upper bound of the weight of each inverse loss."""
    query_sampling: QuerySampling = QuerySampling()
    """Points at which the inverse losses query the decoder; not enabled: every cell."""
    physics_priors: PhysicsPriors = PhysicsPriors()
    """Weights of the losses that know physics."""
    lambda_spectral: Weight = 0.0
    """Weight of the difference between predicted and true spectra."""
    log_per_task_metrics: bool = True
    """Accepted from old configs; per-task metrics are always logged."""
    task_curriculum: TaskCurriculum = TaskCurriculum()
    """Which tasks are learned in which epochs."""
    rollout_curriculum: RolloutCurriculum = RolloutCurriculum()
    """How many steps are unrolled in which epochs."""
    augment: bool = True
    """Random symmetries of each task's equation."""
    noise: Weight = 0.01
    """Standard deviation of the input noise in units of the normalised state."""
    hard_pair_share: Share = 0.7
    """Share of a batch drawn in proportion to a pair's relative change."""
    warmup: Share = 0.03
    """Share of the stage's samples over which the learning rate rises; then linear to zero."""
    refinement: Refinement = Refinement()
    """The field-space network after the decoder."""
    transport_skip: Literal["auto", "off"] = "auto"
    """Shift the state by the calibrated velocity × dt first, where that halves persistence error."""
    guards: Guards = Guards()
    """What keeps a rollout from exploding."""
    skip_nonfinite: int = Field(0, ge=0)
    """Steps that may be left out because a loss or the gradient is not finite, before the run stops."""
    log_every: int = Field(10, ge=1)
    """Optimizer steps between two points of a task's training curve."""

    @property
    def learns_codec(self) -> bool:
        """Whether encoder and decoder have learned refinements: where an inverse loss has a weight."""
        return self.use_inverse_losses and (self.lambda_inv_enc > 0 or self.lambda_inv_dec > 0)

    def batch_size_of(self, task: str) -> int:
        """Samples per micro-batch of a task."""
        if isinstance(self.batch_size, int):
            return self.batch_size
        return self.batch_size.get(task, self.batch_size.get("default", 8))


class Optimizer(Section):
    name: Literal["muon_hybrid", "adamw"] = "muon_hybrid"
    """`muon_hybrid`: Muon for the matrices of the blocks, AdamW for the rest."""
    lr: float = Field(1.4e-3, gt=0)
    """Learning rate of Muon (and of AdamW where `name` is adamw)."""
    adamw_lr: float | None = Field(None, gt=0)
    """Learning rate of the AdamW half of muon_hybrid; null: two thirds of `lr`."""
    weight_decay: Weight = 0.0
    """Decoupled weight decay."""
    muon_momentum: Share = 0.95
    """Momentum of Muon."""
    muon_ns_steps: int = Field(5, ge=1)
    """Newton–Schulz iterations of Muon."""
    muon_backend: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of the Newton–Schulz iteration; auto: bfloat16 where the device has matrix units for it."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of AdamW's first and second moment."""


class Stage(Section):
    epochs: int = Field(ge=1)
    """Epochs of the stage, at most."""
    patience: int | None = Field(None, ge=1)
    """Overrides `training.patience`."""
    optimizer: Optimizer = Optimizer()
    """Optimizer of the stage."""


class Stages(Section):
    operator: Stage
    """The stage that learns the operator; it always runs."""
    diff_residual: Stage | None = None
    """A diffusion corrector of the operator's residual; left out: not run."""
    consistency_distill: Stage | None = None
    """The corrector distilled to one step; left out: not run."""

    @property
    def names(self) -> tuple[StageName, ...]:
        """The stages that the config defines, in the order in which they run."""
        return tuple(name for name in STAGES if getattr(self, name) is not None)


class Distributed(Section):
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    """How several GPUs share a model: copies, or shards where one GPU's memory is too small."""
    processes: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Processes on each machine that trains; auto: one for each of its GPUs, one where there is none."""


class NextConfig(Section):
    """The config that comes next: this one or a shipped one, and what is changed in it."""

    config: str | None = None
    """Name of a shipped config; null: the run's own."""
    patch: dict[str, Any] = Field(default_factory=dict)
    """`key.path: value` pairs, as `--set` takes them, written into that config."""
    why: str = ""
    """For people: why this comes next."""


class When(Section):
    """What must hold, all of it, of a run that missed its gates; nothing given: every such run."""

    above: float | None = Field(None, gt=0)
    """A figure is above this: a task's or the aggregate; one without skill is above everything."""
    at_most: float | None = Field(None, gt=0)
    """No figure is above this."""
    tasks: tuple[str, ...] = ()
    """One of these has missed its gate, and only their figures count; empty: all, and the aggregate."""
    saturated: bool | None = None
    """The validation of every task that missed its gate has levelled off (`plateau`), or has not."""
    unstable: bool | None = None
    """A rollout diverged, a figure is not finite or the validation blew up; or none of these."""


class GateAction(NextConfig):
    """A verdict on a run that missed its gates, and what comes next; neither config nor patch: nothing."""

    verdict: str = Field(min_length=1, pattern=r"^[a-z0-9_]+$")
    """One word, such as scale; the next config is named after it."""
    when: When = When()
    """The runs that it is for."""


class Plateau(Section):
    """When a validation curve has levelled off."""

    epochs: int = Field(plateau.DEFAULT.epochs, ge=1)
    """The last so many epochs."""
    improvement: Share = plateau.DEFAULT.improvement
    """Their best is lower than the best before by less than this share of it."""


class Gates(Section):
    """Decision gates of a chain of runs, on the one-step nRMSE of the test split.

    Actions are tried in their order; one whose change the config has already is passed over, and the config
    that an action writes goes without that action, so that no chain runs in circles.
    """

    proceed: float | None = Field(None, gt=0)
    """Below this aggregate a run goes on to `next`."""
    tasks: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Below this each task must be too; `default` for tasks not listed."""
    skill: float = Field(0.5, gt=0, le=1)
    """A figure counts only where it is at most this share of persistence's."""
    stable: bool = False
    """Also no rollout may diverge."""
    plateau: Plateau = Plateau()
    """What saturated means."""
    next: NextConfig | None = None
    """What comes after a run that passed; null: nothing."""
    actions: tuple[GateAction, ...] = ()
    """What comes after a run that did not: the first that fits."""
    stop: float | None = Field(None, gt=0)
    """Above this aggregate, and without an action that fits, something is wrong: stop the chain."""

    @model_validator(mode="after")
    def _verdicts_differ(self) -> "Gates":
        seen: set[str] = set()
        for index, action in enumerate(self.actions):
            if action.verdict in seen:
                raise KeyedError(f"two actions are called {action.verdict}", "actions", index, "verdict")
            seen.add(action.verdict)
        return self

    @property
    def is_set(self) -> bool:
        """Whether anything is decided at all."""
        return self.proceed is not None or self.stop is not None or bool(self.tasks)

    def threshold_of(self, task: str) -> float | None:
        """Below this the task must be; None: it need only have skill."""
        return self.tasks.get(task, self.tasks.get("default"))


class Ttc(Section):
    enabled: bool = False
    """Evaluate with test-time compute, beside without."""
    candidates: int = Field(8, ge=1)
    """Predictions made per step."""
    steps: int = Field(1, ge=1)
    """Steps that are looked ahead before one is chosen."""
    beam: int = Field(1, ge=1)
    """Candidates kept at each step."""
    noise: Weight = 0.0
    """Standard deviation of the noise that makes candidates differ, in units of the normalised state."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Weight of each term of the score; empty: all terms that apply to the task, equally."""


class Evaluation(Section):
    symmetric_average: bool = True
    """Average the prediction over the symmetries of 2-D problems."""
    rollout_steps: int | None = Field(None, ge=1)
    """Steps of a rollout; null: to the end of the trajectory."""
    batch_size: int = Field(32, ge=1)
    """Trajectories predicted at once."""
    every: int = Field(1, ge=1)
    """Validate after every this many epochs (always after the last)."""
    validation_samples: int = Field(32, ge=1)
    """Most samples per task in the validation inside training; the final evaluation uses all."""


class Wandb(Section):
    enabled: bool = False
    """Send the metrics to Weights & Biases; without a key they are kept for `wandb-sync`."""
    project: str = "universal-simulator"
    """W&B project; `WANDB_PROJECT` overrides."""
    entity: str | None = None
    """W&B entity; `WANDB_ENTITY` overrides; null: the account's default."""
    tags: tuple[str, ...] = ()
    """Tags of the W&B run."""
    group: str | None = None
    """Group of the W&B run, such as the name of a sweep; null: `WANDB_RUN_GROUP` or none."""
    name: str | None = None
    """Name of the W&B run; null: the config's and the run's id."""
    checkpoints: bool = False
    """Send the best checkpoint as an artifact when training is over."""


class Logging(Section):
    wandb: Wandb = Wandb()
    """Weights & Biases."""


class TrainConfig(Section):
    """One experiment: what is learned from which tasks, how long, and how it is judged."""

    seed: int = Field(0, ge=0)
    """Seed of weights, sampling and noise."""
    deterministic: bool = False
    """Use deterministic kernels only, at the cost of speed."""
    benchmark: bool = False
    """Let cuDNN search for the fastest kernels."""
    data: Data
    """What is learned."""
    latent: Latent = Latent()
    """Size of the latent space that all tasks share."""
    encoder: Encoder = Encoder()
    """The learned refinements of encoder and decoder."""
    operator: Operator = Operator()
    """The operator that steps the latent state."""
    diffusion: Diffusion = Diffusion()
    """Size of the corrector of the second and third stage."""
    training: Training = Training()
    """How it is learned."""
    stages: Stages
    """What is learned in which order, and how long."""
    evaluation: Evaluation = Evaluation()
    """How predictions are made and judged."""
    distributed: Distributed = Distributed()
    """Several GPUs."""
    logging: Logging = Logging()
    """Where metrics go besides the events."""
    gates: Gates = Gates()
    """When a chain of runs goes on and when it stops."""
    target_nrmse: float | None = Field(None, gt=0)
    """One-step nRMSE that this config exists to reach."""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        width, tasks = self.latent.dim, self.data.task
        if self.operator.pdet.input_dim != width:
            raise KeyedError(
                f"{self.operator.pdet.input_dim} must equal latent.dim ({width})",
                "operator",
                "pdet",
                "input_dim",
            )
        for index, stage in enumerate(self.training.task_curriculum.stages):
            for position, name in enumerate(stage.tasks):
                if name not in tasks:
                    key = ("training", "task_curriculum", "stages", index, "tasks", position)
                    raise KeyedError(f"{name} is not in data.task", *key)
        for name in self.operator.patch:
            _check_task(name, "operator", "patch", name)
        if isinstance(self.training.batch_size, dict):
            for name in self.training.batch_size.keys() - {"default"}:
                _check_task(name, "training", "batch_size", name)
        return self

    @model_validator(mode="after")
    def _gates_name_what_exists(self) -> "TrainConfig":
        for name in self.gates.tasks.keys() - {"default"}:
            _check_task(name, "gates", "tasks", name)
        for index, action in enumerate(self.gates.actions):
            for position, name in enumerate(action.when.tasks):
                _check_task(name, "gates", "actions", index, "when", "tasks", position)
            _check_keys(action.patch, "gates", "actions", index, "patch")
        if self.gates.next is not None:
            _check_keys(self.gates.next.patch, "gates", "next", "patch")
        return self


def _check_keys(patch: Mapping[str, Any], *key: str | int) -> None:
    """A patch is first used when a run has been paid for: its keys are checked before."""
    known, named_freely = _keys()
    for path in patch:
        plain = ".".join(part for part in path.split(".") if not part.isdecimal())
        if plain not in known and plain.rpartition(".")[0] not in named_freely:
            near = nearest(plain, known)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise KeyedError(f"there is no key {path}{hint}", *key, path)


@cache
def _keys() -> tuple[frozenset[str], frozenset[str]]:
    """Every key path of a training config, and those below which anything may be named, such as tasks."""
    paths = {path.replace("[]", ""): section.model_fields[name] for path, section, name in walk(TrainConfig)}
    return frozenset(paths), frozenset(
        path for path, field in paths.items() if "dict[" in str(field.annotation)
    )


class EvalData(Section):
    task: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    """Tasks that are evaluated; empty: those the checkpoint has learned."""
    split: Literal["val", "test"] = "test"
    """Split that is evaluated; never the one that was trained on."""
    root: str = "data/pdebench"
    """Accepted from old configs and ignored: the store decides where data lie."""

    @model_validator(mode="after")
    def _tasks_exist(self) -> "EvalData":
        for index, name in enumerate(self.task):
            _check_task(name, "task", index)
        return self


class EvalConfig(Section):
    """What is evaluated, and with which test-time compute."""

    checkpoint: str | None = None
    """Run id or checkpoint path; null: given on the command line."""
    data: EvalData = EvalData()
    """What is evaluated."""
    ttc: Ttc = Ttc()
    """Test-time compute."""
    evaluation: Evaluation = Evaluation()
    """How predictions are made and judged."""


def load_train_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read and validate a training config.

    Args:
        path: the YAML file.
        overrides: `key.path=value` pairs as given to `--set`; values are YAML.

    Raises:
        ConfigError: unreadable, not YAML, or not the schema; names file, line and key.
    """
    return load_section(TrainConfig, path, overrides)


def load_eval_config(path: Path, overrides: Sequence[str] = ()) -> EvalConfig:
    """Read and validate an evaluation config; raises like `load_train_config`."""
    return load_section(EvalConfig, path, overrides)


def parse_train_config(content: Mapping[str, Any], source: str = "run.yaml") -> TrainConfig:
    """Validate an already parsed config, such as the one a run directory pins."""
    return validate_section(TrainConfig, dict(content), source, {})
