"""Making datasets and latent caches: from solvers, from raw and published files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.api import PreprocessRequest, Progress
from console.context import Context
from ups.errors import ConfigError, NotFoundError, UsageError

if TYPE_CHECKING:
    from ups.data.formats import ExportFormat
    from ups.tasks import TaskSpec


class DataOperations(Context):
    """Over the store that the settings name."""

    def tasks(self) -> "list[TaskSpec]":
        """The 15 tasks."""
        from ups.tasks import TASK_SPECS

        return list(TASK_SPECS.values())

    def make_data(
        self,
        tasks: Sequence[str],
        *,
        samples: int | None = None,
        seed: int = 0,
        replace: bool = False,
        jobs: int | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Generate datasets with the reference solvers into the store.

        Args:
            tasks: names of tasks that have a solver.
            samples: initial conditions per task; None: the solver's default.
            seed: of the solvers.
            replace: replace a dataset that differs.
            jobs: processes; None: one for each core.
            progress: told what is being done.

        Returns:
            What the user should know beside the success.

        Raises:
            UpsError: unknown task, no solver, store not writable; the store is as it was.
        """
        from ups.tasks import task_spec

        for task in tasks:
            if not task_spec(task).has_solver:
                raise ConfigError(f"{task} has no built-in solver", hint="import raw files of it instead")
        arguments = ["make", *tasks, "--store", self.settings.store_url, "--seed", str(seed)]
        if samples is not None:
            arguments += ["--samples", str(samples)]
        return self.remote([*arguments, *_replacing(replace), *_with_jobs(jobs)], progress)[1]

    def import_data(
        self,
        task: str,
        files: Sequence[Path],
        *,
        replace: bool = False,
        jobs: int | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Convert raw files, or folders of them, into the store; answers and raises like `make_data`."""
        from ups.tasks import task_spec

        task_spec(task)
        for file in files:
            if not file.exists():
                raise NotFoundError(f"there is no file {file}")
        paths = [str(file.absolute()) for file in files]
        arguments = ["import", task, *paths, "--store", self.settings.store_url]
        return self.remote([*arguments, *_replacing(replace), *_with_jobs(jobs)], progress)[1]

    def export_data(
        self, task: str, folder: Path, *, layout: "ExportFormat", progress: Progress | None = None
    ) -> dict[str, int]:
        """Write the dataset of a task to a new or empty folder, in a layout that other programs read.

        Args:
            task: the name of a task of particles.
            folder: made by this.
            layout: how it is written.
            progress: told what is being done.

        Returns:
            Split → samples.

        Raises:
            UpsError: unknown task, no dataset, another kind of data, folder not empty or not writable.
        """
        from ups.tasks import task_spec

        task_spec(task)
        arguments = ["export", task, str(folder.absolute()), "--format", str(layout)]
        done = self.remote([*arguments, "--store", self.settings.store_url], progress)[0]
        return dict(done["samples"])

    def preprocess(self, request: PreprocessRequest, progress: Progress | None = None) -> list[str]:
        """Convert published files, or parts of them, into the store; what is there already is kept.

        This is done on this machine; on a rented one it is a run, which `launch` starts.

        Args:
            request: which files, and which part of them.
            progress: told what is being done.

        Returns:
            What the user should know beside the success.

        Raises:
            UsageError: the request is to be done on a rented machine.
            UpsError: unknown task, nothing published, a server or the store refuses; a
                dataset is as it was, or complete.
        """
        from ups.tasks import task_spec

        if self.provider(request.rent.provider).capabilities.rented:
            raise UsageError(f"preprocessing on {request.rent.provider} is a run", hint="launch it")
        for task in request.tasks:
            task_spec(task)
        return self.remote(_preprocess_arguments(request, self), progress)[1]

    def build_caches(
        self,
        version: str,
        tasks: Sequence[str],
        *,
        dtype: str = "float16",
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Fill a latent cache version for tasks; what is there and fits is kept.

        Raises:
            UpsError: the version's name states no shape, a dataset is missing, the store is full.
        """
        arguments = ["precompute", *tasks, "--cache-version", version, "--cache-dtype", dtype]
        return self.remote([*arguments, "--store", self.settings.store_url], progress)[0]


def _preprocess_arguments(request: PreprocessRequest, context: Context) -> list[str]:
    """The command line of `python -m remote preprocess`."""
    arguments = ["preprocess", "--tasks", ",".join(request.tasks), "--store", context.settings.store_url]
    given = {
        "--limit": request.limit,
        "--samples": request.samples,
        "--resolution": request.resolution,
        "--stride": request.stride,
        "--from": _absolute(request.base),
        "--table": request.table and request.table.absolute(),
        "--work": (request.work or context.home.downloads).absolute(),
        "--cache-dim": request.cache_dim,
        "--cache-tokens": request.cache_tokens,
        "--cache-dtype": request.cache_dtype,
        "--splits": ",".join(request.splits) or None,
        "--num-workers": request.num_workers,
    }
    for option, value in given.items():
        if value is not None:
            arguments += [option, str(value)]
    if request.whole is not None:
        arguments.append("--whole" if request.whole else "--partial")
    return [*arguments, *_replacing(request.replace)]


def _absolute(base: str | None) -> str | None:
    return base if base is None or "://" in base else str(Path(base).absolute())


def _replacing(replace: bool) -> list[str]:
    return ["--replace"] if replace else []


def _with_jobs(jobs: int | None) -> list[str]:
    return [] if jobs is None else ["--jobs", str(jobs)]
