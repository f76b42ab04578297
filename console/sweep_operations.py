"""What a user can do with several runs at once: launch them, queue them, see them side by side."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from console.api import Level
from console.fleet_operations import FleetOperations
from console.run_operations import RunOperations
from console.sweep_api import Comparison, SweepPreflight, SweepRequest
from ups.errors import UpsError, UsageError

if TYPE_CHECKING:
    from console.runs.comparison import Onlooker
    from console.runs.sweep_queue import SweepQueue

_PAUSE_S = 1.0


class SweepOperations(RunOperations, FleetOperations):
    """Several configs, or one with several values, as runs that share what may be spent."""

    def sweep_preflight(self, request: SweepRequest) -> SweepPreflight:
        """Everything that can be known of all runs before paying; changes and spends nothing.

        Raises:
            ConfigError: a config, key or value does not fit; names it.
            UsageError: the values cannot be read, or two runs are the same.
            UpsError: the provider is not there.
        """
        from console.runs.jobs import job_of
        from console.runs.preflight import Examiner
        from console.runs.sweep import expand
        from console.runs.sweep_checks import gathered

        members = expand(request)
        rent = request.launch.rent
        site = self.site(rent.provider)
        examiner = Examiner(self.ledger, self.registry, self.settings, site)
        machine = examiner.machine(rent)
        found = [(member, examiner.preflight_on(job_of(member.request), machine)) for member in members]
        return gathered(request, found, self.ledger, self.settings, rented=site.provider.capabilities.rented)

    def launch_sweep(self, request: SweepRequest, *, is_followed: bool = True) -> "SweepQueue":
        """Check all runs; the queue that is returned starts them as its news are read.

        Args:
            request: which runs, and where.
            is_followed: else each is left to itself when it has started, and all have to fit at once.

        Raises:
            UpsError: the first failed check; nothing is rented then.
            UsageError: they do not fit at once, and nobody would start the others.
        """
        from console.runs import runtime
        from console.runs.allowance import Allowance
        from console.runs.sweep import new_id
        from console.runs.sweep_checks import most_at_a_time
        from console.runs.sweep_queue import SweepQueue

        preflight = self.sweep_preflight(request)
        for check in preflight.checks:
            if check.level is Level.FAILED:
                raise runtime.error_of(check.code, check.text, check.hint)
        if not is_followed and preflight.parallel < len(preflight.runs):
            raise UsageError(
                f"{preflight.parallel} of the {len(preflight.runs)} runs fit at a time, and the queue of the "
                "others ends with its command",
                hint="leave out --detach, or raise --max-parallel",
            )
        rented = self.provider(request.launch.rent.provider).capabilities.rented
        allowance = Allowance(
            most=most_at_a_time(request, len(preflight.runs), rented=rented),
            cap_day_usd=self.settings.cap_usd_per_day,
            budget_usd=request.budget_usd,
        )
        return SweepQueue(
            new_id(), preflight, allowance, self,
            ledger=self.ledger, registry=self.registry, is_followed=is_followed,
        )  # fmt: skip

    def compare_sweep(self, queue: "SweepQueue") -> Comparison:
        """The runs of a sweep that is going on, side by side."""
        from console.runs.comparison import of_members

        return of_members(queue.sweep, queue.members, self.registry, self.ledger)

    def compare(self, names: Sequence[str] = ()) -> Comparison:
        """Runs side by side, as they stand now.

        Args:
            names: runs, or sweeps; none: the newest sweep.

        Raises:
            NotFoundError: there is no such run.
        """
        onlooker = self._onlooker(names)
        try:
            return onlooker.look()
        finally:
            onlooker.close()

    def follow_comparison(
        self, names: Sequence[str] = (), *, pause_s: float = _PAUSE_S
    ) -> Iterator[Comparison]:
        """The same, whenever something has changed, until all have ended; it ends and destroys nothing.

        Raises:
            NotFoundError: there is no such run.
        """
        from console.runs.comparison import looks

        onlooker = self._onlooker(names)
        try:
            yield from looks(onlooker, pause_s)
        finally:
            onlooker.close()

    def _onlooker(self, names: Sequence[str]) -> "Onlooker":
        from console.runs.comparison import Onlooker, find

        handles, followers = find(self.registry, names), {}
        for handle in handles:
            with contextlib.suppress(UpsError):  # nothing is known of its box, or its provider's key is gone
                followers[handle.run] = self._follower(handle.run)
        return Onlooker(handles, self.ledger, followers, self.home.locks)
