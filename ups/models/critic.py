"""The critic: how wrong is a candidate, asked without the truth.

A small network reads the input, a candidate for what follows, and the condition, and says the natural
logarithm of the candidate's relative L2 error. Trained on training pairs, where the truth is known.
"""

import torch
from torch import Tensor, nn

from ups.models.corrector import Situation
from ups.models.spec import OperatorSpec
from ups.models.token_network import TokenNetwork

_WIDTH = 32
_DEPTH = 1


class Critic(nn.Module):
    """Situation → logarithm of the relative error of the prediction in it."""

    typical: Tensor

    def __init__(self, operator: OperatorSpec) -> None:
        super().__init__()
        self.tasks = tuple(task.task for task in operator.tasks)
        heads = max(1, operator.num_heads // 2)
        self.network = TokenNetwork(
            operator, sequences=2, width=_WIDTH, hidden=heads * operator.head_dim, depth=_DEPTH
        )
        self.out = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, 1, bias=False))
        self.register_buffer("typical", torch.zeros(len(self.tasks)))

    def forward(self, given: Situation) -> Tensor:
        """Expected log relative error [B] of the prediction in a situation; lower is better."""
        head = given.head
        change = given.predicted if head.task.spec.static else given.predicted - given.tokens
        tokens = self.network(given.task, [given.tokens, change], given.features, head, amp=False)
        if head.mask is None:
            mean = tokens.mean(dim=1)
        else:
            known = head.mask[..., None]
            mean = (tokens * known).sum(dim=1) / known.sum(dim=1)
        judged: Tensor = self.out(mean)[:, 0]
        return self.typical[self.tasks.index(given.task)] + judged
