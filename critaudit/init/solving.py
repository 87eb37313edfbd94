"""Scales of weights, found as signals arrive: what leaves each weight gets the strength that it should have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from critaudit.dynamics.hooks import strength_of
from critaudit.init.operating_length import OperatingPoint
from critaudit.init.roles import Role, Roles
from critaudit.init.wiring import Wiring

if TYPE_CHECKING:
    import torch

# A branch may add this much more than its share before it is made smaller.
_EXCESS = 1.02


class Solver:
    """Called behind every operation of a forward pass (see `tracing.trace`); `settle` is called between passes.

    `share` is the size of a residual branch in units of its stream, `uses` how many branches end in the same weight:
    what they add points the same way, so that their strengths and not their mean squares add up. Targets that need a
    strength from further on (streams that are computed after their branch) are met from the second pass on.
    """

    def __init__(
        self,
        roles: Roles,
        parameters: Mapping[str, torch.Tensor],
        points: Mapping[str, OperatingPoint],
        *,
        activation: str | None,
        readout: float,
        share: float,
        uses: Mapping[str, int],
        after_sum: Mapping[int, int],
    ) -> None:
        self._roles = {role.weight: role for role in roles.roles}
        self._branches = {end: branch for branch in roles.branches for end in branch.ends}
        self._parameters, self._points = parameters, points
        self._activation, self._readout, self._share = activation, readout, share
        self._uses = uses
        self._after_sum = after_sum
        self._last: Wiring | None = None
        # By residual sum: the strength that the branch should have, and a factor for what grows behind its ends.
        self._wanted: dict[int, float] = {}
        self._damping: dict[int, float] = {}
        self._done: set[str] = set()
        # By name of a weight: the strength that it was given, and the factor by which it was scaled.
        self.targets: dict[str, float] = {}
        self.scales: dict[str, float] = {}

    def __call__(self, wiring: Wiring, place: int, output: torch.Tensor) -> torch.Tensor:
        node = wiring.nodes[place]
        # A weight that is used again keeps the scale of its first use.
        if node.kind not in ("weight", "norm") or not node.parameters or node.left or node.parameters[0] in self._done:
            return output
        target = self._target(wiring, place, node.parameters[0])
        return output if target is None else self._scaled(wiring, place, output, target)

    def settle(self, wiring: Wiring) -> None:
        """Take in a whole pass: strengths for the next one, and branches that add more than their share."""
        self._last = wiring
        done, self._done = self._done, set()
        for branch in {one.sum: one for one in self._branches.values()}.values():
            wanted, added = self._wanted.pop(branch.sum, math.nan), wiring.nodes[branch.branch].strength
            if all(wiring.nodes[end].parameters[0] in done for end in branch.ends) and added > _EXCESS * wanted:
                self._damping[branch.sum] = self._damping.get(branch.sum, 1.0) * wanted / added

    def _target(self, wiring: Wiring, place: int, weight: str) -> float | None:
        branch, role = self._branches.get(place), self._roles.get(weight)
        if branch is not None:
            stream = self._strength_at(wiring, branch.stream)
            if stream is None:
                return None
            self._wanted[branch.sum] = wanted = self._share * stream / math.sqrt(self._uses[weight])
            return wanted * self._damping.get(branch.sum, 1.0) / math.sqrt(len(branch.ends))
        if role is None or role.name in ("normalised", "embedding", "branch_end"):
            return None
        if role.name == "readout":
            return self._readout
        if role.name in ("chain", "inside"):
            point = self._points.get(f"{role.name}:{self._activation or role.activation}")
            if point is not None:
                return point.strength
        if role.name == "skip":
            return self._skip_target(wiring, role)
        return self._strength_at(wiring, wiring.nodes[place].inputs[0])

    def _skip_target(self, wiring: Wiring, role: Role) -> float | None:
        """A projection of the stream: behind the nonlinearity that may follow the sum, strength is what it was."""
        arriving = self._strength_at(wiring, wiring.nodes[role.place].inputs[0])
        after = self._after_sum.get(role.place)
        if arriving is None or after is None or self._last is None or role.weight not in self.targets:
            return arriving
        behind = self._last.nodes[after].strength
        return self.targets[role.weight] * arriving / behind if behind > 0.0 else arriving

    def _strength_at(self, wiring: Wiring, place: int) -> float | None:
        """Strength of a node in this pass, or in the last one where this pass has not come so far."""
        known = wiring if place < len(wiring.nodes) else self._last
        strength = math.nan if known is None else known.nodes[place].strength
        return strength if math.isfinite(strength) and strength > 0.0 else None

    def _scaled(self, wiring: Wiring, place: int, output: torch.Tensor, target: float) -> torch.Tensor:
        name = wiring.nodes[place].parameters[0]
        parameter = self._parameters[name]
        shift = self._shift(wiring, place, output)
        moved = output if shift is None else output - shift
        strength = _strength(moved)
        # Biases add to the signal's mean square; the weights give the rest of it.
        wanted = math.sqrt(max(target * target - (0.0 if shift is None else _strength(shift) ** 2), 0.0))
        if not math.isfinite(strength) or strength <= 0.0 or wanted <= 0.0:
            return output
        factor = wanted / strength
        parameter.mul_(factor)
        self.scales[name] = factor * self.scales.get(name, 1.0)
        self.targets[name] = target
        self._done.add(name)
        return moved * factor if shift is None else moved * factor + shift

    def _shift(self, wiring: Wiring, place: int, output: torch.Tensor) -> torch.Tensor | None:
        """The layer's bias in the shape of its output, where it is not zero."""
        node = wiring.nodes[place]
        bias = self._parameters.get(node.bias or "")
        if node.kind != "weight" or bias is None or not bool(bias.any()):
            return None
        axes = self._parameters[node.parameters[0]].ndim - 2 if node.operation.startswith("conv") else 0
        if bias.numel() != output.shape[-1 - axes]:
            return None  # a part of packed biases
        return bias.view(-1, *[1] * axes)


def _strength(tensor: torch.Tensor) -> float:
    strength = strength_of(tensor)
    return math.nan if strength is None else strength
