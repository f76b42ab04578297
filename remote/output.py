"""What a command says on stdout and stderr: lines for people, or event-shaped JSON lines."""

import json
import sys
import time
from typing import Any

from remote.failures import Failure
from remote.journal import say
from ups.events import PhaseState, encode

_EVERY_S = 0.5


class Output:
    """The voice of one command."""

    def __init__(self, command: str, *, as_json: bool) -> None:
        self.command = command
        self.as_json = as_json
        self._seq = 0
        self._last: dict[str, float] = {}

    def progress(self, what: str, done: int, total: int, *, unit: str = "samples") -> None:
        """At most two lines a second for each thing; its last one is never left out."""
        now = time.monotonic()
        if done < total and now - self._last.get(what, -1e9) < _EVERY_S:
            return
        self._last[what] = now
        if self.as_json:
            self._record("progress", phase=self.command, task=what, done=done, total=total, unit=unit)
        else:
            say(f"{what}: {done} of {total} {unit}")

    def phase(self, phase: str, state: PhaseState, detail: str = "") -> None:
        if self.as_json:
            self._record("phase", phase=phase, state=str(state), detail=detail)
        else:
            say(f"{phase} {state}" + (f": {detail}" if detail else ""))

    def warn(self, code: str, message: str, hint: str = "") -> None:
        if self.as_json:
            self._record("warning", code=code, message=message, hint=hint)
        else:
            say(f"warning: {message}" + (f" (hint: {hint})" if hint else ""))

    def done(self, text: str, **fields: Any) -> None:
        """The last line; `text` is for people, `fields` for programs."""
        if self.as_json:
            self._record("done", status="succeeded", exit_code=0, **fields)
        else:
            say(text)

    def fail(self, failure: Failure) -> None:
        """The error on stderr: one line and its hint, or one JSON object."""
        if self.as_json:
            print(json.dumps({"error": failure.to_json()}), file=sys.stderr)
            return
        print(f"error: {failure.message}", file=sys.stderr)
        if failure.hint:
            print(f"hint: {failure.hint}", file=sys.stderr)

    def _record(self, kind: str, **fields: Any) -> None:
        say(encode(self._seq, round(time.time(), 6), kind, fields).decode().rstrip("\n"))
        self._seq += 1
