"""All that a stage's next step depends on, and its way into a checkpoint and back.

A run that goes on from a checkpoint computes what the uninterrupted run would have computed: weights,
optimizer, averages, both random streams, whose turn it is, and what was measured at the start.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ups.config import TrainConfig
from ups.data.sampling import TaskRotation
from ups.errors import TrainingError
from ups.models import checkpoint as checkpoints
from ups.models.checkpoint import Checkpoint, load_weights
from ups.training.optim import Hybrid, groups_of
from ups.training.precision import Precision
from ups.training.tensors import whole_state
from ups.training.trainee import Trainee

OPTIMIZER_FILE = "optimizer.safetensors"
_RANDOM = "torch_random"


@dataclass(slots=True)
class Progress:
    """How far a stage has come."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Optimizer steps."""
    samples: int = 0
    best_score: float | None = None
    """Lowest mean validation nRMSE so far."""
    epochs_since_best: int = 0
    nrmse: dict[str, float] = field(default_factory=dict)
    """Last validation error of each task."""
    finished: bool = False
    """The stage is over, by its epochs or its patience."""
    split: int = 1
    """Parts in which a micro-batch is computed; 2 once memory has run out."""
    nonfinite: int = 0
    """Steps that were left out because a loss or the gradient was not finite."""
    seconds: float = 0.0
    """Spent on training steps, over all processes."""
    curves: dict[str, list[list[float | None]]] = field(default_factory=dict)
    """task → [epoch, one-step nRMSE] of each validation; "" is their mean, and null not finite."""
    told: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Warning → task → its error then: what was told is not told again."""


@dataclass(slots=True)
class TrainingState:
    """Everything that changes while a stage trains, and what was decided at its start."""

    module: nn.Module
    """What is trained."""
    ema: nn.Module | None
    """Running average of the weights, where the config asks for one."""
    use_ema: bool
    """The average was better at the last validation."""
    optimizer: Hybrid
    rotation: TaskRotation
    random: np.random.Generator
    progress: Progress
    precision: Precision
    threads: int

    @property
    def judged(self) -> nn.Module:
        """The weights that validation found better."""
        return self.ema if self.use_ema and self.ema is not None else self.module


def new_state(
    config: TrainConfig, trainee: Trainee, module: nn.Module, precision: Precision, seed: int, device: str
) -> TrainingState:
    """The state before the first step; seeds torch's random stream."""
    torch.manual_seed(seed)
    return _assemble(config, trainee, module.to(device), precision, np.random.default_rng(seed))


Tensors = Mapping[str, Mapping[str, Tensor]]


def tensors_of(trainee: Trainee, state: TrainingState) -> Tensors:
    """The whole tensors of a checkpoint, by file; all processes that share the state have to ask for it."""
    tensors: dict[str, Mapping[str, Tensor]] = {
        trainee.file: whole_state(state.module),
        **trainee.fixed(),
        OPTIMIZER_FILE: {**state.optimizer.state(), **_torch_random()},
    }
    if state.ema is not None:
        tensors[trainee.average_file] = whole_state(state.ema)
    return tensors


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint is made of."""

    stage: str
    epoch: int
    tensors: Tensors
    content: Mapping[str, Any]
    """Of `state.json`."""

    def write(self, parent: Path) -> tuple[Checkpoint, bool]:
        """Write the checkpoint and remove those that are neither the last nor a stage's best.

        Args:
            parent: the run's `checkpoints` directory.

        Returns:
            It, and whether it is the best now.
        """
        written = checkpoints.write(parent, self.stage, self.epoch, self.tensors, self.content)
        best = checkpoints.prune(parent, written)
        return written, best is not None and best.path == written.path


def snapshot(
    config: TrainConfig,
    trainee: Trainee,
    state: TrainingState,
    score: float | None,
    tensors: Tensors,
) -> Snapshot:
    """A state as its next checkpoint holds it; the tensors stay those that were given.

    Args:
        config: the run's config.
        trainee: of the stage.
        state: what is saved; whole, or in this process's shards.
        score: of the validation that has just been made, if one has.
        tensors: of the state, or copies.
    """
    content = {
        "score": score if score is not None and math.isfinite(score) else None,
        "use_ema": state.use_ema,
        "progress": asdict(state.progress),
        **trainee.description(),
        "precision": asdict(state.precision),
        "threads": state.threads,
        "credits": dict(state.rotation.credits),
        "random": state.random.bit_generator.state,
        "config": config.model_dump(mode="json"),
        "torch": torch.__version__,
    }
    return Snapshot(trainee.stage, state.progress.epoch, tensors, content)


def save(parent: Path, config: TrainConfig, trainee: Trainee, state: TrainingState) -> None:
    """Write a checkpoint of a state that is not being trained, and wait for it.

    Args:
        parent: the run's `checkpoints` directory.
        config: the run's config.
        trainee: of the stage.
        state: whole.
    """
    snapshot(config, trainee, state, None, tensors_of(trainee, state)).write(parent)


def restore(
    found: Checkpoint, config: TrainConfig, trainee: Trainee, module: nn.Module, device: str
) -> TrainingState:
    """The state that a checkpoint holds.

    Args:
        found: the checkpoint.
        config: the run's config.
        trainee: of the checkpoint's stage.
        module: what is trained, of the checkpoint's shape; its weights are overwritten.
        device: torch device.

    Raises:
        TrainingError: it belongs to another config.
    """
    require_same_config(found, config)
    load_weights(module, found, trainee.file)
    random = np.random.default_rng()
    random.bit_generator.state = found.state["random"]
    precision = Precision(**found.state["precision"])
    state = _assemble(config, trainee, module.to(device), precision, random)
    state.progress = Progress(**found.state["progress"])
    state.rotation.credits.update(found.state["credits"])
    state.use_ema = found.state["use_ema"]
    if state.ema is not None:
        load_weights(state.ema, found, trainee.average_file)
    optimizer = found.tensors(OPTIMIZER_FILE)
    state.optimizer.load(optimizer)
    torch.set_rng_state(optimizer[_RANDOM])
    if device.startswith("cuda") and f"{_RANDOM}_cuda" in optimizer:
        torch.cuda.set_rng_state(optimizer[f"{_RANDOM}_cuda"])
    return state


def optimizer_of(config: TrainConfig, trainee: Trainee, module: nn.Module, precision: Precision) -> Hybrid:
    """The optimizer of a stage for its module as it lies, whole or in shards."""
    return Hybrid(
        module, trainee.schedule.optimizer, muon_dtype=precision.muon_dtype, groups=groups_of(config)
    )


def require_same_config(found: Checkpoint, config: TrainConfig) -> None:
    """Raises TrainingError where a checkpoint was written under another config."""
    if found.state["config"] != config.model_dump(mode="json"):
        raise TrainingError(
            f"{found.path} was written under another config than run.yaml's",
            hint="a changed config is a new run: launch it again",
        )


def _assemble(
    config: TrainConfig,
    trainee: Trainee,
    module: nn.Module,
    precision: Precision,
    random: np.random.Generator,
) -> TrainingState:
    return TrainingState(
        module=module,
        ema=copy.deepcopy(module).eval() if config.training.ema_decay is not None else None,
        use_ema=False,
        optimizer=optimizer_of(config, trainee, module, precision),
        rotation=TaskRotation(config.data.task),
        random=random,
        progress=Progress(),
        precision=precision,
        threads=torch.get_num_threads(),
    )


def _torch_random() -> dict[str, Tensor]:
    streams = {_RANDOM: torch.get_rng_state()}
    if torch.cuda.is_available():
        streams[f"{_RANDOM}_cuda"] = torch.cuda.get_rng_state()
    return streams
