"""A small conditioned transformer over an operator's tokens: what the corrector and the critic are made of.

It stands beside a `LatentOperator` and borrows what belongs to a task there: condition features and
the positions of the tokens. Its heads are as wide as the operator's, so that both share rotary angles.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from ups.errors import ConfigError
from ups.models.conditioning import feature_width
from ups.models.operator import Placed
from ups.models.pdet import PdetStack
from ups.models.spec import OperatorSpec


class TokenNetwork(nn.Module):
    """Several token sequences of one length, side by side → one sequence, which starts at zero."""

    def __init__(
        self, operator: OperatorSpec, *, sequences: int, width: int, hidden: int, depth: int, extra: int = 0
    ) -> None:
        """Args:
        operator: whose tokens and condition features it reads.
        sequences: token sequences that are read side by side.
        width: width of the tokens that it makes.
        hidden: width of its blocks; a multiple of the operator's head width.
        depth: blocks.
        extra: condition features beyond the operator's.

        Raises:
            ConfigError: `hidden` cannot be divided into heads.
        """
        super().__init__()
        if hidden % operator.head_dim:
            raise ConfigError(
                f"diffusion.hidden_dim {hidden} is no multiple of the operator's head width,"
                f" {operator.head_dim}",
                hint="set it to operator.pdet.hidden_dim",
            )
        self.tasks = tuple(task.task for task in operator.tasks)
        stack = replace(
            operator, latent_dim=width, hidden_dim=hidden, depth=depth,
            num_heads=hidden // operator.head_dim, drop_path=0.0, dropout=0.0,
        )  # fmt: skip
        self.mix = nn.Linear(sequences * operator.latent_dim, width)
        self.trunk = PdetStack(stack)
        self.condition = nn.Sequential(
            nn.Linear(feature_width(operator.tasks) + extra, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )
        self.task_embedding = nn.Parameter(0.2 * torch.randn(len(self.tasks), hidden))

    def forward(
        self, task: str, tokens: list[Tensor], features: Tensor, head: Placed, *, amp: bool
    ) -> Tensor:
        """Tokens [B, N, width].

        Args:
            task: one of the operator's tasks.
            tokens: sequences of [B, N, latent_dim].
            features: [B, F] condition features, the extra ones last.
            head: the operator's head of the task, which knows where the tokens lie.
            amp: run the blocks in bfloat16.
        """
        embedded = self.condition(features)
        condition = functional.silu(embedded + self.task_embedding[self.tasks.index(task)])
        mixed = self.mix(torch.cat(tokens, dim=-1))
        made: Tensor = self.trunk(mixed, condition, head.rotation, None, amp=amp, mask=head.mask)
        return made
