"""What a user can do with instances, and what they cost."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from console.api import FleetState, InstanceRow, Money, ProviderProblem, TeardownStep, Transition
from console.attention_operations import AttentionOperations
from console.fleet.model import LIVING, InstanceKind, InstanceState
from ups.errors import NotFoundError, UpsError

if TYPE_CHECKING:
    from console.errors import ProviderError
    from console.fleet.ledger import Entry
    from console.fleet.model import Volume
    from console.fleet.reconcile import Survey
    from console.fleet.watch import Watch
    from console.runs.transport import Transport


def _urgency(row: InstanceRow) -> tuple[int, float]:
    """Orphans first, then what lives, then what is gone; the newest first."""
    if row.kind is InstanceKind.ORPHAN:
        return 0, -row.created
    return (1 if row.state in LIVING else 2), -row.created


class FleetOperations(AttentionOperations):
    """Over the ledger and every configured provider."""

    _surveyed = 0.0
    """When that was, on the monotonic clock."""
    _volumes: "tuple[Volume, ...]" = ()

    def fleet(self) -> list[InstanceRow]:
        """Every instance that is, or was, ours, and what else the providers list; orphans first.

        A provider that is down hides no other: `provider_problems` has what it said.

        Raises:
            ProviderError: no provider at all could be asked.
        """
        return list(self.fleet_state(volumes=False).instances)

    def fleet_state(self, *, oldest_s: float = 0.0, volumes: bool = True) -> FleetState:
        """Every instance and volume.

        Args:
            oldest_s: what the providers said may be so many seconds old; the ledger is read anew.
            volumes: also ask for them.

        Raises:
            ProviderError: no provider at all could be asked.
        """
        from console.fleet.reconcile import survey
        from console.rows import instance_row, volume_row
        from console.runs.stall import Mirrors

        found, age = self._last_survey, time.monotonic() - self._surveyed
        if found is None or age >= oldest_s:
            found = self._note(survey(self.ledger, self.providers.values(), self.home.locks))
            self._volumes = self._ask_for_volumes(found) if volumes else self._volumes
        else:
            found = self._renewed(found)
        mirrors = Mirrors(self.registry, self.home.locks)
        rows = [instance_row(sighting, self.registry, mirrors) for sighting in found.sightings]
        rows.sort(key=_urgency)
        problems = [
            ProviderProblem(name, error.message, error.hint) for name, error in found.problems.items()
        ]
        return FleetState(tuple(rows), tuple(map(volume_row, self._volumes)), tuple(problems), time.time())

    def _renewed(self, found: "Survey") -> "Survey":
        """The last survey with the ledger's entries as they are now."""
        from dataclasses import replace

        from console.fleet.reconcile import Sighting

        entries = {entry.label: entry for entry in self.ledger.entries()}
        sightings = [
            replace(sighting, entry=entries.pop(sighting.entry.label, sighting.entry))
            if sighting.entry is not None
            else sighting
            for sighting in found.sightings
        ]
        since = [Sighting(InstanceKind.OURS, entry, None) for entry in entries.values()]
        return replace(found, sightings=[*sightings, *since])

    def _ask_for_volumes(self, found: "Survey") -> "tuple[Volume, ...]":
        """All volumes; those of a provider that fails are as they were."""
        volumes: list[Volume] = []
        for name, provider in self.providers.items():
            try:
                volumes += provider.volumes()
            except UpsError:
                volumes += [volume for volume in self._volumes if volume.provider == name]
        return tuple(volumes)

    def delete_volume(self, provider: str, volume: str) -> None:
        """Delete a block volume of ours, with all that is on it.

        Raises:
            NotFoundError: there is none of ours.
            ProviderError: it may still exist, and still cost money.
        """
        found = [row for row in self.provider(provider).volumes() if row.id == volume]
        if not found or not found[0].label.startswith("ups-"):
            raise NotFoundError(f"{provider} has no volume {volume} of ours")
        self.provider(provider).delete_volume(volume)

    def guards(self, label: str) -> list[str]:
        """Who sees to it that an instance ends, one line each."""
        from console.fleet.guards import guards_of, unbounded_words

        try:
            capabilities = self.provider(self.ledger.entry(label).provider).capabilities
        except UpsError:
            return []
        words = unbounded_words(capabilities)
        return [*guards_of(capabilities, watched=self.is_watched()), *([words] if words else [])]

    def provider_problems(self) -> "dict[str, ProviderError]":
        """Provider → why it could not be asked when the fleet was last looked at."""
        return dict(self._last_survey.problems) if self._last_survey is not None else {}

    def _note(self, found: "Survey") -> "Survey":
        self._last_survey, self._surveyed = found, time.monotonic()
        if found.problems and len(found.problems) == len(self.providers):
            raise next(iter(found.problems.values()))
        return found

    def transitions(self, label: str) -> list[Transition]:
        """The history of an instance."""
        from console.rows import transition

        return [transition(row) for row in self.ledger.history(label)]

    def reconcile(
        self, *, patience_s: float = 0.0, say: Callable[[str], None] = lambda _: None
    ) -> list[Transition]:
        """Hold the ledger against the providers, finish what other consoles left undone.

        An instance of ours that has no purpose any more is destroyed, as the guard would do it.

        Args:
            patience_s: wait so long until what is being destroyed, or is missing, is seen to be gone.
            say: told what is done.
        """
        from console.fleet.reconcile import ABSENCE_INTERVAL_S
        from console.rows import transition

        before = self.ledger.last_transition()
        until = time.monotonic() + patience_s
        guard = self._guard(say)
        self._note(guard.step())
        while self._is_going() and time.monotonic() < until:
            time.sleep(ABSENCE_INTERVAL_S * self.settings.fleet_pace)
            self._note(guard.step())
        return [transition(row) for row in self.ledger.transitions(after=before)]

    def _is_going(self) -> bool:
        """Whether something was told to go, or lists lack it, and one more look may prove its absence."""
        return any(
            entry.state is InstanceState.STOPPING or (entry.living and entry.absent_since is not None)
            for entry in self.ledger.entries()
        )

    def watch(self, say: Callable[[str], None], *, linger_s: float = 0.0) -> None:
        """Be the guard of this home until nothing lives; returns at once where another one is.

        Args:
            say: told what is done.
            linger_s: wait so long for the first instance.
        """
        from console.fleet.locks import FileLock
        from console.fleet.processes import identify

        identity = identify(os.getpid())
        if identity is not None:
            self.home.watch_pid.parent.mkdir(parents=True, exist_ok=True)

        def started() -> None:
            if identity is not None:
                self.home.watch_pid.write_bytes(identity.to_json())

        def announce() -> None:
            self.announcer.begin(self.alerts(), lambda text, _: say(f"! {text}"))

        guard = replace(self._guard(say), announce=announce)
        guard.run(
            FileLock(self.home.watch_lock), linger_s=linger_s * self.settings.fleet_pace, started=started
        )
        self.announcer.join()
        announce()  # what the last look has ended
        self.announcer.join()

    def watch_labels(self, say: Callable[[str], None], *, once: bool = False) -> None:
        """Destroy what is past the deadline in its label, whoever's it is, for ever; opens no ledger.

        Args:
            say: told what is done.
            once: look once, for a timer that calls again.
        """
        from console.fleet.watch import INTERVAL_S, wait_until, watch_labels

        while True:
            for _ in watch_labels(self.providers.values(), time.time(), say):
                pass
            if once:
                return
            wait_until(time.time, INTERVAL_S * self.settings.fleet_pace, time.sleep)

    def is_watched(self) -> bool:
        """Whether a detached guard watches this home."""
        from console.fleet.watch import is_watching

        return is_watching(self.home.watch_lock)

    def _guard(self, say: Callable[[str], None]) -> "Watch":
        from console.fleet.watch import Watch
        from console.runs.stall import Mirrors, StallWatch

        return Watch(
            ledger=self.ledger,
            providers=self.providers.values,
            locks=self.home.locks,
            run_over=self._run_over,
            save=lambda entry: self._save(entry, say),
            cap_day_usd=self.settings.cap_usd_per_day,
            say=say,
            pace=self.settings.fleet_pace,
            stalls=StallWatch(self.ledger, Mirrors(self.registry, self.home.locks), self._way_to).step,
        )

    def _way_to(self, entry: "Entry") -> "Transport | None":
        return self.provider(entry.provider).transport(entry.provider_id) if entry.provider_id else None

    def _run_over(self, entry: "Entry") -> bool:
        """Whether nobody needs an instance for its run any more."""
        from console.runs.follow import Follower

        if entry.run is None:
            return False
        try:
            handle = self.registry.find(entry.run)
        except NotFoundError:
            return True
        newest = next(other for other in self.ledger.of_run(entry.run) if other.box == entry.box)
        if newest.label != entry.label or newest.attempt != self.ledger.of_run(entry.run)[0].attempt:
            return True  # it goes on elsewhere
        follower = Follower(
            self.ledger, self.provider(entry.provider), self.teardown_of(entry), self.home.locks
        )
        return follower.is_over(handle)

    def _save(self, entry: "Entry", say: Callable[[str], None]) -> None:
        for step in self.teardown_of(entry).save(entry):
            say(f"{entry.provider_id}: {step.text}")

    def money(self) -> Money:
        """The top line: what is rented and what it costs, as the ledger and the last survey know it."""
        from console.fleet import money
        from console.runs.stall import Mirrors

        mirrors = Mirrors(self.registry, self.home.locks)
        entries, now = self.ledger.entries(), time.time()
        found = self._last_survey
        kinds = [sighting.kind for sighting in found.sightings] if found is not None else []
        return Money(
            usd_per_hour=money.usd_per_hour(entries),
            usd_today=money.usd_today(entries, now),
            cap_usd_per_day=self.settings.cap_usd_per_day,
            running=sum(entry.living for entry in entries),
            orphans=kinds.count(InstanceKind.ORPHAN),
            usd_to_end=sum(money.usd_to_end(entry, now) for entry in entries),
            stalled={e.provider_id or e.label: words for e in entries if (words := mirrors.words(e))},
        )

    def teardown(self, instance: str) -> Iterator[TeardownStep]:
        """Sync, destroy, verify; accepts an instance's id, its label, or a run.

        Raises:
            NotFoundError: no such instance.
            TeardownNotVerifiedError: it may still exist, and still cost money.
        """
        entry = self._find_instance(instance)
        if entry is None:
            yield from self._destroy_orphan(instance)
        else:
            yield from self.teardown_of(entry).steps(entry, "teardown")

    def _find_instance(self, name: str) -> "Entry | None":
        from console.runs.registry import instance_of

        try:
            return self.ledger.find(name)
        except NotFoundError:
            try:
                run = self.registry.find(name).run
            except NotFoundError:
                return None
            return instance_of(self.ledger, run)

    def _destroy_orphan(self, name: str) -> Iterator[TeardownStep]:
        from console.fleet.model import Label
        from console.runs.teardown import destroy_orphan

        for provider in self.providers.values():
            try:
                rows = provider.list()
            except UpsError:  # it may be another provider's
                continue
            for remote in rows:
                if name in (remote.id, remote.label) and Label.parse(remote.label) is not None:
                    yield from destroy_orphan(provider, remote)
                    return
        raise NotFoundError(f"there is no instance or run {name!r}", hint="`ups-console fleet` lists them")
