"""A run step by step: as it grows, or as its mirror holds it."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from console.errors import ProviderError
from ups.errors import NotFoundError

if TYPE_CHECKING:
    from console.operations import FollowBatch, Operations

_LAUNCH_SECONDS = 0.5
"""Between two looks at a run that has no instance yet."""


def batches(operations: "Operations", run: str, is_cancelled: Callable[[], bool]) -> "Iterable[FollowBatch]":
    """The run as it grows, or, where no instance of it is known any more, as its mirror holds it."""
    while True:
        try:
            yield from operations.follow(run, log=False)
            return
        except NotFoundError:
            if is_cancelled() or operations.status(operations.registry.find(run)).ended:
                break
        except ProviderError:
            break
        time.sleep(_LAUNCH_SECONDS)  # it is being launched, and nothing is rented yet
    yield from operations.read(run, log=False)
