"""`launch` of several runs at once: what they cost before paying, and how they go on side by side."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from console.api import LaunchRequest, Level
from console.cli.app import Session
from console.cli.compare import Redrawn, comparison_text, short_keys, values_of
from console.cli.narrate import Narrator
from console.cli.render import check_line, counted, duration, money, table
from console.operations import SweepNews, SweepPreflight, SweepRequest
from ups.errors import UpsError, UsageError

if TYPE_CHECKING:
    from console.runs.sweep_queue import SweepQueue

_F = TypeVar("_F", bound=Callable[..., Any])
_REDRAW_S = 1.0
_MOST_INTERRUPTS = 3
_MOST_COLUMNS = 4
_SWEEP = (
    click.option("--sweep", "axes", multiple=True, metavar="KEY=V1,V2",
                 help="Run each of these values of a config key; of several the product."),
    click.option("--max-parallel", type=click.IntRange(min=1), metavar="N",
                 help="Several runs: so many at a time; default: one here, else as the caps allow."),
    click.option("--total-budget", type=click.FloatRange(min=0, min_open=True), metavar="USD",
                 help="Several runs: cap of all of them; --budget is that of each."),
)  # fmt: skip


def sweep_options(function: _F) -> _F:
    """The options of several runs; `read_sweep` reads them."""
    for option in reversed(_SWEEP):
        function = option(function)
    return function


def read_sweep(options: dict[str, Any], configs: Sequence[Path]) -> SweepRequest | None:
    """Take them out of a command's options; None where it is about one run.

    Raises:
        UsageError: they are about several runs, and there is one; or all shall be on one offer.
    """
    axes, parallel = options.pop("axes"), options.pop("max_parallel")
    budget = options.pop("total_budget")
    if not axes and len(configs) == 1:
        if parallel is not None or budget is not None:
            raise UsageError("--max-parallel and --total-budget are for several runs",
                             hint="give several CONFIGs, or --sweep KEY=V1,V2")  # fmt: skip
        return None
    if options["instances"] > 1:  # for several runs it means as many at a time
        parallel, options["instances"] = min(parallel or options["instances"], options["instances"]), 1
    if options["offer_id"]:
        raise UsageError("--offer-id is one machine, and several runs need one each",
                         hint="say which kind of machine instead: --gpu, --max-price, --plan-id")  # fmt: skip
    return SweepRequest(tuple(configs), LaunchRequest(configs[0]), tuple(axes), parallel, budget)


def start_sweep(session: Session, request: SweepRequest, *, dry_run: bool, detach: bool) -> None:
    """Launch all runs and show them side by side, or only say what would happen, or only start them.

    Raises:
        UpsError: nothing could be launched, or the worst of what happened to any run.
    """
    if dry_run:
        preflight = session.operations.sweep_preflight(request)
        session.answer(preflight_json(preflight), preflight_text(preflight))
        if not preflight.ok:
            from console.runs.runtime import error_of

            failed = next(check for check in preflight.checks if check.level is Level.FAILED)
            raise error_of(failed.code, failed.text, failed.hint)
        return
    queue = session.operations.launch_sweep(request, is_followed=not detach)
    if not session.as_json:
        session.say(preflight_text(queue.preflight, only_notable=True))
    show = _show_json if session.as_json else _show
    try:
        if detach:
            _start_all(session, queue)
        else:
            show(session, queue)
    except KeyboardInterrupt:
        _tear_down(session, queue)
        raise
    error = queue.failure()
    if error is not None:
        raise error


def preflight_json(preflight: SweepPreflight) -> dict[str, Any]:
    """What `--dry-run --json` answers."""
    runs = [
        {
            "config": run.config,
            "differs": dict(run.differs),
            "expected_seconds": run.expected_seconds,
            "expected_usd": run.expected_usd,
            "cap_usd": run.cap_usd,
        }
        for run in preflight.runs
    ]
    return {**asdict(preflight), "runs": runs, "ok": preflight.ok}


def preflight_text(preflight: SweepPreflight, *, only_notable: bool = False) -> str:
    """The checks, a line for each run, and what all of them cost."""
    lines = [check_line(check) for check in preflight.checks
             if not only_notable or check.level is not Level.OK]  # fmt: skip
    keys = list(dict.fromkeys(key for run in preflight.runs for key in run.differs))
    shown = keys[:_MOST_COLUMNS]
    rows = [
        [
            str(number),
            run.config,
            *values_of(run.differs, shown),
            _time(run.expected_seconds),
            _usd(run.expected_usd),
            money(run.cap_usd),
        ]
        for number, run in enumerate(preflight.runs, start=1)
    ]
    last = 2 + len(shown)
    header = ["run", "config", *short_keys(shown), "expected", "", "cap"]
    lines.append(table(header, rows, right=(0, last, last + 1, last + 2)))
    if len(keys) > len(shown):
        lines.append(f"they differ in {len(keys) - len(shown)} keys more, which --json tells")
    lines.append(
        f"{counted(len(preflight.runs), 'run')}, {preflight.parallel} at a time: expected "
        f"{_time(preflight.expected_seconds)}, {_usd(preflight.expected_usd)} in all; "
        f"cap {money(preflight.cap_usd)} in all; deadline of each {preflight.deadline_hours:g} h"
    )
    return "\n".join(lines)


def _time(seconds: float | None) -> str:
    return "time unknown" if seconds is None else duration(seconds)


def _usd(value: float | None) -> str:
    return "cost unknown" if value is None else money(value)


def _start_all(session: Session, queue: "SweepQueue") -> None:
    """Start each run and leave it to itself."""
    for news in queue.news():
        if news is not None and not session.as_json and (text := _text(news)):
            session.say(f"{news.run or news.number}: {text}")
    runs = [{"run": member.run, "instance": member.instance} for member in queue.members]
    lines = [f"run {member.run} on {member.instance}" for member in queue.members if member.instance]
    session.answer({"sweep": queue.sweep, "runs": runs}, "\n".join([f"sweep {queue.sweep}", *lines]))


def _show(session: Session, queue: "SweepQueue") -> None:
    """What happens to each run as lines; on a terminal the table below them, drawn again and again."""
    screen, shown = Redrawn(), 0.0
    narrators = [Narrator() for _ in queue.members]
    click.echo(f"sweep {queue.sweep}: {counted(len(queue.members), 'run')}")
    for news in queue.news():
        lines = _lines(news, narrators) if news is not None else []
        if screen.is_live:
            lines = [line for line in lines if news is None or news.batch is None]  # the table tells those
        if lines:
            screen.clear()
            click.echo("\n".join(lines))
        now = time.monotonic()
        if screen.is_live and (lines or now - shown >= _REDRAW_S):
            screen.show(comparison_text(session.operations.compare_sweep(queue)))
            shown = now
    screen.clear()
    click.echo(comparison_text(session.operations.compare_sweep(queue)))


def _lines(news: SweepNews, narrators: Sequence[Narrator]) -> list[str]:
    found = [text] if (text := _text(news)) else []
    if news.batch is not None:
        found += narrators[news.number - 1].lines(news.batch)
    return [f"{news.run or news.number}  {line}" for line in found]


def _text(news: SweepNews) -> str:
    if news.launched is not None:
        return f"runs on {news.launched.instance}"
    return f"! {news.error.message}" if news.error is not None else news.said


def _show_json(session: Session, queue: "SweepQueue") -> None:
    """What happens to each run as JSON Lines, each with its run; the comparison comes last."""
    runs = [{"number": member.number, "config": member.plan.config, "differs": dict(member.plan.differs)}
            for member in queue.members]  # fmt: skip
    session.line({"type": "sweep", "sweep": queue.sweep, "runs": runs})
    for news in queue.news():
        if news is None:
            continue
        if news.launched is not None:
            session.line({"type": "launch", "number": news.number, **asdict(news.launched)})
        if news.error is not None:
            failed = {"type": "failed", "number": news.number, "run": news.run}
            session.line({**failed, "error": news.error.to_json()})
        for move in news.batch.transitions if news.batch is not None else ():
            session.line({"type": "instance", "run": news.run, **asdict(move)})
        for event in news.batch.events if news.batch is not None else ():
            session.line({"run": news.run, **event.to_json()})
    session.line({"type": "compare", **asdict(session.operations.compare_sweep(queue))})


def _tear_down(session: Session, queue: "SweepQueue") -> None:
    """Ctrl-C ends all runs; more of it does not hurry what saves results, until it is meant."""
    session.say("\nall runs are torn down: artifacts first, then the instances")
    interrupts = 0
    while True:
        try:
            for text in queue.tear_down():
                session.say(text)
            break
        except KeyboardInterrupt:
            interrupts += 1
            if interrupts >= _MOST_INTERRUPTS:
                session.say("left: `ups-console fleet` shows what lives, `ups-console destroy --all` ends it")
                return
            session.say("this is the teardown already: it saves results; Ctrl-C twice more leaves it")
    unverified = [member.error for member in queue.members if _is_unverified(member.error)]
    if unverified and unverified[0] is not None:
        raise unverified[0]


def _is_unverified(error: UpsError | None) -> bool:
    from console.errors import TeardownNotVerifiedError

    return isinstance(error, TeardownNotVerifiedError)
