"""What a run will take and cost: measured on earlier runs from here, else a guess that says so.

An instance is paid for from its create to its end. So all of it counts: the start (renting, the image, the
runtime, data that go over SSH), every phase of the run, what lies between them, and the teardown.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.api import Estimate, EstimatePart
from console.runs.lives import Life, Settings
from ups.errors import UpsError
from ups.events import PHASES, PREPROCESS_PHASES, SMOKE_PHASE

START, BETWEEN, TEARDOWN = "start", "between", "teardown"
RUNS = 5
"""The newest so many runs are asked."""
_COMPUTED = frozenset({"precompute", SMOKE_PHASE, "train", "evaluate", "preprocess"})
"""Phases that another machine takes another time for."""
_ONE_RUN, _SEVERAL = 1.25, 1.1
_ELSEWHERE, _OTHERWISE, _PLANNED = 3.0, 4.0, 3.0
"""Factors up and down: of one run alone and of several, of another machine, other settings, a plan."""
START_GUESS_S = (90.0, 300.0, 1200.0)
"""Of a machine that nobody has rented yet: least, likely, most."""
TEARDOWN_GUESS_S = (20.0, 45.0, 150.0)
SMOKE_GUESS_S = (30.0, 90.0, 300.0)
_GUESS = "a guess"


@dataclass(frozen=True, slots=True)
class Place:
    """Where it runs."""

    provider: str
    what: str
    """The machine, as the ledger calls it."""
    rented: bool = True
    pace: float = 1.0
    """Of the provider's waits."""
    smoke: bool = False


def estimate(settings: Settings, place: Place, known: Iterable[Life]) -> Estimate:
    """What a run of these settings takes there.

    Args:
        settings: of the run.
        place: the machine that would be rented.
        known: earlier runs, the newest first.

    Returns:
        Its parts in their order; `measured` where earlier runs of the same on such a machine were seen.
    """
    seen = list(known)
    basis = _basis(settings, place, seen)
    parts = [] if not place.rented else [_start(place, seen)]
    parts += _work(settings, place, basis)
    if place.rented:
        parts.append(_teardown(place, seen))
    return Estimate(
        tuple(parts),
        measured=basis is not None and basis.exact,
        seen=basis is not None,
        is_whole=basis is not None or settings.minutes is not None,
    )


@dataclass(frozen=True, slots=True)
class _Basis:
    """The earlier runs that the next one is compared with."""

    lives: Sequence[Life]
    text: str
    spread: float
    """Factor up and down of what was computed."""
    scale: float = 1.0
    exact: bool = False


def _basis(settings: Settings, place: Place, seen: Sequence[Life]) -> _Basis | None:
    same = [life for life in seen if life.settings.same(settings)]
    here = [life for life in same if (life.provider, life.what) == (place.provider, place.what)][:RUNS]
    if here:
        one = "the last run" if len(here) == 1 else f"the median of the last {len(here)} runs"
        return _Basis(here, f"{one} of it on {place.what}", _spread(here), exact=True)
    if same:
        where = ", ".join(dict.fromkeys(life.what for life in same[:RUNS]))
        return _Basis(same[:RUNS], f"{_GUESS}: it ran on {where}", _ELSEWHERE)
    named = [life for life in seen if life.settings.name == settings.name][:RUNS]
    if not named:
        return None
    before = statistics.median(life.settings.epochs for life in named)
    scale = settings.epochs / before if before and settings.epochs else 1.0
    return _Basis(named, f"{_GUESS}: it ran with other settings", _OTHERWISE, scale)


def _work(settings: Settings, place: Place, basis: _Basis | None) -> list[EstimatePart]:
    if basis is None:
        return _planned(settings)
    names = [*PHASES[: PHASES.index("train")], SMOKE_PHASE, *PHASES[PHASES.index("train") :]]
    names += [name for name in PREPROCESS_PHASES if name not in names]
    parts = []
    for name in (*names, BETWEEN):
        values = [life.between if name == BETWEEN else life.phases.get(name, 0.0) for life in basis.lives]
        if name == SMOKE_PHASE:
            if not place.smoke:
                continue
            values = [value for value in values if value]
            if not values:
                parts.append(_guess(name, SMOKE_GUESS_S))
                continue
        if name == "precompute" and basis.exact and not settings.anew:
            continue  # what an earlier run of the same built is in the store
        if any(values):
            scale = basis.scale if name == "train" else 1.0
            spread = basis.spread if name in _COMPUTED or basis.exact else _ONE_RUN
            parts.append(_measured(name, [value * scale for value in values], basis.text, spread))
    return parts


def _planned(settings: Settings) -> list[EstimatePart]:
    if settings.minutes is None:
        return []
    seconds = settings.minutes * 60
    text = f"{_GUESS}: a plan's, for another machine"
    return [EstimatePart("work", seconds, seconds / _PLANNED, seconds * _PLANNED, text)]


def _start(place: Place, seen: Sequence[Life]) -> EstimatePart:
    return _overhead(START, place, seen, lambda life: life.start, START_GUESS_S)


def _teardown(place: Place, seen: Sequence[Life]) -> EstimatePart:
    return _overhead(TEARDOWN, place, seen, lambda life: life.teardown, TEARDOWN_GUESS_S)


def _overhead(
    name: str,
    place: Place,
    seen: Sequence[Life],
    of: Callable[[Life], float | None],
    guess: tuple[float, float, float],
) -> EstimatePart:
    """What every run there takes, whatever it computes: of the same machines, else of any there."""
    there = [life for life in seen if life.provider == place.provider and of(life) is not None]
    alike = [life for life in there if life.what == place.what] or there
    values = [value for life in alike[:RUNS] if (value := of(life)) is not None]
    if not values:
        least, likely, most = (seconds * place.pace for seconds in guess)
        return _guess(name, (least, likely, most))
    where = place.what if alike[0].what == place.what else place.provider
    count = f"the last {len(values)} runs" if len(values) > 1 else "the last run"
    return _measured(name, values, f"{count} on {where}", _spread(values))


def _spread(seen: Sequence[object]) -> float:
    return _ONE_RUN if len(seen) == 1 else _SEVERAL


def _measured(name: str, values: Sequence[float], text: str, spread: float) -> EstimatePart:
    """The median; its range is what was seen, and never less than a factor of `spread` to both sides."""
    middle = statistics.median(values)
    return EstimatePart(
        name, middle, min(*values, middle / spread), max(*values, middle * spread), text
    )  # fmt: skip


def _guess(name: str, seconds: tuple[float, float, float]) -> EstimatePart:
    least, likely, most = seconds
    return EstimatePart(name, likely, least, most, f"{_GUESS}: nothing of the kind was seen from here")


def planned_minutes(config: str, plans: Iterable[Path]) -> float | None:
    """How long a plan says that a run of a config takes; None where none does."""
    from ups.plan import load_plan

    for path in plans:
        try:
            phases = load_plan(path).phases
        except UpsError:
            continue
        found = [phase.minutes for phase in phases if phase.minutes is not None and phase.has(config)]
        if found:
            return found[0]
    return None
