"""Alerts to the webhook, each once, whoever of console and guard notices it first.

What was told stands in a file of the home. Who holds its lock tells; the others look again later. The lock
is held until an alert was taken or given up, so that a crash between leaves it to the next one.
"""

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from console.fleet.locks import FileLock
from console.runs.alerts import Alert, AlertKind
from console.runs.webhook import Webhook
from ups.errors import UpsError

_KEPT = 5000
"""Keys in the file; of older alerts nothing is left that could be told again."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The file of what was told."""

    path: Path

    def keys(self) -> list[str] | None:
        """The oldest first; None where nobody has looked yet."""
        try:
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return None  # damaged: begin anew, and tell nothing twice
        return [str(key) for key in found] if isinstance(found, list) else None

    def write(self, keys: Sequence[str]) -> None:
        """Replace it whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        draft.write_text(json.dumps(list(keys)[-_KEPT:]))
        draft.replace(self.path)


@dataclass(slots=True)
class Announcer:
    """Tells alerts in a thread of its own; never more than one at a time."""

    announced: Announced
    lock: Path
    webhook: Webhook | None
    waits: bool = True
    """Whether the process stays until the last alert was taken or given up."""
    _thread: threading.Thread | None = None
    _told: set[str] = field(default_factory=set)
    _has_looked: bool = False

    def begin(self, alerts: Sequence[Alert], say: Callable[[str, str], None]) -> None:
        """Tell what is new of these, unless that is being done already.

        Args:
            alerts: all that call for a person now; what was told before is left out.
            say: gets what went wrong, and a hint; called in the thread.
        """
        at_work = self._thread is not None and self._thread.is_alive()
        fresh = [alert for alert in alerts if alert.key not in self._told]
        if at_work or (self._has_looked and not fresh):
            return
        self._thread = threading.Thread(
            target=self._announce, args=(fresh, say), name="announcing", daemon=not self.waits
        )
        self._thread.start()

    def _announce(self, alerts: Sequence[Alert], say: Callable[[str, str], None]) -> None:
        lock = FileLock(self.lock)
        try:
            if lock.try_acquire():
                self._tell(alerts, say)
        except (OSError, UpsError) as error:
            say(f"an alert cannot be told: {getattr(error, 'strerror', None) or type(error).__name__}", "")
        finally:
            lock.release()

    def _tell(self, alerts: Sequence[Alert], say: Callable[[str, str], None]) -> None:
        told = self.announced.keys()
        if told is None:  # runs that ended before anybody looked are no news; what costs money is
            told = [alert.key for alert in alerts if alert.kind in (AlertKind.END, AlertKind.FAILURE)]
            self.announced.write(told)
        for alert in alerts:
            if alert.key not in told:
                if self.webhook is not None:
                    self._post(alert, say)
                told.append(alert.key)
                self.announced.write(told)
        self._told.update(told)
        self._has_looked = True

    def _post(self, alert: Alert, say: Callable[[str, str], None]) -> None:
        assert self.webhook is not None
        try:
            self.webhook.post(alert)
        except UpsError as error:
            say(error.message, error.hint)

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread at work, if there is one."""
        if self._thread is not None:
            self._thread.join(timeout_s)
