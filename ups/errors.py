"""The errors a user can meet, and the exit code each one ends a command with.

Every error says what is wrong and where; `hint` says what to do about it. Exit codes are an API:
0 done, 1 internal, 2 usage, 3 invalid config or input, 4 not found, 5 provider, 6 store,
7 run failed, 8 over budget, 9 teardown not verified, 130 interrupted.
"""

from typing import Any, ClassVar


class UpsError(Exception):
    """Base of all errors that are meant to be read by the user."""

    code: ClassVar[str] = "internal"
    """Stable machine-readable name, written as `code` in `--json` output and in `error` events."""
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.message, self.hint)

    def to_json(self) -> dict[str, str]:
        """The error as the object that `--json` prints on stderr under `error`."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


def _again(kind: type[UpsError], message: str, hint: str) -> UpsError:
    """An error that came from another process."""
    return kind(message, hint=hint)


class UsageError(UpsError):
    """The command line itself is wrong: an option that does not exist or contradicts another."""

    code, exit_code = "usage", 2


class ConfigError(UpsError):
    """A config file, or a `--set` override, does not fit the schema."""

    code, exit_code = "config", 3


class DataError(UpsError):
    """Input data is damaged, of the wrong layout or task, or cannot be used (NaN, constant)."""

    code, exit_code = "data", 3


class NotFoundError(UpsError):
    """A run, dataset, instance or checkpoint of that name does not exist."""

    code, exit_code = "not_found", 4


class StoreError(UpsError):
    """The object store cannot be read or written (permissions, space, hash mismatch)."""

    code, exit_code = "store", 6


class DownloadError(UpsError):
    """A server does not hand out a file, or not the right one."""

    code, exit_code = "download", 6


class TrainingError(UpsError):
    """The run cannot go on: non-finite loss, a loss without gradient, a foreign checkpoint."""

    code, exit_code = "training", 7


class MachineError(UpsError):
    """The machine cannot run it: no GPU, a dead one, a driver that is too old."""

    code, exit_code = "machine", 7
