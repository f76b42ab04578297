"""What is learned in an epoch: how samples are shared between the tasks, how many steps are unrolled."""

from collections.abc import Mapping

from ups.config import TrainConfig


def task_shares(
    config: TrainConfig, epoch: int, pairs: Mapping[str, int], nrmse: Mapping[str, float]
) -> dict[str, float]:
    """Weight of each task that takes part in an epoch; need not add up to 1.

    Args:
        config: the experiment.
        epoch: from 0.
        pairs: training pairs of each task.
        nrmse: the last validation error of each task; {} before the first validation.
    """
    sampling = config.data.task_sampling
    proportional = sampling.strategy == "proportional"
    base = {
        task: (float(count) if proportional else 1.0) * sampling.weights.get(task, 1.0)
        for task, count in pairs.items()
    }
    curriculum = config.training.task_curriculum
    if not curriculum.enabled:
        return base
    for stage in curriculum.stages:
        first, end = stage.epochs
        if first <= epoch < end:
            if stage.weights == "inverse_nrmse" and all(nrmse.get(task, 0.0) > 0 for task in stage.tasks):
                # harder tasks, with the higher error, get more samples
                return {task: nrmse[task] for task in stage.tasks}
            return {task: base[task] for task in stage.tasks}
    return base


def rollout_steps(config: TrainConfig, epoch: int) -> int:
    """Steps that are unrolled in an epoch."""
    curriculum = config.training.rollout_curriculum
    if not curriculum.enabled:
        return 1
    begun = [
        steps
        for steps, first in zip(curriculum.stages, curriculum.epoch_boundaries, strict=True)
        if epoch >= first
    ]
    return begun[-1]


def joining_epochs(config: TrainConfig) -> dict[str, int]:
    """The epoch of the operator's stage with which each task joins the training; 0: from the start.

    It is the first in which the curriculum draws the task, whenever its data come: what a run computes
    does not depend on how long a download takes. A task that no epoch draws is there from the start.
    """
    curriculum, epochs = config.training.task_curriculum, config.stages.operator.epochs
    if not curriculum.enabled:
        return dict.fromkeys(config.data.task, 0)
    begun = {stage.epochs[0]: set(stage.tasks) for stage in curriculum.stages}
    begun[curriculum.stages[-1].epochs[1]] = set(config.data.task)
    return {
        task: min((first for first, tasks in begun.items() if task in tasks and first < epochs), default=0)
        for task in config.data.task
    }
