"""Published files as the launch of their preprocessing sees them: where they are, and how large."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from console.api import Check, Level, PreprocessRequest, RentOptions
from console.settings import Settings
from ups.errors import DownloadError, NotFoundError, UpsError, UsageError

if TYPE_CHECKING:
    from ups.data.published import PublishedFile
    from ups.preprocess_job import PreprocessJob
    from ups.store import ObjectStore

SPARE_BYTES = 12e9
"""Of a box's disk, for the runtime."""
ROOM_PER_BYTE = 2.0
"""A file that was downloaded lies beside what it is converted to."""
_ASKED_AT_ONCE = 8


def job(request: PreprocessRequest) -> "PreprocessJob":
    """What a request asks for, pinned to the files of its table.

    Raises:
        UsageError: it names a directory of this machine to download to.
        UpsError: as `ups.data.preprocessing.preprocess_job`.
    """
    from ups.data.preprocessing import preprocess_job

    if request.work is not None:
        raise UsageError("--work is a directory of this machine, and a run downloads to its own",
                         hint="leave it out")  # fmt: skip
    return preprocess_job(
        request.tasks,
        base=request.base,
        table=request.table,
        limit=request.limit,
        samples=request.samples,
        resolution=request.resolution,
        stride=request.stride,
        whole=request.whole,
        replace=request.replace,
        cache_dim=request.cache_dim,
        cache_tokens=request.cache_tokens,
        cache_dtype=request.cache_dtype,
        splits=request.splits,
        num_workers=request.num_workers,
    )


def checks(job: "PreprocessJob", rent: RentOptions, settings: Settings) -> Iterator[Check]:
    """Whether a rented box can do it: it reaches the files and the store, and has room for them."""
    from ups.store import open_store

    if settings.store_url.startswith("dir:"):
        yield Check(
            Level.FAILED,
            f"a rented box cannot write to {settings.store_url}: its datasets would end with it",
            hint="set B2_BUCKET, B2_KEY_ID and B2_APP_KEY, or preprocess here: --provider local",
            code="store",
        )
        return
    try:
        store = open_store(settings.store_url, settings.store_environment)
        lacking = {task: _lacking(store, job, task) for task in job.tasks}
    except UpsError as error:
        yield Check(Level.FAILED, error.message, hint=error.hint, code=error.code)
        return
    for task, files in lacking.items():
        how = "downloaded" if job.whole else "read in parts"
        held = len(job.files[task]) - len(files)
        told = f", {held} are in the store" if held else ""
        count = f"{len(files)} file{'s' * (len(files) != 1)}"
        yield Check(Level.OK, f"{task}: {count} to be {how}{told}")
    yield Check(Level.OK, f"datasets go to {settings.store_url}")
    if job.is_local:
        yield from _of_folder(job)
    elif job.whole:
        yield from _room(job, lacking, rent)


def _lacking(store: "ObjectStore", job: "PreprocessJob", task: str) -> Sequence["PublishedFile"]:
    """The files that the store has nothing of; raises StoreError where it cannot be read."""
    from ups import catalog
    from ups.data.preprocessing import files_of

    try:
        entry = catalog.dataset(store, task)
    except NotFoundError:
        return files_of(job, task)
    held = {str(source.get("md5", "")) for source in entry.provenance} if not job.replace else set[str]()
    return [file for file in files_of(job, task) if file.md5 not in held]


def _of_folder(job: "PreprocessJob") -> Iterator[Check]:
    if not job.base.startswith("/"):
        yield Check(Level.FAILED, f"--from {job.base}: a box needs the whole path of a directory there",
                    hint="write it from / on, or give a URL", code="usage")  # fmt: skip
    else:
        yield Check(Level.WARNING, f"the files are looked for in {job.base} of the box, not of this machine")


def _room(
    job: "PreprocessJob", lacking: dict[str, Sequence["PublishedFile"]], rent: RentOptions
) -> Iterator[Check]:
    """The files of one task are on the disk at a time."""
    try:
        sizes = {task: _bytes(job, files) for task, files in lacking.items()}
    except DownloadError as error:
        yield Check(Level.WARNING, f"the size of the files is not known: {error.message}", hint=error.hint)
        return
    except UpsError as error:
        yield Check(Level.FAILED, error.message, hint=error.hint, code=error.code)
        return
    disk = rent.query.disk_gb
    needed = SPARE_BYTES + ROOM_PER_BYTE * max(sizes.values(), default=0.0)
    told = f"{sum(sizes.values()) / 1e6:,.1f} MB are downloaded"
    if rent.instance is not None:
        yield Check(Level.WARNING, f"{told}: {rent.instance} needs {needed / 1e9:,.0f} GB of disk")
    elif needed > disk * 1e9:
        yield Check(
            Level.FAILED,
            f"{told}: that takes a disk of {needed / 1e9:,.0f} GB, and {disk:,.0f} GB are asked for",
            hint=f"--disk {needed / 1e9:.0f}, a smaller --limit, or only --samples of each file",
            code="store",
        )
    else:
        yield Check(Level.OK, f"{told}; a disk of {disk:,.0f} GB has room")


def _bytes(job: "PreprocessJob", files: Sequence["PublishedFile"]) -> int:
    """Of all the files together.

    Raises:
        NotFoundError: the server has not got one of them.
        DownloadError: it does not say.
    """
    from ups.data.http import Patience, RemoteBytes, client_of

    patience = Patience(first_attempts=2, timeout_s=15.0)
    with (
        client_of(patience, connections=_ASKED_AT_ONCE) as client,
        ThreadPoolExecutor(_ASKED_AT_ONCE) as pool,
    ):
        asked = [RemoteBytes(file.url(job.base), file.file, client, patience) for file in files]
        try:
            return sum(facts.bytes for facts in pool.map(RemoteBytes.facts, asked))
        except UpsError:
            pool.shutdown(cancel_futures=True)
            raise
