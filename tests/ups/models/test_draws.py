"""A process that computes a part of a batch draws what the one that computes all of it draws."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ups.models import draws
from ups.models.draws import Rows, drawing_for

_SAMPLES = torch.ones(5, 40)


@pytest.mark.parametrize(
    "draw",
    [
        draws.normal_like,
        lambda samples: draws.uniform(len(samples), 3, device=samples.device),
        lambda samples: draws.integers(1000, len(samples), device=samples.device),
        lambda samples: draws.dropout(samples, 0.5),
    ],
)
def test_parts_draw_what_the_whole_draws(draw: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    whole = draw(_SAMPLES)
    follows = torch.rand(())
    for first, end in ((0, 2), (2, 5)):
        torch.manual_seed(0)
        with drawing_for(Rows(first, end, len(_SAMPLES))):
            part = draw(_SAMPLES[first:end])
        assert torch.equal(part, whole[first:end])
        assert torch.equal(torch.rand(()), follows)


def test_outside_the_part_draws_are_for_the_whole_again() -> None:
    with pytest.raises(RuntimeError), drawing_for(Rows(0, 1, 2)):
        raise RuntimeError
    assert draws.normal_like(_SAMPLES).shape == _SAMPLES.shape
