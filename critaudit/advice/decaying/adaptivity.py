"""κ: by how much an optimizer that divides gradients by √v̂ strengthens a decay that goes through the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.advice.course import OptimizerSetting

Moments: TypeAlias = Mapping[str, NDArray[np.generic]]

# What optimizers of PyTorch call the moments that their gradients are divided by.
SCALING = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg", "sum")


def adaptivity(
    weights: NDArray[np.generic], moments: Moments, setting: OptimizerSetting, *, step: float | None
) -> float | None:
    """κ = mean(w²/(√v̂ + ε))/mean(w²) of a layer's weights, in units of one over a gradient.

    `moments` are the arrays that the optimizer keeps for these weights, of their shape: `exp_avg_sq` (of AMSGrad the
    largest so far) of Adam, NAdam and RAdam, corrected for its start at `step`; `square_avg` of RMSprop, less the
    square of `grad_avg` where it is centred; `sum` of Adagrad. None where they are not there, do not fit, or give no
    finite number. Holds where gradients fluctuate around zero, so that v̂ does not depend on the decay to first order.
    """
    root = _root(moments, setting, step)
    if root is None or root.shape != weights.shape:
        return None
    square = np.square(weights.astype(np.float64))
    total = float(np.sum(square))
    with np.errstate(all="ignore"):
        found = float(np.sum(square / (root + setting.eps))) / total if total > 0 else np.nan
    return float(found) if np.isfinite(found) and found > 0 else None


def _root(moments: Moments, setting: OptimizerSetting, step: float | None) -> NDArray[np.float64] | None:
    """√v̂ in float64."""
    mean = moments.get("max_exp_avg_sq", moments.get("exp_avg_sq"))
    if mean is not None:
        if setting.betas is None or not step or step < 1:
            return None
        return np.asarray(np.sqrt(mean.astype(np.float64) / (1.0 - setting.betas[1] ** step)))
    mean = moments.get("square_avg") if setting.name == "RMSprop" else moments.get("sum")
    if mean is None:
        return None
    centre = moments.get("grad_avg")
    found = mean.astype(np.float64)
    if centre is not None and centre.shape == found.shape:
        found = np.maximum(found - np.square(centre.astype(np.float64)), 0.0)
    return np.asarray(np.sqrt(found))
