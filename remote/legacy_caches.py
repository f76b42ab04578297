"""The caches of the first scripts: one `sample_*.pt` per sample, pickles of tensors.

A pickle can run any code when it is read. These are read by torch's restricted loader, which builds
tensors and plain containers and refuses all else; nothing of theirs is ever unpickled otherwise.
"""

import io
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from ups.errors import DataError, NotFoundError
from ups.layout import CACHE_ROOTS
from ups.store import ObjectStore

_PATTERN = "sample_*.pt"
_LOOKED_AT = 3
"""Samples that are opened: the first, the middle one and the last."""


@dataclass(frozen=True, slots=True)
class LegacyTensor:
    """One tensor that the samples of a cache hold."""

    name: str
    """Keys and indices that lead to it, joined by dots; empty where a sample is the tensor itself."""
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class LegacyCache:
    """What a cache of the first scripts holds."""

    samples: int
    bytes: int
    tensors: tuple[LegacyTensor, ...]
    """Of the first sample."""
    uniform: bool
    """Those that were looked at hold tensors of the same names, shapes and types."""


def inspect(store: ObjectStore, version: str, task: str, split: str) -> LegacyCache:
    """What the store holds of one split under a legacy version.

    Raises:
        NotFoundError: no `sample_*.pt` is there.
        DataError: a sample is no archive of tensors, or holds something that may not be loaded.
    """
    for root in CACHE_ROOTS:
        prefix = f"{root}/{version}/{task}_{split}/"
        found = [info for info in store.list(prefix) if fnmatch(info.key.removeprefix(prefix), _PATTERN)]
        if found:
            break
    else:
        raise NotFoundError(
            f"the store has no {_PATTERN} of {task} {split} under {version}",
            hint="`ups-console caches` lists what it has",
        )
    chosen = {number * (len(found) - 1) // (_LOOKED_AT - 1) for number in range(_LOOKED_AT)}
    described = [_described(load(store.read_bytes(found[i].key), found[i].key)) for i in sorted(chosen)]
    return LegacyCache(
        len(found), sum(info.bytes for info in found), described[0], len(Counter(described)) == 1
    )


def load(content: bytes, name: str) -> Any:
    """Tensors, numbers and texts of a sample, in dicts, lists and tuples.

    Args:
        content: of the file.
        name: what an error calls it.

    Raises:
        DataError: it is damaged, or holds something that may not be loaded.
    """
    import torch

    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{name} is not loaded, it is no plain archive of tensors: {reason}",
            hint="whoever made it could run code here; build the cache anew from the dataset",
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{name} is damaged: {error}", hint="build the cache anew from the dataset") from None


def _described(sample: Any) -> tuple[LegacyTensor, ...]:
    return tuple(
        LegacyTensor(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in _tensors(sample, "")
    )


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, tensor) of all tensors within a sample."""
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _tensors(item, f"{name}.{index}".lstrip("."))
