"""Ticks at round values, for a linear and a logarithmic axis."""

import math

_FACTORS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9))


def linear_ticks(low: float, high: float, about: int) -> list[float]:
    """About so many round values within low … high."""
    if not high > low:
        return [low]
    step = _nice_step((high - low) / max(1, about))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def log_ticks(low: float, high: float, about: int) -> list[float]:
    """The same where equal ratios take equal room: powers of ten, and 2 and 5 of them where there are few.

    Args:
        low: above 0.
        high: above `low`.
        about: ticks wanted.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first > 2 * about:
        every = math.ceil((last - first) / about)
        return [v for n in range(first, last + 1) if n % every == 0 and low <= (v := 10.0**n) <= high]
    for factors in _FACTORS:
        ticks = [v for n in range(first, last + 1) for f in factors if low <= (v := f * 10.0**n) <= high]
        if len(ticks) >= min(about, 3):
            return ticks
    return linear_ticks(low, high, about)


def _nice_step(rough: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(f * magnitude for f in (1, 2, 5, 10) if f * magnitude >= rough * 0.999)


def tick_label(value: float) -> str:
    """A tick in few characters."""
    if value == 0:
        return "0"
    if 1e-4 < abs(value) < 1e5:
        return f"{value:.10g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
