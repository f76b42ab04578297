"""`train`: one run's training in its run directory, from wherever it stands."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch

from ups.capabilities import require_supported
from ups.course import FIRST
from ups.data.sampling import PairSampler
from ups.errors import TrainingError
from ups.events import EventReader, EventType
from ups.models import checkpoint as checkpoints
from ups.models.checkpoint import Checkpoint
from ups.models.operator import LatentOperator
from ups.training import ledger as ledgers
from ups.training import state as states
from ups.training.augment import to_device
from ups.training.bases import warn_of_floors
from ups.training.batch import TensorBatch
from ups.training.compilation import compile_blocks, rehearsal
from ups.training.distributed import Group, joined
from ups.training.job import SILENCE, EventSink, TrainingJob, TrainingResult
from ups.training.joining import Intake, tasks_at_start, wait_for
from ups.training.loop import HowItEnded, StageLoop, Totals
from ups.training.losses import not_applicable, operator_losses
from ups.training.stages import Begun, Stages
from ups.training.state import Progress, TrainingState
from ups.training.trainee import Trainee

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
    with joined(job.ranks, job.device, job.run_dir.checkpoints) as group:
        return _train(job, sink if group.is_main else SILENCE, group)


def _train(job: TrainingJob, sink: EventSink, group: Group) -> TrainingResult:
    config = job.spec.config
    require_supported(config)
    _set_up_torch(job)
    status, done = _follow(job, sink, group)
    best = checkpoints.best(job.run_dir.checkpoints)
    if best is None:
        raise TrainingError(f"no whole checkpoint is left in {job.run_dir.checkpoints}")
    return TrainingResult(status, best.path, done.epochs, done.steps, done.samples, best.state["score"])


def _follow(
    job: TrainingJob, sink: EventSink, group: Group
) -> tuple[Literal["finished", "stopped", "enough"], Totals]:
    """Train one stage after the other; returns how it ended, and what was done in all."""
    stages = _stages_with(Stages(job, Intake.of(job)), group.from_main(partial(tasks_at_start, job)), group)
    if stages is None:
        return "stopped", Totals()
    trainee, state = group.main_first(partial(_gone_on, stages, sink), partial(_joined_in, stages))
    ledger = group.from_main(lambda: ledgers.read(job.run_dir))
    while True:
        position = stages.names.index(trainee.stage)
        ledger = {name: ledger[name] for name in stages.names[:position] if name in ledger}
        if trainee.stage == FIRST and (due := stages.intake.due(job, state.progress.epoch)):
            more = _stages_with(stages, due, group)
            if more is None:
                return "stopped", _totals(ledger, state.progress)
            stages = more
            trainee, state = group.main_first(
                partial(_joined, stages, due, sink), partial(_joined_in, stages)
            )
        how = _train_stage(stages, trainee, state, ledger, sink, group)
        if how in ("stopped", "enough"):
            return how, _totals(ledger, state.progress)
        if how == "paused":
            continue
        ledger = group.from_main(partial(_recorded, stages, trainee, state, ledger))
        if position + 1 == len(stages.names):
            return "finished", _totals(ledger)
        if group.from_main(partial(job.enough, 0.0)) is not None:
            return "enough", _totals(ledger)
        begin = partial(_begun, stages, stages.names[position + 1], ledger)
        trainee, state = group.main_first(begin, partial(_joined_in, stages))
        if group.from_main(job.should_stop):
            return "stopped", _totals(ledger)


def _train_stage(
    stages: Stages,
    trainee: Trainee,
    state: TrainingState,
    ledger: ledgers.Ledger,
    sink: EventSink,
    group: Group,
) -> HowItEnded:
    """Train a stage to its end, or until further tasks join."""
    loop = StageLoop(
        stages.job, sink, stages.data, stages.samplers, trainee, state, group,
        done=_totals(ledger), later=stages.samples_after(trainee.stage),
        pause_at=stages.intake.next_epoch(stages.job),
    )  # fmt: skip
    if stages.config.training.compile:
        _compile(stages, trainee, state, sink)
    return loop.run()


def _stages_with(stages: Stages, tasks: Sequence[str], group: Group) -> Stages | None:
    """With further tasks, once their files are here; None where somebody asked to stop while they came."""
    if not wait_for(stages.job, tasks, group):
        return None
    return Stages(stages.job, stages.intake.with_tasks(stages.job, tasks))


def _recorded(
    stages: Stages, trainee: Trainee, state: TrainingState, ledger: ledgers.Ledger
) -> ledgers.Ledger:
    """The ledger with a stage that has ended, as it is kept in the run directory."""
    whole = {**ledger, trainee.stage: stages.record(trainee, state)}
    ledgers.write(stages.job.run_dir, whole)
    return whole


def _totals(ledger: ledgers.Ledger, unfinished: Progress | None = None) -> Totals:
    """What finished stages, and perhaps one that is not, have done."""
    total = Totals()
    for item in ledger.values():
        total = total.plus(item.epochs, item.steps, item.samples)
    return total.plus(unfinished.epoch, unfinished.step, unfinished.samples) if unfinished else total


def _set_up_torch(job: TrainingJob) -> None:
    if job.spec.threads is not None:
        torch.set_num_threads(max(1, job.spec.threads // job.ranks.local_world_size))
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = job.spec.config.benchmark
    if job.spec.config.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)


def _compile(stages: Stages, trainee: Trainee, state: TrainingState, sink: EventSink) -> None:
    """Compile what a stage trains, and try that on a micro-batch of each task."""
    batches = [_micro_batch(stages.job, task, sampler) for task, sampler in stages.samplers.items()]
    objective = trainee.objective(state.module)
    compile_blocks(state.module, rehearsal(state.module, objective, batches, stages.job.device), sink)


def _micro_batch(job: TrainingJob, task: str, sampler: PairSampler) -> TensorBatch:
    """Samples of a task, as many as are trained on at a time."""
    pairs = sampler.pairs
    size = job.spec.config.training.batch_size_of(task)
    chosen = np.arange(size) % len(pairs)
    return to_device(pairs.take(chosen // pairs.starts, chosen % pairs.starts), job.device)


def _gone_on(stages: Stages, sink: EventSink) -> Begun:
    return _resumed(stages, sink) or _started(stages, sink)


def _started(stages: Stages, sink: EventSink) -> Begun:
    """The first stage; what an earlier try has written without leaving a whole checkpoint is void."""
    events = EventReader(stages.job.run_dir.events_path).read()
    if any(event.type == EventType.METRIC for event in events):
        sink.write(EventType.RESUMED, stage=FIRST, epoch=0, step=0, checkpoint=None)
    trainee, state = _begun(stages, FIRST, {})
    _warn_of_floors(stages, state, stages.data, sink)
    assert isinstance(state.module, LatentOperator)
    if left_out := not_applicable(state.module, operator_losses(stages.config)):
        where = "; ".join(f"{name} of {', '.join(tasks)}" for name, tasks in left_out.items())
        sink.write(
            EventType.WARNING, code="not_applicable",
            message=f"losses without a meaning are left out: {where}",
            hint="nothing needs to be done",
        )  # fmt: skip
    return trainee, state


def _joined(stages: Stages, tasks: Sequence[str], sink: EventSink) -> Begun:
    """The operator's stage where further tasks join it, and a checkpoint of that."""
    job = stages.job
    found = checkpoints.last(job.run_dir.checkpoints)
    assert found is not None  # the loop has just left it
    trainee, state = stages.join(found, tasks)
    _warn_of_floors(stages, state, tasks, sink)
    states.save(job.run_dir.checkpoints, stages.config, trainee, state)
    return trainee, state


def _warn_of_floors(stages: Stages, state: TrainingState, tasks: Iterable[str], sink: EventSink) -> None:
    assert isinstance(state.module, LatentOperator)
    files = {task: stages.data[task].validation for task in tasks}
    warn_of_floors(state.module, files, stages.config, sink)


def _begun(stages: Stages, name: str, ledger: ledgers.Ledger) -> Begun:
    """A stage, and a checkpoint of its beginning: what is decided then is decided once."""
    trainee, state = stages.begin(name, ledger)
    states.save(stages.job.run_dir.checkpoints, stages.config, trainee, state)
    return trainee, state


def _joined_in(stages: Stages) -> Begun:
    """A stage as the main process begins it or goes on with it: it has left a checkpoint of it."""
    found = _resumed(stages, SILENCE)
    if found is None:
        job = stages.job
        raise TrainingError(
            f"process {job.ranks.rank} finds no checkpoint of the main one in {job.run_dir.checkpoints}",
            hint="all machines of a training need the same run directory, on a file system that they share",
        )
    return found


def _resumed(stages: Stages, sink: EventSink) -> Begun | None:
    job = stages.job
    found = checkpoints.last(job.run_dir.checkpoints)
    if found is None:
        return None
    trainee, state = stages.resume(found)
    progress = state.progress
    sink.write(
        EventType.RESUMED, stage=found.stage, epoch=progress.epoch, step=progress.step,
        checkpoint=str(found.path.relative_to(job.run_dir.root)),
    )  # fmt: skip
    _tell_late(job, found, sink)
    if state.threads != torch.get_num_threads():
        sink.write(
            EventType.WARNING, code="threads",
            message=f"the run goes on with {torch.get_num_threads()} threads after {state.threads}",
            hint="its figures will differ in the last digits from those of an uninterrupted run",
        )  # fmt: skip
    return trainee, state


def _tell_late(job: TrainingJob, found: Checkpoint, sink: EventSink) -> None:
    """Tell of a checkpoint that its process was killed over: the console fetches by event."""
    if sink is SILENCE or found.state.get("score") is None:
        return
    reached = {EventType.METRIC: False, EventType.CHECKPOINT: False}
    for event in EventReader(job.run_dir.events_path).read():
        if (event.fields.get("stage"), event.fields.get("epoch")) == (found.stage, found.epoch):
            for kind in reached:
                reached[kind] = reached[kind] or event.type == kind
    if not reached[EventType.METRIC] or reached[EventType.CHECKPOINT]:
        return  # of another attempt, or told already
    best = checkpoints.best(job.run_dir.checkpoints)
    sink.write(
        EventType.CHECKPOINT, stage=found.stage, epoch=found.epoch,
        path=str(found.path.relative_to(job.run_dir.root)), sha256=found.sha256, bytes=found.num_bytes,
        best=best is not None and best.path == found.path, files=found.state["files"],
    )  # fmt: skip
