"""The detached guard: it sees to it that no instance outlives its purpose, whoever else is dead.

One per home. Every minute it holds the ledger against the providers and destroys what is past its
deadline or cap, whose run is over, whose launch died, or what appeared after it was refused; what was
told to go and is still there is told again. It leaves when nothing lives.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from console.fleet import money
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import send_destroy
from console.fleet.locks import FileLock, lock_path
from console.fleet.model import InstanceKind, InstanceState, Label
from console.fleet.processes import Identity, identify
from console.fleet.providers.base import Provider
from console.fleet.reconcile import ABSENCE_INTERVAL_S, UNSETTLED, Sighting, Survey, survey
from console.fleet.strays import delete_strays, delete_volume
from ups.errors import StoreError, UpsError

INTERVAL_S = 60.0
ACTOR_PATIENCE_S = 300.0
"""An actor that holds on to an instance so long after its deadline, or cap, is not waited for."""
STILL_BILLED = "it stopped, and goes on costing"
RUN_IS_OVER = "its run is over"
"""Why the guard ends an instance of which no more is to be had, whether or not its run came to an end."""
LAUNCH_PATIENCE_S = 120.0
"""An instance whose launch died is kept for so long: its launcher may be between two steps."""
LATE_PATIENCE_S = 900.0
"""After a create call without an answer was taken for refused, its label is looked for so much longer."""
CLOCK_SKEW_S = 60.0
"""By which the clock of a stranger's console may be behind ours."""
_NAP_S = 5.0
_START_S = 20.0
_LINGER_S = 300.0

_S = InstanceState
_BEFORE_ITS_RUN = frozenset({_S.STARTING, _S.REACHABLE})


@dataclass(frozen=True, slots=True)
class Watch:
    """What the guard stands on; one pass is `step`, all of them are `run`."""

    ledger: Ledger
    providers: Callable[[], Iterable[Provider]]
    """Asked at every pass: a key may be added, or changed, meanwhile."""
    locks: Path
    run_over: Callable[[Entry], bool]
    """Whether the run of a living, reachable instance has ended, or is lost for good."""
    save: Callable[[Entry], None]
    """Fetch and publish what can be had of an instance before it goes; takes its time, raises nothing."""
    cap_day_usd: float | None
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    workers: int = 8
    """Instances that are saved and told to go at once."""
    stalls: Callable[[], Iterable[str]] = tuple
    """What is new of rented machines whose GPUs do nothing."""
    announce: Callable[[], None] = lambda: None
    """Tell those who are not there of what has happened; does not wait for them."""
    pace: float = 1.0
    """Every interval and patience times this: below 1 where all providers are simulators only."""

    def step(self) -> Survey:
        """Observe, and act on what has no purpose any more; waits for no absence."""
        providers = {provider.name: provider for provider in self.providers()}
        found = survey(self.ledger, providers.values(), self.locks)
        for name, problem in found.problems.items():
            self.say(f"! {name} cannot be asked: {problem.message}")
        now = self.ledger.now()
        spending = money.Spending.of(self.ledger.entries(), now, cap_day_usd=self.cap_day_usd)
        condemned = [
            (sighting, reason)
            for sighting in found.sightings
            if (reason := self._reason(sighting, now, spending)) is not None
        ]
        self._all_at_once([_Ending(self, providers, *one) for one in condemned])
        at_once = {s.entry.provider for s, _ in condemned if s.entry is not None}
        again = [p for p in providers.values() if p.name in at_once and p.capabilities.immediate_list]
        if again:
            survey(self.ledger, again, self.locks)
        delete_strays(self.ledger, providers.values(), self.say)
        for text in self.stalls():
            self.say(text)
        self.announce()
        return found

    def _all_at_once(self, endings: "list[_Ending]") -> None:
        if self.workers > 1 and len(endings) > 1:
            with ThreadPoolExecutor(self.workers) as pool:
                list(pool.map(_Ending.act, endings))
        else:
            for ending in endings:
                ending.act()

    def _reason(self, sighting: Sighting, now: float, spending: money.Spending) -> str | None:
        """Why an instance has to go; None where it may stay, or is not ours to judge."""
        entry, remote = sighting.entry, sighting.remote
        if entry is None:
            return self._reason_of_orphan(sighting, now)
        if entry.state in (_S.REFUSED, _S.ABANDONED):
            return "its label appeared although it was refused" if remote is not None else None
        if not entry.living or entry.state in UNSETTLED:
            return self._reason_of_unsettled(entry, now, spending)
        if entry.ending is not None:
            return entry.ending
        if (reason := money.must_end(entry, now, spending)) is not None:
            return reason
        if entry.state in _BEFORE_ITS_RUN and now - entry.changed >= LAUNCH_PATIENCE_S * self.pace:
            lock = FileLock(lock_path(self.locks, entry.label))
            if lock.try_acquire():
                lock.release()
                return "its launch died before its run was started"
        if entry.kept(now):
            return None
        if entry.state is _S.STOPPED:
            return STILL_BILLED
        if entry.state is _S.RUNNING and self._run_over(entry):
            return RUN_IS_OVER
        if entry.state is _S.LOST and remote is not None and self._run_over(entry):
            return RUN_IS_OVER
        return None

    def _reason_of_unsettled(self, entry: Entry, now: float, spending: money.Spending) -> str | None:
        """A create call that hangs is left to its actor, and without one to the lists, but not for ever."""
        reason = money.must_end(entry, now, spending)
        return reason if reason is not None and now >= entry.deadline + ACTOR_PATIENCE_S * self.pace else None

    def _reason_of_orphan(self, sighting: Sighting, now: float) -> str | None:
        remote = sighting.remote
        if sighting.kind is not InstanceKind.ORPHAN or remote is None:
            return None
        try:
            self.ledger.entry(remote.label)
        except UpsError:
            label = Label.parse(remote.label)
            past = label is not None and now >= label.deadline
            return "nobody knows it, and its deadline has come" if past else None
        return "a second instance under one label: its create was sent twice"

    def _run_over(self, entry: Entry) -> bool:
        try:
            return self.run_over(entry)
        except UpsError as error:
            self.say(f"! {entry.label}: its run cannot be judged: {error.message}")
            return False

    @property
    def anything_lives(self) -> bool:
        """Whether the ledger has an instance that may exist, or is about to."""
        now = self.ledger.now()
        return any(_may_exist(entry, now) for entry in self.ledger.entries())

    def run(
        self, lock: FileLock, *, linger_s: float = 0.0, started: Callable[[], None] = lambda: None
    ) -> None:
        """Watch until nothing lives.

        Args:
            lock: of this home's guard; returns where another one holds it.
            linger_s: wait so long for the first instance, where nothing lives yet.
            started: called once the lock is ours.

        Raises:
            StoreError: the ledger is gone, and does not come back.
        """
        until = self.ledger.now() + linger_s
        while _take(lock, self.sleep):
            started()
            try:
                self._watch(until)
            finally:
                lock.release()
            # Whoever launched since the last look has seen our lock, and relies on us.
            if not self.ledger.path.exists() or not self.anything_lives:
                return
        self.say("another guard watches already")

    def _watch(self, linger_until: float) -> None:
        while True:
            if not self.ledger.path.exists():
                self.say(f"! the ledger {self.ledger.path} is gone: nothing is left to guard by")
                return
            interval = INTERVAL_S * self.pace
            try:
                self.step()
                states = {entry.state for entry in self.ledger.entries()}
                if self.anything_lives:
                    linger_until = 0.0
                elif self.ledger.now() >= linger_until:
                    return
                else:
                    interval = _NAP_S * self.pace
                if _S.STOPPING in states:
                    interval = ABSENCE_INTERVAL_S * self.pace
            except UpsError as error:
                self.say(f"! {error.message}")
            except Exception as error:  # noqa: BLE001 - a guard that falls over its own fault guards nothing
                self.say(f"! internal error: {type(error).__name__}: {error}")
            wait_until(self.ledger.now, interval, self.sleep)


@dataclass(frozen=True, slots=True)
class _Ending:
    """One instance that has to go."""

    watch: Watch
    providers: dict[str, Provider]
    sighting: Sighting
    reason: str

    def act(self) -> None:
        entry, remote = self.sighting.entry, self.sighting.remote
        try:
            if entry is None or entry.state is _S.ABANDONED:
                assert remote is not None
                self.watch.say(f"destroying {remote.id} ({remote.label}): {self.reason}")
                self.providers[remote.provider].destroy(remote.id)
            else:
                self._end(entry)
        except UpsError as error:
            name = entry.label if entry is not None else remote.id if remote is not None else "?"
            self.watch.say(f"! {name}: {error.message}")

    def _end(self, entry: Entry) -> None:
        watch, provider = self.watch, self.providers.get(entry.provider)
        if provider is None:
            watch.say(f"! {entry.label} has to go ({self.reason}), but {entry.provider} is not configured")
            return
        lock = FileLock(lock_path(watch.locks, entry.label))
        gone = self.sighting.remote is None and entry.absent_since is not None
        if entry.state is _S.STOPPING and gone:
            return  # the last list lacked it: the next one decides
        if not lock.try_acquire():
            now = watch.ledger.now()
            watch.ledger.ask_to_end(entry.label, self.reason)
            patience = ACTOR_PATIENCE_S * watch.pace
            if now < entry.deadline + patience and not money.over_cap(entry, now - patience):
                return  # its actor is at work, and has been asked
        try:
            if not _told_to_go(entry):
                watch.say(f"ending {entry.provider_id or entry.label}: {self.reason}")
                if lock.held and entry.provider_id is not None:
                    self._save(entry)
            instance = self.sighting.remote.id if self.sighting.remote is not None else None
            failure = self._send(provider, entry, instance)
            if failure:
                watch.say(f"! {entry.provider_id or entry.label} was not destroyed: {failure}")
        finally:
            lock.release()

    def _save(self, entry: Entry) -> None:
        try:
            self.watch.save(entry)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with its files, it has to go
            self.watch.say(f"! {entry.label}: not everything was saved: {type(error).__name__}: {error}")

    def _send(self, provider: Provider, entry: Entry, instance: str | None) -> str:
        try:
            return send_destroy(self.watch.ledger, provider, entry, cause=self.reason, instance=instance)
        except StoreError:
            # A full disk on this machine must not keep a rented one alive; its absence is noted later.
            if entry.provider_id is not None:
                provider.destroy(entry.provider_id)
            raise


def _may_exist(entry: Entry, now: float) -> bool:
    unanswered = entry.state is _S.REFUSED and entry.absent_since is not None
    if unanswered and now - entry.changed < LATE_PATIENCE_S:
        return True  # its label may appear in spite of all the lists
    return entry.living or entry.state is _S.INTENDED


def _told_to_go(entry: Entry) -> bool:
    return entry.state is _S.STOPPING or (entry.state is _S.LOST and entry.was in (_S.STOPPING, _S.DESTROYED))


def _take(lock: FileLock, sleep: Callable[[float], None]) -> bool:
    """Take the guard's lock; who only looks whether it is held, holds it for a moment."""
    for _ in range(10):
        if lock.try_acquire():
            return True
        sleep(0.1)
    return False


def watch_labels(providers: Iterable[Provider], now: float, say: Callable[[str], None]) -> Iterator[str]:
    """Destroy what is past the deadline in its label, whoever's it is; needs no ledger.

    Yields the ids that were told to go. Labels that are not quite of our form are foreign.
    """
    for provider in providers:
        try:
            rows = provider.list()
        except UpsError as error:
            say(f"! {provider.name} cannot be asked: {error.message}")
            continue
        for row in rows:
            label = Label.parse(row.label)
            if label is None or not _surely_ours(label) or now < label.deadline + CLOCK_SKEW_S:
                continue
            say(f"destroying {row.id} ({row.label}): the deadline in its label has passed")
            try:
                provider.destroy(row.id)
            except UpsError as error:
                say(f"! {row.id} was not destroyed: {error.message}")
            else:
                yield row.id
        if provider.capabilities.volumes:
            yield from _expired_volumes(provider, now, say)


def _expired_volumes(provider: Provider, now: float, say: Callable[[str], None]) -> Iterator[str]:
    """Delete volumes that an instance left behind; one that is to be kept has no instance's label."""
    try:
        volumes = provider.volumes()
    except UpsError as error:
        say(f"! {provider.name}'s volumes cannot be listed: {error.message}")
        return
    for volume in volumes:
        label = Label.parse(volume.label)
        if label is None or not _surely_ours(label) or volume.instance is not None:
            continue
        if now >= label.deadline + CLOCK_SKEW_S:
            say(f"deleting the volume {volume.id} ({volume.label}): the deadline in its label has passed")
            if delete_volume(provider, volume, say):
                yield volume.id


def _surely_ours(label: Label) -> bool:
    """As `Label.new` makes them; somebody else's label may look like `ups-rack-12-7`."""
    return len(label.console_id) == 8 and len(label.unique) == 12 and label.deadline > 1_600_000_000


def wait_until(now: Callable[[], float], seconds: float, sleep: Callable[[float], None]) -> None:
    """Sleep by the wall clock, in short naps: after a laptop's sleep the time is over at once."""
    until, slept = now() + seconds, 0.0
    while slept < seconds and (left := until - now()) > 0:
        sleep(min(_NAP_S, left))
        slept += _NAP_S


def start_detached(home: Path, lock: Path, log: Path) -> bool:
    """Start the guard of a home in its own session, unless one watches already; True where one did.

    Returns once the guard holds its lock. It reads keys as this process does: from the environment and
    the `.env` of the working directory.

    Args:
        home: the console's home.
        lock: the guard's lock.
        log: gets what it says.

    Raises:
        StoreError: it did not start; the message ends with what it said.
    """
    if is_watching(lock):
        return True
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab") as output:
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "console.cli.app",
                    "watch",
                    "--linger",
                    str(_LINGER_S),
                    "--home",
                    str(home),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise StoreError(f"the guard cannot be started: {error}", hint="run `ups-console watch`") from error
    until = time.monotonic() + _START_S
    while not is_watching(lock):
        ended = child.poll()
        if ended == 0:
            return is_watching(lock)  # another one was quicker
        if ended is not None or time.monotonic() > until:
            raise StoreError(
                f"the guard did not start: {log.read_text(errors='replace')[-300:].strip()}",
                hint="run `ups-console watch`",
            )
        time.sleep(0.05)
    return False


def is_watching(lock: Path) -> bool:
    """Whether a guard holds the lock."""
    probe = FileLock(lock)
    if probe.try_acquire():
        probe.release()
        return False
    return True


def guard_of(pid_file: Path) -> Identity | None:
    """The process of the guard that watches; None where none lives."""
    try:
        recorded = Identity.from_json(pid_file.read_bytes())
    except OSError:
        return None
    return recorded if recorded is not None and identify(recorded.pid) == recorded else None
