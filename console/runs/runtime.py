"""Running the runtime (`python -m remote …`) in a process of its own on this machine.

What needs torch never runs inside the console. The child speaks JSON lines; its errors come back as
the exceptions that they were.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from console.errors import OverBudgetError, ProviderError, RunFailedError, TeardownNotVerifiedError
from ups.errors import (
    ConfigError,
    DataError,
    DownloadError,
    NotFoundError,
    StoreError,
    TrainingError,
    UpsError,
    UsageError,
)

_ERRORS: dict[str, type[UpsError]] = {
    kind.code: kind
    for kind in (
        ConfigError, DataError, DownloadError, NotFoundError, StoreError, TrainingError, UsageError,
        ProviderError, RunFailedError, OverBudgetError, TeardownNotVerifiedError,
    )
}  # fmt: skip

Record = dict[str, Any]


def error_of(code: str, message: str, hint: str) -> UpsError:
    """The exception of an error that crossed a process boundary."""
    return _ERRORS.get(code, UpsError)(message, hint=hint)


def missing_modules() -> list[str]:
    """What the runtime needs and this environment lacks; looked up, not imported."""
    return [
        name for name in ("torch", "einops", "safetensors", "scipy") if not importlib.util.find_spec(name)
    ]


def require_train_extra() -> None:
    """Raises ConfigError where the `train` extra is not installed."""
    missing = missing_modules()
    if missing:
        raise ConfigError(
            f"this needs {', '.join(missing)}, which are not installed here",
            hint="pip install 'ups-console[train]'",
        )


def call(
    arguments: Sequence[str],
    on_record: Callable[[Record], None],
    *,
    environment: Mapping[str, str] | None = None,
) -> Record:
    """Run `python -m remote ARGUMENTS --json` to its end.

    Args:
        arguments: the subcommand and its options.
        on_record: called with each JSON line.
        environment: what the child's has beyond this process's own; keys go there, never into arguments.

    Returns:
        The last record.

    Raises:
        UpsError: what the child reported, or that it died.
    """
    last: Record = {}
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "remote", *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            assert child.stdout is not None
            for record in _records(child.stdout):
                last = record
                on_record(record)
            code = child.wait()
        finally:
            if child.poll() is None:  # interrupted: the child has no one left to work for
                child.terminate()
                child.wait()
        if code != 0:
            errors.seek(0)
            raise _failure(errors.read(), code)
    return last


def _records(lines: Iterator[str]) -> Iterator[Record]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _failure(text: str, code: int) -> UpsError:
    for line in reversed(text.splitlines()):
        try:
            error = json.loads(line)["error"]
            return error_of(error["code"], error["message"], error.get("hint", ""))
        except (ValueError, KeyError, TypeError):
            continue
    said = next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return UpsError(f"the runtime ended with {ended}: {said}")
