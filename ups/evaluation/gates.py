"""Decision gates: what a run's report says to a chain of runs. Pure, and free of torch.

A run passes where every task has skill and is below its threshold, and the aggregate is below its own.
One that does not gets the verdict of the first action of its config that fits, and with it the next config.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ups.config import Gates, NextConfig, TrainConfig, When
from ups.config_patch import changes
from ups.errors import ConfigError
from ups.evaluation.validation_curves import Curves, has_blown_up, has_levelled_off

PROCEED = "proceed"
REVIEW = "review"
"""The run missed its gates, and no action fits: a person decides."""
STOP = "stop"
INCOMPLETE = "incomplete"
"""A task or the test split was not evaluated, so that nothing can be decided."""


@dataclass(frozen=True, slots=True)
class TaskGate:
    """One task at its gate."""

    one_step: float | None
    """Test-split one-step nRMSE; None: not finite."""
    threshold: float | None
    """Below this it must be; None: it need only have skill."""
    skill: bool
    """It is at most the share of persistence that the gates ask for."""
    passed: bool
    saturated: bool | None
    """Its validation has levelled off; None: too short to tell."""


@dataclass(frozen=True, slots=True)
class Next:
    """The config that comes next."""

    config: str | None
    """A shipped one; None: the run's own."""
    patch: Mapping[str, Any]
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gates say of a run."""

    verdict: str | None
    """proceed, review, stop, incomplete, or the verdict of an action; None where no gate is set."""
    reasons: tuple[str, ...]
    aggregate: float | None
    proceed: float | None
    """Below this the aggregate must be."""
    stop: float | None
    tasks: Mapping[str, TaskGate]
    unstable: bool
    next: Next | None

    def to_json(self) -> dict[str, Any]:
        """As `gates` in report.json."""
        return {
            "verdict": self.verdict, "reasons": list(self.reasons), "aggregate": self.aggregate,
            "proceed": self.proceed, "stop": self.stop,
            "tasks": {task: asdict(gate) for task, gate in self.tasks.items()},
            "unstable": self.unstable, "next": asdict(self.next) if self.next is not None else None,
        }  # fmt: skip


def decide(report: Mapping[str, Any], config: TrainConfig, curves: Curves) -> Decision:
    """Judge a run.

    Args:
        report: `report.json`, or what `evaluate` answers with.
        config: of the run; its gates decide, for the tasks that it learned.
        curves: validation curves of its operator stage; {} where they are not known.
    """
    gates, names = config.gates, config.data.task
    test = (report.get("splits") or {}).get("test") or {}
    found: Mapping[str, Mapping[str, Any]] = test.get("tasks") or {}
    judged = {
        task: _task_gate(found[task], gates.threshold_of(task), gates.skill,
                         has_levelled_off(curves.get(task, ()), gates.plateau))
        for task in names if task in found
    }  # fmt: skip
    aggregate = _number((test.get("aggregate") or {}).get("one_step"))
    unstable = _unstable(found, judged, curves)

    def told(verdict: str | None, reasons: list[str], following: Next | None = None) -> Decision:
        return Decision(
            verdict, tuple(reasons), aggregate, gates.proceed, gates.stop, judged, unstable, following
        )

    if not gates.is_set:
        return told(None, [])
    missing = [task for task in names if task not in found]
    if missing:
        what = f"{', '.join(missing)} {'was' if len(missing) == 1 else 'were'} not judged on the test split"
        return told(INCOMPLETE, [what])
    reasons = _misses(judged, aggregate, gates, found)
    if gates.stable and unstable:
        reasons.append(_instability(found, curves))
    if not reasons:
        passed = _next(gates.next) if gates.next is not None else None
        return told(PROCEED, [_passing(aggregate, gates)], passed)
    state = _State(config, judged, aggregate, unstable)
    for action in gates.actions:
        if not state.fits(action.when):
            continue
        try:
            if action.config is None and action.patch and not changes(config, action.patch):
                continue  # done already, and it did not help
        except ConfigError as error:  # such as a run of fewer tasks: its evaluation must not fail over it
            reasons.append(f"{action.verdict} does not fit this config: {error.message}")
            continue
        if unstable and action.when.unstable:
            reasons.append(_instability(found, curves))
        if action.when.saturated:
            reasons.append(f"no better by {gates.plateau.improvement:.0%} in the last {gates.plateau.epochs} "
                           "epochs of validation")  # fmt: skip
        return told(action.verdict, list(dict.fromkeys(reasons)), _next(action))
    beyond = gates.stop is not None and (aggregate is None or aggregate > gates.stop)
    return told(STOP if beyond else REVIEW, reasons)


@dataclass(frozen=True, slots=True)
class _State:
    """What the conditions of actions ask of a run."""

    config: TrainConfig
    judged: Mapping[str, TaskGate]
    aggregate: float | None
    unstable: bool

    def fits(self, when: When) -> bool:
        regarded = {task: gate for task, gate in self.judged.items() if not when.tasks or task in when.tasks}
        missed = {task: gate for task, gate in regarded.items() if not gate.passed}
        if when.tasks and not missed:
            return False
        figures = [_figure(gate) for gate in regarded.values()]
        if not when.tasks:
            figures.append(math.inf if self.aggregate is None else self.aggregate)
        worst = max(figures, default=math.inf)
        if when.above is not None and not worst > when.above:
            return False
        if when.at_most is not None and worst > when.at_most:
            return False
        if when.saturated is not None:
            levelled = [gate.saturated for gate in (missed or regarded).values()]
            if None in levelled or all(levelled) is not when.saturated:
                return False
        return when.unstable is None or self.unstable is when.unstable


def _figure(gate: TaskGate) -> float:
    """A figure without skill is worth nothing, however small it is."""
    return gate.one_step if gate.one_step is not None and gate.skill else math.inf


def _task_gate(
    values: Mapping[str, Any], threshold: float | None, share: float, saturated: bool | None
) -> TaskGate:
    one_step, copied = _number(values.get("one_step")), _number(values.get("persistence_one_step"))
    if one_step is None:
        skill = False
    elif copied is None:  # only whether it is better at all was kept
        skill = bool(values.get("skill"))
    else:
        skill = one_step <= share * copied
    below = one_step is not None and (threshold is None or one_step < threshold)
    return TaskGate(one_step, threshold, skill, skill and below, saturated)


def _misses(
    judged: Mapping[str, TaskGate],
    aggregate: float | None,
    gates: Gates,
    found: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Why it does not pass."""
    reasons = []
    for task, gate in judged.items():
        if gate.passed:
            continue
        if gate.one_step is None:
            reasons.append(f"{task} is not finite")
        elif not gate.skill:
            copied = _number(found[task].get("persistence_one_step"))
            beside = "" if copied is None else f" beside {copied:.4g} of persistence"
            reasons.append(f"{task} has no skill: {gate.one_step:.4g}{beside}")
        else:
            reasons.append(f"{task} is at {gate.one_step:.4g}, not below {gate.threshold:.4g}")
    if gates.proceed is not None and (aggregate is None or aggregate >= gates.proceed):
        figure = "not finite" if aggregate is None else f"at {aggregate:.4g}"
        reasons.append(f"the aggregate is {figure}, not below {gates.proceed:.4g}")
    return reasons


def _passing(aggregate: float | None, gates: Gates) -> str:
    if aggregate is None or gates.proceed is None:
        return "every task has skill and is below its threshold"
    return f"the aggregate is at {aggregate:.4g}, below {gates.proceed:.4g}, and every task has passed"


def _unstable(found: Mapping[str, Mapping[str, Any]], judged: Mapping[str, TaskGate], curves: Curves) -> bool:
    return (
        any(gate.one_step is None for gate in judged.values())
        or any(_number(found[task].get("diverged")) for task in judged)
        or any(has_blown_up(curves.get(task, ())) for task in judged)
    )


def _instability(found: Mapping[str, Mapping[str, Any]], curves: Curves) -> str:
    diverged = [task for task, values in found.items() if _number(values.get("diverged"))]
    if diverged:
        return f"rollouts of {', '.join(diverged)} diverged"
    blown = [task for task in found if has_blown_up(curves.get(task, ()))]
    return f"the validation of {', '.join(blown)} blew up" if blown else "a figure is not finite"


def _next(following: NextConfig) -> Next | None:
    if following.config is None and not following.patch:
        return None
    return Next(following.config, dict(following.patch), following.why)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
