"""One split of a task, whatever it lives on: what lies at its path says which kind it is. Free of torch."""

from collections.abc import Sequence
from pathlib import Path

import h5py

from ups.data.cached_fields import CachedFields
from ups.data.fields import Fields
from ups.data.point_fields import PointFields
from ups.data.point_sampling import PointPairs
from ups.data.points import PointBlock, PointDiscretisation
from ups.data.sampling import Pairs
from ups.data.source import AnyBlock, AnyDiscretisation, Block, Discretisation
from ups.errors import DataError, NotFoundError

Split = Fields | PointFields


def open_split(path: Path) -> Split:
    """Map a converted file, or a latent cache, which is a folder.

    Raises:
        NotFoundError: there is no such file.
        DataError: damaged, cut short, or neither.
    """
    if path.is_dir():
        return CachedFields.open(path)
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    try:
        with h5py.File(path, "r") as file:
            on_points = "point_offsets" in file
    except OSError as error:
        raise DataError(f"{path} is no HDF5 file: {error}", hint="make or import the dataset again") from None
    return PointFields.open(path) if on_points else Fields.open(path)


def pairs_of(fields: Split, *, stride: int = 1) -> Pairs | PointPairs:
    """The training pairs of a split."""
    return Pairs(fields, stride=stride) if isinstance(fields, Fields) else PointPairs(fields, stride=stride)


def discretisation_of(parts: Sequence[Split]) -> AnyDiscretisation:
    """Where and when the samples of a dataset's splits are known."""
    first = parts[0]
    if isinstance(first, Fields):
        return Discretisation(first.spec, first.times, first.axes, first.coordinates)
    most = max((part.most_points for part in parts if isinstance(part, PointFields)), default=0)
    return PointDiscretisation(first.spec, first.times, most)


def joined(blocks: Sequence[AnyBlock]) -> AnyBlock:
    """The samples of several blocks of one kind, in order."""
    grids = [block for block in blocks if isinstance(block, Block)]
    return Block.joined(grids) if grids else PointBlock.joined(blocks)
