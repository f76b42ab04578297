"""How each stage of a run begins, and how it goes on from its checkpoint.

A stage begins from the best weights of what it builds on, as validation judged them; whatever is decided
then (a control's length, a corrector's scales) is in its checkpoints.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ups.config import TrainConfig
from ups.course import FIRST, controlled_by, course
from ups.data.sampling import PairSampler, probe_windows
from ups.errors import TrainingError
from ups.evaluation.guards import Guards
from ups.models import checkpoint as checkpoints
from ups.models.checkpoint import Checkpoint, load_weights
from ups.models.companions import TEACHER_FILE, Companions, companions_of, operator_of
from ups.models.corrector import Corrector, CorrectorSpec, corrector_spec
from ups.models.operator import LatentOperator
from ups.models.spec import OperatorSpec
from ups.training import state as states
from ups.training.augment import to_device
from ups.training.batch import TensorBatch
from ups.training.companions import CompanionTrainee, calibrate, require_companions_learn
from ups.training.compute import flops_per_sample
from ups.training.curriculum import rollout_steps, task_shares
from ups.training.job import TrainingJob
from ups.training.joining import Intake
from ups.training.ledger import Ledger, StageRecord
from ups.training.losses import operator_losses, require_reach
from ups.training.objective import predict
from ups.training.precision import choose
from ups.training.setup import TaskData, new_operator
from ups.training.state import TrainingState
from ups.training.trainee import OperatorTrainee, Schedule, Trainee, schedule_of

_CALIBRATION_PAIRS = 256
_CONTROL_RATE = 1 / 3
"""Of the operator stage's learning rates: what continued it best."""

Begun = tuple[Trainee, TrainingState]


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of one run."""

    job: TrainingJob
    intake: Intake

    @property
    def data(self) -> Mapping[str, TaskData]:
        """Of the tasks that have joined."""
        return self.intake.data

    @property
    def samplers(self) -> Mapping[str, PairSampler]:
        return self.intake.samplers

    @property
    def config(self) -> TrainConfig:
        return self.job.spec.config

    @property
    def names(self) -> tuple[str, ...]:
        """What is trained, in order."""
        return course(self.config.stages.names)

    @property
    def samples_per_epoch(self) -> int:
        training = self.config.training
        return training.samples_per_epoch or sum(
            outline.pairs(training.time_stride) for outline in self.intake.outlines.values()
        )

    def samples_after(self, name: str) -> int:
        """Of the stages after one, as planned; a control is taken to be as long as its stage."""
        later = self.names[self.names.index(name) + 1 :]
        return sum(self._schedule(controlled_by(stage) or stage).samples for stage in later)

    def begin(self, name: str, ledger: Ledger) -> Begun:
        """A stage before its first step."""
        if name == FIRST:
            return self._begin_operator()
        if controlled_by(name) is not None:
            return self._begin_control(name, ledger)
        return self._begin_student(name) if name == "consistency_distill" else self._begin_corrector(name)

    def resume(self, found: Checkpoint) -> Begun:
        """A stage as it stood at a checkpoint.

        Raises:
            TrainingError: the checkpoint belongs to another config.
        """
        config, state = self.config, found.state
        states.require_same_config(found, config)
        guards, schedule = _guards(found), Schedule.from_json(state["schedule"])
        if "corrector" not in state:
            model = LatentOperator(OperatorSpec.from_json(state["operator"]))
            model.amp = bool(state["precision"]["amp"])
            operator = OperatorTrainee(
                config, model, guards, self.job.device, schedule, found.stage, state["reference"]
            )
            return operator, states.restore(found, config, operator, model, self.job.device)
        trainee = self._companion_trainee(
            found, found.stage, CorrectorSpec.from_json(state["corrector"]), schedule, state["reference"]
        )
        module = Companions(trainee.spec, trainee.operator.spec)
        module.corrector.amp = trainee.operator.amp
        return trainee, states.restore(found, config, trainee, module, self.job.device)

    def join(self, found: Checkpoint, tasks: Sequence[str]) -> Begun:
        """The operator's stage as it stood at a checkpoint, with the tasks that join there.

        What is best so far is forgotten: scores over other tasks cannot be compared.

        Raises:
            DataError: values that are not finite, or a constant field.
            TrainingError: a loss of a joining task reaches no parameter.
        """
        config, joining = self.config, {task: self.data[task] for task in tasks}
        fresh, guards = new_operator(config, joining, self.job.spec.seed, self.intake.outlines)
        state = dict(found.state)
        state["operator"] = OperatorSpec.from_json(state["operator"]).updated(fresh.spec, tasks).to_json()
        state["guards"] |= {task: guards[task].to_json() for task in tasks}
        trainee, restored = self.resume(replace(found, state=state))
        for module in (restored.module, restored.ema):
            if isinstance(module, LatentOperator):
                module.adopt(fresh, tasks)
        assert isinstance(restored.module, LatentOperator)
        probes = {task: batch for task, batch in self._probes(trainee.schedule).items() if task in joining}
        require_reach(restored.module, operator_losses(config), probes, predict)
        return trainee, restored

    def record(self, trainee: Trainee, state: TrainingState) -> StageRecord:
        """What a stage has cost and reached, at its end."""
        best = checkpoints.best(self.job.run_dir.checkpoints, trainee.stage)
        if best is None:
            raise TrainingError(f"no whole checkpoint of {trainee.stage} is left")
        progress = state.progress
        flops = flops_per_sample(
            self.config, trainee, state.module, self._probes(trainee.schedule),
            self._shares(trainee.schedule),
        )  # fmt: skip
        return StageRecord(
            best.state["progress"]["nrmse"], best.state["score"], progress.epoch, progress.step,
            progress.samples, flops * progress.samples, progress.seconds,
        )  # fmt: skip

    # --- how each begins ----------------------------------------------------------------------

    def _begin_operator(self) -> Begun:
        config, job = self.config, self.job
        model, guards = new_operator(config, self.data, job.spec.seed, self.intake.outlines)
        precision = choose(config, config.stages.operator.optimizer, job.device)
        model.amp = precision.amp
        schedule = self._schedule(FIRST)
        trainee = OperatorTrainee(config, model, guards, job.device, schedule)
        state = states.new_state(config, trainee, model, precision, job.spec.seed, job.device)
        require_reach(model, operator_losses(config), self._probes(schedule), predict)
        return trainee, state

    def _begin_control(self, name: str, ledger: Ledger) -> Begun:
        """The operator again, at a third of the rate, for as much compute as the stage has used."""
        config, stage = self.config, controlled_by(name)
        assert stage is not None
        earlier = [FIRST, *(other for other in self.names[: self.names.index(name)] if controlled_by(other))]
        base = self._best(*earlier)
        model = operator_of(base)
        optimizer = config.stages.operator.optimizer
        rates = {"lr": optimizer.lr * _CONTROL_RATE}
        if optimizer.adamw_lr is not None:
            rates["adamw_lr"] = optimizer.adamw_lr * _CONTROL_RATE
        schedule = Schedule(
            ledger[stage].epochs, 0, optimizer.model_copy(update=rates),
            first_epoch=config.stages.operator.epochs,
        )  # fmt: skip
        precision = choose(config, optimizer, self.job.device)
        model.amp = precision.amp
        reference = self._best(FIRST).state["progress"]["nrmse"]
        trainee = OperatorTrainee(config, model, _guards(base), self.job.device, schedule, name, reference)
        flops = flops_per_sample(
            config, trainee, model.to(self.job.device), self._probes(schedule), self._shares(schedule)
        )
        # a stage may be cheaper than a single step of the operator
        samples = max(1, round(ledger[stage].flops / flops))
        samples = min(samples, self.job.control_samples or samples)
        trainee = replace(trainee, schedule=replace(schedule, samples=samples))
        state = states.new_state(config, trainee, model, precision, self._seed(name), self.job.device)
        return trainee, state

    def _begin_corrector(self, name: str) -> Begun:
        """A corrector of the best operator, scaled by what that gets wrong."""
        config, base = self.config, self._best(FIRST)
        schedule, reference = self._schedule(name), base.state["progress"]["nrmse"]
        trainee = self._companion_trainee(base, name, corrector_spec(config), schedule, reference)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed(name))
            module = Companions(trainee.spec, trainee.operator.spec)
        for task in self.data:
            calibrate(module, trainee.operator, task, self._calibration(task))
        return self._begun_companions(trainee, module)

    def _begin_student(self, name: str) -> Begun:
        """A copy of the best corrector, to be distilled to one step."""
        source, reference = self._best("diff_residual"), self._best(FIRST).state["progress"]["nrmse"]
        spec = CorrectorSpec.from_json(source.state["corrector"]).distilled()
        trainee = self._companion_trainee(source, name, spec, self._schedule(name), reference)
        module = companions_of(source)
        assert module is not None
        teacher = copy.deepcopy(module.corrector).to(self.job.device)
        module.corrector.spec = spec
        return self._begun_companions(replace(trainee, teacher=teacher), module)

    def _begun_companions(self, trainee: CompanionTrainee, module: Companions) -> Begun:
        config, device = self.config, self.job.device
        precision = choose(config, trainee.schedule.optimizer, device)
        trainee.operator.amp = module.corrector.amp = precision.amp
        if trainee.teacher is not None:
            trainee.teacher.amp = precision.amp
        state = states.new_state(config, trainee, module, precision, self._seed(trainee.stage), device)
        require_companions_learn(trainee, module, self._probes(trainee.schedule))
        return trainee, state

    def _companion_trainee(
        self,
        found: Checkpoint,
        name: str,
        spec: CorrectorSpec,
        schedule: Schedule,
        reference: Mapping[str, float],
    ) -> CompanionTrainee:
        """The trainee beside a checkpoint's operator, with the teacher that the checkpoint holds, if any."""
        operator = operator_of(found).to(self.job.device).eval()
        operator.amp = bool(found.state["precision"]["amp"])
        teacher = None
        if TEACHER_FILE in found.state["files"]:
            teacher = Corrector(replace(spec, steps=1), operator.spec)
            load_weights(teacher, found, TEACHER_FILE)
            teacher = teacher.to(self.job.device)
            teacher.amp = operator.amp
        return CompanionTrainee(
            self.config, operator, _guards(found), self.job.device, spec, schedule, name, reference, teacher
        )

    # --- what they have in common -------------------------------------------------------------

    def _best(self, *stages: str) -> Checkpoint:
        """The best checkpoint of some stages; the earlier among equals."""
        found = [checkpoints.best(self.job.run_dir.checkpoints, stage) for stage in stages]
        known = [item for item in found if item is not None]
        if not known:
            raise TrainingError(f"no whole checkpoint of {' or '.join(stages)} is left to go on from")
        return min(known, key=lambda item: item.score)

    def _schedule(self, stage: str) -> Schedule:
        return schedule_of(self.config, stage, self.samples_per_epoch)

    def _seed(self, name: str) -> int:
        """Of a stage's random streams; each has its own."""
        return self.job.spec.seed + self.names.index(name)

    def _shares(self, schedule: Schedule) -> dict[str, float]:
        """Shares of the tasks when a stage begins."""
        pairs = {task: len(entry.pairs) for task, entry in self.data.items()}
        return task_shares(self.config, schedule.first_epoch, pairs, {})

    def _probes(self, schedule: Schedule) -> dict[str, TensorBatch]:
        """Two pairs of each task, as long as a stage's windows are when it begins."""
        unrolled = rollout_steps(self.config, schedule.first_epoch) if schedule.unrolled else 1
        return {
            task: to_device(probe_windows(sampler.pairs, sampler.pairs.most_steps(unrolled)), self.job.device)
            for task, sampler in self.samplers.items()
        }

    def _calibration(self, task: str) -> Iterator[TensorBatch]:
        """Some pairs of a task, the same in every run, a batch at a time."""
        pairs, size = self.samplers[task].pairs, self.config.training.batch_size_of(task)
        chosen = np.random.default_rng(0).integers(len(pairs), size=_CALIBRATION_PAIRS)
        for first in range(0, len(chosen), size):
            part = chosen[first : first + size]
            yield to_device(pairs.take(part // pairs.starts, part % pairs.starts), self.job.device)


def _guards(found: Checkpoint) -> dict[str, Guards]:
    return {task: Guards.from_json(values) for task, values in found.state["guards"].items()}
