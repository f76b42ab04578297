"""`train`: one run's training in its run directory, from wherever it stands."""

import torch

from ups.capabilities import require_supported
from ups.data.sampling import PairSampler
from ups.errors import TrainingError
from ups.evaluation.guards import Guards
from ups.events import EventReader, EventType
from ups.models import checkpoint as checkpoints
from ups.models.operator import LatentOperator
from ups.models.spec import OperatorSpec
from ups.training import state as states
from ups.training.augment import to_device
from ups.training.distributed import Group, joined
from ups.training.job import SILENCE, EventSink, TrainingJob, TrainingResult
from ups.training.loop import StageLoop
from ups.training.losses import operator_losses, require_reach
from ups.training.objective import predict
from ups.training.precision import choose
from ups.training.setup import TaskData, new_operator, open_data
from ups.training.state import TrainingState
from ups.training.trainee import OperatorTrainee

__all__ = ["EventSink", "TrainingJob", "TrainingResult", "train"]


def train(job: TrainingJob, sink: EventSink) -> TrainingResult:
    """Train a run to its end, going on from the newest whole checkpoint in its directory.

    Writes metric, progress, checkpoint, rollout, resumed and warning events, and the files under
    `checkpoints/` and `rollouts/`. Blocking; a killed call may be repeated, and computes what the
    uninterrupted one would have. Where several processes share the training, all call it, and only the
    main one's writes anything.

    Raises:
        ConfigError: the config asks for something that cannot be done.
        DataError: the data cannot be used.
        TrainingError: a loss is not finite or reaches no parameter, the checkpoint is foreign, or another
            process has failed.
        LostProcessError: another process was killed.
    """
    with joined(job.ranks, job.device) as group:
        return _train(job, sink if group.is_main else SILENCE, group)


def _train(job: TrainingJob, sink: EventSink, group: Group) -> TrainingResult:
    config = job.spec.config
    require_supported(config)
    _set_up_torch(job)
    data = open_data(config, job.datasets)
    samplers = {
        task: PairSampler(entry.pairs, hard_share=config.training.hard_pair_share)
        for task, entry in data.items()
    }
    trainee, state = group.main_first(
        lambda: _resumed(job, sink) or _started(job, sink, data, samplers), lambda: _joined_in(job, sink)
    )
    status = StageLoop(job, sink, data, samplers, trainee, state, group).run()
    best = checkpoints.best(job.run_dir.checkpoints)
    if best is None:
        raise TrainingError(f"no whole checkpoint is left in {job.run_dir.checkpoints}")
    progress = state.progress
    return TrainingResult(
        status, best.path, progress.epoch, progress.step, progress.samples, progress.best_score
    )


def _set_up_torch(job: TrainingJob) -> None:
    if job.spec.threads is not None:
        torch.set_num_threads(job.spec.threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = job.spec.config.benchmark
    if job.spec.config.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)


def _started(
    job: TrainingJob, sink: EventSink, data: dict[str, TaskData], samplers: dict[str, PairSampler]
) -> tuple[OperatorTrainee, TrainingState]:
    """A new state, and a checkpoint of it: what is decided at the start is decided once."""
    if any(event.type == EventType.METRIC for event in EventReader(job.run_dir.events_path).read()):
        # no checkpoint of an earlier try is whole: its points are void
        sink.write(EventType.RESUMED, stage="operator", epoch=0, step=0, checkpoint=None)
    config, seed = job.spec.config, job.spec.seed
    model, guards = new_operator(config, data, seed)
    precision = choose(config, config.stages.operator.optimizer, job.device)
    model.amp = precision.amp
    trainee = OperatorTrainee(config, model, guards, job.device)
    state = states.new_state(config, trainee, model, precision, seed, job.device)
    probes = {task: to_device(sampler.pairs.probe(), job.device) for task, sampler in samplers.items()}
    require_reach(model, operator_losses(config), probes, predict)
    states.save(job.run_dir.checkpoints, config, trainee, state, None)
    return trainee, state


def _joined_in(job: TrainingJob, sink: EventSink) -> tuple[OperatorTrainee, TrainingState]:
    """The state with which the main process begins: it has left a checkpoint of it."""
    found = _resumed(job, sink)
    if found is None:
        raise TrainingError(
            f"process {job.ranks.rank} finds no checkpoint of the main one in {job.run_dir.checkpoints}",
            hint="all machines of a training need the same run directory, on a file system that they share",
        )
    return found


def _resumed(job: TrainingJob, sink: EventSink) -> tuple[OperatorTrainee, TrainingState] | None:
    found = checkpoints.last(job.run_dir.checkpoints)
    if found is None:
        return None
    config = job.spec.config
    states.require_same_config(found, config)
    model = LatentOperator(OperatorSpec.from_json(found.state["operator"]))
    model.amp = bool(found.state["precision"]["amp"])
    guards = {task: Guards.from_json(values) for task, values in found.state["guards"].items()}
    trainee = OperatorTrainee(config, model, guards, job.device)
    state = states.restore(found, config, trainee, model, job.device)
    progress = state.progress
    sink.write(
        EventType.RESUMED, stage=found.stage, epoch=progress.epoch, step=progress.step,
        checkpoint=str(found.path.relative_to(job.run_dir.root)),
    )  # fmt: skip
    if state.threads != torch.get_num_threads():
        sink.write(
            EventType.WARNING, code="threads",
            message=f"the run goes on with {torch.get_num_threads()} threads after {state.threads}",
            hint="its figures will differ in the last digits from those of an uninterrupted run",
        )  # fmt: skip
    return trainee, state
