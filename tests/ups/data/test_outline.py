"""A manifest says of a split what its file says, as far as training has to know it beforehand."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from ups import catalog
from ups.data.convert import make
from ups.data.outline import Outline
from ups.data.split import open_split, pairs_of
from ups.stores.directory import DirectoryStore


@pytest.mark.parametrize("task", ["advection1d", "darcy2d", "darcy2d_mesh", "particles_advect"])
def test_manifest_and_file_say_the_same(tmp_path: Path, task: str) -> None:
    store = DirectoryStore(tmp_path)
    make(store, task, samples=4)
    for stored in catalog.dataset(store, task).splits.values():
        file = store.local_path(stored.key)
        assert file is not None
        fields = open_split(file)
        outline = Outline.from_shape(task, stored.shape, stored.dt)
        assert outline == Outline.of(fields)
        assert Outline.from_json(json.loads(json.dumps(asdict(outline)))) == outline
        for stride in (1, 2, 1000):
            assert outline.pairs(stride) == len(pairs_of(fields, stride=stride))
