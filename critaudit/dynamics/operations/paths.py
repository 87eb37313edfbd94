"""Strengths of a network's operations for calibration inputs and for others; the same for its linear twin."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.operations.batch_norm import calibrate_batch_norm, statistics_unset
from critaudit.dynamics.operations.linear import departure, linearised
from critaudit.dynamics.operations.norms import whole_strength
from critaudit.dynamics.operations.watch import Watched, watch
from critaudit.dynamics.running import CannotRunError

if TYPE_CHECKING:
    import torch
    from torch import nn

Array = NDArray[np.float64]
# Called for a fresh iterator over samples of shape (1, *sample), the same ones each time.
Samples: TypeAlias = "Callable[[], Iterable[torch.Tensor]]"

# Batch normalisation is calibrated with up to this many inputs, this many at a time.
_NORMALISING, _TOGETHER = 128, 16
_AFFINE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class NetworkPaths:
    """Strengths of one network: `calibration` (inputs, operations) and `strengths` (other inputs, operations).

    `operations` names the columns, `kinds` their classes or functions, `weighted` those that multiply with a weight
    matrix, `left_out` what is no layer, with the reason; `method` says how strengths were taken. Inputs for which a
    strength was not finite are left out: `overflowed`.
    """

    operations: tuple[str, ...]
    kinds: tuple[str, ...]
    calibration: Array
    strengths: Array
    left_out: tuple[tuple[str, str], ...]
    method: str
    overflowed: int = 0
    weighted: frozenset[str] = frozenset()


def network_paths(module: nn.Module, calibration: Samples, samples: Samples) -> NetworkPaths:
    """Run `module`, in eval mode and without gradients, on calibration inputs and on others.

    Batch normalisation that has not seen data gets the statistics of the calibration inputs first; trained statistics
    stay. Raises CannotRunError where the operations form no sequence or fewer than two calibration inputs are given;
    what the network itself raises passes through.
    """
    probe = _probe(calibration)
    calibrated = calibrate_batch_norm(module, _normalising(calibration)) if statistics_unset(module) else 0
    note = "; batch normalisation calibrated, as it had seen no data" if calibrated else ""
    return _followed(watch(module, probe), calibration, samples, note)


def linear_paths(module: nn.Module, calibration: Samples, samples: Samples) -> NetworkPaths:
    """The same for the network's linear twin, the null model: a copy whose activations are straight lines.

    Its batch normalisation is calibrated anew. `method` says how far from affine the twin is where normalisation,
    attention or products of signals remain. Raises CannotRunError as network_paths, and where there is no such twin.
    """
    probe = _probe(calibration)
    twin = linearised(module)
    calibrate_batch_norm(twin.module, _normalising(calibration))
    bent = departure(twin.module, probe[0], probe[1]) if probe[0].is_floating_point() else 0.0
    remains = "" if bent < _AFFINE else f", which leaves it {bent:.2g} from affine (normalisation, attention, products)"
    found = _followed(watch(twin.module, probe), calibration, samples, "")
    return replace(found, method=f"{twin.method}{remains}; {found.method}")


def of_strength(samples: Iterable[torch.Tensor], strength: float) -> Iterator[torch.Tensor]:
    """The samples, each scaled to ‖x‖₂/√n = `strength`; token ids as they are; samples of zeros are left out."""
    for values in samples:
        if not values.is_floating_point():
            yield values
        elif (own := float(whole_strength(values))) > 0.0:
            yield values * (strength / own)


def _followed(watched: Watched, calibration: Samples, samples: Samples, note: str) -> NetworkPaths:
    first, second = watched.strengths(calibration()), watched.strengths(samples())
    finite = np.isfinite(first).all(axis=1), np.isfinite(second).all(axis=1)
    overflowed = int((~finite[0]).sum() + (~finite[1]).sum())
    return NetworkPaths(
        operations=watched.names,
        kinds=watched.kinds,
        calibration=first[finite[0]],
        strengths=second[finite[1]],
        left_out=watched.left_out,
        method=f"{watched.how}{note}",
        overflowed=overflowed,
        weighted=watched.weighted,
    )


def _probe(calibration: Samples) -> list[torch.Tensor]:
    found = list(itertools.islice(calibration(), 2))
    if len(found) < 2:
        raise CannotRunError(f"{len(found)} inputs to calibrate thresholds with; at least two are needed")
    return found


def _normalising(calibration: Samples) -> Iterator[torch.Tensor]:
    """The first calibration inputs in batches for batch normalisation, which needs more than one sample in each."""
    import torch

    inputs = itertools.islice(calibration(), _NORMALISING)
    while group := list(itertools.islice(inputs, _TOGETHER)):
        if len(group) > 1:
            yield torch.cat(group)
