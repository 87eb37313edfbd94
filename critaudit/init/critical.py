"""Weights at which neither signals nor gradients grow or die, for any network: drawn, then scaled as signals arrive."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from critaudit.errors import UsageError
from critaudit.init.arguments import arguments_of, does_not_run, place_of
from critaudit.init.drawing import FAMILIES, Draw, Family, draw_all
from critaudit.init.modes import calm, check_real, unwrapped
from critaudit.init.operating_length import TOLERANCE, OperatingPoint, operating_point
from critaudit.init.operations import ELEMENTWISE
from critaudit.init.roles import Role, Roles, assign
from critaudit.init.solving import Solver
from critaudit.init.tracing import OnNode, trace
from critaudit.init.wiring import Wiring

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["FAMILIES", "Critical", "Family", "LayerGain", "critical_"]

# Passes in which strengths settle: a branch may be scaled before the stream that it is compared with.
_PASSES = 3
_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class LayerGain:
    """What was done to one weight.

    `role` is its place in the network (see `roles.Role`; "left": none, it is as it was), `sigma_w` = √(fan_in·mean(w²))
    afterwards (None: it is no product's), `strength` the signal's ‖x‖/√n behind it that was aimed at (None: nothing
    was). `reason` says why a weight was left as it was, or has no strength of its own. `scale` is the g of `stable_` or
    the σ_w of `gaussian_` and `orthogonal_` that it was drawn with in the end (None: it was not drawn).
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
    sums whose branch was given its size, each 1/branches of the stream's mean square.
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
    * before attention, products, gates and other weights, and before nonlinearities that theory has no name for, so
      that strength is kept;
    * at the readout, so that outputs (what goes into an activation that ends the network) have the strength `readout`.
      Smaller ones stand larger learning rates.

    With `sigma_b` the biases of chains are Gaussian of that deviation, and the strength is that of the edge of chaos at
    this σ_b (`critaudit.theory.gaussian.edge_points`). Weights are drawn `orthogonal` (dynamical isometry), `gaussian`
    or `stable` (heavy tails of exponent `alpha`); other biases become zero, scales of normalisations one (at the end of
    a branch, the branch's size). A weight that is used more than once gets the scale of its first use.
    Embeddings, recurrent layers, parametrised and frozen weights, layer scales (and the branches behind them) and what
    the forward pass does not reach are left as they are, and said so. Modes, running statistics, gradients and the
    global random state are as before. `activation` names the nonlinearity where the network computes one of its own.
    What torch.compile or DataParallel put around a module is looked through.

    Raises UsageError where the network cannot be run on the inputs, has no values (meta device), or an option makes no
    sense; CritauditError where `sigma_b` has no stable edge of chaos for an activation.

    >>> import torch, critaudit.init
    >>> net = torch.nn.Sequential(*[m for _ in range(30) for m in (torch.nn.Linear(64, 64), torch.nn.Tanh())])
    >>> critaudit.init.critical_(torch.nn.Sequential(net, torch.nn.Linear(64, 10))).depth
    30
    """
    from critaudit.dynamics.hooks import undisturbed

    if family not in FAMILIES:
        raise UsageError(f"family {family!r} was given; one of {', '.join(FAMILIES)} is expected")
    if not all(0.0 < one < math.inf for one in (readout, branch, tolerance)) or not 0.0 <= sigma_b < math.inf:
        raise UsageError("readout, branch and tolerance are numbers above 0, sigma_b is one from 0")
    if not 0.0 < alpha <= 2.0:
        raise UsageError(f"alpha = {alpha} was given; a tail exponent from above 0 to 2 is expected")
    module = unwrapped(module)
    check_real(module)
    with undisturbed(place_of(module), seed), calm(module):
        arguments = arguments_of(module, inputs, samples=_SAMPLES, seed=seed)
        wiring = _run(module, arguments)
        roles = assign(wiring, named=activation is not None)
        parameters = dict(module.named_parameters(remove_duplicate=False))
        points = _points(roles, activation, sigma_b, tolerance)
        draw_all(wiring, roles, parameters, Draw(family, alpha, seed), sigma_b=sigma_b)
        branches = sum(bool(one.ends) for one in roles.branches)
        solver = Solver(
            roles,
            parameters,
            points,
            activation=activation,
            readout=readout,
            share=math.sqrt(branch / max(branches, 1)),
            uses=Counter(wiring.nodes[end].parameters[0] for one in roles.branches for end in one.ends),
            after_sum=_after_sums(wiring, roles),
        )
        for _ in range(_PASSES if branches else 1):
            solver.settle(_run(module, arguments, solver))
        layers = (
            *(_gain(role, wiring, parameters, solver) for role in roles.roles),
            *_left(module, wiring, roles),
        )
    return Critical(family, alpha if family == "stable" else None, layers, points, roles.depth, branches, readout)


def _run(module: nn.Module, arguments: tuple[Any, ...], on_node: OnNode | None = None) -> Wiring:
    import torch

    # The global random state of each pass is the same: noise that a network makes itself must not move strengths.
    torch.manual_seed(0)
    try:
        return trace(module, arguments, on_node=on_node)
    except UsageError:
        raise
    except Exception as error:  # a forward pass is foreign code
        raise does_not_run(module, error) from error


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


def _points(roles: Roles, activation: str | None, sigma_b: float, tolerance: float) -> dict[str, OperatingPoint]:
    """Operating points by role and activation, for the depth of the chains, and of those within residual branches."""
    found: dict[str, OperatingPoint] = {}
    for role in roles.roles:
        name = activation or role.activation
        key = f"{role.name}:{name}"
        if role.name not in ("chain", "inside") or name is None or key in found:
            continue
        layers, bias = (roles.depth, sigma_b) if role.name == "chain" else (roles.inner_depth, 0.0)
        found[key] = operating_point(name, max(layers, 1), sigma_b=bias, tolerance=tolerance)
    return found


def _gain(role: Role, wiring: Wiring, parameters: Mapping[str, torch.Tensor], solver: Solver) -> LayerGain:
    """What became of one weight."""
    weight, node = parameters[role.weight], wiring.nodes[role.place]
    reason = role.left
    if role.name == "embedding":
        return LayerGain(role.weight, role.name, None, None, "rows are looked up, no signal is multiplied")
    if not reason and role.name == "normalised":
        reason = "a normalisation undoes its scale"
    elif not reason and role.weight not in solver.targets:
        reason = "no signal came out of it that could be scaled"
    sigma_w = None
    if node.fan_in is not None and weight.ndim > 1 and "computed from" not in role.left:
        sigma_w = math.sqrt(node.fan_in * float(weight.detach().double().square().mean()))
    scale = None if role.left else solver.scales.get(role.weight, 1.0)
    return LayerGain(role.weight, role.name, sigma_w, solver.targets.get(role.weight), reason, scale)


def _left(module: nn.Module, wiring: Wiring, roles: Roles) -> list[LayerGain]:
    """The parameters of two axes and more, and scales of signals, that no weight operation uses."""
    known = {role.weight for role in roles.roles}
    uses: dict[str, str] = {}
    for node in wiring.nodes:
        for name in node.parameters:
            use = "it is added to signals" if node.kind == "pass" else f"it is used by {node.operation}"
            scales = node.kind == "other" and node.operation in ELEMENTWISE
            uses.setdefault(name, "it scales signals" if scales else use)
    found = []
    for name, value in module.named_parameters():
        scales = uses.get(name) == "it scales signals"
        if name in known or not (value.ndim > 1 or scales):
            continue
        reason = uses.get(name, "the forward pass does not reach it")
        if name in wiring.aside:
            reason = "signals do not pass it: it is used with parameters alone"
        found.append(LayerGain(name, "left", None, None, reason))
    return found
