"""`open` and `replay`: look at a run's files in the console, whoever wrote them."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.app import Session, collector_resting, command, has_terminal, need_terminal
from ups.errors import NotFoundError

if TYPE_CHECKING:
    from console.runs.replay import Replay

COMMANDS = ("open", "replay")


def _speed(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """A factor above 0, or `max`."""
    if value == "max":
        return math.inf
    try:
        speed = float(value.rstrip("x×"))
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise click.BadParameter(f"{value!r} is no speed: write a number above 0, or max")
    return speed


def register(cli: click.Group) -> None:
    """Add the commands of this module."""

    @command(cli, "open")
    @click.argument("path", type=click.Path(path_type=Path))
    def open_path(session: Session, path: Path) -> None:
        """Look at the run at PATH: a run directory, one with attempts, or an events.jsonl.

        It is read only, and followed while it grows. Nothing but its events is needed.
        """
        from console.runs.opened import OpenedRun

        opened = OpenedRun(path)
        need_terminal()
        opened.read_ahead()
        try:
            _view(session, "console.tui.screens.view:OpenedScreen", opened)
        finally:
            opened.close()

    @command(cli, "replay")
    @click.argument("run", metavar="RUN|PATH")
    @click.option("--speed", default="60", show_default=True, metavar="N|max", callback=_speed,
                  help="So many seconds of the run in one.")  # fmt: skip
    def replay(session: Session, run: str, speed: float) -> None:
        """Play a finished run again as if it were live, from its events alone.

        Without a terminal, or with --json, its events are told as they come. Nothing is written.
        """
        recorded = session.operations.replay(_path_or_run(session, run), speed=speed)
        if session.as_json or not has_terminal():
            _tell(session, recorded)
            return
        _view(session, "console.tui.screens.replay:ReplayScreen", recorded)


def _view(session: Session, screen: str, source: object) -> None:
    from console.look import needs_ascii, read_look

    look = read_look(session.home.config).over(ascii_only=needs_ascii())
    with collector_resting():
        from console.tui.app import run_viewer

        run_viewer(session.home, screen, source, look)


def _path_or_run(session: Session, name: str) -> Path | str:
    """What the user means: a run's id, or else a path."""
    path = Path(name)
    if path.exists():
        return path
    try:
        return session.operations.registry.find(name).run
    except NotFoundError as error:
        raise NotFoundError(f"there is neither a run nor a path {name!r}", hint=error.hint) from error


def _tell(session: Session, recorded: "Replay") -> None:
    from console.cli.narrate import Narrator

    narrator = Narrator()
    for batch in recorded.batches(lambda: False):
        if session.as_json:
            for event in batch.events:
                session.line(event.to_json())
        else:
            for line in narrator.lines(batch):
                click.echo(line)
