"""A run from its run.yaml to its published results: hydrate, precompute, train, evaluate, publish.

A run may ask for a smoke test before it trains (`remote.smoke`). A run that preprocesses has one phase,
`preprocess`, in the place of all before `publish`.
Each phase is skipped where its result is really there, so a process that died anywhere is simply
started again in the same directory. However a run ends, short of SIGKILL, it says so in one `done`.
"""

import contextlib
import json
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from remote import environment, evaluate, watchdog
from remote.budget import EXIT_CODE as OVER_BUDGET
from remote.budget import Budget
from remote.failures import StopRequested, explain
from remote.files import write_json
from remote.followers import RESTART_EXIT_CODE, Followers, follow
from remote.hydrate import JUDGED, Hydrator
from remote.journal import Journal, number, say
from remote.publish import Publisher, content_sha256, current_checkpoints
from remote.publishing import Publishing
from remote.pulse import SILENCE_S, Pulse
from remote.run_caches import RunCaches
from remote.stopping import StopSwitch
from remote.supply import Supply
from remote.telemetry import Telemetry
from remote.tracking import STOPPED_S, Tracking
from ups.catalog import SPLITS
from ups.course import course
from ups.errors import TrainingError, UpsError
from ups.events import PHASES, PREPROCESS_PHASES, SMOKE_PHASE, Event, EventType, PhaseState
from ups.preprocess_job import PreprocessJob
from ups.ranks import LostProcessError, Ranks
from ups.rundir import RunDirectory, RunSpec
from ups.store import ObjectStore, open_store

_TRAINED_FILE = "trained.json"

Status = Literal["succeeded", "failed", "stopped"]


def execute(root: Path, *, as_json: bool = False, silence_s: float = SILENCE_S) -> int:
    """Execute the run in `root`, or go on with it; returns the exit code.

    Args:
        root: the run directory.
        as_json: print events instead of lines.
        silence_s: after so many seconds without a sign of life another machine is given up.

    Raises:
        NotFoundError: `root` is no run directory.
        StoreError: run.yaml is damaged, or events.jsonl cannot be written.
        UsageError: another process executes this run.
    """
    directory = RunDirectory(root.absolute())
    if not directory.spec_path.exists():
        directory.read_spec()  # raises the error that says so
    ranks = Ranks.from_environment()
    if ranks.machines > 1:
        if ranks.is_main and ranks.restarts and _has_failed(directory):
            return 1  # before the other machines are waited for
        from ups.training.distributed import agreed, launcher_store

        ranks = agreed(ranks)
        with Pulse(ranks, partial(launcher_store, ranks), silence_s):
            return _take_part(directory, ranks, as_json=as_json)
    return _take_part(directory, ranks, as_json=as_json)


def _take_part(directory: RunDirectory, ranks: Ranks, *, as_json: bool) -> int:
    """Execute the run, or help to, as one of its processes."""
    if not ranks.is_main:
        return follow(directory, ranks)
    stop = StopSwitch()
    with environment.sole_process(directory.root), Followers(ranks) as followers:
        stop.install()
        environment.record_process(directory.root, ranks)
        spec = directory.read_spec()
        done = watchdog.last_done(directory.events_path)
        store = open_store(spec.store)
        if done.get("status") == "succeeded":
            say(
                "this run has succeeded already; its log and events are published again if that was cut short"
            )
            Publisher(store, spec, directory, lambda path, where, sha256: None).publish_tail(announce=False)
            return 0
        ended = done.get("exit_code") == OVER_BUDGET or _has_failed(directory)
        if ranks.restarts and ended:  # what ended by itself ends again: only deaths are mended
            return int(done.get("exit_code") or 1)
        with Journal(directory.events_path, as_json=as_json) as journal:
            return Attempt(spec, directory, store, journal, stop, ranks, followers).run()


def _has_failed(directory: RunDirectory) -> bool:
    """Whether it failed by itself, which it would do again: only deaths are mended."""
    return watchdog.last_done(directory.events_path).get("status") == "failed"


@dataclass
class Outcome:
    """How an attempt ends."""

    status: Status = "succeeded"
    exit_code: int = 0
    summary: dict[str, Any] = field(default_factory=dict)


class Attempt:
    """One process's work on a run directory."""

    def __init__(
        self,
        spec: RunSpec,
        directory: RunDirectory,
        store: ObjectStore,
        journal: Journal,
        stop: StopSwitch,
        ranks: Ranks,
        followers: Followers,
    ) -> None:
        self._spec = spec
        self._directory = directory
        self._store = store
        self._journal = journal
        self._stop = stop
        self._ranks = ranks
        self._followers = followers
        self._hydrator = Hydrator(spec, store, directory)
        self._publisher = Publisher(store, spec, directory, self._on_published)
        self._budget = Budget.of_run(directory.root)
        self._phase: str | None = None

    def run(self) -> int:
        """Work to the end and say how it ended; returns the exit code."""
        outcome = Outcome()
        try:
            device = self._announce()
            with (
                Tracking(self._directory, self._spec, self._journal.warn) as tracking,
                Telemetry(self._journal, self._directory.root),
            ):
                self._work(device, outcome)
                self._publish_results(outcome)
                within_s = STOPPED_S if outcome.status == "stopped" else None
                tracking.finish(outcome.exit_code, outcome.summary, within_s=within_s)
        except LostProcessError as error:
            self._journal.warn("lost_process", error.message, "all start anew from the last checkpoint")
            return RESTART_EXIT_CODE
        except Exception as error:  # noqa: BLE001 - the process boundary: every end is told
            self._fail(error, outcome)
        self._say_done(outcome)
        return outcome.exit_code

    def _announce(self) -> str:
        """Write the `run` event where this is the first process; returns the device."""
        try:
            device, problem = self._ranks.device(environment.device(self._ranks)), None
        except (UpsError, ImportError) as error:
            device, problem = "", error
        machine = environment.describe(device, self._spec.threads)
        if self._journal.is_new:
            self._journal.write(
                EventType.RUN,
                name=self._spec.name,
                tasks=list(self._spec.tasks),
                stages=[] if self._spec.preprocess else list(course(self._spec.stages)),
                phases=self._phases(),
                device=device,
                world_size=self._ranks.world_size,
                code_version=self._spec.code_version,
                config_sha256=self._spec.config_sha256,
                run=self._spec.run,
                attempt=self._spec.attempt,
                environment=machine,
            )
        say(f"machine: {json.dumps(machine, ensure_ascii=False)}")
        if problem is not None:
            raise problem
        return device

    def _phases(self) -> list[str]:
        if self._spec.preprocess:
            return list(PREPROCESS_PHASES)
        before = PHASES.index("train") if self._spec.smoke else 0
        return [*PHASES[:before], *([SMOKE_PHASE] if self._spec.smoke else []), *PHASES[before:]]

    def _work(self, device: str, outcome: Outcome) -> None:
        """The phases before publishing; a request to stop and a failure end in `outcome`."""
        job = self._spec.preprocess
        try:
            outcome.summary = self._learn(device) if job is None else self._preprocess(job)
            if self._budget.reason is not None:
                outcome.status, outcome.exit_code = "stopped", OVER_BUDGET
                outcome.summary = {**outcome.summary, "ended_early": self._budget.reason}
        except StopRequested:
            outcome.status = "stopped"
        except Exception as error:
            if isinstance(error, LostProcessError) and self._ranks.will_be_restarted:
                raise
            self._fail(error, outcome)

    def _learn(self, device: str) -> dict[str, Any]:
        """The phases up to the report; returns what it comes to."""
        caches = self._caches()
        with contextlib.closing(self._supply(caches)) as supply:
            self._hydrate(supply)
            self._precompute(supply, caches)
            self._smoke(supply, device)
            checkpoint = self._train(supply, device)
            return evaluate.summary(self._evaluate(supply, checkpoint, device))

    # --- phases -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _in_phase(self, phase: str) -> Iterator[Callable[[str], None]]:
        """Frame a phase with its events; yields a function that sets what `finished` will say."""
        self._stop.check()
        self._phase = phase
        details = [""]
        self._journal.phase(phase, PhaseState.STARTED)
        try:
            yield lambda detail: details.__setitem__(0, detail)
        except StopRequested as stopped:
            self._skip(phase, f"stopped before its end{': ' if str(stopped) else ''}{stopped}")
            raise
        self._journal.phase(phase, PhaseState.FINISHED, details[0])
        self._phase = None

    def _skip(self, phase: str, why: str) -> None:
        self._journal.phase(phase, PhaseState.SKIPPED, why)
        self._phase = None

    def _telling(self, phase: str, unit: str) -> Callable[[str, int, int], None]:
        def progress(what: str, done: int, total: int) -> None:
            self._stop.check()
            task, _, _ = what.partition(" ")  # evaluation says "task split"
            self._journal.progress(phase, task, done, total, unit)

        return progress

    def _preprocess(self, job: PreprocessJob) -> dict[str, Any]:
        """Convert published files into the store, and build caches there; returns what became of them."""
        from remote import preprocess_phase

        with self._in_phase("preprocess") as detail:
            told = preprocess_phase.execute(
                job, self._directory, self._store, self._journal, self._stop.check
            )
            detail(told.text)
        return told.summary

    def _caches(self) -> RunCaches:
        """The latent caches that are wanted: none for a finished training, which is only judged."""
        if self._trained() is not None:
            return RunCaches(self._spec, self._store, self._directory)
        return RunCaches.of(self._spec, self._store, self._directory)

    def _supply(self, caches: RunCaches) -> Supply:
        splits = JUDGED if self._trained() is not None else SPLITS
        hydrator = replace(self._hydrator, splits=splits, left_out=caches.replaced)
        return Supply(hydrator, caches, self._journal, self._stop.check)

    def _hydrate(self, supply: Supply) -> None:
        if supply.ready():
            self._skip("hydrate", "all datasets are here and verified already")
            return
        with self._in_phase("hydrate") as detail:
            detail(supply.begin())

    def _precompute(self, supply: Supply, caches: RunCaches) -> None:
        """Build the caches that the store lacks; training has them in place of its fields."""
        if not caches.asked:
            self._skip("precompute", "fields are memory-mapped, and no latent cache is wanted")
            return
        tell = partial(self._journal.warn, "precompute")
        if not caches.lacking:
            caches.settle(tell)
            had = ", ".join(caches.recipes)
            self._skip(
                "precompute", f"the store has {caches.version} of {had}" if had else "no task can be cached"
            )
            return
        with self._in_phase("precompute") as detail:
            fields = supply.whole(caches.lacking)
            built = caches.built(fields, self._telling("precompute", "samples"), tell)
            supply.replace_fields(built, self._telling("precompute", "bytes"))
            built.settle(tell)
            detail(
                f"{built.version}: {', '.join(built.recipes)}" if built.recipes else "no task can be cached"
            )

    def _smoke(self, supply: Supply, device: str) -> None:
        """One step of everything before the expensive part, where the run asks for it."""
        if not self._spec.smoke:
            return
        if self._trained() is not None or current_checkpoints(self._directory):
            self._skip(SMOKE_PHASE, "training has begun already")
            return
        if self._ranks.world_size > 1 and self._spec.config.distributed.strategy == "fsdp2":
            self._skip(SMOKE_PHASE, "one process alone may not hold a model that is to be sharded")
            return
        from remote.smoke import Smoke

        with self._in_phase(SMOKE_PHASE) as detail:
            here = {task: files for task, files in supply.datasets.items() if task not in supply.outlines}
            detail(Smoke(self._spec, self._directory, self._store, here, device).run(self._stop.check))

    def _train(self, supply: Supply, device: str) -> Path:
        trained = self._trained()
        if trained is not None:
            self._followers.dismiss()
            self._skip("train", f"finished already: {trained.name}")
            return trained
        with self._in_phase("train") as detail:
            from ups.training.job import TrainingJob
            from ups.training.run import train

            environment.use_threads(self._spec.threads)
            job = TrainingJob(
                self._spec, self._directory, supply.datasets, device, should_stop=self._stop,
                enough=self._budget.enough, ranks=self._ranks,
                outlines=supply.outlines, arrived=supply.arrived,
            )  # fmt: skip
            self._followers.call(supply.datasets, supply.outlines, self._stop.check)
            with Publishing(self._directory, self._on_published, self._journal.warn) as publishing:
                result = train(job, _TrainingSink(self._journal, publishing))
            if result.status == "stopped":
                raise StopRequested(f"after {result.epochs} epochs; resuming goes on from there")
            early = ""
            if result.status == "enough":  # with more to spend it would go on: it is not recorded as trained
                early = f"; ended early: {self._budget.reason}"
            else:
                self._record_trained(result.checkpoint)
            detail(f"{result.epochs} epochs, {result.steps} steps; best is {result.checkpoint.name}{early}")
            return result.checkpoint

    def _record_trained(self, checkpoint: Path) -> None:
        if not checkpoint.is_dir():
            raise TrainingError(f"training has finished, but its checkpoint {checkpoint} is not there")
        write_json(
            self._directory.root / _TRAINED_FILE,
            {
                "checkpoint": checkpoint.relative_to(self._directory.root).as_posix(),
                "sha256": content_sha256(checkpoint),
            },
        )

    def _trained(self) -> Path | None:
        """The checkpoint of a finished training, if it is there unchanged."""
        try:
            record = json.loads((self._directory.root / _TRAINED_FILE).read_text(encoding="utf-8"))
            checkpoint = self._directory.root / record["checkpoint"]
            whole = checkpoint.is_dir() and content_sha256(checkpoint) == record["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return checkpoint if whole else None

    def _evaluate(self, supply: Supply, checkpoint: Path, device: str) -> evaluate.Report:
        report = evaluate.valid_report(self._spec, self._directory, checkpoint)
        if report is not None:
            self._skip("evaluate", "report.json is of this checkpoint already")
            return report
        with self._in_phase("evaluate") as detail:
            environment.use_threads(self._spec.threads)
            # Hours may have passed: the files must still be those that were trained on.
            datasets = supply.whole()
            report = evaluate.write_report(
                self._spec.model_copy(update={"datasets": self._hydrator.pins}),
                self._directory,
                datasets,
                checkpoint,
                device,
                self._telling("evaluate", "samples"),
            )
            aggregate = evaluate.summary(report)["aggregate"]
            one_step, rollout = number(aggregate.get("one_step")), number(aggregate.get("rollout"))
            detail(f"test one-step nRMSE {one_step}, rollout {rollout}")
        return report

    def _publish_results(self, outcome: Outcome) -> None:
        """Publish what there is, also of a run that failed or was stopped; no request interrupts it."""
        self._phase = "publish"
        self._journal.phase("publish", PhaseState.STARTED)
        try:
            uploaded = self._publisher.publish(
                lambda done, total: self._journal.progress("publish", None, done, total, "bytes")
            )
        except Exception as error:  # noqa: BLE001 - the outcome so far must not be forgotten over it
            self._fail(error, outcome)
            return
        self._journal.phase("publish", PhaseState.FINISHED, f"{uploaded} files in {self._store.url}")
        self._phase = None

    # --- how it ends ------------------------------------------------------------------------

    def _fail(self, error: Exception, outcome: Outcome) -> None:
        """Tell a failure; the first one decides the exit code."""
        self._journal.release_reserve()
        failure = explain(error, where=str(self._directory.root))
        if not failure.expected:
            say("".join(traceback.format_exception(error)))
        if outcome.status != "failed":
            outcome.status, outcome.exit_code = "failed", failure.exit_code
        with contextlib.suppress(UpsError, OSError):  # no room even for this: `done` is still tried
            if self._phase is not None:
                self._journal.phase(self._phase, PhaseState.FAILED, failure.message)
            self._journal.write(EventType.ERROR, **failure.to_json())
        self._phase = None

    def _say_done(self, outcome: Outcome) -> None:
        """The last event, and then the log and the events that hold it."""
        try:
            self._journal.write(
                EventType.DONE,
                status=outcome.status,
                exit_code=outcome.exit_code,
                summary=outcome.summary,
            )
            self._publisher.publish_tail(announce=False)
        except (UpsError, OSError) as error:
            say(f"error: the end of this run could not be recorded: {error}")
            outcome.exit_code = outcome.exit_code or explain(error).exit_code

    def _on_published(self, path: str, where: str, sha256: str) -> None:
        self._journal.write(EventType.PUBLISHED, path=path, where=where, sha256=sha256)


class _TrainingSink:
    """Training's events go to the journal; that there is a new checkpoint is told to who publishes it."""

    def __init__(self, journal: Journal, publishing: Publishing) -> None:
        self._journal = journal
        self._publishing = publishing

    def write(self, kind: EventType, **fields: Any) -> Event:
        event = self._journal.write(kind, **fields)
        if kind is EventType.CHECKPOINT:
            self._publishing.checkpoint()
        return event
