"""The boundary of every worker: what an operation raised becomes a message for people."""

from collections.abc import Callable

from textual.message import Message

from console.tui.messages import OperationFailed
from ups.errors import UpsError


def attempt(what: str, call: Callable[[], Message | None]) -> Message | None:
    """The message of a call, or the one of its failure."""
    try:
        return call()
    except UpsError as error:
        return OperationFailed(what, error.message, error.hint, error.code)
    except Exception as error:  # noqa: BLE001 - the boundary of a worker: nothing may end the console
        return OperationFailed(
            what,
            f"{type(error).__name__}: {error}",
            "a defect of the console",
            "internal",
        )
