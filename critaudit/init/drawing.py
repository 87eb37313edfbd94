"""Random weights for a whole network from one seed: each weight in its family, biases, scales of normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from critaudit.init.roles import Role, Roles
from critaudit.init.weights import gaussian_, orthogonal_, stable_
from critaudit.init.wiring import Wiring

if TYPE_CHECKING:
    import torch

Family: TypeAlias = Literal["orthogonal", "gaussian", "stable"]
FAMILIES: tuple[Family, ...] = ("orthogonal", "gaussian", "stable")


class Draw:
    """Weights of unit scale from one generator on the CPU, so that a seed gives the same ones on every device."""

    def __init__(self, family: Family, alpha: float, seed: int) -> None:
        import torch

        self._family, self._alpha = family, alpha
        self._generator = torch.Generator().manual_seed(seed)

    def fill(self, parameter: torch.Tensor, *, blocks: int = 1) -> None:
        """Draw `parameter`; packed projections and groups of a convolution in equal blocks of rows."""
        import torch

        values = torch.empty(parameter.shape, dtype=torch.float32)
        if self._family == "orthogonal":
            orthogonal_(values, 1.0, groups=blocks, generator=self._generator)
        elif self._family == "gaussian":
            gaussian_(values, 1.0, generator=self._generator)
        else:
            stable_(values, self._alpha, 1.0, generator=self._generator)
        parameter.copy_(values)

    def fill_bias(self, parameter: torch.Tensor, sigma_b: float) -> None:
        """Gaussian biases of deviation `sigma_b`."""
        import torch

        parameter.copy_(sigma_b * torch.randn(parameter.shape, generator=self._generator))


def draw_all(
    wiring: Wiring, roles: Roles, parameters: Mapping[str, torch.Tensor], draw: Draw, *, sigma_b: float
) -> None:
    """Draw every weight that is ours to draw, biases of chains with `sigma_b`, others zero; scales of norms one."""
    for role in roles.roles:
        weight = parameters[role.weight]
        if role.name != "embedding" and not role.left and weight.ndim > 1:
            draw.fill(weight, blocks=_blocks(wiring, role, weight))
        bias = parameters.get(role.bias or "")
        if bias is not None and bias.requires_grad and role.name != "embedding":
            draw.fill_bias(bias, sigma_b if role.name == "chain" else 0.0)
    for node in wiring.nodes:
        if node.kind == "norm" and not node.left:
            for place, name in enumerate(node.parameters):
                parameters[name].fill_(1.0 if place == 0 and not name.endswith("bias") else 0.0)


def _blocks(wiring: Wiring, role: Role, weight: torch.Tensor) -> int:
    """Independent blocks of rows: queries, keys and values in one matrix; the groups of a convolution."""
    if role.name == "linear" and weight.ndim == 2 and weight.shape[0] == 3 * weight.shape[1]:
        return 3
    groups = wiring.nodes[role.place].groups
    return groups if weight.shape[0] % groups == 0 else 1
