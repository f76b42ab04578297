"""What a preprocessing computes: which published files, which part of them, and which caches.

Free of torch.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class JobFile(BaseModel):
    """A published file, pinned to its content."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: str
    """The name it is published under."""
    id: str
    """What its publisher calls it."""
    md5: str


class PreprocessJob(BaseModel):
    """Published files to convert into a store, and the latent caches to build there."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    files: dict[str, tuple[JobFile, ...]]
    """Task → its files, in their order."""
    base: str
    """A directory that holds them, or a URL: `ups.data.published.PublishedFile.url` says of which kinds."""
    samples: int | None = None
    """The first so many of each file."""
    resolution: int | None = None
    """Cells along the longest axis."""
    stride: int = 1
    """Every so many-th frame."""
    whole: bool = True
    """Download files, and check their MD5, rather than read parts of them where they are."""
    replace: bool = False
    """Drop what the store holds of the tasks."""
    cache_dim: int | None = None
    """With `cache_tokens`: build a latent cache of these sizes."""
    cache_tokens: int | None = None
    cache_dtype: Literal["float16", "float32"] = "float16"
    splits: tuple[str, ...] = ()
    """Whose latents are cached; a dataset always has all."""
    num_workers: int | None = None
    """Processes; null: one for each core."""

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.files)

    @property
    def is_local(self) -> bool:
        """Whether the files are in a directory, and not on a server."""
        return "://" not in self.base
