"""A run ends in one `done`, and goes on from wherever it was killed."""

import json
import shutil
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from tests.remote.conftest import CONFIG, MakeRun, start, wait_for, write_dataset
from ups.catalog import dataset_key, manifest_key
from ups.config import TrainConfig
from ups.events import Event, EventReader
from ups.rundir import RunDirectory
from ups.stores.directory import DirectoryStore


def drive(run: RunDirectory, point: str = "never", behaviour: str = "", **environment: str) -> int:
    """One process of the run, with instant learning, to its end."""
    process = drive_on(run, point, behaviour, **environment)
    return process.wait(timeout=PATIENCE_S)


def drive_on(
    run: RunDirectory, point: str = "never", behaviour: str = "", **environment: str
) -> subprocess.Popen[str]:
    arguments = ("-m", "tests.remote.driver", str(run.root), point, behaviour)
    return start(*arguments, log=run.log_path, **environment)


def events_of(run: RunDirectory) -> list[Event]:
    return EventReader(run.events_path).read()


def phases_of(run: RunDirectory) -> list[str]:
    return [f"{e.fields['phase']} {e.fields['state']}" for e in events_of(run) if e.type == "phase"]


def kinds_of(run: RunDirectory) -> list[str]:
    return [event.type for event in events_of(run)]


def published(run: RunDirectory, store: DirectoryStore, name: str) -> bytes:
    return store.read_bytes(f"runs/{run.root.name}/attempt-1/{name}")


def done_of(run: RunDirectory) -> dict[str, Any]:
    last = events_of(run)[-1]
    assert last.type == "done"
    return dict(last.fields)


def assert_whole(run: RunDirectory, store: DirectoryStore) -> None:
    """Numbered without gaps, begun once, ended once, and published as it is here."""
    events = events_of(run)
    assert [event.seq for event in events] == list(range(len(events)))
    assert [event.type for event in events].count("run") == 1
    assert events[0].type == "run"
    assert [event.type for event in events].count("done") == 1
    assert events[-1].type == "done"
    assert published(run, store, "events.jsonl") == run.events_path.read_bytes()


class TestARunToItsEnd:
    def test_goes_through_all_phases_and_publishes(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        assert drive(run) == 0
        assert_whole(run, store)
        assert phases_of(run) == [
            "hydrate started", "hydrate finished", "precompute skipped", "train started", "train finished",
            "evaluate started", "evaluate finished", "publish started", "publish finished",
        ]  # fmt: skip
        assert done_of(run)["status"] == "succeeded"
        test = done_of(run)["summary"]["tasks"]["advection1d"]
        assert test == {"one_step": 0.1, "rollout": None, "persistence_one_step": 0.5, "skill": True}
        assert published(run, store, "checkpoints/operator-0001/model.safetensors") == b"weights"
        assert json.loads(published(run, store, "report.json"))["run"] == "r1"
        assert b"done: succeeded" in published(run, store, "run.log")

    def test_the_first_event_says_what_runs_and_where(self, make_run: MakeRun) -> None:
        run = make_run()
        drive(run)
        first = events_of(run)[0].fields
        assert first["tasks"] == ["advection1d"]
        assert first["device"] == "cpu"
        assert first["world_size"] == 1
        assert first["environment"]["python"]

    def test_the_log_is_for_people(self, make_run: MakeRun) -> None:
        run = make_run()
        drive(run)
        lines = run.log_path.read_text().splitlines()
        assert any(
            line.endswith("train finished: 1 epochs, 10 steps; best is operator-0001") for line in lines
        )
        assert not any("heartbeat" in line or '"seq"' in line for line in lines)

    def test_a_finished_run_started_again_only_checks_what_is_published(
        self, make_run: MakeRun, store: DirectoryStore
    ) -> None:
        run = make_run()
        drive(run)
        before = run.events_path.read_bytes()
        store.delete("runs/r1/attempt-1/events.jsonl")
        (run.root / "published.json").unlink()
        assert drive(run) == 0
        assert run.events_path.read_bytes() == before
        assert published(run, store, "events.jsonl") == before

    def test_a_cache_is_built_where_the_run_asks_for_one(
        self, make_run: MakeRun, store: DirectoryStore
    ) -> None:
        run = make_run(precompute=True)
        assert drive(run) == 0
        assert "precompute finished" in phases_of(run)
        held = list(store.list("pdebench/latent_caches/"))
        assert len(held) == 3
        again = make_run("r2")
        assert drive(again, PRECOMPUTE_LATENT="1") == 0
        assert list(store.list("pdebench/latent_caches/")) == held
        for each in (run, again):
            files = json.loads((each.root / "train-files").read_text())["advection1d"]
            assert files["train"].startswith(str(store.root / "pdebench/latent_caches"))
            assert files["val"].endswith("advection1d_val.h5")


class TestKilled:
    @pytest.mark.parametrize(
        "point",
        [f"{phase}:{state}" for phase in ("hydrate", "train", "evaluate", "publish")
         for state in ("started+", "finished-")] + ["run+", "published+", "done-"],
    )  # fmt: skip
    def test_goes_on_from_there(self, make_run: MakeRun, store: DirectoryStore, point: str) -> None:
        run = make_run()
        assert drive(run, point) == -signal.SIGKILL
        assert drive(run) == 0
        assert_whole(run, store)
        assert done_of(run)["status"] == "succeeded"
        assert (run.root / "train-calls").read_text() == "x"

    def test_after_done_publishes_what_is_missing(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        assert drive(run, "done+") == -signal.SIGKILL
        assert b'"type":"done"' not in published(run, store, "events.jsonl")
        assert drive(run) == 0
        assert_whole(run, store)

    def test_and_again_at_each_boundary_in_one_run(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        for point in ("hydrate:started+", "train:finished-", "evaluate:finished-", "publish:finished-"):
            assert drive(run, point) == -signal.SIGKILL
        assert drive(run) == 0
        assert_whole(run, store)
        assert (run.root / "train-calls").read_text() == "x"

    def test_a_damaged_checkpoint_is_not_taken_for_a_finished_training(self, make_run: MakeRun) -> None:
        run = make_run()
        drive(run, "train:finished+")
        (run.checkpoints / "operator-0001" / "model.safetensors").write_bytes(b"damaged")
        assert drive(run) == 0
        assert (run.root / "train-calls").read_text() == "xx"

    def test_a_report_of_another_checkpoint_is_written_anew(self, make_run: MakeRun) -> None:
        run = make_run()
        drive(run, "evaluate:finished+")
        report = json.loads(run.report_path.read_text())
        run.report_path.write_text(json.dumps({**report, "checkpoint_sha256": "0" * 64}))
        assert drive(run) == 0
        assert json.loads(run.report_path.read_text()) == report

    def test_a_torn_report_is_written_anew(self, make_run: MakeRun) -> None:
        run = make_run()
        drive(run, "evaluate:finished+")
        run.report_path.write_text(run.report_path.read_text()[:40])
        assert drive(run) == 0
        assert json.loads(run.report_path.read_text())["run"] == "r1"


class TestFailing:
    @pytest.mark.parametrize(
        ("behaviour", "code", "exit_code", "says"),
        [
            ("training-error", "training", 7, "the loss is not finite"),
            ("bug", "internal", 1, "ZeroDivisionError: division by zero"),
            ("memory", "memory", 7, "out of memory"),
            ("disk-full", "store", 6, "no space left to write /disk/checkpoints/x"),
            ("no-torch", "config", 3, "this needs torch, which is not installed"),
        ],
    )
    def test_is_told_in_the_events_and_the_exit_code(
        self, make_run: MakeRun, store: DirectoryStore, behaviour: str, code: str, exit_code: int, says: str
    ) -> None:
        run = make_run()
        assert drive(run, "never", behaviour) == exit_code
        assert_whole(run, store)
        [error] = [event.fields for event in events_of(run) if event.type == "error"]
        assert error["code"] == code
        assert says in error["message"]
        assert {"train failed", "publish finished"} <= set(phases_of(run))
        assert done_of(run) == {"status": "failed", "exit_code": exit_code, "summary": {}}

    def test_of_ours_leaves_a_traceback_in_the_log_only(self, make_run: MakeRun) -> None:
        run = make_run()
        drive(run, "never", "bug")
        assert "Traceback (most recent call last)" in run.log_path.read_text()
        assert "Traceback" not in run.events_path.read_text()

    def test_of_the_users_leaves_no_traceback(self, make_run: MakeRun) -> None:
        run = make_run()
        drive(run, "never", "training-error")
        assert "Traceback" not in run.log_path.read_text()

    def test_a_failed_run_can_be_resumed(self, make_run: MakeRun) -> None:
        run = make_run()
        drive(run, "never", "training-error")
        assert drive(run) == 0
        assert done_of(run)["status"] == "succeeded"
        assert kinds_of(run).count("run") == 1

    def test_replaced_data_are_refused(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        write_dataset(store, seed=9)
        assert drive(run) == 6
        [error] = [event.fields for event in events_of(run) if event.type == "error"]
        assert "being replaced" in error["message"]
        assert not (run.root / "train-calls").exists()

    @pytest.mark.parametrize(
        ("state", "code", "exit_code", "says"),
        [
            ("absent", "not_found", 4, "the store holds no dataset of advection1d"),
            ("writing", "store", 6, "its manifest says that it is being written"),
            ("newer", "store", 6, "made by a newer version"),
            ("cut short", "store", 6, "cannot be used"),
            ("flipped", "store", 6, "does not have the sha256 that run.yaml pins"),
        ],
    )
    def test_data_that_cannot_be_used_end_it_before_training(
        self, make_run: MakeRun, store: DirectoryStore, state: str, code: str, exit_code: int, says: str
    ) -> None:
        run, key = make_run(), manifest_key("advection1d")
        file = store.root / dataset_key("advection1d", "train")
        manifest = json.loads(store.read_bytes(key))
        if state == "absent":
            shutil.rmtree(file.parent)
        elif state == "cut short":
            file.write_bytes(file.read_bytes()[:-4])
        elif state == "flipped":
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
        else:
            manifest |= {"state": "writing"} if state == "writing" else {"format": 99}
            store.write_bytes(key, json.dumps(manifest).encode())
        assert drive(run) == exit_code
        assert_whole(run, store)
        [error] = [event.fields for event in events_of(run) if event.type == "error"]
        assert (error["code"], bool(error["hint"])) == (code, True)
        assert says in error["message"]
        assert {"hydrate failed", "publish finished"} <= set(phases_of(run))
        assert not (run.root / "train-calls").exists()

    def test_data_replaced_during_training_are_not_evaluated(
        self, make_run: MakeRun, store: DirectoryStore
    ) -> None:
        run = make_run()
        drive(run, "train:finished+")
        write_dataset(store, seed=9)
        assert drive(run) == 6
        assert not run.report_path.exists()


class TestStopping:
    def test_ends_at_a_safe_point_and_publishes(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        process = drive_on(run, "never", "wait")
        wait_for(lambda: "checkpoint" in kinds_of(run))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # the watchdog and the console may both ask
        assert process.wait(timeout=PATIENCE_S) == 0
        assert_whole(run, store)
        assert done_of(run)["status"] == "stopped"
        assert "evaluate started" not in phases_of(run)
        assert published(run, store, "checkpoints/operator-0001/model.safetensors") == b"weights"
        assert drive(run) == 0
        assert done_of(run)["status"] == "succeeded"

    def test_a_second_request_ends_at_once(self, make_run: MakeRun) -> None:
        run = make_run()
        process = drive_on(run, "never", "hang")
        wait_for(lambda: "checkpoint" in kinds_of(run))
        process.send_signal(signal.SIGTERM)
        time.sleep(2.1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM

    def test_a_hang_up_changes_nothing(self, make_run: MakeRun) -> None:
        run = make_run()
        process = drive_on(run, "never", "wait")
        wait_for(lambda: "checkpoint" in kinds_of(run))
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 0

    def test_two_processes_never_execute_one_run(self, make_run: MakeRun) -> None:
        run = make_run()
        process = drive_on(run, "never", "wait")
        wait_for(lambda: "checkpoint" in kinds_of(run))
        assert drive(run) == 2
        assert "is being executed by another process" in run.log_path.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0


class TestRealLearning:
    def test_a_checkpoint_whose_event_was_never_written_is_told_by_the_next_process(
        self, make_run: MakeRun
    ) -> None:
        run = make_run()
        assert start("-m", "remote", "run", str(run.root), log=run.log_path).wait(timeout=PATIENCE_S) == 0
        lines = run.events_path.read_text().splitlines(keepends=True)
        told = [number for number, line in enumerate(lines) if '"type":"checkpoint"' in line]
        run.events_path.write_text("".join(lines[: told[-1]]))  # killed right before it
        (run.root / "trained.json").unlink()
        run.report_path.unlink()
        assert start("-m", "remote", "run", str(run.root), log=run.log_path).wait(timeout=PATIENCE_S) == 0
        again = [event.fields for event in events_of(run) if event.type == "checkpoint"]
        before = json.loads(lines[told[-1]])
        assert [fields["epoch"] for fields in again] == [1, 2]
        assert {name: before[name] for name in again[-1]} == again[-1]

    def test_stopped_killed_and_resumed_it_succeeds(self, make_run: MakeRun, store: DirectoryStore) -> None:
        config = TrainConfig.model_validate({**CONFIG, "stages": {"operator": {"epochs": 14}}})
        run = make_run(config=config)

        def interrupted(number: signal.Signals, after: str) -> None:
            process = start("-m", "remote", "run", str(run.root), log=run.log_path)
            wait_for(lambda: after in kinds_of(run) or process.poll() is not None, seconds=PATIENCE_S)
            process.send_signal(number)
            process.wait(timeout=PATIENCE_S)

        interrupted(signal.SIGTERM, "checkpoint")
        assert done_of(run)["status"] == "stopped"
        interrupted(signal.SIGKILL, "resumed")
        assert kinds_of(run)[-1] != "done"
        process = start("-m", "remote", "run", str(run.root), log=run.log_path)
        assert process.wait(timeout=PATIENCE_S) == 0
        assert [event.seq for event in events_of(run)] == list(range(len(events_of(run))))
        assert done_of(run)["status"] == "succeeded"
        figures = done_of(run)["summary"]["tasks"]["advection1d"]
        assert figures["one_step"] < figures["persistence_one_step"]
        assert json.loads(published(run, store, "report.json"))["splits"]["val"]["tasks"]["advection1d"][
            "skill"
        ]
        assert list(run.rollouts.glob("advection1d-*.npz"))
