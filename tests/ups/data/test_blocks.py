"""No initial condition is in two splits: over all tasks, parameters, files, and orders of adding them."""

import itertools
import shutil
from pathlib import Path

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ups.data import raws
from ups import catalog
from ups.data.assembly import assemble
from ups.data.convert import import_raw
from ups.data.fields import SPLITS
from ups.data.solvers.registry import solver_sources
from ups.data.split import open_split
from ups.stores.directory import DirectoryStore
from ups.tasks import TASK_SPECS

FLOW = raws.ADVECTION.parent / "1D_CFD_Rand_Eta0.01_Zeta0.01_periodic_Train.hdf5"


@settings(max_examples=60, deadline=None)
@given(
    task=st.sampled_from(sorted(TASK_SPECS)),
    samples=st.integers(3, 200),
    seed=st.integers(0, 9),
    order=st.randoms(use_true_random=False),
)
def test_a_solver_s_initial_condition_is_in_one_split_under_all_parameters(
    task: str, samples: int, seed: int, order: object
) -> None:
    sources = solver_sources(task, samples=samples, seed=seed)
    order.shuffle(sources)  # type: ignore[attr-defined]
    assembly = assemble(sources)
    found = {
        split: {
            sample
            for source in range(len(sources))
            for sample in assembly.mask(split, source).nonzero()[0].tolist()
        }
        for split in SPLITS
    }
    for one, other in itertools.combinations(SPLITS, 2):
        assert not found[one] & found[other]
    assert set.union(*found.values()) == set(range(samples))
    assert all(len(found[split]) >= max(1, samples // 10) for split in SPLITS)


@pytest.mark.parametrize("at_once", [True, False])
def test_of_several_fields_is_known_again_in_another_file(tmp_path: Path, at_once: bool) -> None:
    other = Path(shutil.copy(FLOW, tmp_path / "other.hdf5"))
    with h5py.File(other, "r+") as file:
        file.attrs["eta"] = 0.1
        for name in ("density", "pressure", "Vx"):
            values = file[name][()][::-1]  # the same starts at other indices
            values[:, 1:] *= 1.01
            file[name][...] = values
    store = DirectoryStore(tmp_path / "store")
    for files in [[FLOW, other]] if at_once else [[FLOW], [other]]:
        import_raw(store, "compressible_ns1d", files)
    starts: dict[str, set[bytes]] = {}
    for split in SPLITS:
        path = store.local_path(catalog.dataset_key("compressible_ns1d", split))
        assert path is not None
        fields = open_split(path)
        starts[split] = {fields.start(row).tobytes() for row in range(fields.samples)}
    assert sum(map(len, starts.values())) == 6
    assert len(set.union(*starts.values())) == 6
