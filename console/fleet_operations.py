"""What a user can do with instances, and what they cost."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from console.api import InstanceRow, Money, TeardownStep, Transition
from console.context import Context
from console.fleet.model import InstanceKind, InstanceState
from ups.errors import NotFoundError

if TYPE_CHECKING:
    from console.fleet.ledger import Entry


class FleetOperations(Context):
    """Over the ledger and every configured provider."""

    def fleet(self) -> list[InstanceRow]:
        """Every instance that is, or was, ours, and what else the providers list; living ones first."""
        from console.fleet.reconcile import reconcile
        from console.rows import instance_row

        sightings = reconcile(self.ledger, self.providers.values())
        rows = [instance_row(sighting, self.registry) for sighting in sightings]
        rows.sort(key=lambda row: (row.state is InstanceState.DESTROYED, -row.created))
        return rows

    def transitions(self, label: str) -> list[Transition]:
        """The history of an instance."""
        return [
            Transition(row.t, row.label, row.before, row.after, row.cause)
            for row in self.ledger.history(label)
        ]

    def reconcile(self) -> list[Transition]:
        """Hold the ledger against the providers, finish what other consoles left undone.

        An instance of ours whose run is over, and that nobody keeps, is torn down.
        """
        from console.rows import transition

        before = {entry.label: self.ledger.history(entry.label)[-1].id for entry in self.ledger.entries()}
        for row in self.fleet():
            if row.kind is InstanceKind.OURS and row.state is InstanceState.STOPPED:
                for _ in self.teardown(row.label):
                    pass
        return [
            transition(row)
            for entry in self.ledger.entries()
            for row in self.ledger.history(entry.label, after=before.get(entry.label, 0))
        ]

    def money(self) -> Money:
        """The top line: what is rented and what it costs, as the ledger knows it."""
        from console.fleet import money

        entries = self.ledger.entries()
        return Money(
            usd_per_hour=money.usd_per_hour(entries),
            usd_today=money.usd_today(entries, time.time()),
            cap_usd_per_day=self.settings.cap_usd_per_day,
            running=sum(entry.living for entry in entries),
            orphans=self._orphans(),
        )

    def _orphans(self) -> int:
        from console.fleet.reconcile import kind_of

        known = {entry.label: entry for entry in self.ledger.entries()}
        listed = [remote for provider in self.providers.values() for remote in provider.list()]
        return sum(kind_of(r, self.ledger.console_id, known) is InstanceKind.ORPHAN for r in listed)

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

        for provider in self.providers.values():
            for remote in provider.list():
                if name in (remote.id, remote.label) and Label.parse(remote.label) is not None:
                    provider.destroy(remote.id)
                    yield TeardownStep("destroy", f"destroy sent to {remote.id}")
                    if provider.get(remote.id) is None:
                        yield TeardownStep("destroyed", f"{remote.id} is gone", done=True)
                        return
        raise NotFoundError(f"there is no instance or run {name!r}", hint="`ups-console fleet` lists them")
