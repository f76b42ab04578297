"""The networks that ours is compared with: neuraloperator's FNO and a U-Net, one network per task.

A `PeerOperator` gives them what ours has: the same normalisation, the residual of time steppers, and
the physical parameters (as logarithms where they span decades) as further input channels.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ups.models.operator import GridHead
from ups.tasks import TaskSpec

Architecture = Literal["fno", "unet"]


class MissingPeerError(RuntimeError):
    """The peer's package is not installed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One size and learning rate of a peer."""

    architecture: Architecture
    width: int
    modes: int
    """Fourier modes kept along each axis; 0 for a U-Net."""
    rate: float
    batch_size: int

    def __str__(self) -> str:
        modes = f" modes {self.modes}" if self.modes else ""
        return f"{self.architecture} width {self.width}{modes} rate {self.rate:g}"


def batch_size(spec: TaskSpec) -> int:
    """Samples per batch, of the peers and of ours."""
    return 16 if spec.spatial_dims == 1 else 4


def candidates(architecture: Architecture, spec: TaskSpec) -> tuple[Candidate, ...]:
    """The sizes and rates that are tried for a task; good ones for minutes of one CPU thread."""
    plain = spec.spatial_dims == 1
    if architecture == "unet":
        return (Candidate("unet", 40 if plain else 24, 0, 2e-3, batch_size(spec)),)
    sizes = ((20, 20, 8e-3), (24, 16, 8e-3), (32, 16, 4e-3)) if plain else (
        (20, 8, 8e-3), (24, 8, 8e-3), (32, 12, 4e-3),
    )  # fmt: skip
    return tuple(Candidate("fno", width, modes, rate, batch_size(spec)) for width, modes, rate in sizes)


class PeerOperator(nn.Module):
    """A peer's network as a function of physical states."""

    def __init__(self, candidate: Candidate, head: GridHead) -> None:
        """Args:
        candidate: architecture and size.
        head: of our untrained operator; says how the train split is normalised.
        """
        super().__init__()
        spec, grid = head.task.spec, head.task.grid
        self.spec, self.source, self.target, self.features = spec, head.source, head.target, head.features
        inputs = self.source.channels + len(spec.parameters)
        self.network = _network(candidate, spec, len(grid), inputs, self.target.channels)

    @property
    def num_parameters(self) -> int:
        """Trained values."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def forward(self, inputs: Tensor, parameters: Tensor) -> Tensor:
        """[B, *S, Ci] in physical units and parameters [B, P] → [B, *S, C] one step later."""
        state = self.source.normalise(inputs)
        values = (self.features.values(parameters) - self.features.center) / self.features.scale
        planes = values.view(len(inputs), *(1,) * (state.dim() - 2), -1).expand(*state.shape[:-1], -1)
        output = self.network(torch.cat([state, planes], dim=-1).movedim(-1, 1)).movedim(1, -1)
        return self.target.denormalise(output if self.spec.static else state + output)


def require_fno() -> None:
    """Import neuraloperator, which takes seconds.

    Raises:
        MissingPeerError: it is not installed.
    """
    try:
        import neuralop.models  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPeerError(
            f"neuraloperator's FNO is the peer, and {error.name} is not installed: pip install neuraloperator"
        ) from None


def _network(candidate: Candidate, spec: TaskSpec, dims: int, inputs: int, outputs: int) -> nn.Module:
    if candidate.architecture == "unet":
        return UNet(dims, inputs, outputs, candidate.width, periodic=spec.periodic)
    require_fno()
    from neuralop.models import FNO

    network: nn.Module = FNO(
        n_modes=(2 * candidate.modes,) * dims, in_channels=inputs, out_channels=outputs,
        hidden_channels=candidate.width, n_layers=4,
        positional_embedding=None if spec.periodic else "grid",
    )  # fmt: skip
    return network


class UNet(nn.Module):
    """Four levels of two 3-wide convolutions, halved and doubled by pooling and interpolation.

    Ronneberger, Fischer, Brox: U-Net, 2015; with the padding of the domain's boundary.
    """

    def __init__(self, dims: int, inputs: int, outputs: int, width: int, *, periodic: bool) -> None:
        super().__init__()
        convolution = nn.Conv1d if dims == 1 else nn.Conv2d
        mode: Literal["circular", "replicate"] = "circular" if periodic else "replicate"

        def level(channels_in: int, channels: int) -> nn.Sequential:
            first = convolution(channels_in, channels, 3, padding=1, padding_mode=mode)
            second = convolution(channels, channels, 3, padding=1, padding_mode=mode)
            return nn.Sequential(first, nn.GroupNorm(4, channels), nn.GELU(), second, nn.GELU())

        widths = (width, 2 * width, 4 * width, 4 * width)
        self.down = nn.ModuleList(
            level(before, after) for before, after in zip((inputs, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(level(widths[i] + widths[i + 1], widths[i]) for i in (2, 1, 0))
        self.out = convolution(width, outputs, 1)
        self.interpolation = "linear" if dims == 1 else "bilinear"
        self.pool = nn.AvgPool1d(2) if dims == 1 else nn.AvgPool2d(2)

    def forward(self, fields: Tensor) -> Tensor:
        """[B, C, *S] → [B, outputs, *S]; every axis a multiple of 8."""
        passed: list[Tensor] = []
        hidden = fields
        for index, level in enumerate(self.down):
            hidden = level(self.pool(hidden) if index else hidden)
            passed.append(hidden)
        for level, skip in zip(self.up, passed[-2::-1], strict=True):
            larger = functional.interpolate(hidden, scale_factor=2, mode=self.interpolation)
            hidden = level(torch.cat([larger, skip], dim=1))
        predicted: Tensor = self.out(hidden)
        return predicted
