"""A preprocessing as its user asks for it, checked as far as it can be before any file is looked at.

Free of torch.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ups import catalog
from ups.data.cache_shape import CacheShape
from ups.data.published import DARUS_URL, PublishedFile, published_files, read_table
from ups.errors import UsageError
from ups.preprocess_job import JobFile, PreprocessJob

URL_VARIABLE = "UPS_DARUS_URL"
"""Environment: where files come from by default, if not from DaRUS."""


def preprocess_job(
    tasks: Sequence[str],
    *,
    base: str | None = None,
    table: Path | None = None,
    limit: int | None = None,
    samples: int | None = None,
    resolution: int | None = None,
    stride: int = 1,
    whole: bool | None = None,
    replace: bool = False,
    cache_dim: int | None = None,
    cache_tokens: int | None = None,
    cache_dtype: Literal["float16", "float32"] = "float16",
    splits: Sequence[str] = (),
    num_workers: int | None = None,
) -> PreprocessJob:
    """The job that these wishes make.

    Args:
        tasks: whose published files are used.
        base: a directory that holds them, or a URL; None: `UPS_DARUS_URL`, else DaRUS.
        table: of published files; None: PDEBench's.
        limit: the first so many files of each task.
        samples: the first so many of each file.
        resolution: cells along the longest axis.
        stride: every so many-th frame.
        whole: download files rather than read parts of them; None: unless only some samples are wanted.
        replace: drop what the store holds of the tasks.
        cache_dim: with `cache_tokens`, the width of the latent cache to build.
        cache_tokens: its most tokens.
        cache_dtype: of its coefficients.
        splits: of which to build it; empty: all.
        num_workers: processes; None: one for each core.

    Raises:
        UsageError: wishes that belong together are not together, or a split does not exist.
        NotFoundError: a task or a table does not exist, or nothing is published of a task.
        DataError: the table is damaged.
    """
    if (cache_dim is None) != (cache_tokens is None):
        raise UsageError("--cache-dim and --cache-tokens go together", hint="give both, or neither")
    if splits and cache_dim is None:
        raise UsageError(
            "--splits says of which splits latents are cached, and no cache is asked for",
            hint="add --cache-dim and --cache-tokens; a dataset always has all splits",
        )
    if unknown := set(splits) - set(catalog.SPLITS):
        raise UsageError(f"there is no split {', '.join(unknown)}", hint=", ".join(catalog.SPLITS))
    known = read_table(table)
    job = PreprocessJob(
        files={task: tuple(map(_pinned, published_files(known, task, limit=limit))) for task in tasks},
        base=base or os.environ.get(URL_VARIABLE) or DARUS_URL,
        samples=samples,
        resolution=resolution,
        stride=stride,
        whole=samples is None if whole is None else whole,
        replace=replace,
        cache_dim=cache_dim,
        cache_tokens=cache_tokens,
        cache_dtype=cache_dtype,
        splits=tuple(splits) or catalog.SPLITS,
        num_workers=num_workers,
    )
    cache_shape(job)
    return job


def cache_shape(job: PreprocessJob) -> CacheShape | None:
    """The cache that a job builds; None where it builds none."""
    dim, tokens = job.cache_dim, job.cache_tokens
    if dim is None or tokens is None:
        return None
    return CacheShape.of_version(f"upt_{dim}d_{tokens}tok", dim=dim, tokens=tokens, dtype=job.cache_dtype)


def files_of(job: PreprocessJob, task: str) -> list[PublishedFile]:
    """The files of a task that a job is about."""
    return [PublishedFile(task, file.file, file.id, file.md5) for file in job.files[task]]


def _pinned(file: PublishedFile) -> JobFile:
    return JobFile(file=file.file, id=file.id, md5=file.md5)
