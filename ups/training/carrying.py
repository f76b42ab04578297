"""Brings the checkpoints of the main process to the other machines, which share no files with it.

Once at the start of each stage, not at each checkpoint: what all begin with is in it, and from there on
they compute the same. Machines that do share their run directory find all there, and nothing is sent.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.distributed as dist

from ups.models import checkpoint as checkpoints
from ups.ranks import Ranks

_CHUNK = 32 * 1024 * 1024
_PARTIAL = ".partial-carried-"

_Listing = Mapping[str, tuple[str, Mapping[str, int]]]
"""name → sha256 of its state, which vouches for the rest, and the bytes of each of its files."""


def carry(folder: Path, ranks: Ranks) -> None:
    """Let every machine have the whole checkpoints that the main process has, and no others.

    All processes have to call it.

    Args:
        folder: the run's `checkpoints` directory, on each machine.
        ranks: which process this one is.
    """
    box: list[_Listing] = [_listing(folder) if ranks.is_main else {}]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    listing = box[0]
    own = _listing(folder) if ranks.leads_machine else listing
    missing = {name for name, (sha256, _) in listing.items() if own.get(name, ("",))[0] != sha256}
    wanted = torch.tensor([float(name in missing) for name in listing])
    if len(listing):
        dist.all_reduce(wanted)
    for name, asked in zip(listing, wanted.tolist(), strict=True):
        if asked:
            _send(folder / name, listing[name][1], ranks, write=name in missing)
    if ranks.leads_machine and not ranks.is_main:
        for name in own.keys() - listing.keys():
            shutil.rmtree(folder / name)
    dist.all_reduce(torch.zeros(1))  # the other processes of a machine read what its first one has written


def _listing(folder: Path) -> _Listing:
    return {
        item.path.name: (
            item.sha256,
            {file.name: file.stat().st_size for file in sorted(item.path.iterdir())},
        )
        for item in checkpoints.whole(folder)
    }


def _send(path: Path, files: Mapping[str, int], ranks: Ranks, *, write: bool) -> None:
    """A checkpoint from the main process to all, kept by those that lack it."""
    partial = path.with_name(f"{_PARTIAL}{path.name}")
    if write:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    for name, size in files.items():
        chunks = _read(path / name) if ranks.is_main else iter(())
        with (partial / name).open("wb") if write else contextlib.nullcontext() as file:
            for first in range(0, size, _CHUNK):
                content = next(chunks) if ranks.is_main else bytes(min(_CHUNK, size - first))
                tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8)
                dist.broadcast(tensor, src=0)
                if file is not None:
                    file.write(tensor.numpy().tobytes())
    if write:
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while content := file.read(_CHUNK):
            yield content
