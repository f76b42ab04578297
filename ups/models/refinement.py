"""The field-space networks after the decoder.

A patch transformer alone leaves errors at patch boundaries that grow in a rollout. A few
convolutions on (input, prediction), modulated by the condition, remove them. The last layer starts
at zero, so that an untrained refinement changes nothing.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ups.models.spec import GridTask, OperatorSpec

_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d,
}  # fmt: skip
_KERNEL_1D, _PLAIN_KERNEL = 5, 3
_FOLD = {1: 2, 2: 2, 3: 1}
"""By dimensions, the edge in cells of the groups that are folded into channels."""
_WIDTH = {1: 2, 2: 2, 3: 1}
"""By dimensions, the width of the convolutions for each of the config's channels."""


class PlainRefinement(nn.Module):
    """Two or more convolutions over groups of cells; the first is modulated (FiLM) by the condition."""

    def __init__(self, task: GridTask, *, width_in: int, channels: int, layers: int, condition: int) -> None:
        super().__init__()
        self.pad = _Padding(task)
        self.groups = _Groups(task)
        outputs = [*(channels,) * (layers - 1), self.groups.cells * len(task.spec.fields)]
        inputs = [self.groups.cells * width_in, *outputs[:-1]]
        convolution = _CONVOLUTIONS[len(task.grid)]
        self.layers = nn.ModuleList(
            convolution(i, o, _PLAIN_KERNEL) for i, o in zip(inputs, outputs, strict=True)
        )
        self.film = nn.Linear(condition, 2 * outputs[0])
        _zero(self.film, self.layers[-1])

    def forward(self, fields: Tensor, condition: Tensor) -> Tensor:
        """Correction [B, *S, C] from fields [B, *S, width_in] and condition [B, W]."""
        hidden = self.groups.fold(fields).movedim(-1, 1)
        for index, layer in enumerate(self.layers):
            hidden = layer(self.pad(hidden, _PLAIN_KERNEL // 2))
            if index == 0:
                hidden = _film(self.film(condition), hidden)
            if index < len(self.layers) - 1:
                hidden = functional.silu(hidden)
        return self.groups.unfold(hidden.movedim(1, -1))


class ResidualRefinement(nn.Module):
    """Residual convolutions of growing dilation over groups of cells, each modulated by the condition.

    Neighbouring cells are folded into channels first: wide convolutions over few positions see as far
    as narrow ones over many, and keep a CPU several times less busy.
    """

    def __init__(self, task: GridTask, *, width_in: int, channels: int, layers: int, condition: int) -> None:
        super().__init__()
        self.pad = _Padding(task)
        self.groups = _Groups(task)
        positions = task.grid[0] // self.groups.edge
        # a small domain must not be wrapped round more than once
        self.dilations = [min(2**index, max(1, positions // _KERNEL_1D)) for index in range(layers)]
        self.lift = nn.Conv1d(self.groups.cells * width_in, channels, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(channels, channels, _KERNEL_1D, dilation=dilation) for dilation in self.dilations
        )
        self.project = nn.Conv1d(channels, self.groups.cells * len(task.spec.fields), 1)
        self.film = nn.Linear(condition, 2 * channels * layers)
        _zero(self.film, self.project)

    def forward(self, fields: Tensor, condition: Tensor) -> Tensor:
        """Correction [B, X, C] from fields [B, X, width_in] and condition [B, W]."""
        hidden = self.lift(self.groups.fold(fields).movedim(-1, 1))
        modulations = self.film(condition).chunk(len(self.layers), dim=1)
        for layer, dilation, modulation in zip(self.layers, self.dilations, modulations, strict=True):
            update = layer(self.pad(hidden, _KERNEL_1D // 2 * dilation))
            hidden = hidden + functional.silu(_film(modulation, update))
        projected: Tensor = self.project(hidden)
        return self.groups.unfold(projected.movedim(1, -1))


def refinement(task: GridTask, spec: OperatorSpec) -> nn.Module | None:
    """The refinement of a task: residual in 1-D, plain in 2-D and 3-D; None where it is left out."""
    if not spec.refinement_layers:
        return None
    width_in = len(task.spec.input_fields or task.spec.fields) + len(task.spec.fields)
    dims = len(task.grid)
    network = ResidualRefinement if dims == 1 else PlainRefinement
    return network(
        task, width_in=width_in, channels=_WIDTH[dims] * spec.refinement_channels,
        layers=_layers(spec, dims), condition=spec.hidden_dim,
    )  # fmt: skip


def _layers(spec: OperatorSpec, dims: int) -> int:
    """Half as many again in 1-D, where they have to reach far and cost little."""
    return -(-spec.refinement_layers * 3 // 2) if dims == 1 else spec.refinement_layers


class _Groups:
    """Folds neighbouring cells of a field into its channels, and back."""

    def __init__(self, task: GridTask) -> None:
        self.dims = len(task.grid)
        self.edge = math.gcd(_FOLD[self.dims], *task.edges, *task.grid)
        """Of a group in cells; it divides the patch, so that shifts by patches stay shifts."""
        self.cells = self.edge**self.dims
        """Cells of a group."""
        inner = range(2, 2 * self.dims + 1, 2)
        self._apart = (0, *range(1, 2 * self.dims, 2), *inner, 2 * self.dims + 1)
        pairs = ((1 + axis, 1 + self.dims + axis) for axis in range(self.dims))
        self._together = (0, *itertools.chain.from_iterable(pairs), 2 * self.dims + 1)

    def fold(self, field: Tensor) -> Tensor:
        """[B, *S, C] → [B, *S / edge, edge^d · C]."""
        split = [part for cells in field.shape[1:-1] for part in (cells // self.edge, self.edge)]
        parts = field.reshape(field.shape[0], *split, field.shape[-1])
        return parts.permute(self._apart).flatten(1 + self.dims)

    def unfold(self, groups: Tensor) -> Tensor:
        """The inverse of `fold`."""
        counts = groups.shape[1:-1]
        parts = groups.reshape(groups.shape[0], *counts, *(self.edge,) * self.dims, -1)
        cells = (count * self.edge for count in counts)
        return parts.permute(self._together).reshape(groups.shape[0], *cells, parts.shape[-1])


class _Padding:
    """Pads a channels-first field as its boundary asks: round the domain, or by its edge values."""

    def __init__(self, task: GridTask) -> None:
        self.mode = "circular" if task.spec.periodic else "replicate"

    def __call__(self, field: Tensor, cells: int) -> Tensor:
        if self.mode == "circular" and field.dim() == 3:  # the general one is slow in the backward pass
            return torch.cat([field[..., -cells:], field, field[..., :cells]], dim=-1)
        return functional.pad(field, (cells,) * (2 * (field.dim() - 2)), mode=self.mode)


def _film(modulation: Tensor, hidden: Tensor) -> Tensor:
    """Feature-wise gain and bias: modulation [B, 2·C] on hidden [B, C, *S]."""
    gain, bias = modulation.view(*modulation.shape, *(1,) * (hidden.dim() - 2)).chunk(2, dim=1)
    return torch.addcmul(bias, hidden, 1 + gain)


def _zero(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
