"""Tensors written in one pass are read by everybody who reads safetensors."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file

from ups.models import tensor_file


def test_the_library_reads_every_kind_of_tensor(tmp_path: Path) -> None:
    tensors = {
        "a.matrix": torch.randn(3, 5), "counts": torch.arange(4), "half": torch.randn(5).half(),
        "random": torch.arange(7, dtype=torch.uint8), "brain": torch.randn(3).bfloat16(),
        "flag": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5), "empty": torch.empty(0, 4), "turned": torch.randn(4, 6).T,
        "double": torch.randn(2).double(),
    }  # fmt: skip
    path = tmp_path / "x.safetensors"
    written = tensor_file.write(path, tensors)
    found = load_file(path)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    content = path.read_bytes()
    assert (written.bytes, written.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_file_without_tensors_is_a_file(tmp_path: Path) -> None:
    tensor_file.write(tmp_path / "x.safetensors", {})
    assert load_file(tmp_path / "x.safetensors") == {}
