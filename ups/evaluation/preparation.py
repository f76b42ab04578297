"""From a checkpoint and the settings to a search whose every reward is known to tell candidates apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ups.config import Ttc
from ups.data.split import Split, open_split
from ups.evaluation.candidates import CandidateMaker, recipes
from ups.evaluation.predictor import Predictor
from ups.evaluation.rewards import PHYSICS, CriticTerm, PhysicsTerm, Term, WeightedTerm, choose_terms
from ups.evaluation.rollout import trajectories
from ups.evaluation.ttc import Search
from ups.models import checkpoint as checkpoints
from ups.models.checkpoint import Checkpoint
from ups.models.companions import Companions, companions_of, operator_sha256
from ups.models.corrector import CorrectedOperator

_PROBED_SAMPLES = 8


def search(
    checkpoint: Path, predictor: Predictor, files: Mapping[str, Path], ttc: Ttc, *, chunk: int
) -> Search:
    """A search among the candidates of each task, probed on the first samples of its file.

    The corrector and the critic are the checkpoint's own or, where validation preferred the operator
    alone, those that were trained beside the very same operator and lie next to it. A task with one
    possible candidate has nothing to choose from and no score.

    Args:
        checkpoint: what the predictor was loaded from.
        predictor: steps plainly.
        files: task → file of the split that is judged.
        ttc: candidates, look-ahead, beam, noise and weights.
        chunk: states that are predicted at once.

    Raises:
        ConfigError: a weight names no term, or a reward says the same of all candidates of a task.
        DataError: a file does not suit the predictor.
    """
    plain = predictor.plain()
    companions = _companions(checkpoint)
    operator = plain.model.operator if isinstance(plain.model, CorrectedOperator) else plain.model
    sampler: CorrectedOperator | None = None
    available: list[Term] = [PhysicsTerm(name) for name in PHYSICS]
    if companions is not None:
        companions = companions.to(plain.device).eval()
        sampler = CorrectedOperator(operator, companions.corrector).eval()
        available.append(CriticTerm(companions.critic, operator, plain.stride))
    chosen = {
        task: recipes(
            plain.model.head(task).task, ttc.candidates,
            corrector=sampler is not None, noise=ttc.noise > 0,
        )
        for task in files
    }  # fmt: skip
    maker = CandidateMaker(plain, sampler, ttc.noise)
    found = Search(plain, maker, chosen, steps=ttc.steps, beam=ttc.beam, chunk=chunk)
    scores = {
        task: _terms(found, open_split(file), available, ttc.weights)
        for task, file in files.items()
        if len(chosen[task]) > 1
    }
    return found.scoring(scores)


def _terms(
    found: Search, fields: Split, available: Sequence[Term], weights: Mapping[str, float]
) -> tuple[WeightedTerm, ...]:
    task = fields.spec.name
    given = next(trajectories(fields, found.predictor, batch_size=_PROBED_SAMPLES, steps=1))
    inputs, parameters = given.initial.to(found.device), given.parameters.to(found.device)
    points = None if given.points is None else given.points.initial.to(found.device)
    candidates = found.probe(task, inputs, parameters, given.dt, points)
    transitions = [found.transition(task, inputs, made, parameters, given.dt) for made in candidates]
    return choose_terms(task, available, weights, transitions, points)


def _companions(checkpoint: Path) -> Companions | None:
    """The companions of a checkpoint's operator, from itself or from a checkpoint beside it."""
    found = checkpoints.read(checkpoint)
    own = companions_of(found)
    if own is not None:
        return own
    beside = [
        other
        for other in checkpoints.whole(found.path.parent)
        if "corrector" in other.state and operator_sha256(other) == operator_sha256(found)
    ]
    return companions_of(min(beside, key=_preference)) if beside else None


def _preference(item: Checkpoint) -> tuple[float, int]:
    return item.score, -item.epoch
