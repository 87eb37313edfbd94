"""Asymptotic: square layers and blocks applied to their own output until they settle, or do not (Zhang21)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from critaudit.analyzers.base import Analyzer, LayerInput, Measurements, NetworkMeasurements, Settings, numbers
from critaudit.dynamics.asymptotic import Asymptotics, block_asymptotics, dense_asymptotics, mean_error
from critaudit.dynamics.running import CannotRunError, running
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.model import ModelView, WeightMatrix
from critaudit.report.record import Finding, Layer
from critaudit.theory.activations import as_activation

# What has a reason where a layer cannot be iterated.
_GAPS = ("exponent", "jacobian", "phase")
# ln of a growth per step that is none.
_AT_ONCE = -100.0
_EXPONENT = "mean of ln(|Jv|/|v|) along the orbit: the maximal Lyapunov exponent"


def _layer(layer: LayerInput, settings: Settings) -> Measurements:
    activation = layer.matrix.activation or settings.activation
    reason = _why_not(layer.matrix, activation)
    if reason is not None:
        return {f"asymptotic.{name}": not_applicable(reason) for name in _GAPS}
    if not layer.finite:
        return {f"asymptotic.{name}": undetermined("the weights hold NaN or infinite values") for name in _GAPS}
    found = dense_asymptotics(layer.blocks[0], layer.bias, as_activation(activation or ""), seed=settings.seed)
    return _measurements(found, activation or "")


def _why_not(matrix: WeightMatrix, activation: str | None) -> str | None:
    """Why a layer cannot be applied to its own output; None where it can."""
    if matrix.kind != "linear" or matrix.kernel or matrix.groups != 1:
        kind = matrix.kind.replace("_", " ")
        return f"a layer of kind {kind} is not applied to its own output; blocks are, where the network runs"
    if matrix.rows != matrix.columns:
        return (
            f"a {matrix.rows}×{matrix.columns} layer does not take what it gives; ln χ₁ (edge.distance) needs no square"
        )
    if activation is None:
        return "the layer's activation is not known; name it with --activation"
    if activation == "identity":
        return "no nonlinearity follows this layer; applied to itself it is a power of the matrix (spectrum, jacobian)"
    return None


def _measurements(found: Asymptotics, activation: str) -> Measurements:
    count = len(found.exponents)
    method = (
        f"x ↦ φ(Wx + b), φ = {activation}, from {count} Gaussian inputs and partners a thousandth away; the second "
        f"half of {found.steps} steps counts"
    )
    if found.phase == "diverges":
        growth = f"{math.exp(found.growth):.3g}-fold per step" if found.growth else "without limit"
        reason = f"the iteration diverges: the signal grows {growth}, as behind unbounded activations above their edge"
        return {f"asymptotic.{name}": undetermined(reason, n=count, method=method) for name in _GAPS}
    jacobian = math.exp(math.fsum(map(math.log, found.jacobians)) / count) if min(found.jacobians) > 0 else 0.0
    spread = mean_error(found.jacobians)
    return {
        "asymptotic.exponent": _exponent(found, method),
        "asymptotic.distance": _over_inputs(
            found.distances, f"root mean square difference of the pairs per √N; {method}"
        ),
        "asymptotic.jacobian": measured(
            jacobian,
            interval=(max(jacobian - spread, 0.0), jacobian + spread) if count > 1 else None,
            n=count,
            method=f"‖J*‖_F/√N, J = D·W, geometric mean over steps and inputs; {method}",
        ),
        "asymptotic.strength": _over_inputs(found.strengths, f"root mean square pre-activation; {method}"),
        "asymptotic.attractor": measured(_attractor(found), n=count, method=method),
        "asymptotic.phase": _phase(found, method),
    }


def _exponent(found: Asymptotics, method: str) -> Measurement:
    count = len(found.exponents)
    if found.exponent < _AT_ONCE:
        return undetermined("differences vanish within a step: its units are saturated, or its weights zero", n=count)
    return measured(
        found.exponent,
        interval=found.interval,
        n=count,
        method=f"{_EXPONENT}; {method}; interval over inputs, widened by the finite number of steps",
    )


def _over_inputs(values: tuple[float, ...], method: str) -> Measurement:
    mean, half = math.fsum(values) / len(values), mean_error(values)
    interval = (max(mean - half, 0.0), mean + half) if len(values) > 1 else None
    return measured(mean, interval=interval, n=len(values), method=method)


def _attractor(found: Asymptotics) -> str:
    if max(found.strengths) < 1e-6:
        return "the signal dies out"
    if all(found.fixed):
        return "fixed point"
    if any(found.fixed):
        return "fixed point from some inputs, moving from others"
    return "moving"


def _phase(found: Asymptotics, method: str) -> Measurement:
    low, high = found.interval
    if found.phase == "undecided":
        return undetermined(
            f"at the edge within error: the exponent is between {low:.2g} and {high:.2g}",
            n=len(found.exponents),
            method=method,
        )
    note = None
    if found.phase == "ordered" and found.separated:
        note = "nearby inputs meet, but some pairs were split between two attractors or are still on their way"
    return measured(
        found.phase, n=len(found.exponents), method=f"sign of the exponent's interval; {method}", reason=note
    )


def _network(view: ModelView, settings: Settings, _: Sequence[Layer]) -> NetworkMeasurements:
    assert view.runnable is not None
    try:
        with running(
            view.runnable, inputs=settings.inputs, samples=4, seed=settings.seed, device=settings.device
        ) as network:
            found = block_asymptotics(network, seed=settings.seed)
    except CannotRunError as failure:
        return NetworkMeasurements(model={"asymptotic.blocks": not_applicable(str(failure))})
    shown = [block for block in found.blocks if block.found.exponents]
    if not shown:
        return NetworkMeasurements(model={"asymptotic.blocks": undetermined("every iteration overflowed at once")})
    n, method = len(shown), found.method
    model: dict[str, Measurement] = {
        "asymptotic.blocks": measured(
            tuple(block.path or "the whole network" for block in shown), n=found.candidates, method=method
        ),
        "asymptotic.block_phases": measured(tuple(_block_phase(block.found) for block in shown), n=n, method=method),
        "asymptotic.block_exponents": measured(
            tuple(block.found.exponent for block in shown), n=n, method=f"{_EXPONENT}, by differences; {method}"
        ),
        "asymptotic.block_growth": measured(
            tuple(block.found.growth for block in shown),
            n=n,
            method=f"mean of ln strength per step; {method}",
        ),
    }
    if all(block.found.jacobians for block in shown):
        norms = tuple(math.fsum(block.found.jacobians) / len(block.found.jacobians) for block in shown)
        model["asymptotic.block_jacobians"] = measured(
            norms, n=n, method=f"‖J‖_F/√N by one random direction per step, second half of the steps; {method}"
        )
    return NetworkMeasurements(model=model)


def _block_phase(found: Asymptotics) -> str:
    return {"diverges": "does not settle", "undecided": "at the edge within error"}.get(found.phase, found.phase)


def _summary(layers: Sequence[Layer]) -> Measurements:
    held = [layer.measurements.get("asymptotic.phase") for layer in layers]
    phases = [item.value for item in held if item is not None and item.status == "measured"]
    if not phases:
        return {}
    return {
        f"asymptotic.layers_{phase}": measured(phases.count(phase), n=len(phases), method="square layers with a phase")
        for phase in ("ordered", "chaotic")
    }


def _find(layers: Sequence[Layer], _model: Measurements) -> Iterator[Finding]:
    decided = numbers(layers, "asymptotic.exponent")
    chaotic = [(layer, value) for layer, value in decided if layer.measurements["asymptotic.phase"].value == "chaotic"]
    if chaotic:
        worst, value = max(chaotic, key=lambda item: item[1])
        yield Finding(
            "asymptotic.chaotic",
            "info",
            worst.name if len(chaotic) == 1 else None,
            f"Chaotic on its own: {len(chaotic)} of {len(decided)} square layers, applied to their own output, tear "
            f"nearby inputs apart (strongest: {worst.name}, differences grow {math.exp(value):.3g}-fold per step).",
            ("asymptotic.exponent", "asymptotic.distance"),
            "The network applies a layer once, to signals from the layer before; on its own attractor it may behave "
            "differently than on your data.",
        )


ASYMPTOTIC = Analyzer(
    id="asymptotic",
    title="Asymptotic edge of chaos",
    why="Applied to its own output over and over, a layer shows whether it remembers its input or tears inputs apart.",
    requires="weights",
    layer=_layer,
    network=_network,
    summary=_summary,
    find=_find,
)
