"""Where the points of a run lie on the x axis: by step, by epoch, by time or by what they have cost."""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Bill(Struct, frozen=True):
    """What a run costs from when on: rates that hold until the next one begins."""

    rates: tuple[tuple[float, float], ...] = ()
    """(Unix seconds, USD an hour), the oldest first."""

    @property
    def is_free(self) -> bool:
        """Whether nothing is paid, as far as is known."""
        return not any(rate for _, rate in self.rates)

    def dollars(self, times: "Array") -> "Array":
        """What it had cost at these times: [n] Unix seconds → [n] USD."""
        import numpy as np

        total = np.zeros(len(times))
        for index, (begin, rate) in enumerate(self.rates):
            end = self.rates[index + 1][0] if index + 1 < len(self.rates) else np.inf
            total += (np.clip(times, begin, end) - begin) / 3600 * rate
        return total


class Epochs(Struct, frozen=True):
    """Turns steps into epochs, fractions included: straight lines between where epochs begin."""

    steps: "Array"
    """[n] ascending; where each epoch begins, and where the last one is expected to end."""
    epochs: "Array"
    """[n] epochs that are over by then, those of earlier stages included."""

    def of(self, steps: "Array") -> "Array":
        """[m] steps → [m] epochs."""
        import numpy as np

        return np.interp(steps, self.steps, self.epochs)


def epochs_of(steps: "Array", epochs: "Array", stages: "Array") -> Epochs:
    """Where the epochs of a curve begin.

    Args:
        steps: [n] over all stages, n > 0.
        epochs: [n] within the stage.
        stages: [n] index of the stage.
    """
    import numpy as np

    steps = np.maximum.accumulate(steps)
    begins = np.flatnonzero((np.diff(epochs) > 0) | (np.diff(stages) > 0)) + 1
    from_start = epochs[0] <= 1
    gone = np.maximum(epochs[begins] - epochs[begins - 1], 1)  # a new stage counts from its own first on
    over = np.cumsum(np.concatenate([[0.0 if from_start else epochs[0]], gone]))
    starts = np.concatenate([[min(0.0, steps[0]) if from_start else steps[0]], steps[begins]])
    length = float(starts[-1] - starts[-2]) if len(starts) > 1 else 0.0
    end = max(float(starts[-1]) + length, float(steps[-1]), float(starts[-1]) + 1e-9)
    return Epochs(np.append(starts, end), np.append(over, over[-1] + 1.0))


def moved(position: float, before: "Array", after: "Array") -> float:
    """Where a position lies when the points that lay at `before` lie at `after`; both ascend."""
    import numpy as np

    return float(np.interp(position, before, after)) if len(before) else position
