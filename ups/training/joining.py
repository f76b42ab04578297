"""Tasks that join a training that has begun: those that the curriculum draws later than the others.

Their heads are in the model from the start, for its weights must not depend on when data come; what
the values of their data decide (normalisation, bases, guards, transport) is filled in when they join,
at the beginning of the first epoch that draws them. So training starts when the first tasks are here,
and computes the same however long the others take.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ups.data.outline import Outline
from ups.data.sampling import PairSampler
from ups.data.split import open_split
from ups.errors import DataError
from ups.models import checkpoint as checkpoints
from ups.training.curriculum import joining_epochs
from ups.training.distributed import Group
from ups.training.job import TrainingJob
from ups.training.setup import TaskData, open_data, require_batch, require_pairs, split_file


@dataclass(frozen=True, slots=True)
class Intake:
    """The tasks of a run that have joined, and what is known of the others."""

    data: Mapping[str, TaskData] = field(default_factory=dict)
    samplers: Mapping[str, PairSampler] = field(default_factory=dict)
    outlines: Mapping[str, Outline] = field(default_factory=dict)
    """The trained split of every task of the config."""

    @classmethod
    def of(cls, job: TrainingJob) -> "Intake":
        """Before any task has joined.

        Raises:
            DataError: a task has no files, or too little data for the config.
        """
        config = job.spec.config
        outlines = {}
        for task in config.data.task:
            training = split_file(job.datasets, task, config.data.split)
            split_file(job.datasets, task, "val")
            outlines[task] = job.outlines.get(task) or Outline.of(open_split(training))
            require_pairs(config, outlines[task])
            require_batch(config, outlines[task])
        return cls(outlines=outlines)

    def with_tasks(self, job: TrainingJob, tasks: Iterable[str]) -> "Intake":
        """With further tasks, whose files are complete.

        Raises:
            DataError: a file cannot be used, or is not what its outline says.
        """
        config = job.spec.config
        opened = open_data(config, job.datasets, tasks)
        for task, entry in opened.items():
            fields = entry.pairs.fields
            if (found := Outline.of(fields)) != (stated := self.outlines[task]):
                raise DataError(
                    f"{fields.path} is not what its manifest says: {found}, not {stated}",
                    hint=f"`ups-console data verify {task}`, then launch the run anew",
                )
        share = config.training.hard_pair_share
        fresh = {task: PairSampler(entry.pairs, hard_share=share) for task, entry in opened.items()}
        data, samplers = {**self.data, **opened}, {**self.samplers, **fresh}
        order = [task for task in config.data.task if task in data]
        return Intake(
            {task: data[task] for task in order}, {task: samplers[task] for task in order}, self.outlines
        )

    def due(self, job: TrainingJob, epoch: int) -> list[str]:
        """Tasks that have to join before an epoch of the operator's stage."""
        joining = joining_epochs(job.spec.config)
        return [task for task, first in joining.items() if first <= epoch and task not in self.data]

    def next_epoch(self, job: TrainingJob) -> int | None:
        """The epoch of the operator's stage before which the next tasks join; None: all have."""
        joining = joining_epochs(job.spec.config)
        return min((first for task, first in joining.items() if task not in self.data), default=None)


def tasks_at_start(job: TrainingJob) -> list[str]:
    """The tasks with which the training begins, or goes on from its last checkpoint."""
    found = checkpoints.last(job.run_dir.checkpoints)
    known = {} if found is None else found.state["guards"]
    return [task for task, first in joining_epochs(job.spec.config).items() if first == 0 or task in known]


def wait_for(job: TrainingJob, tasks: Sequence[str], group: Group) -> bool:
    """Wait until the files of some tasks are complete; False where somebody asked to stop instead.

    Raises:
        UpsError: they will not come.
    """

    def look() -> Literal["here", "coming", "stop"]:
        if job.arrived(tasks):
            return "here"
        return "stop" if job.should_stop() else "coming"

    # asked again and again: the other processes wait no longer than a while for a word of the main one
    while (state := group.from_main(look)) == "coming":
        pass
    return state == "here"
