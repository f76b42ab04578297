"""What a failure is called, what to do about it, and the exit code it ends the process with."""

import errno
from dataclasses import dataclass

from remote.environment import missing_extra
from ups.errors import UpsError

_OWN_EXIT_CODES = frozenset({2, 3, 4, 6})
_RUN_FAILED = 7


class StopRequested(Exception):  # noqa: N818 - no failure: somebody asked
    """Raised at a safe point of a phase after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as the user meets it."""

    code: str
    message: str
    hint: str
    exit_code: int
    expected: bool = True
    """False for a defect of ours, whose traceback belongs in the log."""

    def to_json(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}


class ReportedError(Exception):
    """A failure that another process has explained already."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def explain(error: BaseException, *, where: str = "") -> Failure:
    """The failure that an exception means.

    Args:
        error: what was raised.
        where: a path to name where the exception names none.
    """
    if isinstance(error, ReportedError):
        return error.failure
    if isinstance(error, UpsError):
        exit_code = error.exit_code if error.exit_code in _OWN_EXIT_CODES else _RUN_FAILED
        return Failure(error.code, error.message, error.hint, exit_code)
    if isinstance(error, ImportError) and (missing := missing_extra(error)) is not None:
        return Failure(missing.code, missing.message, missing.hint, missing.exit_code)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(
            "store",
            f"no space left to write {error.filename or where}",
            "free some space and resume the run",
            6,
        )
    if _is_out_of_memory(error):
        return Failure(
            "memory",
            f"out of memory: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "lower training.batch_size or evaluation.batch_size, or rent a machine with more memory",
            _RUN_FAILED,
        )
    return Failure(
        "internal", f"{type(error).__name__}: {error}", "run.log has the traceback", 1, expected=False
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # torch's CPU allocator raises a plain RuntimeError
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
