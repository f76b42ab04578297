"""Commands over configs and runs."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from console.api import (
    COMMAND_LINE,
    DryStep,
    FollowBatch,
    LaunchRequest,
    Level,
    Preflight,
    RunRequest,
    RunRow,
    RunStatus,
)
from console.cli.app import Session, command, listing_group
from console.cli.narrate import Narrator, report_text
from console.cli.render import ProgressLine, check_line, duration, number, table
from console.cli.renting import read_rent, rent_options
from console.cli.store import answer_datasets, datasets_of
from console.cli.sweep import read_sweep, start_sweep, sweep_options
from console.cli.variables import given, is_from_variable, variable_argument, variable_option
from console.errors import OverBudgetError, RunFailedError
from console.operations import Operations
from ups import extra_arguments
from ups.errors import NotFoundError, UsageError

_SECOND_INTERRUPT_S = 3.0
_RUN = click.argument("run")


def register(cli: click.Group) -> None:
    """Add the commands of this module."""
    _register_launching(cli)
    _register_reading(cli)
    _register_history(cli)


def _register_launching(cli: click.Group) -> None:
    @command(cli, "validate")
    @click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
    def validate(session: Session, configs: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
        """Check CONFIGs against the schema."""
        found = [session.operations.validate(config, overrides) for config in configs]
        text = "\n".join(": ".join((str(entry.path), ", ".join(("valid", *entry.tasks)))) for entry in found)
        session.answer([asdict(entry) for entry in found], text)

    @command(cli, "launch")
    @variable_argument("configs", nargs=-1, required=True, metavar="CONFIG…", variable="TRAIN_CONFIG",
                       type=click.Path(path_type=Path))  # fmt: skip
    @click.option("--tasks", help="Comma-separated tasks instead of the config's.")
    @click.option("--stage", type=click.Choice(["operator", "diff_residual", "consistency_distill"]))
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a config key.")
    @sweep_options
    @rent_options
    @variable_option("--extra-args", "extra", variable="TRAIN_EXTRA_ARGS", metavar="TEXT",
                     help="More of these in one text, as the training script took them.")  # fmt: skip
    @variable_option("--eval-config", type=click.Path(path_type=Path), variable="EVAL_CONFIG",
                     help="How the validation split is judged at the end.")  # fmt: skip
    @variable_option("--eval-test-config", type=click.Path(path_type=Path), variable="EVAL_TEST_CONFIG",
                     help="How the test split is.")  # fmt: skip
    @variable_option("--dataset-key", variable="DATASET_KEY", metavar="KEY,KEY",
                     help="What the machine may fetch where the store lacks a task, such as "
                     "burgers1d_full_v1.")  # fmt: skip
    @variable_option("--precompute/--no-precompute", default=None, variable="PRECOMPUTE_LATENT",
                     help="Train from a latent cache, built where the store lacks it.")  # fmt: skip
    @variable_option("--reset-cache/--keep-cache", default=None, variable="RESET_CACHE",
                     help="Build that cache anew though the store has it.")  # fmt: skip
    @click.option("--cache-version", metavar="V", help="Train from this cache, such as upt_128d_128tok.")
    @click.option(
        "--cache-dtype", type=click.Choice(["float16", "float32"]), default="float16", show_default=True
    )
    @click.option("--skip-nonfinite", type=click.IntRange(min=0),
                  help="Pass over so many steps whose loss is not finite before the run stops.")  # fmt: skip
    @click.option("--note", default="", help="Your note in the history.")
    @click.option("--dry-run", is_flag=True, help="Only say what would happen.")
    @click.option("--detach", is_flag=True, help="Return when the run has started.")
    def launch(
        session: Session,
        configs: tuple[Path, ...],
        tasks: str | None,
        stage: str | None,
        overrides: tuple[str, ...],
        extra: str | None,
        skip_nonfinite: int | None,
        dry_run: bool,
        detach: bool,
        **options: Any,
    ) -> None:
        """Rent an instance, train CONFIG on it, evaluate, publish, tear down.

        Several CONFIGs, or --sweep, are as many runs, which share what may be spent.
        """
        context = click.get_current_context()
        chosen = tuple(name.strip() for name in (tasks or "").split(",") if name.strip())
        if options["cache_version"] and options["precompute"] is False:
            if not is_from_variable(context, "precompute"):
                raise UsageError("--cache-version asks for a latent cache, --no-precompute for none")
            options["precompute"] = None
        more = extra_arguments.parse(extra or "")
        overrides = (*more.overrides, *overrides)
        if skip_nonfinite is not None:
            overrides = (*overrides, f"training.skip_nonfinite={skip_nonfinite}")
        sweep = read_sweep(options, configs)
        rent = read_rent(options)
        request = LaunchRequest(
            config=configs[0], tasks=chosen or more.tasks, stage=stage or more.stage, overrides=overrides,
            rent=rent, given=given(context), **options,
        )  # fmt: skip
        if sweep is not None:
            start_sweep(session, replace(sweep, launch=request), dry_run=dry_run, detach=detach)
            return
        start(session, request, dry_run=dry_run, detach=detach)

    @command(cli, "resume")
    @_RUN
    @click.option("--new-wheel", is_flag=True,
                  help="On a rented machine: with today's code, not the one that it began with.")  # fmt: skip
    @click.option("--dry-run", is_flag=True, help="Only say whether and where it would go on.")
    @click.option("--detach", is_flag=True, help="Return when the run goes on.")
    def resume(session: Session, run: str, new_wheel: bool, dry_run: bool, detach: bool) -> None:
        """Go on with RUN from its last checkpoint."""
        if dry_run:
            plan = session.operations.resumption(run)
            text = "run {run} goes on as attempt {attempt}, at {provider}".format(**plan)
            session.answer(plan, text)
            return
        launched = session.operations.resume(run, session.say, new_wheel=new_wheel)
        if detach:
            session.answer(asdict(launched), f"run {launched.run} goes on, on {launched.instance}")
            return
        follow_run(session, launched.run, launched.instance)

    @command(cli, "stop")
    @_RUN
    def stop(session: Session, run: str) -> None:
        """Ask RUN to stop at its next safe point."""
        session.operations.stop(run)
        session.answer({"stopping": run}, f"run {run} was told to stop")

    @command(cli, "wandb-sync")
    @_RUN
    def wandb_sync(session: Session, run: str) -> None:
        """Send what is here of RUN to Weights & Biases."""
        sent = session.operations.wandb_sync(run, ProgressLine())
        lines = [f"{sent['rows']} rows and {sent['pictures']} pictures of run {sent['run']}: {sent['url']}"]
        session.answer(sent, "\n".join([*lines, *(f"! {gap}" for gap in sent["missing"])]))


def _register_reading(cli: click.Group) -> None:
    @command(cli, "show")
    @_RUN
    def show(session: Session, run: str) -> None:
        """One run: how it stands and what it reached."""
        row = session.operations.run(run)
        directories = [str(path) for path in session.operations.run_directories(run)]
        session.answer({**run_json(row), "directories": directories}, _show_text(row, directories))

    @command(cli, "events")
    @_RUN
    @click.option("-f", "--follow", is_flag=True, help="Wait for more.")
    def events(session: Session, run: str, follow: bool) -> None:
        """The events of RUN as JSON Lines."""
        for batch in _batches(session.operations, run, follow):
            for event in batch.events:
                session.line(event.to_json())

    @command(cli, "logs")
    @_RUN
    @click.option("-f", "--follow", is_flag=True, help="Wait for more.")
    @click.option(
        "--provider-log",
        is_flag=True,
        help="The provider's own log: all there is of a box that never opens SSH.",
    )
    @click.option(
        "--tail",
        type=click.IntRange(min=1),
        default=200,
        show_default=True,
        help="Lines of the provider's log.",
    )
    def logs(session: Session, run: str, follow: bool, provider_log: bool, tail: int) -> None:
        """The log of RUN."""
        if provider_log:
            lines = list(session.operations.provider_log(run, tail=tail))
            session.answer(lines, "\n".join(lines))
            return
        for batch in _batches(session.operations, run, follow):
            sys.stdout.buffer.write(batch.log)
            sys.stdout.flush()

    @command(cli, "ssh")
    @_RUN
    @click.option(
        "-L",
        "--forward",
        "ports",
        multiple=True,
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help="Also bring this port of the box here, such as TensorBoard's 6006.",
    )
    @click.option("--dry-run", is_flag=True, help="Only say which command that is.")
    @click.argument("words", nargs=-1, metavar="[COMMAND…]")
    def ssh(
        session: Session, run: str, ports: tuple[int, ...], dry_run: bool, words: tuple[str, ...]
    ) -> None:
        """Open your own ssh client on the box of RUN."""
        argv = session.operations.ssh_command(run, ports=ports, command=words)
        if session.as_json or dry_run:
            session.answer({"argv": argv}, shlex.join(argv))
            return
        os.execvp(argv[0], argv)

    @command(cli, "report")
    @_RUN
    @click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                  help="Write all that is known of RUN as one page.")  # fmt: skip
    @click.option("--png", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                  help="Write its curves and newest rollouts as one picture.")  # fmt: skip
    def report(session: Session, run: str, html: Path | None, png: Path | None) -> None:
        """The evaluation of RUN, beside persistence; or its report as a file."""
        if html is not None or png is not None:
            written = [str(path) for path in session.operations.write_report(run, html=html, png=png)]
            session.answer({"run": run, "written": written}, "\n".join(f"wrote {path}" for path in written))
            return
        content = session.operations.report(run)
        text = report_text(content)
        if (content["gates"] or {}).get("next"):
            text += f"\n`ups-console next {run} --write FILE` writes it"
        session.answer(content, text)

    @command(cli, "evaluate")
    @click.argument("target")
    @click.option("--config", type=click.Path(path_type=Path), help="Evaluation config.")
    @click.option("--split", "splits", multiple=True, type=click.Choice(["train", "val", "test"]))
    @click.option("--data", type=click.Path(path_type=Path), help="Evaluate every sample of this file.")
    @click.option("--task", help="Task of --data, or the one task to evaluate.")
    @click.option("--predictions", type=click.Path(path_type=Path), help="Write predictions and truth here.")
    @click.option("--ttc", is_flag=True, help="Choose among candidates of each step, beside not doing so.")
    @click.option("--dry-run", is_flag=True, help="Only say what would be judged, and how.")
    def evaluate(session: Session, target: str, data: Path | None, dry_run: bool, **options: Any) -> None:
        """Judge the checkpoint of a run, or at a path, again."""
        if data is not None and not data.is_file():
            raise NotFoundError(f"there is no file {data}")
        if dry_run:
            command = session.operations.evaluate_command(target, data=data, **options)
            session.answer({"arguments": command}, "python -m remote " + shlex.join(command))
            return
        content = session.operations.evaluate(target, data=data, progress=ProgressLine(), **options)
        session.answer(content, report_text(content))


def _register_history(cli: click.Group) -> None:
    runs = listing_group(cli, "runs", "What was run, what it reached, what it cost.", _answer_runs)

    @command(runs, "rm")
    @_RUN
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def remove(session: Session, run: str, yes: bool) -> None:
        """Forget RUN: its mirror here goes, what is in the store stays."""
        if not yes:
            click.confirm(f"remove the mirror of run {run}?", abort=True)
        session.operations.remove_run(run)
        session.answer({"removed": run}, f"removed {run}")

    @command(runs, "note")
    @_RUN
    @click.argument("text")
    def note(session: Session, run: str, text: str) -> None:
        """Write a note to RUN."""
        session.operations.note(run, text)
        session.answer({"run": run, "note": text}, f"{run}: {text}")


def _answer_runs(session: Session) -> None:
    rows = session.operations.runs()
    session.answer([run_json(row) for row in rows], _runs_table(rows))


def run_json(row: RunRow) -> dict[str, Any]:
    """The history's JSON of a run."""
    return {**asdict(row), "usd": round(row.usd, 4)}


def _batches(operations: Operations, run: str, follow: bool) -> Any:
    return operations.follow(run) if follow else operations.read(run)


def start(session: Session, request: RunRequest, *, dry_run: bool, detach: bool) -> None:
    """Launch what is asked for and follow it, or only say what would happen, or only start it."""
    if dry_run:
        preflight = session.operations.preflight(request)
        steps = session.operations.dry_run(request) if preflight.ok else []
        answer_preflight(session, preflight, steps)
        return
    for setting in request.given:
        if setting.origin != COMMAND_LINE:
            session.say(str(setting))
    launched = session.operations.launch(request, session.say)
    if detach:
        session.answer(asdict(launched), f"run {launched.run} on {launched.instance}")
        return
    follow_run(session, launched.run, launched.instance)


def follow_run(session: Session, run: str, instance: str) -> None:
    """Narrate until the end; the exit code tells how it was."""
    if session.as_json:
        session.line({"type": "launch", "run": run, "instance": instance})
    else:
        session.answer(None, f"run {run} on {instance}")
    narrator = Narrator()
    progress = ProgressLine(lambda: narrator.step_t)
    status = RunStatus.PENDING
    try:
        for batch in session.operations.follow(run):
            status = batch.status
            _print_batch(session, narrator, batch, instance, progress)
    except KeyboardInterrupt:
        _interrupted(session, run, instance)
        raise
    if status in (RunStatus.FAILED, RunStatus.LOST):
        reason = next((n.message for n in reversed(narrator.view.notices) if n.severe), "see its log")
        raise RunFailedError(
            f"run {run} {'failed' if status is RunStatus.FAILED else 'was lost'}: {reason}",
            hint=f"`ups-console logs {run}` shows what happened, `ups-console resume {run}` goes on",
        )
    early = narrator.ended_early
    if status is RunStatus.SUCCEEDED or early:
        _answer_results(session, run, narrator.datasets)
    if early:
        raise OverBudgetError(
            f"run {run} ended early: {early}",
            hint=f"its best checkpoint was evaluated; `ups-console resume {run}` goes on from there",
        )


def _answer_results(session: Session, run: str, made: Sequence[str]) -> None:
    """What a run was for: the datasets that it made, or the report of a training."""
    if made and session.as_json:
        rows = [asdict(row) for row in datasets_of(session, made)]
        session.line({"type": "datasets", "datasets": rows})
    elif made:
        answer_datasets(session, made)
    elif not session.as_json:
        click.echo("\n" + report_text(session.operations.report(run)))


def _print_batch(
    session: Session, narrator: Narrator, batch: FollowBatch, instance: str, progress: ProgressLine
) -> None:
    if not session.as_json:
        narrator.steps(batch, progress)
        for line in narrator.lines(batch):
            progress.close()
            click.echo(line)
        return
    for move in batch.transitions:
        session.line({"type": "instance", "instance": instance, **asdict(move)})
    for event in batch.events:
        narrator.view.apply(event)
        session.line(event.to_json())


def _interrupted(session: Session, run: str, instance: str) -> None:
    """The first Ctrl-C leaves the run alone and says who guards it; a second one ends it."""
    row = next((row for row in session.operations.fleet() if row.instance == instance), None)
    if row is None:
        return
    hours = duration(row.deadline - time.time())
    try:  # from the first word on: who reads it may be quick
        session.say(
            f"\nrun {run} goes on without this window: ${row.usd_per_hour:.2f}/h, ${row.usd:.2f} so far; "
            f"its watchdog ends it in {hours} at the latest.\n"
            "`ups-console` shows it again. "
            f"Ctrl-C once more within {_SECOND_INTERRUPT_S:.0f} s tears it down."
        )
        time.sleep(_SECOND_INTERRUPT_S)
    except KeyboardInterrupt:
        for step in session.operations.teardown(instance):
            session.say(step.text)


def answer_preflight(session: Session, preflight: Preflight, steps: Sequence[DryStep]) -> None:
    from console.runs.preflight import expected_in_words

    lines = [check_line(check) for check in preflight.checks]
    lines += [f"  {setting}" for setting in preflight.given]
    lines.append("  all else  from the config, or by default")
    lines += [
        f"  {part.name:<11} {duration(part.seconds):>8}  ({duration(part.low_seconds)} to "
        f"{duration(part.high_seconds)}; {part.basis})"
        for part in preflight.estimate.parts
    ]
    lines.append(
        f"expected {duration(preflight.expected_seconds)}, {expected_in_words(preflight)}; "
        f"cap ${preflight.cap_usd:.2f}; deadline {preflight.deadline_hours:g} h"
    )
    lines += [f"\n--- {step.title}\n{step.text.rstrip()}" for step in steps]
    sent = [asdict(step) for step in steps]
    told = {**asdict(preflight), "usd_range": preflight.usd_range, "ok": preflight.ok, "steps": sent}
    session.answer(told, "\n".join(lines))
    if not preflight.ok:
        from console.runs.runtime import error_of

        failed = next(check for check in preflight.checks if check.level is Level.FAILED)
        raise error_of(failed.code, failed.text, failed.hint)


def _show_text(row: RunRow, directories: list[str]) -> str:
    figures = [
        f"  {task:<22} one-step nRMSE {number(value)}" + ("" if row.skill.get(task) else "  no skill")
        for task, value in row.one_step.items()
    ]
    head = (
        f"{row.run}  {row.config}  {row.status}  {duration(row.seconds)}  ${row.usd:.2f}  {row.note}".rstrip()
    )
    gate = [f"  gate: {_gate_text(row)}"] if row.verdict else []
    return "\n".join([head, *figures, *gate, *directories])


def _runs_table(rows: list[RunRow]) -> str:
    lines = [
        [
            time.strftime("%b %d %H:%M", time.localtime(row.created)),
            row.run,
            row.config,
            str(row.status),
            "  ".join(f"{task} {number(value)}" for task, value in row.one_step.items()) or "–",
            _gate_text(row),
            duration(row.seconds),
            f"{row.usd:.2f}",
            row.note,
        ]
        for row in rows
    ]
    header = ["when", "run", "config", "status", "test one-step nRMSE", "gate", "time", "$", ""]
    return table(header, lines, right=(6, 7))


def _gate_text(row: RunRow) -> str:
    """The verdict on a run, and what it says comes next."""
    if not row.next_config:
        return row.verdict or "–"
    return f"{row.verdict} → {row.next_config}"
