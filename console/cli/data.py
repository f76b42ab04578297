"""Commands that make datasets and caches: from solvers, from raw and published files."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from console.api import PreprocessRequest
from console.cli import store
from console.cli.app import Session, command, listing_group
from console.cli.render import ProgressLine, table
from console.cli.renting import read_rent, rent_options
from console.cli.runs import follow_run, start
from console.cli.store import answer_datasets
from console.cli.variables import given
from ups.data.formats import ExportFormat
from ups.errors import UsageError

_POSITIVE = click.IntRange(min=1)


def register(cli: click.Group) -> None:
    """Add the commands of this module."""
    _register_tasks(cli)
    store.register_listings(cli)
    caches = listing_group(cli, "caches", "The latent caches in the store.", store.answer_caches)
    _register_build(caches)
    store.register_caches(caches)
    data = cli.group("data")(_data)
    _register_making(data)
    store.register_data(data)
    _register_preprocess(cli)


def _register_tasks(cli: click.Group) -> None:
    @command(cli, "tasks")
    def tasks(session: Session) -> None:
        """The 15 tasks."""
        specs = session.operations.tasks()
        rows = [
            [spec.name, spec.title, str(spec.modality), ", ".join(p.symbol for p in spec.parameters) or "–",
             "yes" if spec.has_solver else "–"]
            for spec in specs
        ]  # fmt: skip
        session.answer(
            [
                {
                    "task": spec.name,
                    "title": spec.title,
                    "equation": spec.equation,
                    "modality": spec.modality,
                    "fields": spec.fields,
                    "parameters": [parameter.name for parameter in spec.parameters],
                    "boundary": spec.boundary,
                    "solver": spec.has_solver,
                }
                for spec in specs
            ],
            table(["task", "what", "modality", "parameters", "solver"], rows),
        )


def _data() -> None:
    """Make, import, export, fetch, verify and delete datasets."""


def _register_build(caches: click.Group) -> None:
    @command(caches, "build")
    @click.argument("version")
    @click.argument("tasks", nargs=-1, required=True)
    @click.option("--dtype", type=click.Choice(["float16", "float32"]), default="float16", show_default=True)
    def build(session: Session, version: str, tasks: tuple[str, ...], dtype: str) -> None:
        """Fill the cache VERSION, such as upt_128d_128tok, for TASKS."""
        done = session.operations.build_caches(version, tasks, dtype=dtype, progress=ProgressLine())
        session.answer(done, f"{version}: built {len(done.get('built', {}))}, what fitted was kept")


def _register_making(data: click.Group) -> None:
    @command(data, "make")
    @click.argument("tasks", nargs=-1, required=True)
    @click.option("--samples", type=click.IntRange(min=3), help="Initial conditions per task.")
    @click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
    @click.option("--replace", is_flag=True, help="Replace a dataset that differs.")
    @click.option("--jobs", type=_POSITIVE, help="Processes; default: one for each core.")
    def make(
        session: Session,
        tasks: tuple[str, ...],
        samples: int | None,
        seed: int,
        replace: bool,
        jobs: int | None,
    ) -> None:
        """Generate datasets with the built-in reference solvers."""
        notes = session.operations.make_data(
            tasks, samples=samples, seed=seed, replace=replace, jobs=jobs, progress=ProgressLine()
        )
        answer_datasets(session, tasks, notes)

    @command(data, "import")
    @click.argument("task")
    @click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
    @click.option("--replace", is_flag=True, help="Replace what the dataset holds.")
    @click.option("--jobs", type=_POSITIVE, help="Processes; default: one for each core.")
    def import_(
        session: Session, task: str, files: tuple[Path, ...], replace: bool, jobs: int | None
    ) -> None:
        """Convert raw FILES of TASK, in PDEBench's or LagrangeBench's layout, into the store.

        Of particles, FILES may be folders with a metadata.json; of a task on a mesh, .npz, .vtu and .vtk
        files or folders of them, every mesh a sample.
        """
        notes = session.operations.import_data(
            task, files, replace=replace, jobs=jobs, progress=ProgressLine()
        )
        answer_datasets(session, (task,), notes)

    @command(data, "export")
    @click.argument("task")
    @click.argument("folder", type=click.Path(path_type=Path))
    @click.option(
        "--format", "layout", type=click.Choice([str(name) for name in ExportFormat]),
        default=str(ExportFormat.LAGRANGEBENCH), show_default=True,
    )  # fmt: skip
    def export(session: Session, task: str, folder: Path, layout: str) -> None:
        """Write the dataset of TASK to FOLDER, in a layout that other programs read."""
        samples = session.operations.export_data(
            task, folder, layout=ExportFormat(layout), progress=ProgressLine()
        )
        counts = ", ".join(f"{count} {split}" for split, count in samples.items())
        session.answer({"folder": str(folder), "samples": samples}, f"{task}: {counts} in {folder}")


def _register_preprocess(cli: click.Group) -> None:

    @command(cli, "preprocess")
    @click.option("--tasks", required=True, metavar="A,B", help="Comma-separated tasks.")
    @click.option("--limit", type=_POSITIVE, metavar="FILES", help="The first so many files of each task.")
    @click.option("--samples", type=_POSITIVE, help="The first so many of each file.")
    @click.option("--resolution", type=_POSITIVE, help="Cells along an axis; must divide the file's.")
    @click.option(
        "--stride", type=_POSITIVE, default=1, show_default=True, help="Take every so many-th frame."
    )
    @click.option("--from", "base", metavar="DIR|URL", help="Where the files are; default: DaRUS.")
    @click.option("--table", type=click.Path(path_type=Path), help="CSV of other files: task,file,id,md5.")
    @click.option("--whole/--partial", default=None,
                  help="Download files and check their MD5, or read what is needed of them; "
                  "default: partial where --samples is given.")  # fmt: skip
    @click.option("--work", type=click.Path(path_type=Path), help="Directory to download to.")
    @click.option("--replace", is_flag=True, help="Drop what the store holds of the tasks.")
    @click.option("--cache-dim", type=_POSITIVE, help="Build a latent cache, so wide.")
    @click.option("--cache-tokens", type=_POSITIVE, help="Of at most so many tokens.")
    @click.option("--cache-dtype", type=click.Choice(["float16", "float32"]), default="float16")
    @click.option("--splits", metavar="S,S", help="Of which splits to cache latents; default: all.")
    @click.option("--num-workers", type=_POSITIVE, help="Processes; default: one for each core.")
    @rent_options
    @click.option("--note", default="", help="On a rented machine: your note in the history.")
    @click.option("--dry-run", is_flag=True, help="On a rented machine: only say what would happen.")
    @click.option("--detach", is_flag=True, help="On a rented machine: return when the run has started.")
    def preprocess(
        session: Session, tasks: str, splits: str | None, dry_run: bool, detach: bool, **options: Any
    ) -> None:
        """Convert PDEBench's published files, or parts of them, into the store.

        On a rented machine this is a run like a training: it is followed, guarded, published and torn down.
        """
        rent = read_rent(options)
        request = PreprocessRequest(
            tasks=_listed(tasks), splits=_listed(splits or ""), rent=rent,
            given=given(click.get_current_context()), **options,
        )  # fmt: skip
        if session.operations.provider(rent.provider).capabilities.rented:
            _start_shares(session, shares(request), dry_run=dry_run, detach=detach)
            return
        if dry_run or detach:
            raise UsageError("--dry-run and --detach are for rented machines", hint="add --provider")
        notes = session.operations.preprocess(request, ProgressLine())
        answer_datasets(session, request.tasks, notes)


def shares(request: PreprocessRequest) -> list[PreprocessRequest]:
    """What each of several instances does: its share of the tasks, as a run of its own.

    They need not reach one another: what they share is the bucket.
    """
    number = min(request.rent.instances, max(1, len(request.tasks)))
    rent = replace(request.rent, instances=1)
    return [replace(request, tasks=request.tasks[first::number], rent=rent) for first in range(number)]


def _start_shares(
    session: Session, requests: Sequence[PreprocessRequest], *, dry_run: bool, detach: bool
) -> None:
    """Launch all, and then follow one after the other."""
    if dry_run or len(requests) == 1:
        for request in requests:
            start(session, request, dry_run=dry_run, detach=detach)
        return
    launched = [session.operations.launch(request, session.say) for request in requests]
    if detach:
        text = "\n".join(f"run {one.run} on {one.instance}" for one in launched)
        session.answer([asdict(one) for one in launched], text)
        return
    for one in launched:
        follow_run(session, one.run, one.instance)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
