"""`open` and `replay`: look at a run's files in the console, whoever wrote them."""

from pathlib import Path

import click

from console.cli.app import Session, collector_resting, command, need_terminal

COMMANDS = ("open", "replay")


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
        with collector_resting():
            from console.tui.app import run_viewer

            run_viewer(session.home, "console.tui.screens.view:OpenedScreen", opened)
