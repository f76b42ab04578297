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

from console.api import Check, LaunchRequest, Level, PreprocessRequest, RentOptions, RunRequest
from console.runs import configs, data, estimate, lives, published, reporting
from console.settings import Settings
from ups.errors import UpsError
from ups.rundir import PRECOMPUTE_VARIABLE, RESET_VARIABLE, RunSpec, code_version, config_sha256, no_training

if TYPE_CHECKING:
    from ups.config import TrainConfig
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

    def settings(self) -> lives.Settings:
        """What decides how long it takes.

        Raises:
            UpsError: a check has failed.
        """
        ...

    def checks(self, settings: Settings) -> Iterator[Check]:
        """What can be known of it before paying; changes and spends nothing."""
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
            request.config, tasks=request.tasks, stage=request.stage, overrides=request.overrides
        )[1]

    @property
    def _precomputes(self) -> bool:
        if self.request.precompute is not None:
            return self.request.precompute
        return os.environ.get(PRECOMPUTE_VARIABLE, "0") not in ("", "0")

    def settings(self) -> lives.Settings:
        config, request = self._config, self.request
        version = request.cache_version or f"upt_{config.latent.dim}d_{config.latent.tokens}tok"
        cached = self._precomputes or request.cache_version is not None
        return lives.Settings(
            name=request.config.stem,
            config_sha256=config_sha256(config),
            cache=f"{version} {request.cache_dtype}" if cached else None,
            epochs=lives.epochs_of(config.stages, config.stages.names),
            anew=os.environ.get(RESET_VARIABLE, "0") not in ("", "0"),
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
        yield from reporting.checks(config, settings)
        try:
            store = open_store(settings.store_url, settings.store_environment)
        except UpsError as error:
            yield failed(error)
            return
        yield from data.checks(store, config.data.task)
        if self._precomputes or self.request.cache_version is not None:
            yield from data.cache_checks(store, config, self.request)

    def spec(self, run: str, settings: Settings) -> RunSpec:
        from ups.store import open_store

        config = self._config
        pins = data.pins(open_store(settings.store_url, settings.store_environment), config.data.task)
        return RunSpec(
            run=run,
            attempt=1,
            name=self.request.config.stem,
            created=time.time(),
            config=config,
            tasks=config.data.task,
            stages=config.stages.names,
            seed=config.seed,
            threads=_threads(),
            store=settings.store_url,
            datasets=pins,
            code_version=code_version(),
            config_sha256=config_sha256(config),
            precompute=self._precomputes,
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

    def settings(self) -> lives.Settings:
        return lives.Settings(PREPROCESS, config_sha256(self.job.model_dump(mode="json")))

    def checks(self, settings: Settings) -> Iterator[Check]:
        return published.checks(self.job, self.rent, settings)

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


def _threads() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
