"""Edge: how far each layer is from the edge of chaos, were its weights independent (Zhang21; Poole 2016)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from critaudit.analyzers.base import Analyzer, LayerInput, Measurements, Settings, numbers
from critaudit.errors import CritauditError
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report.record import Finding, Layer
from critaudit.theory import gaussian, spin_glass

_IDS = ("j0", "j", "chi1", "distance", "boundary", "margin", "phase")
# |ln χ₁| beyond which a signal's small differences grow or fade by 2 per layer: worth a word.
_FAR = math.log(2.0)
_LINEAR = "no nonlinearity follows this layer (an output, or a linear path): it has no edge of its own"
_NORMALISED = "the network normalises its signals, so the scale of this layer's weights does not act as it does here"
_GATE = "a recurrent gate is no layer of its own: it acts together with the others, through products"
_NO_ACTIVATION = "the layer's activation is not known; name it with --activation"


def _layer(layer: LayerInput, settings: Settings) -> Measurements:
    matrix = layer.matrix
    if matrix.kind == "embedding":
        return {f"edge.{name}": not_applicable("an embedding looks rows up; no signal is multiplied") for name in _IDS}
    found = layer.moments()
    if found.mean is None or found.variance is None or found.nan + found.inf:
        return {f"edge.{name}": undetermined("the weights have no finite mean and variance") for name in _IDS}
    size = matrix.fan_in
    j0, j = size * found.mean, math.sqrt(size * found.variance)
    error0 = 1.96 * size * (found.mean_se or 0.0)
    error = 1.96 * size * (found.variance_se or 0.0) / (2 * j) if j else 0.0
    measurements: dict[str, Measurement] = {
        "edge.j0": measured(
            j0, interval=(j0 - error0, j0 + error0), n=found.finite, method="J₀ = N·mean(W), N = fan_in"
        ),
        "edge.j": measured(
            j,
            interval=(j - error, j + error),
            n=found.finite,
            method="J = √(N·var(W)), N = fan_in",
            reason=_no_variance(layer),
        ),
    }
    activation = matrix.activation or settings.activation
    return (
        measurements | _chi1(j, error, activation, layer) | _coupling_plane((j0, error0), (j, error), activation, layer)
    )


def _no_variance(layer: LayerInput) -> str | None:
    """A caveat where the law of the entries is a stable one with α < 2: its variance does not exist."""
    try:
        laws = layer.entry_laws()
    except CritauditError:
        return None
    if laws.verdict != "stable_compatible":
        return None
    return f"entries like these (stable, α = {laws.fit.alpha:.3g}) have no variance: this one grows with the matrix"


def _chi1(j: float, error: float, activation: str | None, layer: LayerInput) -> Measurements:
    if activation is None or activation == "identity" or layer.matrix.kind == "recurrent":
        reason = _NO_ACTIVATION if activation is None else _LINEAR
        reason = _GATE if layer.matrix.kind == "recurrent" else reason
        return {"edge.chi1": not_applicable(reason), "edge.distance": not_applicable(reason)}
    sigma_b = _sigma_b(layer)
    method = (
        f"χ₁ = σ_w²·E[φ′²] at the fixed point of the layer iterated on itself, φ = {activation}, σ_w² = fan_in·var(W), "
        f"σ_b = {sigma_b:.3g}{' (no bias used)' if layer.bias is None else ''}"
    )
    try:
        chi1 = float(gaussian.chi1(j, sigma_b, activation))
        ends = sorted(float(gaussian.chi1(max(end, 0.0), sigma_b, activation)) for end in (j - error, j + error))
    except CritauditError as error:
        return {"edge.chi1": undetermined(str(error)), "edge.distance": undetermined(str(error))}
    caveat = _NORMALISED if layer.normalised else _no_variance(layer)
    low, high = min(ends[0], chi1), max(ends[1], chi1)
    logs = (math.log(low), math.log(high)) if low > 0 else None
    n, method = layer.blocks.size, f"{method}; interval from that of J"
    return {
        "edge.chi1": measured(chi1, interval=(low, high), n=n, method=method, reason=caveat),
        "edge.distance": measured(math.log(chi1), interval=logs, n=n, method=f"ln χ₁; {method}", reason=caveat)
        if chi1 > 0
        else undetermined("χ₁ is 0, as of weights that are all equal: it has no logarithm", n=n, method=method),
    }


def _sigma_b(layer: LayerInput) -> float:
    return 0.0 if layer.bias is None else float(np.sqrt(np.mean(np.square(layer.bias, dtype=np.float64))))


def _bias(layer: LayerInput) -> str:
    return "no bias" if layer.bias is None else f"σ_b = {_sigma_b(layer):.3g}"


def _coupling_plane(
    j0: tuple[float, float], j: tuple[float, float], activation: str | None, layer: LayerInput
) -> Measurements:
    """Where the layer is in the (J₀, J) plane, given both with their errors: boundary, margin and phase."""
    matrix, names = layer.matrix, ("edge.boundary", "edge.margin", "edge.phase")
    if activation != "tanh":
        what = "the (J₀, J) boundary is that of tanh layers; ln χ₁ (edge.distance) says it for other activations"
        return dict.fromkeys(names, not_applicable(what if activation else _NO_ACTIVATION))
    if matrix.rows != matrix.columns or matrix.kernel:
        what = "the (J₀, J) boundary is that of square layers; ln χ₁ (edge.distance) says it for other shapes"
        return dict.fromkeys(names, not_applicable(what))
    n = layer.blocks.size
    sigma_b = _sigma_b(layer)
    try:
        edge = spin_glass.boundary(j0[0], sigma_b)
        ends = (abs(abs(j0[0]) - j0[1]), abs(j0[0]) + j0[1])
        low, high = sorted(spin_glass.boundary(end, sigma_b) for end in ends)
        phase = str(spin_glass.phase(j0[0], j[0], sigma_b))
    except CritauditError as error:
        return dict.fromkeys(names, undetermined(str(error)))
    margin, caveat = j[0] - edge, _NORMALISED if layer.normalised else _no_variance(layer)
    # J and J₀ are uncorrelated for symmetric entries; their errors add in squares.
    below, above = math.hypot(j[1], high - edge), math.hypot(j[1], edge - low)
    return {
        "edge.boundary": measured(
            edge,
            interval=(low, high),
            n=n,
            method=f"J at which a tanh layer of this J₀ is at the edge of chaos (Zhang21, Eq. 5; {_bias(layer)})",
        ),
        "edge.margin": measured(
            margin,
            interval=(margin - below, margin + above),
            n=n,
            method="J − J at the boundary; interval from those of J and J₀",
            reason=caveat,
        ),
        "edge.phase": measured(phase, n=n, method="(J₀, J) against the boundary", reason=caveat),
    }


def _summary(layers: Sequence[Layer]) -> Measurements:
    values = [value for _, value in numbers(layers, "edge.distance")]
    if not values:
        return {"edge.distance_mean": undetermined("no layer with a known activation", n=0)}
    return {
        "edge.distance_mean": measured(
            math.fsum(values) / len(values),
            interval=(min(values), max(values)),
            n=len(values),
            method="mean of ln χ₁ over layers; interval: their range",
        )
    }


def _find(layers: Sequence[Layer], _model: Measurements) -> Iterator[Finding]:
    acting = [
        (layer, value)
        for layer, value in numbers(layers, "edge.distance")
        if layer.measurements["edge.distance"].reason is None  # where signals are normalised it decides nothing
    ]
    far = [(layer, value) for layer, value in acting if abs(value) > _FAR]
    known = len(acting)
    for sign, word, effect in ((-1, "ordered", "fade"), (1, "chaotic", "grow")):
        side = [(layer, value) for layer, value in far if value * sign > 0]
        if side:
            worst, value = max(side, key=lambda item: abs(item[1]))
            which = f"{len(side)} of the {known} layers" if known > 1 else "the one layer"
            yield Finding(
                f"edge.{word}",
                "info",
                worst.name if len(side) == 1 else None,
                f"Far on the {word} side of the edge of chaos: {which} whose activation is known "
                f"(|ln χ₁| > ln 2; strongest: {worst.name}, χ₁ = {math.exp(value):.3g}). Iterated on itself, such a "
                f"layer makes small differences {effect}.",
                ("edge.chi1", "edge.distance"),
                "Computed for independent weights of the same variance and without residual branches; the weights of a "
                "trained layer are not independent.",
            )


EDGE = Analyzer(
    id="edge",
    title="Distance to the edge of chaos",
    why="At the edge, signals and gradients pass through many layers without dying out or exploding.",
    requires="weights",
    layer=_layer,
    summary=_summary,
    find=_find,
)
