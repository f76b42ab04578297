from dataclasses import replace
from pathlib import Path

import pytest

from console.api import LaunchRequest
from console.runs.registry import RunHandle
from console.runs.sweep import SweepMark, expand, new_id, read_mark, write_mark
from console.sweep_api import SweepRequest
from ups.errors import ConfigError, UpsError, UsageError

TWO, WIDE = Path("train_pdebench_2task_baseline"), Path("train_pdebench_2task_192d")
LR = "stages.operator.optimizer.lr"


def request(
    *axes: str, configs: tuple[Path, ...] = (TWO,), launch: LaunchRequest | None = None
) -> SweepRequest:
    return SweepRequest(configs, launch or LaunchRequest(configs[0]), axes)


def test_configs_come_in_their_order_and_values_as_their_product() -> None:
    found = expand(request(f"{LR}=1e-3,2e-3", "training.batch_size=4,8", configs=(TWO, WIDE)))

    assert [member.request.config for member in found] == [TWO] * 4 + [WIDE] * 4
    pairs = [(member.differs[LR], member.differs["training.batch_size"]) for member in found]
    assert pairs == [(1e-3, 4), (1e-3, 8), (2e-3, 4), (2e-3, 8)] * 2
    assert found[0].config.training.batch_size == 4
    assert found[0].differs["latent.dim"] == 128
    assert found[4].differs["latent.dim"] == 192
    assert "seed" not in found[0].differs


def test_values_are_yaml_and_may_hold_commas_of_their_own() -> None:
    found = expand(request('data.task=[advection1d],[advection1d, "darcy2d"]'))

    assert [member.config.data.task for member in found] == [("advection1d",), ("advection1d", "darcy2d")]


def test_what_is_set_for_all_holds_for_each() -> None:
    launch = LaunchRequest(TWO, tasks=("darcy2d",), stage="operator", overrides=("seed=7",))

    found = expand(request("training.batch_size=4,8", launch=launch))

    assert [(m.config.seed, m.config.data.task, m.config.stages.names) for m in found] == [
        (7, ("darcy2d",), ("operator",))
    ] * 2
    assert [dict(member.differs) for member in found] == [
        {"training.batch_size": 4},
        {"training.batch_size": 8},
    ]


@pytest.mark.parametrize(
    ("axes", "kind", "says", "hint"),
    [
        (["training.batch_sise=4,8"], ConfigError, "unknown key training.batch_sise", "batch_size"),
        (["training.batch_size=4,many"], ConfigError, "--sweep training.batch_size=many: ", ""),
        (["seed=1,2", "training.batch_size=4,-1"], ConfigError, "--sweep training.batch_size=-1: ", ""),
        (["training.batch_size"], UsageError, "write key.path=value,value", ""),
        (["training.batch_size="], UsageError, "training.batch_size has no values", "=value,value"),
        (["training.batch_size=4,,8"], UsageError, "a value is empty", "single commas"),
        (["training.batch_size=4,"], UsageError, "a value is empty", "single commas"),
        (["seed=1,2", "seed=3"], UsageError, "--sweep seed is given twice", "one list"),
        (["training.batch_size=4,4"], UsageError, "the same run twice", "seed=1,2"),
        (["seed=1,2", "training.batch_size=8,08"], UsageError, "the same run twice", "once"),
        ([f"seed={','.join(map(str, range(300)))}"], UsageError, "300 runs; 256 are the most", "fewer"),
    ],
)
def test_bad_values_are_refused_by_name(axes: list[str], kind: type[UpsError], says: str, hint: str) -> None:
    with pytest.raises(kind) as caught:
        expand(request(*axes))

    assert says in caught.value.message
    assert hint in caught.value.hint


def test_values_that_fit_alone_but_not_together_are_named_together() -> None:
    pdet = "operator.pdet"

    with pytest.raises(ConfigError, match=f"--sweep {pdet}.hidden_dim=128, {pdet}.num_heads=12"):
        expand(request(f"{pdet}.hidden_dim=384,128", f"{pdet}.num_heads=12"))


def test_a_config_that_is_given_twice_is_one_run_too_many() -> None:
    with pytest.raises(UsageError, match=f"the same run twice: {TWO}"):
        expand(request(configs=(TWO, TWO)))
    with pytest.raises(ConfigError, match="there is no config nope"):
        expand(request(configs=(TWO, Path("nope"))))


@pytest.mark.parametrize("launch", [LaunchRequest(TWO, overrides=("seed=1",)), LaunchRequest(TWO)])
def test_a_key_cannot_be_swept_and_set(launch: LaunchRequest) -> None:
    axis = "seed=1,2" if launch.overrides else "data.task=[advection1d],[darcy2d]"

    with pytest.raises(UsageError, match="both swept and set"):
        expand(request(axis, launch=replace(launch, tasks=() if launch.overrides else ("darcy2d",))))


def test_a_run_remembers_its_sweep(tmp_path: Path) -> None:
    handle = RunHandle("1130-abcd", tmp_path)
    mark = SweepMark(new_id(), 2, 3, {"training.batch_size": 8})
    assert read_mark(handle) is None

    write_mark(handle, mark)

    assert read_mark(handle) == mark
    (tmp_path / "sweep.json").write_text("{}")
    assert read_mark(handle) is None, "a damaged mark hides no run"
