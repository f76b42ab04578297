"""The field-space network on meshes and particles: message passing over the neighbour graph.

Instead of learning how irregular neighbours are weighed, each round reads fixed differences: the mean
difference to the neighbours (what is left of it is a Laplacian) and the least-squares gradient. So a
round is one gather and a few products, without a network on the edges. Products of features, as in
v·∇v, are what its gated linear unit makes. The last layer starts at zero: an untrained network
changes nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ups.models.geometry import Geometry, offsets
from ups.tasks import TaskSpec

_RIDGE = 1e-3
"""Added to the moment matrix of a point's neighbours, which may lie on one line."""


@torch.no_grad()
def stencils(geometry: Geometry, spec: TaskSpec) -> Tensor:
    """Weights [B, P, 1 + D, K] of the neighbours' differences: their mean, and the gradient.

    Lengths are in units of the root mean square distance of neighbours, so that all are of order one.
    """
    batch, points, _ = geometry.neighbours.shape
    rows = torch.arange(batch, device=geometry.positions.device)[:, None, None]
    offset = offsets(geometry.positions[rows, geometry.neighbours], geometry.positions[:, :, None], spec)
    own = torch.arange(points, device=offset.device)[:, None]
    real = (geometry.neighbours != own).to(offset.dtype)  # [B, P, K]
    share = real / real.sum(dim=-1, keepdim=True).clamp_min(1)
    scale = (offset.square().sum(-1) * share).sum(dim=-1, keepdim=True).sqrt()
    # one length for all points of a sample: a prediction must not depend on a point's own luck
    known = geometry.mask[..., None].to(scale.dtype)
    scale = (scale * known).sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp_min(1)
    offset = offset / scale[..., None].clamp_min(1e-12)
    moment = torch.einsum("bpk,bpki,bpkj->bpij", share, offset, offset)
    dims = offset.shape[-1]
    ridge = _RIDGE * torch.eye(dims, device=offset.device)
    gradient = torch.linalg.solve(moment + ridge, (offset * share[..., None]).mT)  # [B, P, D, K]
    return torch.cat([share[:, :, None], gradient], dim=2)


class MessagePassing(nn.Module):
    """Rounds of differences and gated updates on (input, prediction), each modulated by the condition."""

    def __init__(self, spec: TaskSpec, *, width_in: int, channels: int, rounds: int, condition: int) -> None:
        """Args:
        spec: the task.
        width_in: channels of the fields.
        channels: width of the features.
        rounds: how far information travels, in neighbours.
        condition: width of the condition.
        """
        super().__init__()
        self.spec = spec
        kinds = 1 + spec.spatial_dims
        self.lift = nn.Linear(width_in + 1, channels)
        self.mix = nn.ModuleList(nn.Linear((1 + kinds) * channels, 4 * channels) for _ in range(rounds))
        self.update = nn.ModuleList(nn.Linear(2 * channels, channels) for _ in range(rounds))
        self.film = nn.Linear(condition, 4 * channels * rounds)
        self.project = nn.Linear(channels, len(spec.fields))
        for layer in (self.film, self.project):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, fields: Tensor, condition: Tensor, geometry: Geometry) -> Tensor:
        """Correction [B, P, C] from fields [B, P, width_in] and condition [B, W]."""
        weights = stencils(geometry, self.spec)
        batch, points, kinds, degree = weights.shape
        weights = weights.view(batch * points, kinds, degree)
        totals = weights.sum(dim=-1, keepdim=True)
        rows = points * torch.arange(batch, device=fields.device)[:, None, None]
        neighbours = (geometry.neighbours + rows).view(batch * points, degree)
        hidden = self.lift(torch.cat([fields, geometry.boundary[..., None].to(fields.dtype)], dim=-1))
        hidden = hidden.flatten(0, 1)  # [B·P, channels]
        modulations = self.film(condition)[:, None].chunk(len(self.mix), dim=-1)
        for mix, update, modulation in zip(self.mix, self.update, modulations, strict=True):
            # a gather whose gradient is a plain sum over rows, which indexing's is not
            near = functional.embedding(neighbours, hidden)
            differences = torch.bmm(weights, near) - totals * hidden[:, None]
            mixed = mix(torch.cat([hidden, differences.flatten(1)], dim=-1)).view(batch, points, -1)
            gain, bias = modulation.chunk(2, dim=-1)
            gate, value = mixed.chunk(2, dim=-1)
            gated = functional.silu(gate * (1 + gain) + bias) * value
            hidden = hidden + update(gated).flatten(0, 1)
        correction: Tensor = self.project(hidden).view(batch, points, -1)
        return correction * geometry.mask[..., None]
