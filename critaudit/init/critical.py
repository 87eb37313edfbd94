"""Weights at which neither signals nor gradients grow or die, for any network: drawn, then scaled as signals arrive."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from critaudit.errors import UsageError
from critaudit.init.operating_length import TOLERANCE, OperatingPoint, operating_point
from critaudit.init.roles import Role, Roles, assign
from critaudit.init.weights import gaussian_, orthogonal_, stable_
from critaudit.init.wiring import Wiring, trace

if TYPE_CHECKING:
    import torch
    from torch import nn

Family: TypeAlias = Literal["orthogonal", "gaussian", "stable"]
FAMILIES: tuple[Family, ...] = ("orthogonal", "gaussian", "stable")
# Passes in which strengths settle: a branch may be scaled before the stream that it is compared with.
_PASSES = 3


@dataclass(frozen=True, slots=True)
class LayerGain:
    """What was done to one weight.

    `role` is its place in the network (see `roles.Role`), `sigma_w` = √(fan_in·mean(w²)) afterwards (None: it cannot be
    scaled), `strength` the signal's ‖x‖/√n behind it that was aimed at (None: nothing was). `reason` says why a weight
    was left as it was. `scale` is the g of `stable_` or the σ_w of `gaussian_` and `orthogonal_` that it was drawn with
    in the end (None: it was not drawn).
    """

    name: str
    role: str
    sigma_w: float | None
    strength: float | None
    reason: str = ""
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class Critical:
    """How a network was initialised: its layers, the operating points of its chains by activation, the residual sums.

    `depth` counts the layers of the longest chain of nonlinearities without a way around them; `branches` the residual
    sums, of which each adds 1/branches of the stream's mean square.
    """

    family: Family
    alpha: float | None
    layers: tuple[LayerGain, ...]
    points: Mapping[str, OperatingPoint]
    depth: int
    branches: int
    readout: float


def critical_(
    module: nn.Module,
    inputs: Any = None,
    *,
    activation: str | None = None,
    family: Family = "orthogonal",
    alpha: float = 1.8,
    readout: float = 1.0,
    branch: float = 1.0,
    sigma_b: float = 0.0,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Critical:
    """Initialise `module` in place so that neither its signals nor its gradients grow or die with depth.

    The network is run on `inputs` (a tensor, batch first, or a tuple of arguments; without them on calibrated Gaussian
    samples of the kind that it takes), every operation is watched, and each weight gets its scale when the signal
    reaches it:

    * in a chain, so that signals keep the strength at which the nonlinearity is critical for this depth
      (`operating_point`; mean-field theory of Poole 2016 and Schoenholz 2016, with finite width measured, not assumed);
    * at the end of a residual branch, so that all branches together add `branch` times the stream's mean square: the
      signal then grows by e^branch at most, and gradients likewise;
    * before attention, products and other weights, so that strength is kept;
    * at the readout, so that outputs have the strength `readout`. Smaller ones stand larger learning rates.

    With `sigma_b` the biases of chains are Gaussian of that deviation, and the strength is that of the edge of chaos at
    this σ_b (`critaudit.theory.gaussian.edge_points`). Weights are drawn `orthogonal` (dynamical isometry), `gaussian`
    or `stable` (heavy tails of exponent `alpha`); other biases become zero, scales of normalisations one (at the end of
    a branch, the branch's size). Embeddings, recurrent layers, parametrised weights, layer scales and what the forward
    pass does not reach are left as they are, and said so. Modes, running statistics and the global random state are as
    before. `activation` names the nonlinearity where the network computes one of its own.

    Raises UsageError where the network cannot be run on the inputs or an option makes no sense.

    >>> import torch, critaudit.init
    >>> net = torch.nn.Sequential(*[m for _ in range(30) for m in (torch.nn.Linear(64, 64), torch.nn.Tanh())])
    >>> critaudit.init.critical_(net).depth
    30
    """
    import torch

    if family not in FAMILIES:
        raise UsageError(f"family {family!r} was given; one of {', '.join(FAMILIES)} is expected")
    if not min(readout, branch, tolerance) > 0.0 or not 0.0 <= sigma_b < math.inf:
        raise UsageError("readout, branch and tolerance are numbers above 0, sigma_b is one from 0")
    arguments = _arguments(module, inputs, seed)
    draw = _Draw(family, alpha, seed)
    with torch.no_grad(), _calm(module):
        wiring = _run(module, arguments)
        roles = assign(wiring)
        parameters = dict(module.named_parameters(remove_duplicate=False))
        depth, branches = _depth(wiring, roles), len(roles.branches)
        points = _points(roles, activation, depth, sigma_b, tolerance)
        _fill(wiring, roles, parameters, draw, sigma_b)
        share = math.sqrt(branch / max(branches, 1))
        solver = _Solver(roles, parameters, points, activation, readout, share, _after_sums(wiring, roles))
        for _ in range(_PASSES if branches else 1):
            _run(module, arguments, solver)
        layers = tuple(solver.record(role) for role in roles.roles)
    return Critical(family, alpha if family == "stable" else None, layers, points, depth, branches, readout)


def _run(module: nn.Module, arguments: tuple[Any, ...], solver: _Solver | None = None) -> Wiring:
    try:
        return trace(module, arguments, on_node=solver)
    except UsageError:
        raise
    except Exception as error:  # a forward pass is foreign code
        text = " ".join(str(error).split())[:240]
        raise UsageError(
            f"{type(module).__name__} does not run on the inputs: {type(error).__name__}: {text}; "
            "give inputs as its forward takes them"
        ) from error


def _arguments(module: nn.Module, inputs: Any, seed: int) -> tuple[Any, ...]:
    import torch

    place = next((value.device for value in module.parameters()), torch.device("cpu"))
    if inputs is None:
        from critaudit.dynamics.calibrated import sample_kinds
        from critaudit.sources.live.reader import preprocessing_of

        kinds = sample_kinds(module, preprocessing_of(module))
        if not kinds:
            raise UsageError(f"what {type(module).__name__} takes as input is not known; give inputs")
        batch = torch.cat([torch.from_numpy(values) for values in kinds[0].draw(16, seed)])
        return (batch.to(place),)
    if isinstance(inputs, (tuple, list)):
        return tuple(inputs)
    return (torch.as_tensor(inputs).to(place),)


@contextmanager
def _calm(module: nn.Module) -> Iterator[None]:
    """Batch statistics on, dropout off; modes and buffers are put back."""
    modes = [(part, part.training) for part in module.modules()]
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    try:
        for part, _ in modes:
            part.training = "Norm" in type(part).__name__ and "Batch" in type(part).__name__
        yield
    finally:
        for part, training in modes:
            part.training = training
        for name, value in module.named_buffers():
            if name in buffers and buffers[name].shape == value.shape:
                value.copy_(buffers[name])


class _Draw:
    """Weights of unit scale from one generator on the CPU."""

    def __init__(self, family: Family, alpha: float, seed: int) -> None:
        import torch

        self._family, self._alpha = family, alpha
        self._generator = torch.Generator().manual_seed(seed)

    def fill(self, parameter: torch.Tensor, *, blocks: int = 1) -> None:
        """Draw `parameter`; one of packed projections in equal blocks of rows."""
        import torch

        values = torch.empty(parameter.shape, dtype=torch.float32)
        for part in values.chunk(blocks):
            if self._family == "orthogonal":
                orthogonal_(part, 1.0, generator=self._generator)
            elif self._family == "gaussian":
                gaussian_(part, 1.0, generator=self._generator)
            else:
                stable_(part, self._alpha, 1.0, generator=self._generator)
        parameter.copy_(values)

    def fill_bias(self, parameter: torch.Tensor, sigma_b: float) -> None:
        """Gaussian biases of deviation `sigma_b`."""
        import torch

        parameter.copy_(sigma_b * torch.randn(parameter.shape, generator=self._generator))


def _depth(wiring: Wiring, roles: Roles) -> int:
    """Layers of the longest chain between inputs and output."""
    links = frozenset(role.place for role in roles.roles if role.name == "chain")
    return max((len(links & wiring.weights_before(role.place)) for role in roles.roles), default=0) if links else 0


def _after_sums(wiring: Wiring, roles: Roles) -> dict[int, int]:
    """By the place of a projection of the stream: the nonlinearity behind the sum that it goes into, where one is."""
    found = {}
    for role in roles.roles:
        if role.name == "skip":
            sums = [one for one in wiring.followers(role.place) if wiring.nodes[one].kind == "add"]
            bends = [one for place in sums for one in wiring.followers(place) if wiring.nodes[one].kind == "activation"]
            if bends:
                found[role.place] = bends[0]
    return found


def _points(
    roles: Roles, activation: str | None, depth: int, sigma_b: float, tolerance: float
) -> dict[str, OperatingPoint]:
    """Operating points by role and activation: that of a chain holds for its depth, inside a branch for one layer."""
    found = {}
    for role in roles.roles:
        if role.name in ("chain", "inside"):
            name = activation or role.activation
            if name is not None:
                layers, bias = (max(depth, 1), sigma_b) if role.name == "chain" else (1, 0.0)
                found[f"{role.name}:{name}"] = operating_point(name, layers, sigma_b=bias, tolerance=tolerance)
    return found


def _fill(wiring: Wiring, roles: Roles, parameters: Mapping[str, torch.Tensor], draw: _Draw, sigma_b: float) -> None:
    for role in roles.roles:
        if role.weight is None or role.weight not in parameters or role.name == "embedding":
            continue
        weight = parameters[role.weight]
        if weight.ndim < 2:
            continue
        square = weight.ndim == 2 and weight.shape[0] == 3 * weight.shape[1]
        draw.fill(weight, blocks=3 if square and role.name == "linear" else 1)
        if role.bias is not None and role.bias in parameters:
            draw.fill_bias(parameters[role.bias], sigma_b if role.name == "chain" else 0.0)
    for node in wiring.nodes:
        if node.kind == "norm":
            for name in node.parameters:
                values = parameters.get(name)
                if values is not None:
                    values.fill_(0.0 if name.endswith("bias") else 1.0)


class _Solver:
    """Scales each weight when the signal reaches it, so that what leaves it has the strength that it should have."""

    def __init__(
        self,
        roles: Roles,
        parameters: Mapping[str, torch.Tensor],
        points: Mapping[str, OperatingPoint],
        activation: str | None,
        readout: float,
        share: float,
        after_sum: Mapping[int, int],
    ) -> None:
        self._roles = {role.place: role for role in roles.roles}
        self._branches = {end: branch for branch in roles.branches for end in branch.ends}
        self._parameters, self._points = parameters, points
        self._activation, self._readout, self._share = activation, readout, share
        self._after_sum = after_sum
        self._known: dict[int, float] = {}
        self._targets: dict[int, float] = {}
        self._scales: dict[str, float] = {}

    def __call__(self, wiring: Wiring, place: int, output: torch.Tensor) -> torch.Tensor:
        target = self._target(wiring, place)
        if target is not None:
            output = self._scaled(wiring.nodes[place], place, output, target)
        self._known[place] = _strength(output)
        return output

    def _target(self, wiring: Wiring, place: int) -> float | None:
        role, branch = self._roles.get(place), self._branches.get(place)
        if branch is not None:
            stream = self._strength_at(wiring, branch.stream)
            return None if stream is None else self._share * stream / math.sqrt(len(branch.ends))
        if role is None:
            return None
        if role.name in ("chain", "inside"):
            point = self._points.get(f"{role.name}:{self._activation or role.activation}")
            return None if point is None else point.strength
        if role.name == "readout":
            return self._readout
        if role.name == "linear":
            return self._strength_at(wiring, wiring.nodes[place].inputs[0])
        return self._skip_target(wiring, place) if role.name == "skip" else None

    def _skip_target(self, wiring: Wiring, place: int) -> float | None:
        """A projection of the stream: behind the nonlinearity that may follow the sum, strength is what it was."""
        arriving = self._strength_at(wiring, wiring.nodes[place].inputs[0])
        after = self._after_sum.get(place)
        if arriving is None or after not in self._known or place not in self._targets or self._known[after] <= 0.0:
            return arriving
        return self._targets[place] * arriving / self._known[after]

    def _strength_at(self, wiring: Wiring, place: int) -> float | None:
        place = wiring.origin(place) if place < len(wiring.nodes) else place
        strength = wiring.nodes[place].strength if place < len(wiring.nodes) else self._known.get(place, math.nan)
        if not math.isfinite(strength):
            strength = self._known.get(place, math.nan)
        return strength if math.isfinite(strength) and strength > 0.0 else None

    def _scaled(self, node: Any, place: int, output: torch.Tensor, target: float) -> torch.Tensor:
        name = node.parameters[0]
        parameter = self._parameters.get(name)
        shift = self._shift(place, output)
        moved = output if shift is None else output - shift
        strength = _strength(moved)
        # Biases add to the signal's mean square; the weights give the rest of it.
        wanted = math.sqrt(max(target * target - (0.0 if shift is None else _strength(shift) ** 2), 0.0))
        if parameter is None or not math.isfinite(strength) or strength <= 0.0 or wanted <= 0.0:
            return output
        factor = wanted / strength
        parameter.mul_(factor)
        self._scales[name] = factor * self._scales.get(name, 1.0)
        self._targets[place] = target
        return moved * factor if shift is None else moved * factor + shift

    def _shift(self, place: int, output: torch.Tensor) -> torch.Tensor | None:
        """The layer's bias in the shape of its output, where it is not zero."""
        role = self._roles.get(place)
        bias = self._parameters.get(role.bias or "") if role is not None and role.name == "chain" else None
        if bias is None or not bool(bias.any()):
            return None
        channels_last = output.shape[-1] == bias.numel() and self._parameters[role.weight or ""].ndim == 2  # type: ignore[union-attr]
        return bias if channels_last else bias.view(-1, *[1] * (output.ndim - 2))

    def record(self, role: Role) -> LayerGain:
        """What became of one weight."""
        weight = self._parameters.get(role.weight or "")
        if role.name == "embedding" or weight is None or weight.ndim < 2:
            reason = "rows are looked up, no signal is multiplied" if role.name == "embedding" else "it is no weight"
            return LayerGain(role.weight or "", role.name, None, None, reason)
        fan_in = math.prod(weight.shape[1:])
        sigma_w = math.sqrt(fan_in * float(weight.double().square().mean()))
        reason = "a normalisation undoes its scale" if role.name == "normalised" else ""
        scale = self._scales.get(role.weight or "", 1.0)
        return LayerGain(role.weight or "", role.name, sigma_w, self._targets.get(role.place), reason, scale)


def _strength(tensor: torch.Tensor) -> float:
    import torch

    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) / math.sqrt(max(tensor.numel(), 1))
