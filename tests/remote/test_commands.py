"""What the commands of `python -m remote` answer: to people, to programs, and when asked wrongly."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remote.__main__ import main
from tests.remote.conftest import CONFIG, SAMPLES, pins_of, start, write_dataset, write_waves
from ups.catalog import dataset_key
from ups.config import TrainConfig
from ups.rundir import RunDirectory, RunSpec, config_sha256, render_spec
from ups.stores.directory import DirectoryStore

Capture = pytest.CaptureFixture[str]


def records(capsys: Capture) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, DirectoryStore]:
    """A run that was really executed."""
    root = tmp_path_factory.mktemp("trained")
    store = DirectoryStore(root / "store")
    write_dataset(store)
    config = TrainConfig.model_validate(CONFIG)
    run = RunDirectory(root / "run")
    run.root.mkdir()
    spec = RunSpec(
        run="r1", name="tiny", created=0.0, config=config, tasks=config.data.task, stages=("operator",),
        seed=0, threads=1, store=store.url, datasets=pins_of(store), code_version="0",
        config_sha256=config_sha256(config),
    )  # fmt: skip
    run.spec_path.write_text(render_spec(spec), encoding="utf-8")
    process = start("-m", "remote", "run", str(run.root), log=run.log_path)
    assert process.wait(timeout=120) == 0, run.log_path.read_text()
    return run, store


class TestAskedWrongly:
    @pytest.mark.parametrize(
        "arguments",
        [[], ["nonsense"], ["run"], ["make", "--store", "dir:/x"], ["make", "advection1d"],
         ["precompute", "advection1d", "--store", "dir:/x"],
         ["evaluate", "x", "--store", "y", "--split", "all"]],
    )  # fmt: skip
    def test_is_a_usage_error(self, arguments: list[str], capsys: Capture) -> None:
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        assert code == 2
        assert capsys.readouterr().err

    def test_help_names_the_commands(self, capsys: Capture) -> None:
        assert main(["--help"]) == 0
        said = capsys.readouterr().out
        assert all(
            command in said for command in ("run", "make", "import", "evaluate", "precompute", "watchdog")
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (["run", "/nowhere"], 4, "is no run directory"),
            (["evaluate", "/nowhere", "--store", "dir:/x"], 4, "there is no /nowhere"),
            (["evaluate", "/", "--store", "dir:/x", "--data", "x.h5"], 2, "--data needs --task"),
            (["make", "nope", "--store", "dir:/x"], 4, "there is no task 'nope'"),
            (["make", "advection1d", "--store", "ftp://x"], 3, "is not a store"),
            (["precompute", "advection1d", "--store", "dir:/x", "--cache-version", "mine"], 3, "--cache-dim"),
            (["precompute", "advection1d", "--store", "dir:/x", "--cache-version", "upt_8d_4tok",
              "--cache-dim", "16"], 3, "contradicts"),
        ],
    )  # fmt: skip
    def test_is_told_in_a_line_and_a_hint_or_as_json(
        self, arguments: list[str], code: int, says: str, capsys: Capture
    ) -> None:
        assert main(arguments) == code
        said = capsys.readouterr()
        assert said.err.startswith("error: ")
        assert says in said.err
        assert "Traceback" not in said.err
        assert main([*arguments, "--json"]) == code
        error = json.loads(capsys.readouterr().err)["error"]
        assert set(error) == {"code", "message", "hint"}

    def test_a_damaged_run_yaml_is_a_store_error(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "run.yaml").write_text("run: [")
        assert main(["run", str(tmp_path)]) == 6
        assert "is damaged" in capsys.readouterr().err

    def test_debug_shows_the_traceback(self, capsys: Capture) -> None:
        assert main(["run", "/nowhere", "--debug"]) == 4
        assert "Traceback" in capsys.readouterr().err

    def test_without_the_train_extra_says_what_to_install(self, tmp_path: Path) -> None:
        code = (
            "import sys; sys.modules['torch'] = None\n"
            "from remote.__main__ import main; sys.exit(main(sys.argv[1:]))"
        )
        answer = subprocess.run(
            [sys.executable, "-c", code, "evaluate", str(tmp_path), "--store", f"dir:{tmp_path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert answer.returncode == 3
        assert answer.stderr.splitlines() == [
            "error: this needs torch, which is not installed",
            "hint: pip install 'ups-console[train]'",
        ]


class TestPrecompute:
    def test_builds_what_is_missing_and_says_so(self, tmp_path: Path, capsys: Capture) -> None:
        store = DirectoryStore(tmp_path / "store")
        write_dataset(store)
        arguments = ["precompute", "advection1d", "--store", store.url, "--cache-version", "upt_16d_8tok"]
        assert main([*arguments, "--json"]) == 0
        *progress, done = records(capsys)
        assert {record["type"] for record in progress} == {"progress"}
        assert set(done["built"]) == {"advection1d_train", "advection1d_val", "advection1d_test"}
        assert main(arguments) == 0
        assert capsys.readouterr().out == "nothing to build\n"

    def test_builds_again_what_is_there_where_that_is_asked_for(
        self, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = DirectoryStore(tmp_path / "store")
        write_dataset(store)
        arguments = [
            "precompute", "advection1d", "--store", store.url, "--cache-version", "upt_16d_8tok", "--json"
        ]  # fmt: skip
        main(arguments)
        capsys.readouterr()
        assert main([*arguments, "--reset"]) == 0
        assert len(records(capsys)[-1]["built"]) == 3
        monkeypatch.setenv("RESET_CACHE", "1")
        assert main(arguments) == 0
        assert len(records(capsys)[-1]["built"]) == 3

    def test_says_which_part_of_a_stored_cache_differs(self, tmp_path: Path, capsys: Capture) -> None:
        store = DirectoryStore(tmp_path / "store")
        write_dataset(store)
        arguments = ["precompute", "advection1d", "--store", store.url, "--cache-version", "upt_16d_8tok"]
        main(arguments)
        write_dataset(store, seed=4)
        capsys.readouterr()
        assert main([*arguments, "--json"]) == 0
        warnings = [record["message"] for record in records(capsys) if record["type"] == "warning"]
        assert len(warnings) == 3
        assert all("is built anew: dataset sha256 " in warning for warning in warnings)

    def test_never_caches_damaged_data(self, tmp_path: Path, capsys: Capture) -> None:
        store = DirectoryStore(tmp_path / "store")
        write_dataset(store)
        path = store.root / dataset_key("advection1d", "val")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        arguments = ["precompute", "advection1d", "--store", store.url, "--cache-version", "upt_16d_8tok"]
        assert main(arguments) == 6
        assert "damaged or being replaced" in capsys.readouterr().err


class TestEvaluate:
    def test_a_run_is_judged_on_its_test_split(
        self, trained: tuple[RunDirectory, DirectoryStore], capsys: Capture
    ) -> None:
        run, store = trained
        assert main(["evaluate", str(run.root), "--store", store.url, "--json"]) == 0
        done = records(capsys)[-1]
        assert (done["type"], done["status"], done["report"]["run"]) == ("done", "succeeded", "r1")
        figures = done["report"]["splits"]["test"]["tasks"]["advection1d"]
        stored = json.loads(run.report_path.read_text())["splits"]["test"]["tasks"]["advection1d"]
        assert figures["one_step"] == pytest.approx(stored["one_step"])
        assert figures["samples"] == SAMPLES["test"]

    def test_people_get_a_table(self, trained: tuple[RunDirectory, DirectoryStore], capsys: Capture) -> None:
        run, store = trained
        assert (
            main(["evaluate", str(run.root), "--store", store.url, "--split", "val", "--split", "test"]) == 0
        )
        lines = capsys.readouterr().out.splitlines()
        assert lines[-3].split() == ["split", "task", "one-step", "copying", "rollout", "copying"]
        assert [line.split()[:2] for line in lines[-2:]] == [["val", "advection1d"], ["test", "advection1d"]]

    def test_a_checkpoint_alone_is_judged_on_the_stores_data(
        self, trained: tuple[RunDirectory, DirectoryStore], capsys: Capture
    ) -> None:
        run, store = trained
        [checkpoint] = run.checkpoints.glob("operator-0002")
        assert main(["evaluate", str(checkpoint), "--store", store.url, "--json"]) == 0
        report = records(capsys)[-1]["report"]
        assert report["run"] is None
        assert set(report["splits"]["test"]["tasks"]) == {"advection1d"}

    def test_predictions_of_a_whole_file_match_the_report(
        self, trained: tuple[RunDirectory, DirectoryStore], tmp_path: Path, capsys: Capture
    ) -> None:
        run, store = trained
        data, out = tmp_path / "mine.h5", tmp_path / "deep" / "out.npz"
        write_waves(data, "test", samples=5, seed=77)
        arguments = ["--data", str(data), "--task", "advection1d", "--predictions", str(out)]
        assert main(["evaluate", str(run.root), "--store", store.url, *arguments, "--json"]) == 0
        figures = records(capsys)[-1]["report"]["splits"]["test"]["tasks"]["advection1d"]
        with np.load(out) as arrays:
            assert arrays["initial"].shape == (5, 32, 1)
            true, rollout = arrays["true"], arrays["rollout"]
        assert true.shape == rollout.shape == (5, 5, 32, 1)
        error = np.linalg.norm(rollout - true, axis=(2, 3)) / np.linalg.norm(true, axis=(2, 3))
        assert error.mean() == pytest.approx(figures["rollout"], rel=1e-4)

    def test_a_wrong_task_is_refused(
        self, trained: tuple[RunDirectory, DirectoryStore], tmp_path: Path, capsys: Capture
    ) -> None:
        run, store = trained
        data = tmp_path / "mine.h5"
        write_waves(data, "test", samples=5, seed=77)
        arguments = [
            "evaluate",
            str(run.root),
            "--store",
            store.url,
            "--data",
            str(data),
            "--task",
            "burgers1d",
        ]
        assert main(arguments) == 3
        assert "holds advection1d, not burgers1d" in capsys.readouterr().err

    def test_changed_data_are_refused(
        self, trained: tuple[RunDirectory, DirectoryStore], tmp_path: Path, capsys: Capture
    ) -> None:
        run, _ = trained
        other = DirectoryStore(tmp_path / "store")
        write_dataset(other, seed=6)
        assert main(["evaluate", str(run.root), "--store", other.url]) == 6
        assert "being replaced" in capsys.readouterr().err

    def test_an_evaluation_config_decides(
        self, trained: tuple[RunDirectory, DirectoryStore], tmp_path: Path, capsys: Capture
    ) -> None:
        run, store = trained
        config = tmp_path / "eval.yaml"
        config.write_text("data: {task: advection1d, split: val}\nevaluation: {rollout_steps: 2}\n")
        assert main(["evaluate", str(run.root), "--store", store.url, "--config", str(config), "--json"]) == 0
        splits = records(capsys)[-1]["report"]["splits"]
        assert list(splits) == ["val"]
        assert splits["val"]["tasks"]["advection1d"]["steps"] == 2

    @pytest.mark.parametrize("by_config", [False, True])
    def test_test_time_compute_is_judged_beside_none(
        self,
        trained: tuple[RunDirectory, DirectoryStore],
        tmp_path: Path,
        capsys: Capture,
        *,
        by_config: bool,
    ) -> None:
        run, store = trained
        config = tmp_path / "eval.yaml"
        config.write_text(f"ttc: {{enabled: {by_config}, candidates: 3}}\nevaluation: {{rollout_steps: 2}}\n")
        arguments = ["evaluate", str(run.root), "--store", store.url, "--config", str(config), "--json"]
        assert main([*arguments, *([] if by_config else ["--ttc"])]) == 0
        ttc = records(capsys)[-1]["report"]["splits"]["test"]["ttc"]
        assert ttc["search"]["advection1d"]["candidates"] == 3
        for way in ("off", "average", "on"):
            assert ttc[way]["tasks"]["advection1d"] > 0


class TestMakeAndImport:
    def test_make_fills_the_store_and_twice_is_once(self, tmp_path: Path, capsys: Capture) -> None:
        store = DirectoryStore(tmp_path / "store")
        arguments = ["make", "advection1d", "--samples", "12", "--store", store.url]
        assert main([*arguments, "--json"]) == 0
        done = records(capsys)[-1]
        assert done["type"] == "done"
        assert done["datasets"][0]["task"] == "advection1d"
        assert store.local_path(dataset_key("advection1d", "train")) is not None
        assert main(arguments) == 0
        assert "advection1d: nothing new" in capsys.readouterr().out

    def test_import_refuses_what_is_no_raw_file(self, tmp_path: Path, capsys: Capture) -> None:
        file = tmp_path / "x.hdf5"
        file.write_bytes(b"no HDF5")
        assert main(["import", "advection1d", str(file), "--store", f"dir:{tmp_path}/store"]) == 3
        assert "x.hdf5" in capsys.readouterr().err
