"""The lines above a run's curves, made from what is known of it."""

import time
from typing import TYPE_CHECKING

from console.runs.series import PhaseView as Phase
from console.tui.drawing.text import Row, ago, duration, usd
from console.tui.widgets.bars import PhaseView
from ups.events import LOST_AFTER_SECONDS, PhaseState

if TYPE_CHECKING:
    from console.api import InstanceRow
    from console.runs.series import RunView
    from console.tui.drawing.text import Ink
    from console.tui.live_run import LiveRun

_STATUS_INKS = {
    "running": "good", "pending": "accent", "succeeded": "good",
    "failed": "bad", "lost": "bad", "stopped": "warn",
}  # fmt: skip

_OUTLOOK_INKS: "dict[str, Ink]" = {
    "met": "good", "expected": "text", "uncertain": "warn", "not_within_run": "warn",
}  # fmt: skip
"""`Outlook` → ink; what it does not name is not shown."""


def status_ink(status: str) -> str:
    """The ink of a run's status."""
    return _STATUS_INKS.get(status, "text")


def headline(live: "LiveRun", place: str, config: str = "", instance: "InstanceRow | None" = None) -> Row:
    """local_2task · 7f3a · running · attempt 2 · operator epoch 18 · on cpu, vast 18342 RTX 4090.

    What a narrow terminal cuts off is where it runs, which does not change.

    Args:
        live: the run.
        place: which of how many runs it is.
        config: its name while no event has told it.
        instance: where it runs.
    """
    view = live.view
    status = str(live.status) if live.status is not None else "reading"
    row: Row = [(f" {view.name or config or 'run'}", "title"), (f" · {live.run}", "muted"), (" · ", "muted")]
    row.append((status, f"{status_ink(status)} bold"))
    if view.attempt > 1:
        row.append((f" · attempt {view.attempt}", "warn"))
    if view.stage and not view.done:
        epoch = f" epoch {view.epoch + 1}" if view.epoch is not None else ""
        row.append((f" · {view.stage}{epoch}", "text"))
    row += _outlook(view)
    where = [view.device] if view.device else []
    if instance is not None and instance.provider != "local":
        where.append(f"{instance.provider} {instance.instance} {instance.what}".rstrip())
    if where:
        row.append((f" · on {', '.join(where)}", "text"))
    return [*row, (f"   {place}", "muted")] if place else row


def _outlook(view: "RunView") -> Row:
    """When the target is met at this rate, or why the run ended before its time."""
    if view.done:
        summary = view.done.get("summary")
        early = summary.get("ended_early") if isinstance(summary, dict) else summary
        return [(f" · ended early: {early}", "warn")] if isinstance(early, str) and early else []
    told = view.forecasts.get(None)
    if told is None or told.outlook not in _OUTLOOK_INKS:
        return []
    return [(f" · {told.text()}", _OUTLOOK_INKS[told.outlook])]


def awaited_row(view: "RunView", status: str) -> Row:
    """Why there is no curve yet."""
    if status in ("", "reading"):
        return [("reading its events", "muted")]
    if view.done or status not in ("pending", "running"):
        return [("it ended before the first step of training: the log says why", "warn")]
    return [("the first curve comes with the first steps of training", "muted")]


def phases(live: "LiveRun") -> list[PhaseView]:
    """Where the run's phases stand."""
    ended = live.status is not None and live.status.ended
    return [_phase(name, phase, ended) for name, phase in live.view.phases.items()]


def _phase(name: str, phase: Phase, ended: bool) -> PhaseView:
    states = {
        PhaseState.STARTED: "interrupted" if ended else "started",
        PhaseState.FINISHED: "finished",
        PhaseState.SKIPPED: "skipped",
        PhaseState.FAILED: "failed",
    }
    spent = phase.finished - phase.started if phase.started and phase.finished else None
    return PhaseView(
        name=name,
        state=states[phase.state] if phase.state else "waiting",
        seconds=spent,
        done=phase.done,
        total=phase.total,
        unit=phase.unit,
        eta_s=None if ended else phase.eta_seconds,
        detail=phase.detail,
    )


def money_row(live: "LiveRun", instance: "InstanceRow | None") -> Row:
    """What it cost so far, what it will, and when the run was last heard of."""
    row: Row = []
    if instance is not None:
        row.append((usd(instance.usd) + " so far", "text"))
        left = live.view.eta_seconds
        if instance.usd_per_hour and left is not None:
            row.append((f", {usd(instance.usd + left / 3600 * instance.usd_per_hour)} to the end", "text"))
        row.append(("   ", "text"))
    view = live.view
    if not view.done and view.eta_seconds is not None:
        row.append((f"done in {duration(view.eta_seconds)}   ", "text"))
    if view.done:
        spent = (view.last_t or 0) - (view.first_t or 0)
        return [*row, (f"took {duration(spent)} ", "muted")]
    if view.last_t is not None:
        silent = max(0.0, time.time() - view.last_t)
        over = silent > LOST_AFTER_SECONDS
        return [*row, (f"last event {ago(silent)} ", "bad" if over else "muted")]
    return row
