"""Training begins with the first tasks while the others come; how fast they do changes no figure."""

import shutil

import pytest

from tests.remote.conftest import MakeRun, start
from tests.remote.test_followers import losses
from tests.remote.test_pipeline import assert_whole, done_of, events_of, phases_of
from tests.ups.training.gang import torchrun
from ups.stores.directory import DirectoryStore


def test_training_begins_while_the_rest_comes_in_one_process_and_in_two(
    make_joint_run: MakeRun, two_tasks: DirectoryStore
) -> None:
    at_once, streamed = make_joint_run("at-once"), make_joint_run("streamed")
    assert start("-m", "remote", "run", str(at_once.root), log=at_once.log_path).wait(240) == 0
    data = streamed.root.parent / "data"
    slow = ("-m", "tests.remote.stream_driver", str(streamed.root))
    assert start(*slow, log=streamed.log_path).wait(240) == 0, streamed.log_path.read_text()
    assert_whole(streamed, two_tasks)
    assert done_of(streamed)["status"] == "succeeded"
    phases = phases_of(streamed)
    assert phases[:4] == ["hydrate started", "hydrate finished", "precompute skipped", "train started"]
    told = [e.fields["detail"] for e in events_of(streamed) if e.type == "phase"]
    assert "advection1d follow while training goes on" in told[1]
    assert any(detail.startswith("the run waits for advection1d: ") for detail in told)
    assert losses(streamed) == losses(at_once)
    links = {path.name for path in (data / "pdebench").iterdir()}
    assert links == {
        f"{task}_{s}.h5" for task in ("advection1d", "darcy2d") for s in ("train", "val", "test")
    }
    shutil.rmtree(data)
    both = make_joint_run("both")
    code, printed = torchrun("-m", "tests.remote.stream_driver", str(both.root))
    assert code == 0, printed
    assert "waits for advection1d" in both.events_path.read_text()
    assert [point[:3] for point in losses(both)] == [point[:3] for point in losses(at_once)]
    assert [point[3] for point in losses(both)] == pytest.approx(
        [point[3] for point in losses(at_once)], rel=1e-4
    )
