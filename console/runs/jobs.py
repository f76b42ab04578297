"""What a run is for: a training, or the preprocessing of published files.

A launch checks, rents, ships and starts in the same way for all of them; what is asked for, whether it can
be done and what run.yaml says of it is the job's.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from console.api import Check, Given, LaunchRequest, Level, PreprocessRequest, RentOptions, RunRequest
from console.fleet.model import Offer
from console.runs import box_variables, configs, data, estimate, lives, published, reporting
from console.settings import Settings
from ups.dataset_keys import DatasetKeys
from ups.errors import UpsError
from ups.rundir import PRECOMPUTE_VARIABLE, RESET_VARIABLE, RunSpec, code_version, config_sha256, no_training

if TYPE_CHECKING:
    from ups.config import EvalConfig, TrainConfig
    from ups.preprocess_job import PreprocessJob

PREPROCESS = "preprocess"
"""Name of every run that preprocesses."""


class Job(Protocol):
    """One thing that a user wants done, and where."""

    @property
    def tasks(self) -> tuple[str, ...]: ...

    @property
    def rent(self) -> RentOptions: ...

    @property
    def note(self) -> str: ...

    def given(self, settings: Settings) -> tuple[Given, ...]:
        """Where what was asked for came from."""
        ...

    def likeness(self, settings: Settings) -> lives.Settings:
        """What decides how long it takes.

        Raises:
            UpsError: a check has failed.
        """
        ...

    def checks(self, settings: Settings) -> Iterator[Check]:
        """What can be known of it before paying; changes and spends nothing."""
        ...

    def suits(self, offer: Offer) -> Iterator[Check]:
        """What that machine lacks of what it asks for."""
        ...

    def spec(self, run: str, settings: Settings) -> RunSpec:
        """Its run.yaml, of the first attempt.

        Raises:
            UpsError: a check has failed.
        """
        ...


def job_of(request: RunRequest) -> Job:
    """The job that a request asks for.

    Raises:
        UpsError: of a preprocessing: wishes contradict one another, or a task or file does not exist.
    """
    if isinstance(request, PreprocessRequest):
        return PreprocessingJob(request, published.job(request))
    return TrainingJob(request)


@dataclass(frozen=True)
class TrainingJob:
    """Train by a config, evaluate, publish."""

    request: LaunchRequest

    @property
    def rent(self) -> RentOptions:
        return self.request.rent

    @property
    def note(self) -> str:
        return self.request.note

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those of the config where it can be read."""
        try:
            return self._config.data.task
        except UpsError:
            return self.request.tasks

    @cached_property
    def _config(self) -> "TrainConfig":
        """The config with what the request overrides; raises ConfigError."""
        request = self.request
        return configs.load(
            request.config, tasks=request.tasks, stage=request.stage, overrides=request.overrides,
            patch=request.patch,
        )[1]  # fmt: skip

    def given(self, settings: Settings) -> tuple[Given, ...]:
        return (*self.request.given, *box_variables.given(settings.variables, rented=self._rented))

    @property
    def _rented(self) -> bool:
        return self.rent.provider != "local"

    def _precomputes(self, settings: Settings) -> bool:
        if self.request.precompute is not None:
            return self.request.precompute
        return bool(settings.variables.flag(PRECOMPUTE_VARIABLE))

    def _keys(self, settings: Settings) -> DatasetKeys:
        return box_variables.dataset_keys(settings.variables, self.request.dataset_key)

    def _variables(self, settings: Settings) -> dict[str, str]:
        """What its machine is told; raises ConfigError."""
        reset = self.request.reset_cache
        if reset is None:
            reset = settings.variables.flag(RESET_VARIABLE)
        found = box_variables.heeded(settings.variables, self._keys(settings), rented=self._rented)
        return {**found, RESET_VARIABLE: "1"} if reset else found

    @cached_property
    def _evaluations(self) -> "dict[str, EvalConfig]":
        """split → how it is judged; raises ConfigError."""
        return configs.evaluations(self.request.eval_config, self.request.eval_test_config)

    def likeness(self, settings: Settings) -> lives.Settings:
        config, request = self._config, self.request
        version = request.cache_version or f"upt_{config.latent.dim}d_{config.latent.tokens}tok"
        cached = self._precomputes(settings) or request.cache_version is not None
        return lives.Settings(
            name=request.config.stem,
            config_sha256=config_sha256(config),
            cache=f"{version} {request.cache_dtype}" if cached else None,
            epochs=lives.epochs_of(config.stages, config.stages.names),
            anew=RESET_VARIABLE in self._variables(settings),
            minutes=estimate.planned_minutes(request.config.stem, configs.plans()),
        )

    def checks(self, settings: Settings) -> Iterator[Check]:
        from ups.store import open_store

        try:
            config = self._config
        except UpsError as error:
            yield failed(error)
            return
        yield Check(Level.OK, f"config {self.request.config.stem} valid, {len(self.tasks)} tasks")
        yield from _supported(config)
        try:
            keys, precomputes = self._keys(settings), self._precomputes(settings)
            self._variables(settings)
            evaluations = self._evaluations
        except UpsError as error:
            yield failed(error)
            return
        for split, evaluation in evaluations.items():
            search = f"{evaluation.ttc.candidates} candidates" if evaluation.ttc.enabled else "no search"
            yield Check(Level.OK, f"the {split} split is judged by its own config, {search}")
        yield from box_variables.key_checks(keys, config.data.task)
        yield from reporting.checks(config, settings)
        try:
            store = open_store(settings.store_url, settings.store_environment)
        except UpsError as error:
            yield failed(error)
            return
        yield from data.checks(store, config.data.task, keys)
        yield from data.disk_checks(store, config.data.task, self.rent)
        if precomputes or self.request.cache_version is not None:
            yield from data.cache_checks(store, config, self.request)

    def suits(self, offer: Offer) -> Iterator[Check]:
        try:
            wanted = self._config.distributed.processes
        except UpsError:  # told by `checks`
            return
        if wanted != "auto" and 0 < offer.num_gpus < wanted:
            yield Check(
                Level.FAILED,
                f"the config wants {wanted} processes on a machine, a GPU for each, and this is {offer.what}",
                hint=f"--num-gpus {wanted}, or `--set distributed.processes=auto`",
                code="config",
            )

    def spec(self, run: str, settings: Settings) -> RunSpec:
        from ups.store import open_store

        config = self._config
        store = open_store(settings.store_url, settings.store_environment)
        pins = data.pins(store, config.data.task, self._keys(settings))
        return RunSpec(
            run=run,
            attempt=1,
            name=self.request.config.stem,
            created=time.time(),
            config=config,
            tasks=config.data.task,
            stages=config.stages.names,
            seed=config.seed,
            threads=self.request.threads or cores(),
            store=settings.store_url,
            datasets=pins,
            code_version=code_version(),
            config_sha256=config_sha256(config),
            evaluations=self._evaluations,
            variables=self._variables(settings),
            precompute=self._precomputes(settings),
            cache_version=self.request.cache_version,
            cache_dtype=self.request.cache_dtype,
        )


@dataclass(frozen=True, slots=True)
class PreprocessingJob:
    """Convert published files into the store, and build latent caches there."""

    request: PreprocessRequest
    job: "PreprocessJob"

    @property
    def rent(self) -> RentOptions:
        return self.request.rent

    @property
    def note(self) -> str:
        return self.request.note

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.job.tasks

    def given(self, settings: Settings) -> tuple[Given, ...]:
        return self.request.given

    def likeness(self, settings: Settings) -> lives.Settings:
        return lives.Settings(PREPROCESS, config_sha256(self.job.model_dump(mode="json")))

    def checks(self, settings: Settings) -> Iterator[Check]:
        return published.checks(self.job, self.rent, settings)

    def suits(self, offer: Offer) -> Iterator[Check]:
        return iter(())

    def spec(self, run: str, settings: Settings) -> RunSpec:
        return RunSpec(
            run=run,
            attempt=1,
            name=PREPROCESS,
            created=time.time(),
            config=no_training(self.tasks),
            tasks=self.tasks,
            stages=(),
            seed=0,
            store=settings.store_url,
            datasets={},
            code_version=code_version(),
            config_sha256=config_sha256(self.job.model_dump(mode="json")),
            preprocess=self.job,
        )


def failed(error: UpsError) -> Check:
    """An error as a check that failed."""
    return Check(Level.FAILED, error.message, hint=error.hint, code=error.code)


def _supported(config: "TrainConfig") -> Iterator[Check]:
    from ups.capabilities import unsupported

    for problem in unsupported(config):
        yield Check(Level.FAILED, problem, hint="`--stage operator` runs that stage alone", code="config")


def cores() -> int:
    """Of this machine, as far as this process may use them."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
