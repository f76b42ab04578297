"""What is done to HDF5 files so often that h5py's upper level takes too long for it.

Its lower level writes the same bytes in half the time, which is most of the time of a small conversion.
Free of torch.
"""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Attribute = str | int | float | tuple[str, ...] | NDArray[np.float64]


def open_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """Raises KeyError where there is none of that name."""
    return h5py.Dataset(h5py.h5d.open(group.id, name.encode()))


def put_attribute(file: h5py.File, name: str, value: Attribute) -> None:
    """Give the file an attribute that it does not have."""
    words = isinstance(value, (str, tuple))
    array = np.array(value, dtype=h5py.string_dtype() if words else None)
    space = h5py.h5s.create_simple(array.shape)
    attribute = h5py.h5a.create(file.id, name.encode(), h5py.h5t.py_create(array.dtype, logical=True), space)
    attribute.write(array)


def put_dataset(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    """Write a small dataset."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)  # equal content, equal bytes
    space = h5py.h5s.create_simple(values.shape)
    kind = h5py.h5t.py_create(values.dtype, logical=True)
    dataset = h5py.h5d.create(file.id, None, kind, space, properties)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(values))
    h5py.h5o.link(dataset, file.id, name.encode())


def reserve(
    file: h5py.File, name: str, shape: tuple[int, ...], kind: h5py.h5t.TypeID = h5py.h5t.IEEE_F32LE
) -> int:
    """Create a contiguous dataset without writing it; the offset of its first value."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_obj_track_times(False)  # equal content, equal bytes
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    identifier = h5py.h5d.create(file.id, name.encode(), kind, space, properties)
    return int(identifier.get_offset())
