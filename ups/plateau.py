"""When a validation curve counts as levelled off where no config says so.

Free of pydantic: the console judges every chart by it, before it has read any config.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlateauRule:
    """The last epochs were hardly better than those before them."""

    epochs: int = 8
    """The last so many epochs."""
    improvement: float = 0.02
    """Their best is lower than the best before by less than this share of it."""


DEFAULT = PlateauRule()
