"""What a process of the run says: every event to `events.jsonl`, and a line for people to run.log.

One journal is the only writer of a run's events. It keeps a small reserve on the disk, so that a run
that dies of a full disk can still say so.
"""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ups.errors import StoreError
from ups.evaluation import forecast
from ups.events import Event, EventType, EventWriter, PhaseState, encode

_RESERVE_BYTES = 256 * 1024
_PROGRESS_EVERY_S = 0.5

Describe = Callable[[Event], str | None]


class Journal:
    """The event sink of a run; safe to call from several threads."""

    def __init__(self, path: Path, *, as_json: bool = False) -> None:
        """Opens (or goes on with) the events at `path`.

        Args:
            path: the run's events.jsonl.
            as_json: print the events themselves to stdout instead of lines for people.
        """
        self._path = path
        self._reserve = path.parent / ".reserve"
        self._narrator = Narrator()
        self._as_json = as_json
        self._last_progress: dict[tuple[str, str | None], tuple[float, int]] = {}
        self._hold_reserve()
        try:
            self._writer = EventWriter(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error

    @property
    def is_new(self) -> bool:
        """No event has been written yet."""
        return self._writer.next_seq == 0

    @property
    def last_write(self) -> float:
        """Unix seconds of the newest event."""
        return self._writer.last_write

    def write(self, kind: EventType, **fields: Any) -> Event:
        """Append an event and print its line.

        Raises:
            StoreError: the disk is full; what was reserved for that case is free from now on.
        """
        try:
            event = self._writer.write(kind, **fields)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self.release_reserve()
                raise StoreError(
                    f"no space left to write {self._path}", hint="free some space and resume the run"
                ) from error
            raise
        self._print(event)
        return event

    def phase(self, phase: str, state: PhaseState, detail: str = "") -> None:
        self.write(EventType.PHASE, phase=phase, state=str(state), detail=detail)

    def warn(self, code: str, message: str, hint: str = "") -> None:
        self.write(EventType.WARNING, code=code, message=message, hint=hint)

    def progress(self, phase: str, task: str | None, done: int, total: int, unit: str) -> None:
        """At most two events a second for each phase and task; the last one is never left out."""
        key, now = (phase, task), time.monotonic()
        told_at, told = self._last_progress.get(key, (-1e9, -1))
        if done == told or (done < total and now - told_at < _PROGRESS_EVERY_S):
            return
        self._last_progress[key] = now, done
        self.write(EventType.PROGRESS, phase=phase, task=task, done=done, total=total, unit=unit)

    def release_reserve(self) -> None:
        """Give the disk the room that the last words of a failing run need."""
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)

    def _hold_reserve(self) -> None:
        if not self._reserve.exists():
            with contextlib.suppress(OSError):  # no room for it: the first write says so
                self._reserve.write_bytes(os.urandom(_RESERVE_BYTES))

    def _print(self, event: Event) -> None:
        if self._as_json:
            line = encode(event.seq, event.t, event.type, event.fields).decode().rstrip("\n")
        else:
            text = self._narrator.line(event)
            if text is None:
                return
            line = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(event.t))}  {text}"
        say(line)

    def close(self) -> None:
        self._writer.close()
        self.release_reserve()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def say(line: str) -> None:
    """Print a line at once; a full disk or a closed pipe behind stdout ends nothing."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class Narrator:
    """Turns events into the lines of run.log: one per phase, epoch, checkpoint, warning."""

    def __init__(self) -> None:
        self._train_loss: dict[str, float | None] = {}
        self._validation: dict[str, Mapping[str, Any]] = {}
        self._tellers: dict[str, Describe] = {
            EventType.RUN: _run,
            EventType.PHASE: _phase,
            EventType.METRIC: self._metric,
            EventType.RESUMED: lambda e: f"resumed at {_where(e)} from {e.fields.get('checkpoint')}",
            EventType.PUBLISHED: lambda e: f"published {e.fields.get('path')}",
            EventType.ROLLOUT: _rollout,
            EventType.CHECKPOINT: _checkpoint,
            EventType.WARNING: lambda e: _trouble("warning", e),
            EventType.ERROR: lambda e: _trouble("error", e),
            EventType.DONE: _done,
        }

    def line(self, event: Event) -> str | None:
        """None for what people do not read: heartbeats, progress, machine figures."""
        teller = self._tellers.get(event.type)
        return teller(event) if teller else None

    def _metric(self, event: Event) -> str | None:
        fields = event.fields
        values, task = fields.get("values", {}), fields.get("task")
        if fields.get("split") == "train":
            if task is not None:
                self._train_loss[task] = values.get("loss")
            return None
        if task is not None:
            self._validation[task] = values
            return None
        parts = [
            f"{name} loss {number(self._train_loss.get(name))} {fields.get('split')} "
            f"{number(of.get('nrmse'))} (copying {number(of.get('persistence'))})"
            for name, of in self._validation.items()
        ]
        self._validation.clear()
        told = forecast.read(fields.get("forecast"))
        parts += [told.text()] if told is not None else []
        return f"{_where(event)}  " + "  ·  ".join(parts) if parts else None


def number(value: object) -> str:
    """Four digits, or a dash for what is not known."""
    return f"{value:.4g}" if isinstance(value, (int, float)) else "–"


def _where(event: Event) -> str:
    fields = event.fields
    return f"{fields.get('stage')} epoch {fields.get('epoch')} step {fields.get('step', '–')}"


def _run(event: Event) -> str:
    fields = event.fields
    what = [", ".join(fields.get(key, ())) for key in ("tasks", "stages")]
    return f"run {fields.get('name')}: {'; '.join(filter(None, what))}; on {fields.get('device')}"


def _phase(event: Event) -> str:
    detail = event.fields.get("detail")
    return f"{event.fields.get('phase')} {event.fields.get('state')}" + (f": {detail}" if detail else "")


def _rollout(event: Event) -> str:
    fields = event.fields
    figures = f"nrmse {number(fields.get('nrmse'))} (copying {number(fields.get('persistence'))})"
    return f"rollout {fields.get('task')} step {fields.get('step')}: {figures}"


def _checkpoint(event: Event) -> str:
    fields = event.fields
    best = " (best)" if fields.get("best") else ""
    megabytes = (fields.get("bytes") or 0) / 1e6
    return f"checkpoint {fields.get('path')}{best}, {megabytes:.1f} MB"


def _trouble(word: str, event: Event) -> str:
    hint = event.fields.get("hint")
    return f"{word}: {event.fields.get('message')}" + (f" (hint: {hint})" if hint else "")


def _done(event: Event) -> str:
    summary = event.fields.get("summary") or {}
    early = f": {summary['ended_early']}" if summary.get("ended_early") else ""
    return f"done: {event.fields.get('status')}, exit code {event.fields.get('exit_code')}{early}"
