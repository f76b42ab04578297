"""Running a sweep: as many of its runs at a time as fit, the others when one ends.

Each run is launched and followed in a thread of its own; what they tell comes out of `news` in one place.
A run that fails stops no other.
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from console.api import FollowBatch, Launched, LaunchRequest, RunStatus, TeardownStep
from console.errors import OverBudgetError, RunFailedError, StoppedError
from console.fleet.ledger import Ledger
from console.runs.allowance import Allowance
from console.runs.registry import Registry
from console.runs.series import RunView
from console.runs.sites import Say
from console.runs.sweep import SweepMark, write_mark
from console.sweep_api import MemberState, PlannedRun, SweepNews, SweepPreflight
from ups.errors import UpsError

_TURN_S = 0.2
"""So often the queue looks whether another run fits."""
_WORST_FIRST = (9, 1, 6, 5, 8, 4, 3, 2, 7)
"""Exit codes: what may go on costing, what kept runs from running, then runs that failed."""


class Actions(Protocol):
    """What a sweep does with each of its runs."""

    def launch(self, request: LaunchRequest, say: Say, named: Say) -> Launched: ...

    def follow(self, run: str) -> Iterator[FollowBatch]: ...

    def abandon_launch(self, run: str) -> None: ...

    def teardown(self, instance: str) -> Iterator[TeardownStep]: ...

    def remove_run(self, run: str) -> None: ...


@dataclass(slots=True)
class Member:
    """One run of the sweep, as far as it is. Written by its thread, read by all."""

    number: int
    """Its place, from 1."""
    plan: PlannedRun
    state: MemberState = MemberState.QUEUED
    run: str | None = None
    instance: str | None = None
    status: RunStatus = RunStatus.PENDING
    error: UpsError | None = None
    view: RunView = field(default_factory=RunView)
    """Of what `news` has handed out."""
    thread: threading.Thread | None = None
    """At work on it."""


class SweepQueue:
    """The runs of a sweep, from the first start to the last end."""

    def __init__(
        self,
        sweep: str,
        preflight: SweepPreflight,
        allowance: Allowance,
        actions: Actions,
        *,
        ledger: Ledger,
        registry: Registry,
        is_followed: bool = True,
    ) -> None:
        """
        Args:
            sweep: its id.
            preflight: its runs, in the order in which they start, and what was found of them.
            allowance: how many at a time.
            actions: launches, follows and ends runs.
            ledger: what lives, and costs.
            registry: where the runs get their mark.
            is_followed: else each run is left to itself when it has started.
        """
        self.sweep = sweep
        self.preflight = preflight
        self.members = [Member(number, plan) for number, plan in enumerate(preflight.runs, start=1)]
        self._allowance = allowance
        self._actions = actions
        self._ledger = ledger
        self._registry = registry
        self._is_followed = is_followed
        self._news: queue.SimpleQueue[SweepNews] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ending: list[threading.Thread] = []
        self._closed = False

    @property
    def over(self) -> bool:
        return all(member.state is MemberState.ENDED for member in self.members)

    def news(self) -> Iterator[SweepNews | None]:
        """What the runs tell until all have ended; None every now and then, so that the caller has a turn."""
        while True:
            over = self.over  # looked at first: what an ended run told last is in the queue by then
            if not self._closed:
                self._start_what_fits()
            try:
                news = self._news.get(timeout=0 if over else _TURN_S)
            except queue.Empty:
                if over:
                    return
                yield None
                continue
            if news.batch is not None:
                self.members[news.number - 1].view.apply_all(news.batch.events)
            yield news

    def tear_down(self) -> Iterator[str]:
        """End every run: artifacts first, then the instances, all at once; no other is started.

        A teardown that could not be verified is the error of its member. Called again, for one that was
        interrupted, it tells the rest.
        """
        if not self._closed:
            self._closed = True
            for member in self.members:
                if member.state is MemberState.QUEUED:
                    member.error = StoppedError("ended before it was its turn")
                    member.state = MemberState.ENDED
                elif member.state is not MemberState.ENDED:
                    thread = threading.Thread(target=self._end, args=(member, self._told.put), daemon=True)
                    thread.start()
                    self._ending.append(thread)
        while True:
            ending = any(thread.is_alive() for thread in self._ending)
            try:
                yield self._told.get(timeout=_TURN_S if ending else 0)
            except queue.Empty:
                if not ending:
                    return

    def failure(self) -> UpsError | None:
        """The worst that happened to any run, with a line of each; None where all did what they should."""
        found = [(member, error) for member in self.members if (error := _failure_of(member)) is not None]
        if not found:
            return None
        codes = [_rank(error) for _, error in found]
        worst = found[codes.index(min(codes))][1]
        lines = "; ".join(f"{_name(member)}: {error.message}" for member, error in found)
        return type(worst)(f"{len(found)} of {len(self.members)} runs did not succeed: {lines}",
                           hint=worst.hint)  # fmt: skip

    # --- one run --------------------------------------------------------------------------------

    def _start_what_fits(self) -> None:
        for member in self.members:
            if member.state is not MemberState.QUEUED:
                continue
            living = [m for m in self.members if m.state in (MemberState.LAUNCHING, MemberState.FOLLOWED)]
            if len(living) >= self._allowance.most or (living and not self._fits(member, living)):
                return  # in their order: a later one does not overtake
            member.thread = threading.Thread(target=self._work, args=(member,), daemon=True)
            member.state = MemberState.LAUNCHING
            member.thread.start()

    def _fits(self, member: Member, living: Sequence[Member]) -> bool:
        """Whether there is money for it. They rent one after the other: all at once want the same offer."""
        entries = self._ledger.entries()
        rented = {entry.run for entry in entries if entry.living and entry.provider_id is not None}
        if any(other.state is MemberState.LAUNCHING and other.run not in rented for other in living):
            return False
        return self._allowance.fits(entries, time.time(), runs=self._runs(), cap_usd=member.plan.cap_usd)

    def _runs(self) -> set[str]:
        return {member.run for member in self.members if member.run is not None}

    def _work(self, member: Member) -> None:
        error: UpsError | None = None
        try:
            launched = self._launch(member)
            member.instance = launched.instance
            member.state = MemberState.FOLLOWED
            self._tell(member, launched=launched)
            if self._is_followed:
                for batch in self._actions.follow(launched.run):
                    member.status = batch.status
                    if batch.events or batch.log or batch.transitions:
                        self._tell(member, batch=batch)
        except UpsError as caught:
            error = caught
        except Exception as caught:  # noqa: BLE001 - a fault with one run must not end the others
            error = UpsError(f"internal error: {type(caught).__name__}: {caught}")
        if error is not None:
            member.error = member.error or error
            self._tell(member, error=error)
        member.state = MemberState.ENDED

    def _launch(self, member: Member) -> Launched:
        request = self._capped(member)

        def named(run: str) -> None:
            if self._closed:
                self._actions.remove_run(run)
                raise StoppedError("ended before anything was rented for it")
            member.run = run
            mark = SweepMark(self.sweep, member.number, len(self.members), member.plan.differs)
            write_mark(self._registry.find(run), mark)

        return self._actions.launch(request, lambda text: self._tell(member, said=text), named)

    def _capped(self, member: Member) -> LaunchRequest:
        """Its request, with no more for its cap than is left of that of all.

        Raises:
            OverBudgetError: it would not come to its end with that; an unknown duration counts as an hour.
        """
        plan = member.plan
        left = self._allowance.left(self._ledger.entries(), time.time(), runs=self._runs())
        if left is None or self.preflight.usd_per_hour == 0:
            return plan.request
        expected = self.preflight.usd_per_hour if plan.expected_usd is None else plan.expected_usd
        if expected > left:
            raise OverBudgetError(
                f"${left:.2f} are left of the ${self._allowance.budget_usd:.2f} of all runs, and it is "
                f"expected to cost ${expected:.2f}",
                hint="raise --total-budget",
            )
        rent = replace(plan.request.rent, budget_usd=min(plan.cap_usd, left))
        return replace(plan.request, rent=rent)

    def _end(self, member: Member, say: Say) -> None:
        name = _name(member)
        try:
            while member.state is MemberState.LAUNCHING and member.thread and member.thread.is_alive():
                if member.run is not None:
                    self._actions.abandon_launch(member.run)
                time.sleep(_TURN_S)
            if member.state is MemberState.FOLLOWED and member.instance is not None:
                for step in self._actions.teardown(member.instance):
                    say(f"{name}: {step.text}")
        except UpsError as error:
            member.error = error
            say(f"{name}: ! {error.message}")

    def _tell(
        self,
        member: Member,
        *,
        said: str = "",
        launched: Launched | None = None,
        batch: FollowBatch | None = None,
        error: UpsError | None = None,
    ) -> None:
        self._news.put(SweepNews(member.number, member.run, said, launched, batch, error))


def _failure_of(member: Member) -> UpsError | None:
    if member.error is not None:
        return member.error
    if member.status not in (RunStatus.FAILED, RunStatus.LOST):
        return None
    reason = next(
        (notice.message for notice in reversed(member.view.notices) if notice.severe), "see its log"
    )
    return RunFailedError(
        f"{'failed' if member.status is RunStatus.FAILED else 'was lost'}: {reason}",
        hint=f"`ups-console logs {member.run}` shows what happened, "
        f"`ups-console resume {member.run}` goes on",
    )


def _rank(error: UpsError) -> int:
    code = error.exit_code
    return _WORST_FIRST.index(code) if code in _WORST_FIRST else len(_WORST_FIRST)


def _name(member: Member) -> str:
    return member.run or f"run {member.number}"
