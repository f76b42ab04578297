"""Configs: the shipped ones load with the planned numbers, and every mistake is named where it stands."""

import contextlib
import copy
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ups.config import (
    STAGES,
    EvalConfig,
    TrainConfig,
    load_eval_config,
    load_train_config,
    parse_train_config,
)
from ups.errors import ConfigError
from ups.yaml_config import edit_distance, load_section, walk

CONFIGS = Path(__file__).parents[2] / "configs"
PLANNED = Path(__file__).parents[1] / "data" / "planning_configs"
TRAIN = sorted([*CONFIGS.glob("train_*.yaml"), CONFIGS / "local_2task.yaml"])
EVAL = sorted(CONFIGS.glob("eval_*.yaml"))

MINIMAL = """\
data:
  task: burgers1d
stages:
  operator:
    epochs: 4
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def refused(path: Path, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_train_config(path, overrides)
    assert "\n" not in caught.value.message
    return caught.value


class TestShippedConfigs:
    def test_all_are_there(self) -> None:
        assert {path.stem for path in TRAIN + EVAL} == {
            "local_2task", "train_burgers_upt_full", "train_burgers_quality_v2",
            "train_pdebench_2task_baseline", "train_pdebench_2task_192d",
            "train_pdebench_4task_curriculum", "train_pdebench_5task_production",
            "train_pdebench_mixed_modality", "eval_pdebench_scale_ttc", "eval_pdebench_scale_test_ttc",
        }  # fmt: skip

    @pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.stem)
    def test_training_configs_load_and_survive_the_run_file(self, path: Path) -> None:
        config = load_train_config(path)

        assert parse_train_config(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config

    @pytest.mark.parametrize("path", EVAL, ids=lambda path: path.stem)
    def test_evaluation_configs_load(self, path: Path) -> None:
        assert load_eval_config(path).ttc.enabled

    def test_one_evaluates_validation_and_the_other_test(self) -> None:
        assert load_eval_config(CONFIGS / "eval_pdebench_scale_ttc.yaml").data.split == "val"
        assert load_eval_config(CONFIGS / "eval_pdebench_scale_test_ttc.yaml").data.split == "test"

    @pytest.mark.parametrize("path", [p for p in TRAIN if p.stem.startswith("train_")], ids=lambda p: p.stem)
    def test_a_batch_of_an_optimizer_step_is_48_samples(self, path: Path) -> None:
        training = load_train_config(path).training

        assert isinstance(training.batch_size, int)
        assert training.batch_size * training.accum_steps == 48

    def test_192d_differs_from_the_baseline_only_in_its_sizes(self) -> None:
        small = without_gates(read(CONFIGS / "train_pdebench_2task_baseline.yaml"))
        large = without_gates(read(CONFIGS / "train_pdebench_2task_192d.yaml"))

        assert {key: large[key] for key in large if large[key] != small.get(key)} == {
            "latent.dim": 192, "latent.tokens": 192,
            "operator.pdet.input_dim": 192, "operator.pdet.hidden_dim": 576,
            "diffusion.latent_dim": 192, "diffusion.hidden_dim": 576,
            "training.batch_size": 6, "training.accum_steps": 8,
            "logging.wandb.tags": ["pdebench", "multi-task", "2task-192d", "192d"],
        }  # fmt: skip
        assert large.keys() == small.keys()

    def test_the_burgers_reference_has_its_sizes(self) -> None:
        config = load_train_config(CONFIGS / "train_burgers_upt_full.yaml")

        assert config.data.task == ("burgers1d",)
        assert (config.latent.dim, config.latent.tokens) == (128, 128)
        assert (config.operator.pdet.hidden_dim, config.operator.pdet.depth) == (384, 10)
        assert config.training.batch_size == 12

    def test_quality_v2_is_the_same_problem_on_a_longer_schedule(self) -> None:
        full = load_train_config(CONFIGS / "train_burgers_upt_full.yaml")
        quality = load_train_config(CONFIGS / "train_burgers_quality_v2.yaml")

        assert quality.data == full.data
        assert quality.operator == full.operator
        assert quality.stages.operator.epochs > full.stages.operator.epochs

    def test_stages_run_in_their_order(self) -> None:
        assert load_train_config(CONFIGS / "train_pdebench_2task_baseline.yaml").stages.names == STAGES
        assert load_train_config(CONFIGS / "train_pdebench_4task_curriculum.yaml").stages.names == (
            "operator",
        )


class TestPlannedConfigs:
    """The YAML of the planning document, as written there."""

    @pytest.mark.parametrize("path", sorted(PLANNED.glob("*.yaml")), ids=lambda path: path.stem)
    def test_loads(self, path: Path) -> None:
        load_train_config(path)

    @pytest.mark.parametrize("path", sorted(PLANNED.glob("*.yaml")), ids=lambda path: path.stem)
    def test_the_shipped_config_adds_only_gates_and_target(self, path: Path) -> None:
        planned, shipped = flat(read(path)), read(CONFIGS / path.name)

        assert shipped.pop("target_nrmse")
        assert shipped.pop("gates")["proceed"]
        assert flat(shipped) == planned

    def test_there_are_four(self) -> None:
        assert len(list(PLANNED.glob("*.yaml"))) == 4


class TestValues:
    def test_a_single_task_is_a_list_of_one(self, write: Write) -> None:
        assert load_train_config(write(MINIMAL)).data.task == ("burgers1d",)

    def test_override_of_a_nested_key(self, write: Write) -> None:
        config = load_train_config(write(MINIMAL), ["training.physics_priors.enabled=true", "seed=7"])

        assert config.training.physics_priors.enabled
        assert config.seed == 7

    def test_override_takes_numbers_as_people_write_them(self, write: Write) -> None:
        assert load_train_config(write(MINIMAL), ["training.noise=1e-3"]).training.noise == 1e-3

    def test_override_of_a_list(self, write: Write) -> None:
        config = load_train_config(write(MINIMAL), ["data.task=[advection1d, darcy2d]"])

        assert config.data.task == ("advection1d", "darcy2d")

    def test_override_of_one_entry_of_a_list(self) -> None:
        config = load_train_config(
            CONFIGS / "train_pdebench_4task_curriculum.yaml",
            ["training.task_curriculum.stages.2.weights=uniform"],
        )

        assert [stage.weights for stage in config.training.task_curriculum.stages] == ["uniform"] * 3

    def test_override_does_not_reach_through_a_yaml_anchor(self, write: Write) -> None:
        text = MINIMAL + "  diff_residual: &short\n    epochs: 2\n  consistency_distill: *short\n"

        config = load_train_config(write(text), ["stages.diff_residual.epochs=9"])

        assert config.stages.diff_residual is not None
        assert config.stages.consistency_distill is not None
        assert (config.stages.diff_residual.epochs, config.stages.consistency_distill.epochs) == (9, 2)

    def test_batch_size_per_task(self, write: Write) -> None:
        config = load_train_config(write(MINIMAL + "training: {batch_size: {burgers1d: 3, default: 5}}\n"))

        assert config.training.batch_size_of("burgers1d") == 3
        assert config.training.batch_size_of("darcy2d") == 5

    def test_a_byte_order_mark_is_no_mistake(self, tmp_path: Path) -> None:
        path = tmp_path / "bom.yaml"
        path.write_text(MINIMAL, encoding="utf-8-sig")

        assert load_train_config(path).stages.operator.epochs == 4

    def test_configs_cannot_be_changed_after_loading(self, write: Write) -> None:
        config = load_train_config(write(MINIMAL))

        with pytest.raises(ValueError, match="frozen"):
            config.seed = 3  # type: ignore[misc]


class TestFilesThatAreNoConfig:
    def test_missing(self, tmp_path: Path) -> None:
        (tmp_path / "local_2task.yaml").touch()

        error = refused(tmp_path / "local_2taks.yaml")

        assert "there is no config" in error.message
        assert error.hint == f"did you mean {tmp_path / 'local_2task.yaml'}?"

    def test_directory(self, tmp_path: Path) -> None:
        assert refused(tmp_path).message == f"{tmp_path} is a directory"

    def test_empty(self, write: Write) -> None:
        assert refused(path := write("# nothing\n")).message == f"{path} is empty"

    def test_a_list(self, write: Write) -> None:
        assert "is not a mapping" in refused(write("- a\n- b\n")).message

    def test_not_yaml(self, write: Write) -> None:
        error = refused(path := write("data:\n  task: [a\nseed: 1\n"))

        assert error.message.startswith(f"{path}:3: not valid YAML: ")

    def test_control_characters(self, write: Write) -> None:
        assert "not valid YAML" in refused(write("seed: \x00\n")).message

    def test_two_documents(self, write: Write) -> None:
        assert "not valid YAML" in refused(write(MINIMAL + "---\n" + MINIMAL)).message

    def test_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "latin1.yaml"
        path.write_bytes("seed: 1 # größe".encode("latin-1"))

        assert refused(path).message == f"{path} is not UTF-8 text (byte 12)"

    def test_python_objects_are_not_made(self, write: Write) -> None:
        assert "not valid YAML" in refused(write("seed: !!python/object/apply:os.getcwd []\n")).message

    def test_a_cyclic_document(self, write: Write) -> None:
        refused(write("data: &a\n  task: *a\nstages: {operator: {epochs: 1}}\n"))

    def test_every_error_is_exit_code_3(self, tmp_path: Path) -> None:
        assert refused(tmp_path).exit_code == 3


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "line", "key", "meant"),
        [
            (MINIMAL + "sed: 3\n", 6, "sed", "seed"),
            (MINIMAL + "training:\n  batch_sise: 3\n", 7, "training.batch_sise", "batch_size"),
            (
                MINIMAL + "operator:\n  pdet:\n    hidden_dimm: 3\n",
                8, "operator.pdet.hidden_dimm", "hidden_dim",
            ),
            (
                MINIMAL + "    optimizer:\n      weight_decoy: 0.1\n",
                7, "stages.operator.optimizer.weight_decoy", "weight_decay",
            ),
            (
                MINIMAL + "training:\n  task_curriculum:\n    stages:\n    - epochs: [0, 2]\n      task: a\n",
                10, "training.task_curriculum.stages.0.task", "tasks",
            ),
        ],
    )  # fmt: skip
    def test_unknown_key(self, write: Write, text: str, line: int, key: str, meant: str) -> None:
        error = refused(path := write(text))

        assert error.message == f"{path}:{line}: unknown key {key}"
        assert f"did you mean {meant}?" in error.hint

    def test_a_key_of_another_section_is_sent_there(self, write: Write) -> None:
        error = refused(write(MINIMAL + "muon_backend: auto\n"))

        assert error.hint == "it belongs at stages.operator.optimizer.muon_backend"

    def test_a_key_that_resembles_nothing(self, write: Write) -> None:
        assert "docs/configs.md" in refused(write(MINIMAL + "zzzzzzzzzz: 1\n")).hint

    @pytest.mark.parametrize("name", ["int", "float", "str", "1", "[x]"])
    def test_an_unknown_key_that_looks_like_a_type(self, write: Write, name: str) -> None:
        assert "unknown key" in refused(write(MINIMAL + f'"{name}": 1\n')).message

    def test_a_key_that_is_no_text(self, write: Write) -> None:
        refused(write(MINIMAL + "1: 1\n"))

    def test_a_misspelled_section_is_named_rather_than_missed(self, write: Write) -> None:
        error = refused(path := write(MINIMAL.replace("stages", "stage")))

        assert error.message == f"{path}:3: unknown key stage"
        assert "did you mean stages?" in error.hint

    @pytest.mark.parametrize("section", ["data", "stages"])
    def test_missing_section(self, write: Write, section: str) -> None:
        content = yaml.safe_load(MINIMAL)
        del content[section]

        error = refused(path := write(yaml.safe_dump(content)))

        assert error.message == f"{path}: {section} is missing"

    def test_missing_key_names_the_section_it_is_missing_from(self, write: Write) -> None:
        error = refused(path := write("data: {task: burgers1d}\nstages:\n  operator:\n    patience: 3\n"))

        assert error.message == f"{path}:3: stages.operator.epochs is missing"

    def test_empty_section(self, write: Write) -> None:
        error = refused(path := write(MINIMAL + "training:\n"))

        assert error.message == f"{path}:6: training is empty"
        assert "remove the line" in error.hint

    def test_value_in_the_place_of_a_section(self, write: Write) -> None:
        error = refused(path := write(MINIMAL + "training: 5\n"))

        assert error.message == f"{path}:6: training must be a section of keys, not 5"

    @pytest.mark.parametrize(
        ("key", "value", "says"),
        [
            ("seed", "many", "valid integer"),
            ("seed", "-1", "greater than or equal to 0"),
            ("deterministic", "perhaps", "valid boolean"),
            ("latent.dim", "12.5", "valid integer"),
            ("training.grad_clip", "0", "greater than 0"),
            ("training.noise", ".inf", "finite"),
            ("training.noise", ".nan", "finite"),
            ("training.batch_size", "few", "valid integer"),
            ("training.batch_size", "{burgers1d: 0}", "greater than or equal to 1"),
            ("training.ema_decay", "1.0", "less than 1"),
            ("operator.pdet.drop_path", "1.5", "less than or equal to 1"),
            ("operator.architecture_type", "unet", "'pdet_stack'"),
            ("stages.operator.optimizer.betas", "[0.9]", "betas.1 is missing"),
            ("data.split", "validation", "'train', 'val' or 'test'"),
            ("data.task", "[]", "at least 1"),
            ("data.task", "[darcy2d, darcy2d]", "listed twice"),
            ("data.task_sampling.weights", "{darcy2d_mesh: 2}", "none of data.task"),
            ("data.task_sampling.weights", "{burgers1d: 0}", "no task any samples"),
            ("data.task_sampling.weights", "{burgers1d: -1}", "greater than or equal to 0"),
        ],
    )
    def test_wrong_value(self, write: Write, key: str, value: str, says: str) -> None:
        content = yaml.safe_load(MINIMAL)
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = yaml.safe_load(value)

        error = refused(path := write(yaml.safe_dump(content)))

        line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if f"{last}:" in text)
        place, _, text = error.message.removeprefix(f"{path}:").partition(": ")
        assert text.startswith(key)
        assert says in text
        assert line <= int(place) <= line + 1

    def test_several_mistakes_are_counted(self, write: Write) -> None:
        assert refused(write(MINIMAL + "seed: x\nlatent: {dim: y}\n")).hint == "and 1 more"

    def test_a_key_written_twice(self, write: Write) -> None:
        error = refused(path := write(MINIMAL + "seed: 1\nseed: 2\n"))

        assert error.message == f"{path}:7: seed is written twice"

    def test_bad_task_name(self, write: Write) -> None:
        error = refused(
            path := write("data:\n  task:\n  - darcy2d\n  - burgers\nstages: {operator: {epochs: 1}}\n")
        )

        assert error.message == f"{path}:4: data.task.1: there is no task 'burgers'; did you mean burgers1d?"

    @pytest.mark.parametrize(
        ("section", "key"),
        [
            ("operator: {patch: {advection: 8}}", "operator.patch.advection"),
            ("training: {batch_size: {advection: 8}}", "training.batch_size.advection"),
        ],
    )
    def test_bad_task_name_as_a_key(self, write: Write, section: str, key: str) -> None:
        error = refused(path := write(f"{MINIMAL}{section}\n"))

        assert error.message.startswith(f"{path}:6: {key}: there is no task 'advection'")

    def test_latent_width_and_operator_width_differ(self, write: Write) -> None:
        error = refused(path := write(MINIMAL + "latent:\n  dim: 64\n"))

        assert "operator.pdet.input_dim: 128 must equal latent.dim (64)" in error.message
        assert str(path) in error.message

    def test_heads_do_not_divide_the_width(self, write: Write) -> None:
        error = refused(path := write(MINIMAL + "operator:\n  pdet:\n    hidden_dim: 100\n"))

        assert error.message.startswith(f"{path}:8: operator.pdet.hidden_dim: 100 must be a multiple of")


def curriculum(*stages: tuple[int, int], tasks: str = "burgers1d", enabled: bool = True) -> str:
    lines = [
        MINIMAL,
        "training:",
        "  task_curriculum:",
        f"    enabled: {str(enabled).lower()}",
        "    stages:",
    ]
    lines += [f"    - {{epochs: [{a}, {b}], tasks: [{tasks}]}}" for a, b in stages]
    return "\n".join(lines).replace("\n\n", "\n") + "\n"


class TestCurricula:
    @pytest.mark.parametrize(
        ("stages", "line", "expected"),
        [
            ([(0, 5), (6, 10)], 11, 5),
            ([(0, 5), (4, 10)], 11, 5),
            ([(1, 5)], 10, 0),
            ([(0, 0)], 10, 0),
            ([(0, 5), (5, 3)], 11, 5),
        ],
        ids=["gap", "overlap", "late", "empty", "backwards"],
    )
    def test_stages_must_follow_one_another(
        self, write: Write, stages: list[tuple[int, int]], line: int, expected: int
    ) -> None:
        error = refused(path := write(curriculum(*stages)))

        assert error.message.startswith(f"{path}:{line}: training.task_curriculum.stages.")
        assert f"must begin at epoch {expected}" in error.message

    def test_a_stage_names_a_task_that_is_not_learned(self, write: Write) -> None:
        error = refused(path := write(curriculum((0, 5), tasks="burgers1d, darcy2d")))

        assert error.message == (
            f"{path}:10: training.task_curriculum.stages.0.tasks.1: darcy2d is not in data.task"
        )

    def test_enabled_without_stages(self, write: Write) -> None:
        error = refused(write(MINIMAL + "training: {task_curriculum: {enabled: true}}\n"))

        assert "training.task_curriculum.stages: is enabled without stages" in error.message

    @pytest.mark.parametrize(
        ("stages", "boundaries", "says"),
        [
            ("[1, 2]", "[0]", "as many as stages"),
            ("[1, 2]", "[0, 0]", "begin at 0 and increase"),
            ("[1]", "[3]", "begin at 0 and increase"),
            ("[]", "[]", "begin at 0 and increase"),
        ],
    )
    def test_rollout_boundaries(self, write: Write, stages: str, boundaries: str, says: str) -> None:
        text = f"training: {{rollout_curriculum: {{stages: {stages}, epoch_boundaries: {boundaries}}}}}\n"

        error = refused(path := write(MINIMAL + text))

        assert error.message.startswith(f"{path}:6: training.rollout_curriculum.epoch_boundaries: ")
        assert says in error.message


class TestGates:
    @pytest.mark.parametrize(
        ("gates", "key", "says"),
        [
            ("{actions: [{verdict: a, patch: {operator.pdet.deptj: 1}}]}",
             "gates.actions.0.patch.operator.pdet.deptj", "did you mean operator.pdet.depth?"),
            ("{next: {patch: {stages.operator.optimizer.rate: 1}}}",
             "gates.next.patch.stages.operator.optimizer.rate", "there is no key"),
            ("{tasks: {burgers2d: 0.1}}", "gates.tasks.burgers2d", "did you mean burgers1d?"),
            ("{actions: [{verdict: a, when: {tasks: [darcy]}}]}",
             "gates.actions.0.when.tasks.0", "there is no task"),
            ("{actions: [{verdict: a}, {verdict: a}]}",
             "gates.actions.1.verdict", "two actions are called a"),
            ("{tasks: {default: 0}}", "gates.tasks.default", "greater than 0"),
            ("{actions: [{verdict: Two Words}]}", "gates.actions.0.verdict", "pattern"),
        ],
    )  # fmt: skip
    def test_a_mistake_is_found_before_a_run_is_paid_for(
        self, write: Write, gates: str, key: str, says: str
    ) -> None:
        path = write(MINIMAL + f"gates: {gates}\n")

        error = refused(path)

        assert error.message.startswith(f"{path}:6: {key}: ")
        assert says in error.message

    def test_a_patch_may_reach_into_lists_and_names_of_tasks(self, write: Write) -> None:
        patch = "{training.task_curriculum.stages.1.weights: uniform, operator.patch.burgers1d: 4}"

        load_train_config(write(MINIMAL + f"gates: {{actions: [{{verdict: a, patch: {patch}}}]}}\n"))

    def test_old_gates_still_load(self, write: Write) -> None:
        gates = load_train_config(write(MINIMAL + "gates: {proceed: 0.1, stop: 0.15}\n")).gates

        assert (gates.proceed, gates.stop, gates.threshold_of("burgers1d")) == (0.1, 0.15, None)


class TestOverrideMistakes:
    @pytest.mark.parametrize("override", ["seed", "=3", "", "training..noise=1", ".seed=1"])
    def test_not_key_and_value(self, write: Write, override: str) -> None:
        assert refused(write(MINIMAL), override).message == f"--set {override}: write key.path=value"

    def test_value_is_not_yaml(self, write: Write) -> None:
        assert refused(write(MINIMAL), "seed=[1").message == "--set seed=[1: the value is not valid YAML"

    def test_unknown_key(self, write: Write) -> None:
        error = refused(write(MINIMAL), "training.batchsize=3")

        assert error.message == "--set training.batchsize=3: unknown key training.batchsize"
        assert error.hint == "did you mean batch_size?"

    def test_unknown_section(self, write: Write) -> None:
        error = refused(write(MINIMAL), "trianing.noise=0")

        assert error.message == "--set trianing.noise=0: unknown key trianing"
        assert error.hint == "did you mean training?"

    def test_wrong_type(self, write: Write) -> None:
        assert refused(write(MINIMAL), "seed=x").message.startswith("--set seed=x: seed: input should be")

    def test_a_value_is_no_section(self, write: Write) -> None:
        assert (
            refused(write(MINIMAL), "data.task.x=1").message == "--set data.task.x=1: task is not a section"
        )

    def test_an_entry_that_a_list_does_not_have(self) -> None:
        path = CONFIGS / "train_pdebench_4task_curriculum.yaml"

        error = refused(path, "training.task_curriculum.stages.3.weights=uniform")

        assert "training.task_curriculum.stages has 3 entries, counted from 0" in error.message


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of a nested mapping by their dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in content.items():
        leaves.update(
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        )
    return leaves


def without_gates(content: dict[str, Any]) -> dict[str, Any]:
    return flat({name: value for name, value in content.items() if name != "gates"})


def misspellings(word: str) -> st.SearchStrategy[str]:
    """Words one slip of the finger away: a letter more, less, other, or two swapped."""
    letters = st.sampled_from(string.ascii_lowercase + "_")
    positions = st.integers(0, len(word) - 1)
    return st.one_of(
        st.builds(lambda i, c: word[:i] + c + word[i:], st.integers(0, len(word)), letters),
        st.builds(lambda i: word[:i] + word[i + 1 :], positions),
        st.builds(lambda i, c: word[:i] + c + word[i + 1 :], positions, letters),
        st.builds(lambda i: word[:i] + word[i + 1 : i + 2] + word[i] + word[i + 2 :], positions),
    ).filter(bool)


def key_holders(content: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a config that holds keys of the schema (not names of tasks)."""
    if isinstance(content, dict):
        if content:
            yield content
        for name, value in content.items():
            if name not in {"patch", "batch_size", "tasks"}:
                yield from key_holders(value)
    elif isinstance(content, list):
        for value in content:
            yield from key_holders(value)


@given(st.data())
def test_any_slip_in_any_key_is_named_with_the_key_that_was_meant(data: st.DataObject) -> None:
    content = copy.deepcopy(_EVERY_KEY)
    section = data.draw(st.sampled_from(list(key_holders(content))))
    key = data.draw(st.sampled_from(sorted(section)))
    wrong = data.draw(misspellings(key).filter(lambda word: word not in _NAMES and word not in section))
    section[wrong] = section.pop(key)

    with pytest.raises(ConfigError) as caught:
        parse_train_config(content)

    assert "unknown key" in caught.value.message
    assert caught.value.message.endswith(wrong)
    suggested = caught.value.hint.removeprefix("did you mean ").split("?")[0].split(" or ")
    assert key in suggested
    assert all(edit_distance(wrong, other) == 1 for other in suggested)


_NAMES = {name for _, _, name in walk(TrainConfig)}
_EVERY_KEY = load_train_config(
    CONFIGS / "train_pdebench_4task_curriculum.yaml",
    ["stages.diff_residual.epochs=1", "stages.consistency_distill.epochs=1"],
).model_dump(mode="json")


@given(st.binary(max_size=64))
def test_any_bytes_are_a_config_error_or_a_config(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.yaml"
    path.write_bytes(content)

    with contextlib.suppress(ConfigError):
        load_section(EvalConfig, path)
