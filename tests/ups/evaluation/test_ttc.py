"""Test-time compute: which candidates there are, how they are scored, what the search takes."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.ups.models.test_operator import ADVECTION, BURGERS, DARCY, operator, perturbed
from tests.ups.training.jobs import make_job, run_job, tiny_datasets
from tests.ups.training.test_stages import staged_config
from ups.config import Evaluation, Ttc
from ups.errors import ConfigError
from ups.evaluation.candidates import CandidateMaker, recipes
from ups.evaluation.metrics import relative_error
from ups.evaluation.predictor import Predictor, load
from ups.evaluation.preparation import search
from ups.evaluation.report import evaluate
from ups.evaluation.rewards import Term, Verdict, WeightedTerm, choose_terms, standardised, verdict
from ups.evaluation.ttc import Search
from ups.models import checkpoint as checkpoints
from ups.models.corrector import CorrectedOperator, Corrector, CorrectorSpec
from ups.models.geometry import Geometry
from ups.models.operator import LatentOperator
from ups.models.spec import GridTask
from ups.physics import Transition

Datasets = dict[str, dict[str, Path]]
CPU = torch.device("cpu")
TASKS = {"advection1d": (32, 1), "burgers1d": (32, 1), "darcy2d": (8, 8, 1)}


@dataclass(frozen=True, slots=True)
class Oracle:
    """Knows the truth of each input."""

    truth: dict[bytes, Tensor]
    name: str = "oracle"

    def applies(self, task: str) -> bool:
        return True

    def penalty(self, transition: Transition, points: Geometry | None) -> Tensor:
        truth = torch.stack([self.truth[state.numpy().tobytes()] for state in transition.before])
        return relative_error(transition.after, truth)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Says what it is told to."""

    value: float
    name: str = "fixed"
    tasks: tuple[str, ...] = field(default=("advection1d",))

    def applies(self, task: str) -> bool:
        return task in self.tasks

    def penalty(self, transition: Transition, points: Geometry | None) -> Tensor:
        return torch.full((len(transition.after),), self.value)


@dataclass(frozen=True, slots=True)
class Height:
    """Prefers a low mean square."""

    name: str = "height"

    def applies(self, task: str) -> bool:
        return True

    def penalty(self, transition: Transition, points: Geometry | None) -> Tensor:
        return transition.after.flatten(1).square().mean(dim=1)


@dataclass(frozen=True, slots=True)
class Wavering:
    """What it prefers in one step, it regrets in the next."""

    name: str = "wavering"

    def applies(self, task: str) -> bool:
        return True

    def penalty(self, transition: Transition, points: Geometry | None) -> Tensor:
        height, before = (s.flatten(1).square().mean(dim=1) for s in (transition.after, transition.before))
        return height - 3 * before


def searching(*terms: Term, noise: float = 0.1, **options: int) -> Search:
    """Six candidates of untrained but perturbed networks."""
    base = perturbed(operator(ADVECTION, BURGERS, DARCY))
    torch.manual_seed(3)
    corrector = Corrector(CorrectorSpec(16, 32, 1), base.spec)
    with torch.no_grad():
        for parameter in corrector.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    sampler = CorrectedOperator(base, corrector).eval()
    predictor = Predictor(base, {}, CPU, 1)
    chosen = {task: recipes(base.head(task).task, 6, corrector=True, noise=noise > 0) for task in TASKS}
    scores = {task: tuple(WeightedTerm(term, 1.0) for term in terms) for task in TASKS}
    return Search(predictor, CandidateMaker(predictor, sampler, noise), chosen, scores, **options)


def inputs(task: str, count: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *TASKS[task], generator=generator), torch.full((count, 1), 0.4)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_search_with_an_oracle_takes_the_best_candidate(task: str, chunk: int) -> None:
    states, parameters = inputs(task)
    truth = torch.randn_like(states)
    oracle = Oracle({s.numpy().tobytes(): t for s, t in zip(states, truth, strict=True)})
    found = searching(oracle, chunk=chunk)
    errors = torch.stack(
        [relative_error(made, truth) for made in found.probe(task, states, parameters, 0.05)]
    )
    assert (errors.amax(dim=0) > errors.amin(dim=0)).all()
    chosen = relative_error(found.step(task, states, parameters, 0.05), truth)
    torch.testing.assert_close(chosen, errors.amin(dim=0))


@pytest.mark.parametrize("task", TASKS)
def test_cutting_the_batch_changes_nothing(task: str) -> None:
    states, parameters = inputs(task, 5)
    ways = [
        (searching(Height(), steps=2, beam=2, chunk=chunk), searching(chunk=chunk).averaging())
        for chunk in (1, 3, 100)
    ]
    for steps in zip(*ways, strict=True):
        one, other, whole = (search.step(task, states, parameters, 0.05) for search in steps)
        torch.testing.assert_close(one, whole, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(other, whole, atol=1e-5, rtol=1e-5)


def test_average_is_the_mean_of_the_candidates() -> None:
    found = searching()
    states, parameters = inputs("burgers1d")
    mean = found.probe("burgers1d", states, parameters, 0.05).mean(dim=0)
    averaged = found.averaging().step("burgers1d", states, parameters, 0.05)
    torch.testing.assert_close(averaged, mean, atol=1e-5, rtol=1e-5)


def test_first_candidate_is_the_plain_prediction() -> None:
    found = searching()
    states, parameters = inputs("advection1d")
    plain = found.predictor.step("advection1d", states, parameters, 0.05)
    assert torch.equal(found.probe("advection1d", states, parameters, 0.05)[0], plain)


def test_beam_of_all_candidates_looks_ahead_as_far_as_trying_everything() -> None:
    """With nothing cut, the path is the best of all pairs of steps by the sum of their scores."""
    found, terms = searching(Wavering(), steps=2, beam=6), (WeightedTerm(Wavering(), 1.0),)
    task, (states, parameters) = "advection1d", inputs("advection1d", 4)
    first = found.probe(task, states, parameters, 0.05)  # [K, B, …]
    second = torch.stack([found.probe(task, made, parameters, 0.05) for made in first])  # [K, K, B, …]

    def height(made: Tensor) -> Tensor:
        return made.flatten(-2).square().mean(dim=-1)

    total = standardised([(height(first) - 3 * height(states)).T], terms).repeat_interleave(6, dim=1)
    total = total + standardised([(height(second) - 3 * height(first)[:, None]).flatten(0, 1).T], terms)
    expected = first[total.argmin(dim=1) // 6, torch.arange(4)]
    torch.testing.assert_close(found.step(task, states, parameters, 0.05), expected)
    greedy = searching(Wavering()).step(task, states, parameters, 0.05)
    assert not torch.equal(greedy, expected)


def transitions(values: list[Tensor]) -> list[Transition]:
    base = operator(ADVECTION)
    found = Search(Predictor(base, {}, CPU, 1), CandidateMaker(Predictor(base, {}, CPU, 1), None, 0.0), {})
    return [found.transition("advection1d", v, v, torch.ones(len(v), 1), 0.05) for v in values]


VARIED = [torch.randn(2, 32, 1, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]


@pytest.mark.parametrize("weights", [{}, {"fixed": 2.0}])
def test_degenerate_reward_is_an_error_that_names_it_and_the_task(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="reward fixed is degenerate on advection1d"):
        choose_terms("advection1d", [Fixed(3.0), Height()], weights, transitions(VARIED))


def test_reward_that_every_candidate_satisfies_is_left_out_unless_it_was_asked_for() -> None:
    chosen = choose_terms("advection1d", [Fixed(0.0), Height()], {}, transitions(VARIED))
    assert [entry.term.name for entry in chosen] == ["height"]
    with pytest.raises(ConfigError, match="reward fixed is degenerate"):
        choose_terms("advection1d", [Fixed(0.0), Height()], {"fixed": 1.0}, transitions(VARIED))


def test_reward_that_has_no_meaning_for_the_task_is_left_out() -> None:
    elsewhere = Fixed(3.0, tasks=("darcy2d",))
    chosen = choose_terms(
        "advection1d", [elsewhere, Height()], {"fixed": 1.0, "height": 0.5}, transitions(VARIED)
    )
    assert [(entry.term.name, entry.weight) for entry in chosen] == [("height", 0.5)]


def test_candidates_that_are_all_alike_are_an_error() -> None:
    with pytest.raises(ConfigError, match="height is degenerate on advection1d"):
        choose_terms("advection1d", [Height()], {}, transitions([VARIED[0]] * 4))


@pytest.mark.parametrize("name", ["magic", "critic"])
def test_weight_of_a_reward_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"ttc\.weights\.{name}"):
        choose_terms("advection1d", [Height()], {name: 1.0}, transitions(VARIED))


def test_difference_of_rounding_is_none() -> None:
    assert verdict(torch.full((4, 3), 0.5) + 1e-7 * torch.rand(4, 3)) is Verdict.DEGENERATE
    assert verdict(1e-7 * torch.rand(4, 3)) is Verdict.SATISFIED
    assert verdict(torch.rand(4, 3)) is Verdict.TELLS_APART


def test_candidate_that_is_not_finite_is_the_worst() -> None:
    terms = (WeightedTerm(Height(), 1.0),)
    scores = standardised([torch.tensor([[0.5, float("nan"), 0.1], [float("inf"), 2.0, 1.0]])], terms)
    assert scores.argsort(dim=1).tolist() == [[2, 0, 1], [2, 1, 0]]
    assert torch.isfinite(scores).all()


def test_units_of_a_reward_do_not_matter() -> None:
    terms = (WeightedTerm(Height(), 1.0),)
    values = torch.rand(3, 5)
    torch.testing.assert_close(standardised([values], terms), standardised([1000 * values], terms))


def test_sources_take_turns_and_end() -> None:
    assert len(recipes(DARCY, 20, corrector=False, noise=False)) == 8
    assert len(recipes(ADVECTION, 20, corrector=False, noise=False)) == ADVECTION.edges[0]
    assert len(recipes(GridTask("advection1d", (32,), 1, 0.05), 20, corrector=False, noise=False)) == 1
    mixed = recipes(DARCY, 7, corrector=True, noise=True)
    assert len(set(mixed)) == 7
    assert sum(recipe.draw is not None for recipe in mixed) == 2
    assert sum(recipe.noise is not None for recipe in mixed) == 2
    assert mixed[0].symmetry.is_identity


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Datasets]:
    datasets = tiny_datasets(tmp_path_factory.mktemp("data"))
    job = make_job(tmp_path_factory.mktemp("run"), datasets, staged_config())
    run_job(job)
    return job.run_dir.checkpoints, datasets


TTC = Ttc(enabled=True, candidates=4)


def best(parent: Path, stage: str) -> Path:
    found = checkpoints.best(parent, stage)
    assert found is not None
    return found.path


@pytest.mark.parametrize("stage", ["operator", "diff_residual", "consistency_distill"])
def test_report_puts_the_search_beside_the_average_and_beside_neither(
    trained: tuple[Path, Datasets], stage: str
) -> None:
    settings = Evaluation(rollout_steps=3)
    report = evaluate(best(trained[0], stage), trained[1], ("test",), settings, "cpu", ttc=TTC)
    split = report["splits"]["test"]
    ttc = split["ttc"]
    assert set(ttc) == {"off", "average", "on", "search"}
    for task, figures in split["tasks"].items():
        assert ttc["off"]["tasks"][task] == pytest.approx(figures["one_step_plain"])
        assert ttc["on"]["tasks"][task] > 0
        assert ttc["average"]["tasks"][task] != ttc["off"]["tasks"][task]
        assert ttc["on"]["rollout"]["tasks"][task] > 0
        assert ttc["search"][task]["candidates"] == 4
        assert {"critic", "residual"} <= set(ttc["search"][task]["terms"])


def test_operator_alone_is_judged_with_the_critic_of_its_run_or_without_one(
    trained: tuple[Path, Datasets], tmp_path: Path
) -> None:
    parent, datasets = trained
    files = {task: splits["test"] for task, splits in datasets.items()}
    beside = best(parent, "operator")
    lone = tmp_path / beside.name
    lone.symlink_to(beside)
    with_critic = search(beside, load(beside, "cpu"), files, TTC, chunk=8)
    without = search(lone, load(lone, "cpu"), files, TTC, chunk=8)
    for task in files:
        names = [{entry.term.name for entry in found.terms[task]} for found in (with_critic, without)]
        assert names[0] - names[1] == {"critic"}
    with pytest.raises(ConfigError, match=r"ttc\.weights\.critic: this run has no critic"):
        search(lone, load(lone, "cpu"), files, TTC.model_copy(update={"weights": {"critic": 1.0}}), chunk=8)


def test_operator_that_is_exactly_equivariant_leaves_nothing_to_choose() -> None:
    """Standing still commutes with everything: its candidates are the same, and that is said."""
    model: LatentOperator = operator(ADVECTION)
    predictor = Predictor(model, {}, CPU, 1)
    chosen = {"advection1d": recipes(ADVECTION, 4, corrector=False, noise=False)}
    found = Search(predictor, CandidateMaker(predictor, None, 0.0), chosen)
    states, parameters = inputs("advection1d")
    made = found.probe("advection1d", states, parameters, 0.05)
    with pytest.raises(ConfigError, match="advection1d"):
        choose_terms(
            "advection1d", [Height()], {},
            [found.transition("advection1d", states, one, parameters, 0.05) for one in made],
        )  # fmt: skip
