"""When a validation curve meets its target, at the rate so far. Free of torch.

The curve is taken to fall as a power of the epoch towards a floor, `a (s + epoch^-b)`, with an error that is
a share of its value. Every exponent and every floor on a grid is weighed by how well it fits the logarithms,
the last epochs most; what comes is drawn from all of them, and the interval is read off the draws. A
schedule that is still to come, such as a learning rate that falls to zero, is not foreseen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from ups.evaluation.validation_curves import Point

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_POINTS = 5
"""Fewer say nothing of the rate."""
CONFIDENCE = 0.8
"""Of the interval."""
_UNLIKELY = 0.1
"""What happens in a smaller share of the draws is not expected."""
_DRAWS = 1000
_EXPONENTS, _FLOORS = 40, 40
_HALF_LIFE = 0.4
"""Of a point's weight, as a share of the curve's length."""
_LEAST_ERROR = 2e-3
"""No validation repeats itself better than that, as a share of its value."""
_MOST_STEPS = 2000


class Outlook(StrEnum):
    """What is known of the epoch at which a target is met."""

    MET = "met"
    EXPECTED = "expected"
    UNCERTAIN = "uncertain"
    """It may be within the run, and it may not."""
    NOT_WITHIN = "not_within_run"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a target is met at the rate so far."""

    outlook: Outlook
    target: float
    epochs: int
    """Of the stage."""
    epoch: float | None = None
    """The first epoch below the target, or the median of what is expected; None: not within the run."""
    low: float | None = None
    high: float | None = None
    """Four in five draws lie between these; None: `high` is beyond the run."""
    chance: float | None = None
    """Share of the draws that meet the target within the run."""
    at_end: float | None = None
    """What the last epoch is expected to reach."""
    why: str = ""
    """Where nothing can be told."""

    def to_json(self) -> dict[str, Any]:
        """As `forecast` of a validation's event."""
        return asdict(self)

    def text(self) -> str:
        """One line for people."""
        target = f"the target of < {self.target:.4g}"
        match self.outlook:
            case Outlook.MET:
                return f"{target} was met at epoch {self.epoch:g}"
            case Outlook.EXPECTED:
                return f"at this rate {target} is met at epoch {self.epoch:g} ({self._between()})"
            case Outlook.UNCERTAIN:
                return f"at this rate {target} may be met by epoch {self.epochs} ({self._chances()})"
            case Outlook.NOT_WITHIN:
                return f"at this rate {target} is not met within this run ({self._end()})"
        return f"whether {target} will be met cannot be told yet: {self.why}"

    def _between(self) -> str:
        last = f"{self.high:g}" if self.high is not None else f"after {self.epochs}"
        return f"{self.low:g} to {last}, {CONFIDENCE:.0%} sure"

    def _chances(self) -> str:
        soonest = f", epoch {self.low:g} at the soonest" if self.low is not None else ""
        return f"{self.chance:.0%} likely{soonest}; {self._end()}"

    def _end(self) -> str:
        return f"epoch {self.epochs} ends near {self.at_end:.3g}"


def read(fields: Mapping[str, Any] | None) -> Forecast | None:
    """The forecast of an event's `forecast`; None where there is none that this version knows."""
    try:
        given = dict(fields or {})
        return Forecast(**{**given, "outlook": Outlook(given["outlook"])})
    except (TypeError, ValueError, KeyError):
        return None


def forecast(curve: Sequence[Point], target: float, epochs: int) -> Forecast:
    """When a curve falls below a target.

    Args:
        curve: the validations so far, in their order; what is not finite or not positive is passed over.
        target: nRMSE, above zero.
        epochs: the last epoch of the stage.
    """
    known = [
        (float(epoch), float(value))
        for epoch, value in curve
        if value is not None and math.isfinite(value) and math.isfinite(epoch) and value >= 0
    ]
    for epoch, value in known:
        if value < target:
            return Forecast(Outlook.MET, target, epochs, epoch, epoch, epoch, chance=1.0)
    if curve and not known:
        return Forecast(Outlook.UNKNOWN, target, epochs, why="no validation was finite")
    if len(known) < LEAST_POINTS:
        why = f"too few epochs ({len(known)} of {LEAST_POINTS} validations)"
        return Forecast(Outlook.UNKNOWN, target, epochs, why=why)
    last = known[-1][0]
    if last >= epochs:
        return Forecast(Outlook.NOT_WITHIN, target, epochs, chance=0.0, at_end=known[-1][1])
    return _drawn(known, target, epochs)


class _Fits(NamedTuple):
    """Curves `scale (floor + epoch^-exponent)`, drawn by how well they fit."""

    exponent: "NDArray[np.float64]"
    floor: "NDArray[np.float64]"
    log_scale: "NDArray[np.float64]"
    error: "NDArray[np.float64]"
    """Standard deviation of the logarithm of a validation."""


def _drawn(known: Sequence[tuple[float, float]], target: float, epochs: int) -> Forecast:
    import numpy as np

    random = np.random.default_rng(0)  # asked again, it says the same
    epoch, value = (np.array(column) for column in zip(*known, strict=True))
    fits = _fits(np.maximum(epoch, 0.5), np.log(value), random)
    coming = _coming(epoch, epochs)
    # [draws, epochs]: in the logarithm, where the target is a line
    shape = np.log(fits.floor[:, None] + coming[None, :] ** -fits.exponent[:, None])
    clean = fits.log_scale[:, None] + shape
    seen = clean + fits.error[:, None] * random.standard_normal(clean.shape)
    below = seen < math.log(target)
    met = below.any(axis=1)
    first = np.where(met, coming[below.argmax(axis=1)], np.inf)
    chance, at_end = float(met.mean()), float(np.exp(np.median(clean[:, -1])))
    tail = (1 - CONFIDENCE) / 2
    low, median, high = np.quantile(first, (tail, 0.5, 1 - tail), method="nearest")
    outlook = Outlook.EXPECTED
    if chance < _UNLIKELY:
        outlook = Outlook.NOT_WITHIN
    elif not math.isfinite(median):
        outlook = Outlook.UNCERTAIN
    return Forecast(
        outlook, target, epochs, _finite(median), _finite(low), _finite(high), round(chance, 3), at_end
    )


def _coming(epoch: "NDArray[np.float64]", epochs: int) -> "NDArray[np.float64]":
    """The epochs of the validations to come, the stage's last among them."""
    import numpy as np

    steps = np.diff(epoch)
    every = max(float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0, 1.0)
    every = max(every, (epochs - epoch[-1]) / _MOST_STEPS)
    found = np.arange(epoch[-1] + every, epochs, every)
    return np.append(found, float(epochs))


def _fits(x: "NDArray[np.float64]", log_y: "NDArray[np.float64]", random: "np.random.Generator") -> _Fits:
    import numpy as np

    count = len(x)
    weights = 0.5 ** (np.arange(count)[::-1] / max(_HALF_LIFE * count, 2.0))
    weights *= weights.sum() / (weights**2).sum()  # they sum to the number of points that they are worth
    worth = float(weights.sum())
    exponents = np.geomspace(0.05, 3.0, _EXPONENTS)
    shares = np.arange(_FLOORS) / _FLOORS  # of the floor in the last value
    powers = x[None, :] ** -exponents[:, None]
    floors = shares / (1 - shares) * powers[:, -1:]
    # [exponents, floors, points]
    rest = log_y - np.log(floors[:, :, None] + powers[:, None, :])
    scale = (rest * weights).sum(-1) / worth
    squares = ((rest - scale[..., None]) ** 2 * weights).sum(-1) + worth * _LEAST_ERROR**2
    odds = -0.5 * (worth - 1) * np.log(squares)
    odds = np.exp(odds - odds.max()).ravel()
    chosen = random.choice(odds.size, _DRAWS, p=odds / odds.sum())
    row, column = np.unravel_index(chosen, squares.shape)
    error = np.sqrt(squares[row, column] / random.chisquare(worth - 1, _DRAWS))
    log_scale = scale[row, column] + error / math.sqrt(worth) * random.standard_normal(_DRAWS)
    return _Fits(exponents[row], floors[row, column], log_scale, error)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
