"""The field-space networks after the decoder.

A patch transformer alone leaves errors at patch boundaries that grow in a rollout. A few
convolutions on (input, prediction), modulated by the condition, remove them. The last layer starts
at zero, so that an untrained refinement changes nothing.
"""

from torch import Tensor, nn
from torch.nn import functional

from ups.models.spec import GridTask, OperatorSpec

_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d,
}  # fmt: skip
_KERNEL_1D = 7
_PLAIN_KERNELS = {2: 5, 3: 3}
"""By dimensions: a cube of 5 cells would cost more than the transformer."""


class PlainRefinement(nn.Module):
    """Convolutions at full resolution; the first is modulated (FiLM) by the condition."""

    def __init__(self, task: GridTask, *, width_in: int, channels: int, layers: int, condition: int) -> None:
        super().__init__()
        self.pad = _Padding(task)
        outputs = [*(channels,) * (layers - 1), len(task.spec.fields)]
        inputs = [width_in, *outputs[:-1]]
        convolution, self.kernel = _CONVOLUTIONS[len(task.grid)], _PLAIN_KERNELS[len(task.grid)]
        self.layers = nn.ModuleList(
            convolution(i, o, self.kernel) for i, o in zip(inputs, outputs, strict=True)
        )
        self.film = nn.Linear(condition, 2 * outputs[0])
        _zero(self.film, self.layers[-1])

    def forward(self, fields: Tensor, condition: Tensor) -> Tensor:
        """Correction [B, *S, C] from fields [B, *S, width_in] and condition [B, W]."""
        hidden = fields.movedim(-1, 1)
        for index, layer in enumerate(self.layers):
            hidden = layer(self.pad(hidden, self.kernel // 2))
            if index == 0:
                gain, bias = _film(self.film(condition), hidden)
                hidden = hidden * (1 + gain) + bias
            if index < len(self.layers) - 1:
                hidden = functional.silu(hidden)
        return hidden.movedim(1, -1)


class DilatedRefinement(nn.Module):
    """Residual convolutions of growing dilation (1, 2, 4 …), each modulated by the condition."""

    def __init__(self, task: GridTask, *, width_in: int, channels: int, layers: int, condition: int) -> None:
        super().__init__()
        self.pad = _Padding(task)
        convolution = _CONVOLUTIONS[len(task.grid)]
        self.lift = convolution(width_in, channels, 1)
        self.layers = nn.ModuleList(
            convolution(channels, channels, _KERNEL_1D, dilation=2**index) for index in range(layers)
        )
        self.project = convolution(channels, len(task.spec.fields), 1)
        self.film = nn.Linear(condition, 2 * channels * layers)
        _zero(self.film, self.project)

    def forward(self, fields: Tensor, condition: Tensor) -> Tensor:
        """Correction [B, *S, C] from fields [B, *S, width_in] and condition [B, W]."""
        hidden = self.lift(fields.movedim(-1, 1))
        modulations = self.film(condition).chunk(len(self.layers), dim=1)
        for index, (layer, modulation) in enumerate(zip(self.layers, modulations, strict=True)):
            update = layer(self.pad(hidden, _KERNEL_1D // 2 * 2**index))
            gain, bias = _film(modulation, update)
            hidden = hidden + functional.silu(update * (1 + gain) + bias)
        projected: Tensor = self.project(hidden)
        return projected.movedim(1, -1)


def refinement(task: GridTask, spec: OperatorSpec) -> nn.Module | None:
    """The refinement of a task: dilated in 1-D, plain in 2-D and 3-D; None where it is left out."""
    if not spec.refinement_layers:
        return None
    width_in = len(task.spec.input_fields or task.spec.fields) + len(task.spec.fields)
    if len(task.grid) == 1:
        return DilatedRefinement(
            task, width_in=width_in, channels=spec.refinement_channels * 3 // 2,
            layers=2 * spec.refinement_layers, condition=spec.hidden_dim,
        )  # fmt: skip
    return PlainRefinement(
        task, width_in=width_in, channels=spec.refinement_channels,
        layers=spec.refinement_layers, condition=spec.hidden_dim,
    )  # fmt: skip


class _Padding:
    """Pads a channels-first field as its boundary asks: round the domain, or by its edge values."""

    def __init__(self, task: GridTask) -> None:
        self.mode = "circular" if task.spec.periodic else "replicate"

    def __call__(self, field: Tensor, cells: int) -> Tensor:
        return functional.pad(field, (cells,) * (2 * (field.dim() - 2)), mode=self.mode)


def _film(modulation: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    gain, bias = modulation.view(*modulation.shape, *(1,) * (hidden.dim() - 2)).chunk(2, dim=1)
    return gain, bias


def _zero(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
