"""Writes tensors as a safetensors file in one pass: hashed as they go to the disk, and never copied.

The library's own writer first makes the whole file in memory, holding the interpreter meanwhile: beside a
training that goes on, neither is affordable.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

_ALIGNMENT = 8
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is on the disk."""

    bytes: int
    sha256: str


def write(path: Path, tensors: Mapping[str, Tensor]) -> Written:
    """Write a file and wait until the disk has it.

    Args:
        path: replaced where it is there.
        tensors: by name; any device.

    Raises:
        OSError: it cannot be written.
    """
    # the widest first, so that each begins where its dtype may
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    head, offset = dict[str, object](), 0
    for name, tensor in ordered:
        end = offset + tensor.numel() * tensor.element_size()
        head[name] = {
            "dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end],
        }  # fmt: skip
        offset = end
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text):
            digest.update(part)
            file.write(part)
        for _, tensor in ordered:
            content = _content(tensor)
            digest.update(content)
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Written(8 + len(text) + offset, digest.hexdigest())


def _content(tensor: Tensor) -> memoryview:
    """A tensor's bytes, in place where it lies in the memory of the host."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
