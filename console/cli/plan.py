"""Commands over chains of runs: the next config, and the plan that they belong to."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from console.api import LaunchRequest, PhaseRow, PhaseState, PlanState
from console.cli.app import Session, command
from console.cli.render import duration, table
from console.cli.renting import read_rent, rent_options
from console.cli.runs import start
from console.cli.variables import given
from ups.errors import UsageError

_MARKS = {
    PhaseState.DONE: "✓",
    PhaseState.RUNNING: "▶",
    PhaseState.NEXT: "→",
    PhaseState.BLOCKED: "✗",
    PhaseState.WAITING: " ",
}


def register(cli: click.Group) -> None:
    """Add the commands of this module."""

    @command(cli, "next")
    @click.argument("run")
    @click.option("--write", "path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                  help="Write it here.")  # fmt: skip
    def next_(session: Session, run: str, path: Path | None) -> None:
        """The config that the decision gates of RUN say comes next."""
        step = session.operations.next_config(run)
        written = session.operations.write_next(run, path) if path is not None else None
        answer = {**asdict(step), "written": str(written) if written is not None else None}
        session.answer(answer, step.text.rstrip() if written is None else f"{step.verdict}: {written}")

    @command(cli, "plan")
    @click.argument("plan", type=click.Path(path_type=Path), default="pdebench_scaling")
    @rent_options
    @click.option("--launch", "launches", is_flag=True, help="Launch the phase that comes next.")
    @click.option("--dry-run", is_flag=True, help="With --launch: only say what would happen.")
    @click.option("--detach", is_flag=True, help="With --launch: return when the run has started.")
    def plan_(
        session: Session, plan: Path, launches: bool, dry_run: bool, detach: bool, **options: Any
    ) -> None:
        """Where a chain of runs stands, what comes next and what that costs.

        PLAN is a file, or the name of a shipped plan. Here --budget is that of the whole chain.
        """
        if (dry_run or detach) and not launches:
            raise UsageError("--dry-run and --detach are for --launch")
        rent = read_rent(options)
        state = session.operations.plan(plan, rent=rent, budget_usd=rent.budget_usd)
        if not launches:
            session.answer(asdict(state), plan_text(state))
            return
        request = session.operations.phase_request(
            state, LaunchRequest(config=Path(), rent=rent, given=given(click.get_current_context()))
        )
        start(session, request, dry_run=dry_run, detach=detach)


def plan_text(state: PlanState) -> str:
    """The plan as a table, what comes next, and what it costs."""
    rows = [
        [
            f"{_MARKS[phase.state]} {phase.name}", str(phase.state), phase.run or "–", phase.verdict or "–",
            phase.config or "–", phase.cache or "–",
            "–" if phase.expected_seconds is None else duration(phase.expected_seconds),
            "–" if phase.state is PhaseState.DONE else _usd(phase.expected_usd), f"{phase.usd:.2f}",
        ]
        for phase in state.phases
    ]  # fmt: skip
    header = ["phase", "state", "run", "verdict", "config", "cache", "time", "$ to come", "$ spent"]
    parts = [table(header, rows, right=(6, 7, 8)), "", *_next_lines(state.phase)]
    price = "price unknown" if state.usd_per_hour is None else f"${state.usd_per_hour:.2f}/h"
    parts.append(f"price: {price} ({state.price_basis})")
    total = f"in all: ${state.usd_spent:.2f} spent, ${state.usd_to_come:.2f} to come"
    if state.unknown:
        total += f", and what {', '.join(state.unknown)} cost, which is unknown"
    if state.budget_usd is not None:
        total += f"; {'within' if state.within_budget else 'over'} the budget of ${state.budget_usd:.2f}"
    return "\n".join([*parts, total])


def _next_lines(phase: PhaseRow | None) -> list[str]:
    if phase is None:
        return ["all phases are done"]
    lines = [f"next: {phase.name}" + (f", {phase.why}" if phase.why else "")]
    if phase.state is PhaseState.BLOCKED:
        lines.append(f"  blocked: {phase.reason}")
    if phase.missing_data:
        missing = ",".join(phase.missing_data)
        lines.append(f"  data are missing: `ups-console preprocess --tasks {missing}`")
    if phase.config is not None:
        made = f", as the gates of {phase.after} say" if phase.after is not None else ""
        lines.append(f"  config: {phase.config}{made}")
        time = "time unknown" if phase.expected_seconds is None else duration(phase.expected_seconds)
        lines.append(f"  expected: {time}, {_usd(phase.expected_usd, '$')} ({phase.basis})")
    if phase.cache is not None:
        lines.append(f"  cache: {phase.cache}, {_cache(phase)}")
    return lines


def _cache(phase: PhaseRow) -> str:
    if phase.cache_saves_seconds is None:
        return "built by the first run, which takes longer for it; what it saves is unknown until then"
    money = "" if not phase.cache_saves_usd else f", ${phase.cache_saves_usd:.2f}"
    return f"saves {duration(phase.cache_saves_seconds)}{money} a run"


def _usd(value: float | None, sign: str = "") -> str:
    return "unknown" if value is None else f"{sign}{value:.2f}"
