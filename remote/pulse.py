"""Lets the machines of a run notice that one of them has fallen silent.

A process that is killed closes its connections, and whoever waits for it knows at once. A machine that loses
its power or its network does not: the others would wait for it for as long as an exchange may take. So the
first process of each machine says in the store of the launcher that it lives, and ends where another one has
not said so for too long: the launchers then start the training anew on the machines that are left.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from remote.followers import RESTART_EXIT_CODE
from remote.journal import say
from ups.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

SILENCE_S = 60.0
"""By default: longer than a network stutters or a host moves a machine; a restart costs about as much."""
_BEATS = 12
"""Within that time."""
_OVER = b"over"


@dataclass(slots=True)
class _Heard:
    """What another machine said last."""

    beat: bytes
    at: float
    """By `time.monotonic`."""


def leave(machine: int, silent_s: float) -> None:
    """End this process, whatever it waits for, so that its launcher starts anew without that machine."""
    say(f"machine {machine} of the training has been silent for {silent_s:.0f} s: all start anew without it")
    os._exit(RESTART_EXIT_CODE)


class Pulse:
    """The signs of life of one machine, and what it hears of the others, while the context is open."""

    def __init__(
        self,
        ranks: Ranks,
        connect: Callable[[], "Store"],
        silence_s: float = SILENCE_S,
        lost: Callable[[int, float], None] = leave,
    ) -> None:
        """
        Args:
            ranks: of this process; only the first one of each of several machines has a pulse.
            connect: makes a new connection to the store that all machines see.
            silence_s: after so many seconds a machine is given up.
            lost: told of the machine that is, and for how long it has been silent; from a thread.
        """
        self._ranks, self._connect, self._silence_s, self._lost = ranks, connect, silence_s, lost
        self._over = threading.Event()
        now = time.monotonic()
        self._heard = {machine: _Heard(b"", now) for machine in range(ranks.machines)}
        threads = ranks.machines > 1 and ranks.leads_machine
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._beat, "pulse"), (self._listen, "silence"))
            if threads
        ]

    def __enter__(self) -> "Pulse":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(self._silence_s / _BEATS)  # one that waits for a silent store is left

    def _beat(self) -> None:
        """Speak and hear in turn; a store that does not answer is a machine that is silent, the first one."""
        with contextlib.suppress(RuntimeError):
            store = self._connect()
            store.set_timeout(timedelta(seconds=self._silence_s))
            number = 0
            while not self._over.wait(self._silence_s / _BEATS):
                number += 1
                store.set(_key(self._ranks.machine), str(number))
                for machine, heard in self._heard.items():
                    key = _key(machine)
                    beat = store.get(key) if store.check([key]) else b""
                    if beat != heard.beat or beat == _OVER:
                        heard.beat, heard.at = beat, time.monotonic()
            store.set(_key(self._ranks.machine), _OVER.decode())

    def _listen(self) -> None:
        while not self._over.wait(self._silence_s / _BEATS):
            now = time.monotonic()
            for machine, heard in self._heard.items():
                if now - heard.at > self._silence_s and not self._over.is_set():
                    self._lost(machine, now - heard.at)
                    return


def _key(machine: int) -> str:
    return f"pulse/{machine}"
