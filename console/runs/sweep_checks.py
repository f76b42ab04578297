"""What all runs of a sweep cost together, and how many of them fit at a time, before anything is paid."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from console.api import Check, Level, Preflight
from console.errors import OverBudgetError
from console.fleet import money
from console.fleet.ledger import Ledger
from console.runs.allowance import fitting, makespan
from console.runs.jobs import cores
from console.runs.sweep import SweepMember
from console.settings import Settings
from console.sweep_api import PlannedRun, SweepPreflight, SweepRequest


def most_at_a_time(request: SweepRequest, count: int, *, rented: bool) -> int:
    """Runs at a time, money aside: as asked, else one here and all elsewhere; here no more than cores."""
    if request.launch.rent.instance is not None:
        return 1
    if rented:
        return min(count, request.max_parallel or count)
    return min(count, request.max_parallel or 1, cores())


def gathered(
    request: SweepRequest,
    found: Sequence[tuple[SweepMember, Preflight]],
    ledger: Ledger,
    settings: Settings,
    *,
    rented: bool,
) -> SweepPreflight:
    """What the preflights of all runs say together.

    Args:
        request: the sweep.
        found: its runs, each with what was found of it alone.
        ledger: what was spent, and what lives.
        settings: the cap of the day.
        rented: the machines cost; else they are this one.
    """
    preflights = [preflight for _, preflight in found]
    checks = list(_joint(found))
    most = most_at_a_time(request, len(found), rented=rented)
    if not rented and (request.max_parallel or 0) > cores():
        checks.append(Check(Level.WARNING, f"this machine has {cores()} cores: {most} runs at a time"))
    now, entries = time.time(), ledger.entries()
    free = settings.cap_usd_per_day - money.usd_today(entries, now)
    free -= sum(money.usd_to_end(entry, now) for entry in entries)
    if request.budget_usd is not None:
        free = min(free, request.budget_usd)
    caps = [preflight.cap_usd for preflight in preflights]
    parallel = fitting(caps, most, free)
    if not any(check.code == OverBudgetError.code for check in checks):
        checks.extend(
            _over_budget(request, preflights, settings.cap_usd_per_day - money.usd_today(entries, now))
        )
    seconds = [preflight.expected_seconds for preflight in preflights]
    known = [value for value in seconds if value is not None]
    usd = [preflight.expected_usd for preflight in preflights]
    known_usd = [value for value in usd if value is not None]
    cap = sum(caps)
    if request.budget_usd is not None:
        cap = min(cap, request.budget_usd)
    return SweepPreflight(
        checks=tuple(checks),
        runs=tuple(_planned(member, preflight, most, rented=rented) for member, preflight in found),
        parallel=parallel,
        usd_per_hour=preflights[0].usd_per_hour,
        expected_seconds=makespan(known, parallel) if len(known) == len(seconds) else None,
        expected_usd=sum(known_usd) if len(known_usd) == len(usd) else None,
        cap_usd=cap,
        deadline_hours=preflights[0].deadline_hours,
    )


def _planned(member: SweepMember, preflight: Preflight, most: int, *, rented: bool) -> PlannedRun:
    threads = None if rented or most == 1 else max(1, cores() // most)
    return PlannedRun(
        request=replace(member.request, threads=threads),
        config=member.request.config.stem,
        differs=member.differs,
        expected_seconds=preflight.expected_seconds,
        expected_usd=preflight.expected_usd,
        cap_usd=preflight.cap_usd,
    )


def _joint(found: Sequence[tuple[SweepMember, Preflight]]) -> Iterator[Check]:
    """Each check once: what holds for all as it is, else with the first run that it is about."""
    seen: dict[Check, list[int]] = {}
    for number, (_, preflight) in enumerate(found, start=1):
        for check in dict.fromkeys(preflight.checks):
            seen.setdefault(check, []).append(number)
    for check, numbers in seen.items():
        if len(numbers) == len(found) or check.level is Level.OK:
            yield check
        else:
            runs = ", ".join(map(str, numbers))
            yield replace(check, text=f"run{'s' if len(numbers) > 1 else ''} {runs}: {check.text}")


def _over_budget(
    request: SweepRequest, preflights: Sequence[Preflight], left_today: float
) -> Iterator[Check]:
    """Each run may fit, and all of them not; an unknown duration counts as an hour."""
    expected = sum(
        preflight.usd_per_hour if preflight.expected_usd is None else preflight.expected_usd
        for preflight in preflights
    )
    told = f"{len(preflights)} runs are expected to cost ${expected:.2f} in all"
    if any(preflight.expected_usd is None for preflight in preflights):
        told += ", an hour counted where nothing is known"
    if request.budget_usd is not None and expected > request.budget_usd:
        yield Check(Level.FAILED, f"{told}; their budget is ${request.budget_usd:.2f}",
                    hint="raise --total-budget, or ask for fewer runs",
                    code=OverBudgetError.code)  # fmt: skip
    elif expected > 0 and expected > left_today:
        yield Check(Level.FAILED, f"{told}; ${max(0.0, left_today):.2f} of today's cap are left",
                    hint="raise caps.usd_per_day in config.toml, or ask for fewer runs",
                    code=OverBudgetError.code)  # fmt: skip
