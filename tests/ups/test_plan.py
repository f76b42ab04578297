"""Plans: the shipped one follows the gates of its configs; a mistake is named where it stands."""

from pathlib import Path

import pytest

from ups.config import load_train_config
from ups.config_patch import patched
from ups.errors import ConfigError
from ups.plan import Plan, load_plan

CONFIGS = Path(__file__).parents[2] / "configs"
PLANS = sorted((CONFIGS / "plans").glob("*.yaml"))


@pytest.fixture(scope="module")
def scaling() -> Plan:
    return load_plan(CONFIGS / "plans" / "pdebench_scaling.yaml")


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_config_of_a_shipped_plan_is_valid(path: Path) -> None:
    for phase in load_plan(path).phases:
        for name in phase.configs:
            load_train_config(CONFIGS / f"{name}.yaml")


def test_the_scaling_plan_has_its_phases_and_cache_steps(scaling: Plan) -> None:
    assert [phase.configs[:1] for phase in scaling.phases] == [
        (), ("train_pdebench_2task_baseline",), ("train_pdebench_4task_curriculum",),
        ("train_pdebench_5task_production",), ("train_pdebench_mixed_modality",),
    ]  # fmt: skip
    assert {version for phase in scaling.phases for version in phase.caches} == {
        "upt_128d_128tok", "upt_128d_192tok", "upt_192d_192tok",
    }  # fmt: skip
    assert all(phase.minutes for phase in scaling.phases if phase.configs)


def test_a_phase_comes_after_the_data_that_its_config_needs(scaling: Plan) -> None:
    there: set[str] = set()
    for phase in scaling.phases:
        there |= set(phase.data)
        for name in phase.configs:
            assert set(load_train_config(CONFIGS / f"{name}.yaml").data.task) <= there


def test_whoever_passes_a_phase_goes_on_to_the_next(scaling: Plan) -> None:
    for phase, following in zip(scaling.phases[1:], scaling.phases[2:], strict=False):
        for name in phase.configs:
            gates = load_train_config(CONFIGS / f"{name}.yaml").gates
            assert gates.next is not None
            assert gates.next.config in following.configs


def test_every_config_from_phase_two_on_has_a_cache_that_fits(scaling: Plan) -> None:
    for phase in scaling.phases[2:]:
        for name in phase.configs:
            assert phase.cache_of(load_train_config(CONFIGS / f"{name}.yaml"))
    wide = load_train_config(CONFIGS / "train_pdebench_2task_192d.yaml").gates.next
    assert wide is not None
    four = patched(load_train_config(CONFIGS / f"{wide.config}.yaml"), wide.patch)
    assert scaling.phases[2].cache_of(four) == "upt_192d_192tok"
    assert scaling.phases[1].cache_of(four) is None


@pytest.mark.parametrize(
    ("name", "belongs"), [("a", True), ("a-longer", True), ("a-longer-longest", True), ("ab", False)]
)
def test_what_the_gates_make_of_a_config_belongs_to_its_phase(name: str, belongs: bool) -> None:
    plan = Plan.model_validate({"phases": [{"name": "1", "configs": ["a"]}]})

    assert plan.phases[0].has(name) is belongs


@pytest.mark.parametrize(
    ("phases", "says"),
    [
        ("[]", ":1: phases: "),
        ("[{name: a}]", ":1: phases.0.name: needs data or configs"),
        ("[{name: a, data: [darcy2]}]", "phases.0.data.0: there is no task 'darcy2'; did you mean darcy2d?"),
        ("[{name: a, configs: [b], caches: [128d]}]", "phases.0.caches.0: '128d' is no cache version"),
        ("[{name: a, configs: [b]}, {name: a, configs: [c]}]", "phases.1.name: two phases are called a"),
        ("[{name: a, config: [b]}]", "unknown key phases.0.config"),
        ("[{name: a, configs: [b], minutes: 0}]", "phases.0.minutes"),
    ],
)
def test_a_mistake_is_named_where_it_stands(tmp_path: Path, phases: str, says: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(f"phases: {phases}\n")

    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    assert says in caught.value.message
