"""The J*² at which a layer of a given kind, activation, mean and bias is at its own edge of chaos."""

from __future__ import annotations

import math

from critaudit.advice.course import LayerCourse, OptimizerSetting
from critaudit.advice.optimizers import family
from critaudit.errors import CritauditError
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report.wording import number

_DENSE = ("linear", "attention")
_LINEAR = "no nonlinearity follows this layer (an output, or a linear path): it has no edge of its own"
_EMBEDDING = "an embedding looks rows up; no signal is multiplied"
_GATE = "a recurrent gate is no layer of its own: it acts together with the others, through products"
_UNKNOWN = "what follows this layer is not known (an output has no edge of chaos); name hidden layers' with activation="


def target(layer: LayerCourse, *, activation: str | None = None) -> Measurement:
    """J*² = fan_in·var(W) at the edge of chaos of `layer`, at its last J₀ and σ_b.

    Square dense tanh layers: the square of Zhang21's boundary at J₀ (Eq. 5), which biases raise. Other shapes and
    activations: σ_w² of the Gaussian edge χ₁ = 1 at the layer's σ_b, where fan_in·var(W) is σ_w² (Poole 2016; Hayou
    2019). For activations of two straight lines (ReLU: 2) χ₁ is the same for every signal: the edge is a borderline of
    stability, and holds whatever the bias. `activation` counts where the layer's own is not known.

    Not applicable, with the reason, to outputs, embeddings, recurrent gates and layers before a normalisation, which
    undoes the scale of their weights; undetermined where the activation is unknown or the edge is not stable.
    """
    phi = layer.activation or activation
    if layer.kind == "embedding":
        return not_applicable(_EMBEDDING)
    if layer.kind == "recurrent":
        return not_applicable(_GATE)
    if phi == "identity":
        return not_applicable(_LINEAR)
    if layer.normalised:
        return not_applicable(_normalised(layer.settings[-1] if layer.settings else None))
    if phi is None:
        return undetermined(_UNKNOWN)
    try:
        if phi == "tanh" and _is_square(layer) and layer.j0:
            return _boundary(layer.j0[-1], layer.sigma_b)
        return _gaussian(phi, layer.sigma_b)
    except CritauditError as error:
        return undetermined(str(error))


def rotation(setting: OptimizerSetting) -> float | None:
    """Angle in radians per step by which weights before a normalisation turn in the end; None where not known.

    There decay sets no J² at an edge but, against growth, how fast directions change: √(2·lr·wd/(1 + momentum)) for
    SGD, √(2·lr·wd·(1 − β₁)/(1 + β₁)) for AdamW (Wan et al. 2021; Kosson et al. 2023, for noise-dominated gradients).
    """
    twice = 2.0 * setting.lr * setting.weight_decay
    if family(setting) == "sgd" and not setting.dampening and not setting.nesterov:
        return math.sqrt(twice / (1.0 + setting.momentum))
    if setting.name == "AdamW" and setting.betas is not None:
        return math.sqrt(twice * (1.0 - setting.betas[0]) / (1.0 + setting.betas[0]))
    return None


def _is_square(layer: LayerCourse) -> bool:
    return layer.kind in _DENSE and len(layer.shape) == 2 and layer.shape[0] == layer.shape[1]


def _boundary(j0: float, sigma_b: float | None) -> Measurement:
    from critaudit.theory import spin_glass

    bias = f", σ_b = {number(sigma_b)}" if sigma_b else ""
    return measured(
        spin_glass.boundary(j0, sigma_b or 0.0) ** 2,
        method=f"square of the boundary J at J₀ = {number(j0)}{bias} (Zhang21, Eq. 5)",
    )


def _gaussian(phi: str, sigma_b: float | None) -> Measurement:
    from critaudit.theory import gaussian
    from critaudit.theory.activations import named_activation

    known = named_activation(phi)
    if known.slopes is not None:
        edge = gaussian.edge_points(0.0, known)[0]
        how = f"χ₁ = 1 for {phi} at any signal: σ_w² = 1/(mean square slope), a borderline of stability"
        return measured(edge.sigma_w**2, method=how)
    at = sigma_b or 0.0
    points = gaussian.edge_points(at, known)
    bias = f"σ_b = {number(at)}{' (no bias)' if sigma_b is None else ''}"
    if not points:
        return undetermined(f"{phi} has no edge of chaos at {bias}: no finite signal has χ₁ = 1 there")
    stable = next((point for point in points if point.stable), None)
    if stable is None:
        return undetermined(
            f"the edge of {phi} at {bias} is not stable: on it the length of signals runs away, so no decay is advised"
        )
    return measured(stable.sigma_w**2, method=f"σ_w² on the Gaussian edge χ₁ = 1 of {phi} at {bias}")


def _normalised(setting: OptimizerSetting | None) -> str:
    said = "a normalisation follows, which undoes the scale of these weights: they have no edge that decay could hold"
    if setting is None:
        return said
    angle = rotation(setting)
    if angle is None or not setting.weight_decay:
        return said
    time = 1.0 / (2.0 * setting.lr * setting.weight_decay / (1.0 - setting.momentum))
    return (
        f"{said}; here decay sets the pace of turning, {number(angle)} rad per step in the end, "
        f"reached within about {number(time)} steps"
    )
