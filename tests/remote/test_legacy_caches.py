"""Caches of the first scripts are looked into, and run nothing."""

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from remote.__main__ import main
from remote.legacy_caches import LegacyTensor, inspect
from ups.errors import DataError, NotFoundError
from ups.stores.directory import DirectoryStore

FOLDER = "pdebench/latent_caches/old/advection1d_train"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def put(store: DirectoryStore, number: int, sample: Any) -> None:
    content = io.BytesIO()
    torch.save(sample, content)
    store.write_bytes(f"{FOLDER}/sample_{number:05d}.pt", content.getvalue())


def test_their_tensors_are_described(store: DirectoryStore) -> None:
    for number in range(5):
        put(store, number, {"latent": torch.zeros(3, 4, dtype=torch.float16), "meta": [torch.ones(2), 0.5]})
    store.write_bytes(f"{FOLDER}/readme.txt", b"hello")
    found = inspect(store, "old", "advection1d", "train")
    assert found.tensors == (
        LegacyTensor("latent", (3, 4), "float16"), LegacyTensor("meta.0", (2,), "float32")
    )  # fmt: skip
    assert found.samples == 5
    assert found.uniform
    put(store, 4, torch.zeros(7))
    assert not inspect(store, "old", "advection1d", "train").uniform


def test_one_that_would_run_code_is_refused(store: DirectoryStore, tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "pwned",)

    put(store, 0, {"latent": Malice()})
    with pytest.raises(DataError, match=r"sample_00000\.pt is not loaded") as refused:
        inspect(store, "old", "advection1d", "train")
    assert "build the cache anew" in refused.value.hint
    store.write_bytes(f"{FOLDER}/sample_00000.pt", pickle.dumps(Malice(), protocol=2))
    with pytest.raises(DataError, match="is not loaded"):
        inspect(store, "old", "advection1d", "train")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"hello"])
def test_one_that_is_damaged_is_an_error(store: DirectoryStore, content: bytes) -> None:
    store.write_bytes(f"{FOLDER}/sample_00000.pt", content)
    with pytest.raises(DataError, match=r"sample_00000\.pt is"):
        inspect(store, "old", "advection1d", "train")


def test_none_is_not_found(store: DirectoryStore) -> None:
    with pytest.raises(NotFoundError, match="advection1d val under old"):
        inspect(store, "old", "advection1d", "val")


def test_the_command_says_what_they_hold(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    put(store, 0, torch.zeros(3, 4))
    arguments = ["inspect", "advection1d", "--cache-version", "old", "--split", "train"]
    assert main([*arguments, "--store", store.url]) == 0
    assert capsys.readouterr().out == "1 samples, 0.0 MB; each (3, 4) float32\n"
