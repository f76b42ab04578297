"""Where a plan stands, from the history of runs and what the store holds. Pure arithmetic over rows."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from console.api import CacheRow, PhaseRow, PhaseState, PlanState, RunRow, RunStatus
from ups.config import TrainConfig
from ups.plan import Phase, Plan

_PROCEED = "proceed"
_RUNS = 5
"""The newest so many runs of a config that its duration is the median of."""


@dataclass(frozen=True, slots=True)
class Price:
    """Of an hour of what would be rented."""

    usd_per_hour: float | None
    basis: str
    """Which offer, or why it is not known."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a plan is held against."""

    runs: Sequence[RunRow]
    """The newest first."""
    datasets: Collection[str]
    """Tasks of which the store holds a verified dataset."""
    caches: Sequence[CacheRow]
    configs: Mapping[str, TrainConfig]
    """The shipped configs by name, those of the plan among them."""
    made: Mapping[str, TrainConfig]
    """Run → the config that its gates made."""
    price: Price


@dataclass(frozen=True, slots=True)
class _Route:
    """What a phase would launch."""

    name: str | None
    config: TrainConfig | None
    after: str | None = None
    reason: str = ""
    """Why it is nothing."""


def standing(name: str, plan: Plan, known: Known, budget_usd: float | None) -> PlanState:
    """Where one stands: the phase after the last one that is done, its next config, and what is to come.

    Args:
        name: of the plan.
        plan: the phases.
        known: runs, store and price.
        budget_usd: of the whole chain; None: none.
    """
    done = [index for index, phase in enumerate(plan.phases) if _is_done(phase, known)]
    # Without the runs' verdicts nothing is known of later phases; data alone pass a phase only at the start.
    passed = [index for index in done if plan.phases[index].configs]
    current = passed[-1] + 1 if passed else 0
    while current < len(plan.phases) and current in done:
        current += 1
    rows: list[PhaseRow] = []
    for index, phase in enumerate(plan.phases):
        before = plan.phases[index - 1] if index else None
        rows.append(_row(phase, before, known, at=index - current))
    spent = sum(row.usd for row in rows)
    ahead = [
        row for row, phase in zip(rows, plan.phases, strict=True)
        if row.state is not PhaseState.DONE and phase.configs
    ]  # fmt: skip
    to_come = sum(row.expected_usd or 0.0 for row in ahead)
    return PlanState(
        plan=name,
        why=plan.why,
        phases=tuple(rows),
        current=current if current < len(rows) else None,
        usd_per_hour=known.price.usd_per_hour,
        price_basis=known.price.basis,
        usd_spent=spent,
        usd_to_come=to_come,
        unknown=tuple(row.name for row in ahead if row.expected_usd is None),
        budget_usd=budget_usd,
        within_budget=None if budget_usd is None else spent + to_come <= budget_usd,
    )


def _is_done(phase: Phase, known: Known) -> bool:
    if not phase.configs:
        return all(task in known.datasets for task in phase.data)
    return any(_passed(row) for row in known.runs if phase.has(row.config))


def _passed(row: RunRow) -> bool:
    return row.status is RunStatus.SUCCEEDED and row.verdict == _PROCEED


def _row(phase: Phase, before: Phase | None, known: Known, *, at: int) -> PhaseRow:
    """A phase's row; `at` counts the phases from the current one on, negative where it is done."""
    runs = [row for row in known.runs if phase.has(row.config)]
    deciding = next((row for row in runs if row.status is RunStatus.SUCCEEDED and row.verdict), None)
    if at < 0:
        deciding = next((row for row in runs if _passed(row)), deciding)
        route = _Route(None, None)
    else:
        route = _route(phase, before, deciding, known) if at == 0 else _first(phase, known)
    wanted = dict.fromkeys((*phase.data, *(route.config.data.task if route.config is not None else ())))
    version = phase.cache_of(route.config) if route.config is not None else None
    seconds, basis = _expected(phase, route.name, known) if route.name is not None else (None, "")
    saved = _saved(version, route.config, known.caches)
    price = known.price.usd_per_hour
    return PhaseRow(
        name=phase.name,
        why=phase.why,
        state=_state(runs, route, phase, at),
        runs=tuple(row.run for row in runs),
        run=deciding.run if deciding is not None else None,
        verdict=deciding.verdict if deciding is not None else "",
        reason=route.reason if at == 0 else "",
        missing_data=tuple(task for task in wanted if task not in known.datasets) if at >= 0 else (),
        config=route.name,
        after=route.after,
        cache=version,
        cache_is_there=saved is not None,
        cache_saves_seconds=saved,
        cache_saves_usd=None if saved is None or price is None else saved / 3600 * price,
        expected_seconds=seconds,
        expected_usd=_usd(phase, seconds, price),
        basis=basis,
        usd=sum(row.usd for row in runs),
    )


def _usd(phase: Phase, seconds: float | None, price: float | None) -> float | None:
    """Of the phase's run; data are made on this machine, which costs nothing."""
    if not phase.configs or price == 0.0:
        return 0.0
    return None if seconds is None or price is None else seconds / 3600 * price


def _state(runs: Sequence[RunRow], route: _Route, phase: Phase, at: int) -> PhaseState:
    if at != 0:
        return PhaseState.DONE if at < 0 else PhaseState.WAITING
    if any(not row.status.ended for row in runs):
        return PhaseState.RUNNING
    return PhaseState.BLOCKED if phase.configs and route.name is None else PhaseState.NEXT


def _first(phase: Phase, known: Known) -> _Route:
    if not phase.configs:
        return _Route(None, None)
    return _Route(phase.configs[0], known.configs.get(phase.configs[0]))


def _route(phase: Phase, before: Phase | None, deciding: RunRow | None, known: Known) -> _Route:
    """What the gates say: those of the phase's own last run, else those of the run that came here."""
    if deciding is not None:
        return _after(deciding, known)
    came = [
        row for row in known.runs if before is not None and before.has(row.config) and _passed(row)
    ]  # fmt: skip
    if came and came[0].run in known.made and phase.has(came[0].next_config):
        return _after(came[0], known)
    return _first(phase, known)


def _after(row: RunRow, known: Known) -> _Route:
    if row.run not in known.made:
        return _Route(
            None, None, row.run, f"{row.run} missed its gates ({row.verdict}) and they name no next config"
        )
    return _Route(row.next_config, known.made[row.run], row.run)


def _expected(phase: Phase, config: str, known: Known) -> tuple[float | None, str]:
    """Seconds that the run takes, and what that rests on."""
    seen = _durations(config, known.runs)
    if seen:
        return statistics.median(seen), f"median of {len(seen)} earlier run{'s' * (len(seen) > 1)} here"
    base = next((name for name in phase.configs if config.startswith(f"{name}-")), None)
    seen = _durations(base, known.runs) if base is not None else []
    if seen:
        return statistics.median(seen), f"as long as earlier runs of {base} took here"
    if phase.minutes is not None:
        return phase.minutes * 60, f"the plan's estimate{f', on {phase.machine}' if phase.machine else ''}"
    return None, "unknown: no run of it was seen, and the plan does not say"


def _durations(config: str | None, runs: Sequence[RunRow]) -> list[float]:
    return [
        row.seconds for row in runs
        if row.config == config and row.status is RunStatus.SUCCEEDED and row.attempts == 1 and row.seconds
    ][:_RUNS]  # fmt: skip


def _saved(version: str | None, config: TrainConfig | None, caches: Sequence[CacheRow]) -> float | None:
    """Seconds by which a run starts earlier with its cache; None where a task's is not there."""
    if version is None or config is None:
        return None
    saved = 0.0
    for task in config.data.task:
        row = next(
            (
                row
                for row in caches
                if (row.version, row.task, row.split) == (version, task, config.data.split)
            ),
            None,
        )
        if row is None or row.saves_seconds is None:
            return None
        saved += row.saves_seconds
    return saved
