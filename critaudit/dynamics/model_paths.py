"""A source's network and its linear twin, followed operation by operation for as many inputs as their cost allows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from critaudit.contents import InputArray, Runnable
from critaudit.dynamics.operations import NetworkPaths, Samples, linear_paths, network_paths, of_strength, watch
from critaudit.dynamics.operations.norms import whole_strength
from critaudit.dynamics.running import CannotRunError, Running, running

if TYPE_CHECKING:
    import torch

# Floating-point operations to spend on the inputs that are followed; calibration and the twin come on top.
_BUDGET = 5e12
_FEWEST, _MOST = 64, 4096
# Every third input calibrates thresholds.
_SHARE = 3
_FEWEST_GIVEN = 60
# Random inputs whose mean strength is that of all.
_SIZED = 16
_OTHER_INPUTS = 1_000_003


@dataclass(frozen=True, slots=True, eq=False)
class ModelPaths:
    """The strengths of a network and of its linear twin, or the `reason` why there are none.

    `linear` is None where there is no twin, and `linear_reason` says why. `method` says what the inputs were.
    """

    network: NetworkPaths | None = None
    linear: NetworkPaths | None = None
    linear_reason: str | None = None
    method: str = ""
    reason: str | None = None


def model_paths(
    runnable: Runnable,
    *,
    inputs: InputArray | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> ModelPaths:
    """Follow inputs of equal norm through all operations of a network, and through those of its linear twin.

    Without `inputs` they are random ones of the network's kind, 64 to 4096 by what one costs, and a third as many
    others calibrate the thresholds. Of given `inputs` (batch first; 60 or more) every third calibrates. A network that
    cannot be followed gives a `reason`, never an exception; UsageError is raised for a device or inputs that cannot be
    used.
    """
    try:
        with running(
            runnable, inputs=inputs, samples=2 if inputs is None else len(inputs), seed=seed, device=device
        ) as network:
            calibration, samples, method = _inputs(network, given=inputs is not None)
            followed = network_paths(network.module, calibration, samples)
            try:
                linear, reason = linear_paths(network.module, calibration, samples), None
            except CannotRunError as failure:
                linear, reason = None, str(failure)
            return ModelPaths(followed, linear, reason, method)
    except CannotRunError as failure:
        return ModelPaths(reason=str(failure))


def _inputs(network: Running, *, given: bool) -> tuple[Samples, Samples, str]:
    """Calibration inputs, inputs to follow, and both in words."""
    if given:
        if network.count < _FEWEST_GIVEN:
            raise CannotRunError(
                f"{network.count} inputs were given; avalanches need {_FEWEST_GIVEN} or more, as every third one "
                "calibrates the thresholds"
            )
        strength, scaled = _common_strength(network)
        return (
            lambda: of_strength(itertools.islice(network.samples(), 0, None, _SHARE), strength),
            lambda: of_strength(_others(network.samples()), strength),
            f"{network.count} given inputs{scaled}, every third of them for the thresholds",
        )
    flops = watch(network.module, list(network.samples(count=2))).flops
    count = affordable(flops)
    strength, scaled = _common_strength(network)
    return (
        lambda: of_strength(network.samples(count=count // _SHARE), strength),
        lambda: of_strength(network.samples(count=count, seed=network.seed + _OTHER_INPUTS), strength),
        f"{count} inputs and {count // _SHARE} others for the thresholds{scaled}; {network.method}",
    )


def affordable(flops: float) -> int:
    """How many inputs to follow where one costs so many floating-point operations: the same on every machine."""
    return int(min(max(_BUDGET / max(flops, 1.0), _FEWEST), _MOST))


def _common_strength(network: Running) -> tuple[float, str]:
    """The mean strength of the inputs, to which all are scaled: then they differ in direction only."""
    found = [float(whole_strength(values)) for values in network.samples(count=_SIZED) if values.is_floating_point()]
    if not found:
        return 1.0, ""
    mean = math.fsum(found) / len(found)
    if not (math.isfinite(mean) and mean > 0.0):
        raise CannotRunError("the inputs hold NaN or infinity, or nothing but zeros")
    return mean, f", each scaled to strength {mean:.3g}"


def _others(samples: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    return (values for place, values in enumerate(samples) if place % _SHARE)
