"""The decision gates of the shipped configs: verdicts at their boundaries, and the config that comes next."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ups.config import Gates, Plateau, TrainConfig, load_train_config, parse_train_config
from ups.config_patch import next_name, patched, render, without_action
from ups.errors import ConfigError
from ups.evaluation.gates import Decision, decide
from ups.evaluation.validation_curves import Point, has_blown_up, has_levelled_off, read
from ups.events import EventType, EventWriter

CONFIGS = Path(__file__).parents[3] / "configs"
TRAIN = sorted([*CONFIGS.glob("train_*.yaml"), CONFIGS / "local_2task.yaml"])
FALLING = [Point(epoch, 1 / (1 + epoch)) for epoch in range(40)]
FLAT = [Point(epoch, max(0.12, 1 / (1 + epoch))) for epoch in range(40)]
BURST = [*FALLING[:30], Point(30, 0.5)]

PHASE1, PHASE1_192 = "train_pdebench_2task_baseline", "train_pdebench_2task_192d"
PHASE2, PHASE3 = "train_pdebench_4task_curriculum", "train_pdebench_5task_production"
PHASE4 = "train_pdebench_mixed_modality"


def shipped(name: str) -> TrainConfig:
    return load_train_config(CONFIGS / f"{name}.yaml")


def report(
    config: TrainConfig,
    figure: float | None = 0.05,
    *,
    persistence: float = 1.0,
    aggregate: float | None = None,
    diverged: int = 0,
    **others: float | None,
) -> dict[str, Any]:
    """A report where every task reached `figure`, but for `others`."""
    figures = {task: others.get(task, figure) for task in config.data.task}
    known = [value for value in figures.values() if value is not None]
    mean = sum(known) / len(known) if len(known) == len(figures) else None
    tasks = {
        task: {"one_step": value, "persistence_one_step": persistence, "skill": True, "diverged": diverged}
        for task, value in figures.items()
    }
    found = {"tasks": tasks, "aggregate": {"one_step": mean if aggregate is None else aggregate}}
    return {"splits": {"val": {"tasks": {}}, "test": found}}


def judged(
    config: TrainConfig,
    content: Mapping[str, Any],
    curve: Sequence[Point] = FALLING,
) -> Decision:
    return decide(content, config, dict.fromkeys(config.data.task, curve))


class TestPhases:
    """What the planning document decides after each phase."""

    @pytest.mark.parametrize(
        ("name", "figure", "verdict", "following"),
        [
            (PHASE1, 0.0999, "proceed", PHASE2), (PHASE1, 0.10, "review", None),
            (PHASE1, 0.15, "review", None), (PHASE1, 0.1501, "scale", PHASE1_192),
            (PHASE1, 0.1925, "scale", PHASE1_192), (PHASE1, None, "scale", PHASE1_192),
            (PHASE1_192, 0.0999, "proceed", PHASE2), (PHASE1_192, 0.12, "review", None),
            (PHASE1_192, 0.16, "stop", None),
            (PHASE2, 0.0999, "proceed", PHASE3), (PHASE2, 0.10, "reweight", None),
            (PHASE2, 0.15, "reweight", None), (PHASE2, 0.1501, "longer", None),
            (PHASE3, 0.0799, "proceed", PHASE4), (PHASE3, 0.08, "review", None),
            (PHASE3, 0.1501, "longer", None),
            (PHASE4, 0.0999, "proceed", None), (PHASE4, 0.16, "finer", None),
        ],
    )  # fmt: skip
    def test_verdict_of_a_run_that_still_learns(
        self, name: str, figure: float | None, verdict: str, following: str | None
    ) -> None:
        decision = judged(config := shipped(name), report(config, figure))

        assert decision.verdict == verdict
        assert (decision.next.config if decision.next else None) == following
        assert decision.reasons

    def test_one_task_above_the_limit_is_enough_to_scale(self) -> None:
        decision = judged(config := shipped(PHASE1), report(config, 0.02, darcy2d=0.16))

        assert (decision.verdict, decision.aggregate) == ("scale", pytest.approx(0.09))
        assert decision.reasons == ("darcy2d is at 0.16, not below 0.1",)
        assert decision.tasks["advection1d"].passed

    @pytest.mark.parametrize(
        ("task", "figure", "passes"),
        [
            ("navier_stokes2d", 0.1199, True), ("navier_stokes2d", 0.12, False),
            ("reaction_diffusion2d", 0.0999, True), ("reaction_diffusion2d", 0.10, False),
            ("burgers1d", 0.0801, False),
        ],
    )  # fmt: skip
    def test_five_tasks_have_thresholds_of_their_own(self, task: str, figure: float, passes: bool) -> None:
        decision = judged(config := shipped(PHASE3), report(config, 0.05, **{task: figure}))

        assert (decision.verdict == "proceed") is passes

    def test_five_tasks_must_be_stable(self) -> None:
        decision = judged(config := shipped(PHASE3), report(config, 0.05, diverged=1))

        assert decision.verdict == "review"
        assert decision.reasons[0].endswith("diverged")

    @pytest.mark.parametrize(("task", "passes"), [("darcy2d_mesh", True), ("darcy2d", False)])
    def test_meshes_may_be_worse_than_grids(self, task: str, passes: bool) -> None:
        decision = judged(config := shipped(PHASE4), report(config, 0.05, **{task: 0.14}))

        assert (decision.verdict == "proceed") is passes

    def test_a_mesh_that_misses_gets_more_supernodes(self) -> None:
        config = shipped(PHASE4)

        decision = judged(config, report(config, 0.05, particles_advect=0.15))

        assert (decision.verdict, decision.next is not None) == ("finer", True)
        assert decision.next is not None
        data = patched(config, decision.next.patch).data
        assert (data.supernodes, data.message_passing_steps) == (4096, 5)

    @pytest.mark.parametrize("unstable", ["diverged", "validation", "not finite"])
    def test_an_unstable_mixed_run_gets_an_encoder_rate_then_stages(self, unstable: str) -> None:
        config = shipped(PHASE4)
        content = report(
            config, None if unstable == "not finite" else 0.3, diverged=int(unstable == "diverged")
        )
        curve = BURST if unstable == "validation" else FALLING

        first = judged(config, content, curve)
        assert first.verdict == "own_rate"
        assert first.next is not None
        second_config = without_action(patched(config, first.next.patch), "own_rate")
        second = judged(second_config, content, curve)
        assert second.verdict == "staged"
        assert second.next is not None
        stages = patched(second_config, second.next.patch).training.task_curriculum.stages

        assert [len(stage.tasks) for stage in stages] == [3, 4, 5]
        assert second_config.encoder.learning_rate == 3e-4

    def test_a_saturated_run_gets_depth_first_then_width(self) -> None:
        config = shipped(PHASE2)

        first = judged(config, report(config, 0.12), FLAT)
        assert first.verdict == "deeper"
        assert first.next is not None
        deeper = without_action(patched(config, first.next.patch), "deeper")
        second = judged(deeper, report(config, 0.12), FLAT)
        assert second.verdict == "scale"
        assert second.next is not None
        wider = patched(deeper, second.next.patch)

        assert (wider.operator.pdet.depth, wider.latent.dim, wider.latent.tokens) == (14, 192, 192)

    def test_a_change_that_the_config_has_already_is_passed_over(self) -> None:
        config = patched(shipped(PHASE2), {"operator.pdet.depth": 14})

        assert judged(config, report(config, 0.12), FLAT).verdict == "scale"

    def test_five_tasks_train_60_epochs_then_80_and_never_fewer_again(self) -> None:
        config, epochs, verdicts = shipped(PHASE3), [], []
        for _ in range(3):
            decision = judged(config, report(config, 0.2))
            verdicts.append(decision.verdict)
            if decision.next is None or decision.verdict is None:
                break
            config = without_action(patched(config, decision.next.patch), decision.verdict)
            epochs.append((config.stages.operator.epochs, config.training.lambda_spectral))

        assert verdicts == ["longer", "longest", "stop"]
        assert epochs == [(60, 0.1), (80, 0.1)]


class TestSkill:
    @pytest.mark.parametrize(("persistence", "verdict"), [(0.10, "proceed"), (0.099, "scale")])
    def test_counts_at_half_of_persistence_at_most(self, persistence: float, verdict: str) -> None:
        decision = judged(config := shipped(PHASE1), report(config, 0.05, persistence=persistence))

        assert decision.verdict == verdict

    def test_without_it_the_reason_says_what_copying_scores(self) -> None:
        decision = judged(config := shipped(PHASE1), report(config, 0.05, persistence=0.06))

        assert decision.reasons[0] == "advection1d has no skill: 0.05 beside 0.06 of persistence"

    def test_of_an_old_report_is_what_it_says(self) -> None:
        config = shipped(PHASE1)
        content = report(config, 0.05)
        for values in content["splits"]["test"]["tasks"].values():
            del values["persistence_one_step"]
        assert judged(config, content).verdict == "proceed"
        content["splits"]["test"]["tasks"]["darcy2d"]["skill"] = False
        assert judged(config, content).verdict == "scale"


class TestWhatCannotBeDecided:
    def test_a_missing_task(self) -> None:
        config = shipped(PHASE1)
        content = report(config)
        del content["splits"]["test"]["tasks"]["darcy2d"]

        decision = judged(config, content)

        assert (decision.verdict, decision.next) == ("incomplete", None)
        assert decision.reasons == ("darcy2d was not judged on the test split",)

    @pytest.mark.parametrize("content", [{}, {"splits": {"val": {}}}, {"splits": {"test": {}}}])
    def test_a_report_without_a_test_split(self, content: dict[str, Any]) -> None:
        assert judged(shipped(PHASE1), content).verdict == "incomplete"

    def test_without_gates_there_is_no_verdict(self) -> None:
        config = shipped(PHASE1).model_copy(update={"gates": Gates()})

        assert judged(config, report(config)).verdict is None

    def test_a_patch_that_does_not_fit_is_passed_over_and_named(self) -> None:
        config = load_train_config(CONFIGS / f"{PHASE4}.yaml")
        fewer = config.model_copy(
            update={
                "data": config.data.model_copy(update={"task": ("darcy2d_mesh",)}),
                "training": config.training.model_copy(
                    update={"task_curriculum": type(config.training.task_curriculum)()}
                ),
                "gates": config.gates.model_copy(update={"actions": config.gates.actions[1:]}),
            }
        )

        decision = judged(fewer, report(fewer, 0.3, diverged=1))

        assert decision.verdict == "finer"
        assert "staged does not fit this config" in " ".join(decision.reasons)


class TestPlateau:
    @pytest.mark.parametrize(
        ("last", "levelled"), [(0.99, True), (0.981, True), (0.98, False), (0.9, False), (1.5, True)]
    )
    def test_is_less_than_two_percent_in_eight_epochs(self, last: float, levelled: bool) -> None:
        curve = [Point(epoch, 1.0) for epoch in range(32)]
        curve += [Point(epoch, 1.0) for epoch in range(32, 39)] + [Point(39, last)]

        assert has_levelled_off(curve, Plateau()) is levelled

    @pytest.mark.parametrize("curve", [[], [Point(1, 0.5)], [Point(n, 0.5) for n in range(8)]])
    def test_is_unknown_of_a_short_curve(self, curve: list[Point]) -> None:
        assert has_levelled_off(curve, Plateau()) is None

    def test_of_an_unknown_curve_nothing_follows(self) -> None:
        config = shipped(PHASE2)

        assert decide(report(config, 0.12), config, {}).verdict == "reweight"

    def test_regards_only_the_tasks_that_missed(self) -> None:
        config = shipped(PHASE2)
        curves = dict.fromkeys(config.data.task, FALLING) | {"burgers1d": FLAT}

        assert decide(report(config, 0.05, burgers1d=0.12), config, curves).verdict == "deeper"
        assert decide(report(config, 0.05, darcy2d=0.12), config, curves).verdict == "reweight"

    @pytest.mark.parametrize(
        ("curve", "blown"),
        [([], False), (FALLING, False), (BURST, True), ([Point(0, 0.5), Point(1, None)], True)],
    )
    def test_blown_up(self, curve: list[Point], blown: bool) -> None:
        assert has_blown_up(curve) is blown


class TestCurves:
    def _write(self, path: Path, epochs: range, scale: float = 1.0) -> None:
        with EventWriter(path) as writer:
            for epoch in epochs:
                for task, value in (("darcy2d", scale / (1 + epoch)), (None, 9.0)):
                    writer.write(EventType.METRIC, stage="operator", epoch=epoch, step=epoch * 10,
                                 task=task, split="val", values={"nrmse": value})  # fmt: skip
                writer.write(EventType.METRIC, stage="diff_residual", epoch=epoch, step=0, task="darcy2d",
                             split="val", values={"nrmse": 7.0})  # fmt: skip
                writer.write(EventType.METRIC, stage="operator", epoch=epoch, step=0, task="darcy2d",
                             split="train", values={"loss": 8.0})  # fmt: skip

    def test_are_those_of_the_operator_over_all_attempts(self, tmp_path: Path) -> None:
        self._write(tmp_path / "1", range(1, 5))
        self._write(tmp_path / "2", range(3, 6), scale=2.0)

        assert read([tmp_path / "1", tmp_path / "2", tmp_path / "none"]) == {
            "darcy2d": [Point(1, 1 / 2), Point(2, 1 / 3), Point(3, 2 / 4), Point(4, 2 / 5), Point(5, 2 / 6)]
        }

    def test_keep_what_is_not_finite(self, tmp_path: Path) -> None:
        self._write(tmp_path / "1", range(1, 2), scale=math.nan)

        assert read([tmp_path / "1"]) == {"darcy2d": [Point(1, None)]}


class TestNextConfig:
    @pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.stem)
    def test_every_patch_of_the_shipped_configs_fits(self, path: Path) -> None:
        config = load_train_config(path)
        steps = [*config.gates.actions, *([config.gates.next] if config.gates.next else [])]

        assert config.gates.is_set
        for step in steps:
            base = config if step.config is None else shipped(step.config)
            changed = patched(base, step.patch)
            assert (changed != base) is bool(step.patch)

    @pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.stem)
    def test_a_written_config_is_the_same_config(self, path: Path) -> None:
        text = render(config := load_train_config(path), "what it is\n\nand why")

        assert text.startswith("# what it is\n#\n# and why\n")
        assert parse_train_config(yaml.safe_load(text)) == config

    def test_a_value_that_does_not_fit_names_its_key(self) -> None:
        with pytest.raises(ConfigError, match=r"operator\.pdet\.depth"):
            patched(shipped(PHASE1), {"operator.pdet.depth": 0})
        with pytest.raises(ConfigError, match="has 3 entries"):
            patched(shipped(PHASE2), {"training.task_curriculum.stages.7.weights": "uniform"})

    def test_names_say_what_was_decided(self) -> None:
        assert next_name("a", "longer") == "a-longer"
        assert next_name("a", "longer", {"a-longer", "a-longer2"}) == "a-longer3"
