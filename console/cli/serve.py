"""The command that shows the console in a browser."""

import importlib.util

import click

from console.cli.app import Session, command
from ups.errors import ConfigError

_PACKAGE = "textual_serve"


def register(cli: click.Group) -> None:
    """Add the command of this module."""

    @command(cli, "serve")
    @click.option("--port", type=click.IntRange(0, 65535), default=0, show_default="a free one",
                  help="Where it listens, on 127.0.0.1 only.")  # fmt: skip
    def serve(session: Session, port: int) -> None:
        """Show this console in a browser, to whoever has the address that is printed.

        Each browser window gets a console of its own. Ctrl-C ends it and all of them; runs go on.
        """
        if importlib.util.find_spec(_PACKAGE) is None:
            raise ConfigError("textual-serve is not installed here", hint="pip install 'ups-console[serve]'")
        from console import serving

        def ready(url: str) -> None:
            session.answer({"url": url}, url)
            session.say("whoever has this address can rent and destroy in your name; Ctrl-C ends it")

        serving.serve(session.operations.home.root, port, ready)
