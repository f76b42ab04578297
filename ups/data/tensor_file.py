"""Files in the safetensors format: written as a stream of blocks, read as memory maps.

The format is eight bytes with the length of a JSON header, the header, and the tensors one after another
(https://github.com/huggingface/safetensors). Its own library writes only what is in memory as a whole and
copies what it reads; here neither happens. Free of torch and of that library, so that the console may
import it.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ups.data.overlap import Behind
from ups.errors import DataError

Array = NDArray[Any]

_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}
_NAMES = {np.dtype(kind): name for name, kind in _DTYPES.items()}
_ALIGNMENT = 64
"""Of the first tensor in its file, so that what is mapped lies well in memory."""
_MOST_HEADER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stream:
    """A tensor that is written block by block."""

    name: str
    dtype: str
    """As numpy calls it: float16, float32, float64, int32 or int64."""
    shape: tuple[int, ...]
    blocks: Iterable[Array]
    """One after another they are the tensor, in C order."""


def of_array(name: str, array: Array) -> Stream:
    """A tensor that is in memory."""
    return Stream(name, array.dtype.name, array.shape, (array,))


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was written."""

    bytes: int
    sha256: str


def write(path: Path, tensors: Sequence[Stream], metadata: Mapping[str, str]) -> Written:
    """Write a file; hashing and writing go on in another thread while the next block is made.

    The same tensors and metadata give the same bytes, whatever their blocks are.

    Raises:
        DataError: the blocks are not what their shape and type say.
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
        sink = _Sink(file)
        with Behind(sink.write) as behind:
            behind.put(np.frombuffer(_header(tensors, metadata), np.uint8))
            for tensor in tensors:
                left = math.prod(tensor.shape)
                for block in tensor.blocks:
                    left -= block.size
                    if block.dtype != tensor.dtype or left < 0:
                        raise DataError(f"{tensor.name} is not {tensor.dtype} {list(tensor.shape)}")
                    behind.put(block)
                if left:
                    raise DataError(f"{tensor.name} has {left} values fewer than {list(tensor.shape)}")
    return Written(sink.bytes, sink.digest.hexdigest())


class _Sink:
    """What bytes go to: a file and its hash."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.bytes = 0

    def write(self, block: Array) -> None:
        content = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
        self.digest.update(content)
        self._file.write(content)
        self.bytes += len(content)


def _header(tensors: Sequence[Stream], metadata: Mapping[str, str]) -> bytes:
    described: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for tensor in tensors:
        dtype = np.dtype(tensor.dtype)
        end = offset + math.prod(tensor.shape) * dtype.itemsize
        described[tensor.name] = {
            "dtype": _NAMES[dtype], "shape": list(tensor.shape), "data_offsets": [offset, end],
        }  # fmt: skip
        offset = end
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """A file that was opened: its tensors are read from the disk where they are used."""

    tensors: Mapping[str, Array]
    metadata: Mapping[str, str]


def open_file(path: Path) -> Mapped:
    """Map a file.

    Raises:
        DataError: it is none, or cut short.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(size, _MOST_HEADER_BYTES):
                raise ValueError("it is cut short")
            described = json.loads(file.read(length))
        metadata = described.pop("__metadata__", {})
        tensors = {name: _map(path, tensor, 8 + length, size) for name, tensor in described.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no readable safetensors file: {error}") from None
    return Mapped(tensors, metadata)


def _map(path: Path, described: Mapping[str, Any], start: int, size: int) -> Array:
    dtype, shape = np.dtype(_DTYPES[described["dtype"]]), tuple(described["shape"])
    first, end = described["data_offsets"]
    if end - first != math.prod(shape) * dtype.itemsize or first < 0 or start + end > size:
        raise ValueError("it is cut short")
    if first == end:
        return np.zeros(shape, dtype)
    # a plain array over the map: numpy's own class makes every access to it slower
    return np.asarray(np.memmap(path, dtype, "r", offset=start + first, shape=shape))
