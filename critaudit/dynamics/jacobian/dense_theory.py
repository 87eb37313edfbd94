"""What independent weights of a layer's own law would give: Qu22's spectrum, at its fixed point and at measured slopes.

The fixed point is that of a deep network of such layers. `mean_log_iid` takes the slopes that were measured instead,
and so tells how far W itself is from independent weights.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.jacobian.averages import over_points
from critaudit.dynamics.jacobian.operating_points import DenseLayer
from critaudit.errors import CritauditError, UsageError
from critaudit.measurement import Measurement, measured, not_applicable
from critaudit.report.record import Layer
from critaudit.theory.levy import JacobianLaw, log_determinant_constant

Array: TypeAlias = NDArray[np.float64]
Measurements: TypeAlias = dict[str, Measurement]

# Where the averages over ln|λ| are cut, as in Qu22's figures; always shown.
R0 = 0.01
_NO_LAW = "the law of the layer's weights was not measured (entries.alpha, entries.g_forward); entries must run, too"


def mean_log_iid(slopes: Array, held: Layer) -> Measurement:
    """ln g + c_α + the mean ln|φ′(h)| that was measured: independent weights of the fitted law, N → ∞."""
    alpha, g = _weight_law(held)
    if alpha is None or g is None or g == 0.0:
        return not_applicable(_NO_LAW)
    values = []
    for row in np.abs(slopes):
        on = row > 0.0
        if on.any():
            values.append(float(np.log(row[on]).mean()) + math.log(on.mean()) / alpha)
    method = f"ln g + c_α + measured mean ln|φ′(h)|, α = {alpha:.4g}, g = {g:.4g}; independent weights, N → ∞"
    return over_points(np.array(values) + math.log(g) + log_determinant_constant(alpha), method)


def _weight_law(held: Layer) -> tuple[float | None, float | None]:
    """α and g of the layer's entries."""
    alpha, g = (held.measurements.get(name) for name in ("entries.alpha", "entries.g_forward"))
    stability = None if alpha is None or alpha.number is None else min(alpha.number, 2.0)
    return stability, None if g is None else g.number


def _law(layer: DenseLayer, held: Layer) -> JacobianLaw | str:
    """Qu22's law for the layer's α and g, or why there is none."""
    alpha, g = _weight_law(held)
    if alpha is None or g is None:
        return _NO_LAW
    if layer.activation is None:
        return "no pointwise nonlinearity stands right before the layer: there is no fixed point to compare with"
    try:
        return JacobianLaw(alpha, g, activation=layer.activation)
    except UsageError:
        return f"the theory does not know the nonlinearity before the layer ({layer.activation})"
    except CritauditError as error:
        return str(error)


def theory(layer: DenseLayer, held: Layer) -> Measurements:
    """`jacobian.*_theory`: Qu22's law at the layer's own α and g, or the reason why it says nothing here."""
    law = _law(layer, held)
    if isinstance(law, str):
        names = ("mean_log", "mean_log_clipped", "expanding_share", "cutoff_radius")
        return {f"jacobian.{name}_theory": not_applicable(law) for name in names}
    method = (
        f"Qu22, independent weights without biases, N → ∞, at the fixed point of α = {law.alpha:.4g}, g = {law.g:.4g}"
    )
    clipped = law.log_average(r0=R0)
    edge = f"where y* = 0.01·y₀: beyond it the density is exponentially small; {method}"
    mean_log = measured(law.mean_log, method=f"ln g + E ln|φ′(h)| + c_α; {method}")
    if not math.isfinite(law.mean_log):
        saturated = f"in theory the mean of ln|λ| is −∞ at α = {law.alpha:.4g}: slopes saturate too often. Cut at "
        mean_log = not_applicable(f"{saturated}r₀ = {R0:g} it is {clipped:.4g} (jacobian.mean_log_clipped_theory)")
    return {
        "jacobian.mean_log_theory": mean_log,
        "jacobian.mean_log_clipped_theory": measured(clipped, method=f"E max(ln|λ|, ln {R0:g}); {method}"),
        "jacobian.expanding_share_theory": measured(law.expanding_share, method=f"P(|λ| ≥ 1); {method}"),
        "jacobian.cutoff_radius_theory": measured(law.cutoff_radius, method=edge),
    }
