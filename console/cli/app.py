"""`ups-console`: dispatch, the options that every command has, and how errors end a command.

Data goes to stdout, narration and errors to stderr. The exit codes are an API (`ups.errors`).
"""

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from console.home import Home
from ups.errors import UpsError, UsageError

if TYPE_CHECKING:
    from console.operations import Operations

_INTERRUPTED = 130
_F = TypeVar("_F", bound=Callable[..., Any])


class Session:
    """What every command gets: the operations, and whether its answer is for a program."""

    def __init__(self, home: Home, *, as_json: bool) -> None:
        self.home = home
        self.as_json = as_json

    @cached_property
    def operations(self) -> "Operations":
        """Made when they are first wanted: a run that is only looked at needs none."""
        from console.operations import Operations

        return Operations(self.home)

    def answer(self, value: Any, text: str) -> None:
        """Print the answer: one JSON value, or the text for people."""
        click.echo(json.dumps(value, ensure_ascii=False, default=str) if self.as_json else text)

    def line(self, value: Any) -> None:
        """Print one line of JSON Lines."""
        click.echo(json.dumps(value, ensure_ascii=False, default=str))

    def say(self, text: str) -> None:
        """Narration: stderr, so that stdout stays the answer."""
        click.echo(text, err=True)


_COMMON_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
    click.option(
        "--home",
        type=click.Path(path_type=Path),
        help="The console's home (default: $UPS_HOME).",
    ),
    click.option("--debug", is_flag=True, help="Show the traceback of an internal error."),
)


def _with_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the common options; the function gets a `Session` made of them as its first argument."""

    @wraps(function)
    def run(*before: Any, as_json: bool, home: Path | None, debug: bool, **arguments: Any) -> Any:
        session = Session(Home(home.absolute()) if home else Home.default(), as_json=as_json)
        return function(session, *before, **arguments)

    for option in _COMMON_OPTIONS:
        run = option(run)
    return run


def command(group: click.Group, name: str) -> Callable[[_F], click.Command]:
    """Register a command that takes a `Session` first, and the options common to all."""

    def register(function: _F) -> click.Command:
        return group.command(name)(_with_session(function))

    return register


def listing_group(
    cli: click.Group, name: str, help_text: str, answer: Callable[[Session], None]
) -> click.Group:
    """A group that, called without a subcommand, lists."""

    def listing(session: Session, context: click.Context) -> None:
        if context.invoked_subcommand is None:
            answer(session)

    run = click.pass_context(_with_session(listing))
    return cli.group(name, invoke_without_command=True, help=help_text)(run)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ups-console", prog_name="ups-console")
@click.option("--home", type=click.Path(path_type=Path), help="The console's home.")
@click.option("--theme", help="Of the console: dark, light, contrast, colourblind, or one of Textual's.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw the console with ASCII alone.")
@click.pass_context
def cli(context: click.Context, home: Path | None, theme: str | None, ascii_only: bool) -> None:
    """Train neural surrogates of physics on rented GPUs, and watch every dollar and every loss.

    Without a command the console opens.
    """
    if home is not None:
        os.environ["UPS_HOME"] = str(home.absolute())
    if context.invoked_subcommand is None:
        open_console(theme=theme, ascii_only=ascii_only)
    elif theme or ascii_only:
        raise UsageError("--theme and --ascii are for the console, not for a command")


def open_console(*, theme: str | None = None, ascii_only: bool = False) -> None:
    """Open the terminal console.

    Args:
        theme: instead of the one that config.toml names.
        ascii_only: also where the locale could show more.

    Raises:
        ConfigError: config.toml asks for a look that does not exist.
        UsageError: there is no terminal.
    """
    need_terminal()
    from console.look import needs_ascii, read_look
    from console.terminal_background import asked_terminal

    home = Home.default()
    look = read_look(home.config).over(theme=theme, ascii_only=ascii_only or needs_ascii())
    with collector_resting():
        with asked_terminal() if look.theme is None else nullcontext() as asked:
            from console.operations import Operations
            from console.tui.app import run_console
            from console.tui.theme import LIGHT

            if asked is not None and asked.is_light():
                look = look.over(theme=LIGHT)
        run_console(Operations(home), look, typed=asked.typed if asked is not None else "")


@contextmanager
def collector_resting() -> Iterator[None]:
    """While the console opens nothing becomes garbage, and looking for it would take a tenth of the time.

    The app ends this when its first screen stands.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def has_terminal() -> bool:
    """Whether the console can be opened here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def need_terminal() -> None:
    """Raises UsageError where there is no terminal to open the console in."""
    if not has_terminal():
        raise UsageError(
            "the console needs a terminal, and this is none",
            hint="every operation works headless: `ups-console launch CONFIG`, `ups-console --help`",
        )


def _load_commands(first: str) -> None:
    """Load the commands; one that opens the console waits for no other."""
    from console.cli import open as opening

    opening.register(cli)
    if first in opening.COMMANDS:
        return
    from console.cli import compare, data, fleet, plan, runs, serve

    for module in (data, runs, compare, fleet, plan, serve):
        module.register(cli)


def main() -> None:
    """Entry point: run, and turn every error into one line and an exit code."""
    arguments = sys.argv[1:]
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        if arguments:  # opening the console must not wait for the commands
            _load_commands(arguments[0])
        code = cli.main(arguments, standalone_mode=False, prog_name="ups-console", color=_color())
    except UpsError as error:
        if debug:
            raise
        code = _report(error.to_json(), error.exit_code, as_json)
    except click.ClickException as error:
        code = _report(
            {"code": "usage", "message": error.format_message(), "hint": _usage(error)}, 2, as_json
        )
    except (KeyboardInterrupt, click.Abort):
        code = _report({"code": "interrupted", "message": "interrupted", "hint": ""}, _INTERRUPTED, as_json)
    except BrokenPipeError:  # the reader of our stdout has gone: not our error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if debug:
            raise
        message = f"internal error: {type(error).__name__}: {error}"
        code = _report({"code": "internal", "message": message, "hint": "--debug shows where"}, 1, as_json)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path} --help`" if context else "see `ups-console --help`"


def _color() -> bool | None:
    """False where the user wants none; None lets click look at the terminal."""
    return False if os.environ.get("NO_COLOR") else None


def _report(error: dict[str, str], exit_code: int, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": error}, ensure_ascii=False), err=True)
    else:
        color = _color()
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error['message']}", err=True, color=color)
        if error["hint"]:
            click.echo(f"{click.style('hint:', bold=True)}  {error['hint']}", err=True, color=color)
    return exit_code


if __name__ == "__main__":
    main()
