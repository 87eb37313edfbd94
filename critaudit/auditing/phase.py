"""Phase diagrams as a report: what theory predicts for networks with random, independent weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from critaudit.auditing.modelless import report_without_model
from critaudit.errors import CritauditError, UsageError
from critaudit.measurement import Measurement, measured, not_applicable
from critaudit.report import Report
from critaudit.theory import gaussian, spin_glass
from critaudit.theory.activations import Activation, as_activation
from critaudit.theory.length_map import diverging_growth
from critaudit.theory.levy import JacobianAverage, ordered_line, phase_diagrams
from critaudit.theory.levy_fixed_point import check_bounded
from critaudit.theory.ordered_line import Definition
from critaudit.theory.widom_crossing import widom_crossing

Diagram: TypeAlias = Literal["alpha-g", "sigma", "spin-glass"]
Progress: TypeAlias = Callable[[str, int, int], None]

DIAGRAMS: tuple[Diagram, ...] = ("alpha-g", "sigma", "spin-glass")
_QUOTED_ALPHAS = (1.0, 1.2, 1.5, 1.8)
# The part of the (σ_b, σ_w) plane that is drawn, in units of σ_w on the edge at small bias.
_LARGEST_BIAS, _SMALLEST_WEIGHT, _LARGEST_WEIGHT = 0.6, 0.2, 2.6
# Signals of unbounded activations grow without end beyond their edge: there is less to draw.
_LARGEST_WEIGHT_UNBOUNDED = 1.5
_LARGEST_J0 = 3.0


class _Part(NamedTuple):
    """What one diagram adds to the report: its measurements, and its sentences for the headline."""

    measurements: dict[str, Measurement]
    said: tuple[str, ...]


def phase_report(
    diagrams: Sequence[Diagram] | None = None,
    *,
    activation: str = "tanh",
    power: int = 1,
    r0: float = 0.01,
    definition: Definition = "cutoff",
    points: int = 48,
    progress: Progress | None = None,
) -> Report:
    """The phase diagrams of networks with this activation, as a report without a model.

    `alpha-g`: heavy tails and scale of the weights (Qu22), with the two ordered lines and the chaotic line for f₁ of
    this `power` and cut `r0`. `sigma`: Gaussian weights and biases, with edge of chaos, Widom lines and susceptibility
    (Ghavasieh25). `spin-glass`: mean and spread of the couplings of tanh layers (Zhang21). `points` is the resolution
    of the map; lines have half as many.
    By default all three are drawn as far as the theory goes; the report says what is missing and why. Raises UsageError
    for an unknown activation and where a diagram that was asked for by name does not exist for it.
    """
    started = time.perf_counter()
    phi = as_activation(activation)
    if points < 8:
        raise UsageError(f"points is {points}; a diagram needs at least 8 to a side")
    average = _average(power, r0)
    makers: dict[Diagram, Callable[[], _Part]] = {
        "alpha-g": lambda: _alpha_g(phi, average, definition, points),
        "sigma": lambda: _sigma(phi, points),
        "spin-glass": lambda: _spin_glass(phi, points),
    }
    wanted = DIAGRAMS if diagrams is None else tuple(dict.fromkeys(diagrams))
    parts = []
    for place, name in enumerate(wanted):
        if progress is not None:
            progress("phase diagrams", place, len(wanted))
        part = makers[name]()
        gap = next((held.reason for held in part.measurements.values() if held.status != "measured"), None)
        if diagrams is not None and gap is not None and not part.said:
            raise UsageError(f"no {name} diagram for {phi.name}: {gap}")
        parts.append(part)
    if progress is not None:
        progress("phase diagrams", len(wanted), len(wanted))
    return report_without_model(
        "theory",
        f"phase diagrams of {phi.name} networks",
        {name: held for part in parts for name, held in part.measurements.items()},
        summary=[sentence for part in parts for sentence in part.said],
        settings={
            "diagrams": list(wanted),
            "activation": phi.name,
            "power": power,
            "r0": r0,
            "definition": definition,
            "points": points,
        },
        seconds=time.perf_counter() - started,
    )


def _average(power: int, r0: float) -> JacobianAverage:
    try:
        return JacobianAverage(power, r0)
    except CritauditError as error:
        raise UsageError(str(error)) from error


def _series(values: Sequence[float] | np.ndarray) -> Measurement:
    """Numbers for a figure, in nine figures: more than a screen shows, less than a page weighs."""
    return measured(tuple(float(f"{float(value):.9g}") for value in values), n=len(values))


def _alpha_g(phi: Activation, average: JacobianAverage, definition: Definition, points: int) -> _Part:
    """Ordered lines by both definitions, the chaotic line, and how far it moves with the cut."""
    try:
        check_bounded(1.0, phi)
    except CritauditError as error:
        return _Part({"phase.ordered_cutoff": not_applicable(str(error))}, ())
    # Closer together towards α = 2, where the lines bend into their end.
    alphas = np.unique([*(2.0 - np.linspace(1.0, 0.0, points // 2) ** 2.0), *_QUOTED_ALPHAS])
    assert average.r0 is not None
    smaller = JacobianAverage(average.power, 0.1 * average.r0)
    averages = [average, smaller, *([JacobianAverage(1, None)] if average.power == 1 else [])]
    found = phase_diagrams(alphas, [1.0], averages, definition=definition, activation=phi)
    other: Definition = "fixed_point" if definition == "cutoff" else "cutoff"
    lines = {
        f"phase.ordered_{definition}": found[0].ordered_line,
        f"phase.ordered_{other}": np.array([ordered_line(a, definition=other, activation=phi) for a in alphas]),
    }
    measurements = {"phase.alphas": _series(alphas)} | {name: _series(line) for name, line in lines.items()}
    measurements["phase.definition"] = measured(definition)
    measurements["phase.power"] = measured(average.power, method="L of f₁(r) = sgn(ln r)|ln r|^L")
    measurements["phase.r0"] = measured(average.r0, method="radii below it count as r₀")
    for name, diagram in zip(("", "_smaller_r0", "_no_cut"), found, strict=False):
        ends = np.isfinite(diagram.chaotic_line)  # where the regime never ends there is no line
        measurements[f"phase.chaotic_alphas{name}"] = _series(alphas[ends])
        measurements[f"phase.chaotic{name}"] = _series(diagram.chaotic_line[ends])
    for alpha in _QUOTED_ALPHAS:
        place = int(np.flatnonzero(alphas == alpha)[0])
        line, end = float(found[0].ordered_line[place]), float(found[0].chaotic_line[place])
        measurements[f"phase.ordered_at_{alpha}"] = measured(line, method=f"g at α = {alpha}, definition {definition}")
        measurements[f"phase.chaotic_at_{alpha}"] = (
            measured(end, method=f"g at α = {alpha}, {average.name}")
            if math.isfinite(end)
            else not_applicable("the extended critical regime does not end below g = 10,000")
        )
    return _Part(measurements, (_said_of_alpha_g(alphas, found[0].ordered_line, found[0].chaotic_line, average),))


def _said_of_alpha_g(alphas: np.ndarray, lines: np.ndarray, ends: np.ndarray, average: JacobianAverage) -> str:
    place = int(np.flatnonzero(alphas == 1.5)[0])
    low, high = float(lines[place]), float(ends[place])
    if high <= low:
        return f"At α = 1.5 there is no extended critical regime ({average.name}); order ends at g = {low:.3g}."
    upper = f"ends at g = {high:.3g}" if math.isfinite(high) else "does not end"
    return (
        f"At α = 1.5 the extended critical regime begins at g = {low:.3g} and {upper} ({average.name}); its upper edge "
        f"moves with r₀. At α = 2 both edges meet at g = {float(lines[-1]):.3g}."
    )


def _sigma(phi: Activation, points: int) -> _Part:
    """Edge of chaos with its stable and unstable parts, both Widom lines, and the susceptibility where it exists."""
    scale, widest = _scale(phi)
    biases = np.linspace(0.0, _LARGEST_BIAS * scale, points)
    weights = np.linspace(_SMALLEST_WEIGHT, widest, points) * scale
    measurements = {"phase.window": _series([weights[0], weights[-1], biases[-1]])}
    found = [point for bias in biases for point in gaussian.edge_points(float(bias), phi)]
    for stable, name in ((True, "stable"), (False, "unstable")):
        branch = sorted(
            (point for point in found if point.stable is stable), key=lambda point: (point.sigma_b, point.q)
        )
        if branch:
            measurements[f"phase.edge_{name}_sigma_b"] = _series([point.sigma_b for point in branch])
            measurements[f"phase.edge_{name}_sigma_w"] = _series([point.sigma_w for point in branch])
    if not found:
        reason = f"{phi.name} has no finite signal length with χ₁ = 1 at these biases"
        measurements["phase.edge_stable_sigma_w"] = not_applicable(reason)
    by: Literal["sigma_w", "sigma_w2"]
    for by in ("sigma_w", "sigma_w2"):
        measurements |= _widom(phi, biases[::2], by)
    measurements |= _susceptibility_map(phi, biases, weights)
    crossing = widom_crossing(phi, float(biases[-1])) if "phase.widom_sigma_b" in measurements else None
    said = [_said_of_edge(phi)]
    if crossing is not None:
        measurements["phase.crossing_sigma_b"] = measured(crossing[0], method="where Widom line and χ₁ = 1 meet again")
        measurements["phase.crossing_sigma_w"] = measured(crossing[1], method="where Widom line and χ₁ = 1 meet again")
        said.append(
            f"The Widom line starts on the edge of chaos and crosses it again at σ_b = {crossing[0]:.3g}, "
            f"σ_w = {crossing[1]:.3g}."
        )
    return _Part(measurements, tuple(said))


def _scale(phi: Activation) -> tuple[float, float]:
    """The σ_w that matters, and up to how many of them to draw: the edge, or where signals begin to grow for ever."""
    growth = diverging_growth(phi)
    if growth > 0.0:
        return 1.0 / math.sqrt(growth), _LARGEST_WEIGHT_UNBOUNDED
    edges = gaussian.edge_points(0.0, phi) or gaussian.edge_points(0.05, phi)
    return (edges[0].sigma_w if edges else 1.0), _LARGEST_WEIGHT


def _widom(phi: Activation, biases: np.ndarray, by: Literal["sigma_w", "sigma_w2"]) -> dict[str, Measurement]:
    """The line of largest susceptibility by this derivative: where it has one, and its weight scales."""
    name = "phase.widom" if by == "sigma_w" else "phase.widom_by_sigma_w2"
    places, weights, reason = [], [], ""
    for bias in biases:
        try:
            weights.append(gaussian.widom_line(float(bias), phi, by=by))
            places.append(float(bias))
        except CritauditError as error:
            reason = reason or str(error)
    if not places:
        return {f"{name}_sigma_w": not_applicable(reason)} if by == "sigma_w" else {}
    return {f"{name}_sigma_b": _series(places), f"{name}_sigma_w": _series(weights)}


def _susceptibility_map(phi: Activation, biases: np.ndarray, weights: np.ndarray) -> dict[str, Measurement]:
    """χ_s over the plane, only where it exists: three series of equal length."""
    cells = []
    for bias in biases:
        for weight in weights:
            try:
                chi = gaussian.susceptibility(float(weight), float(bias), phi)
            except CritauditError:  # the length diverges or is marginal there: no cell
                continue
            cells.append((bias, weight, chi))
    if not cells:
        return {"phase.map_chi": not_applicable(f"the signal's length diverges everywhere for {phi.name}")}
    columns = zip(*cells, strict=True)
    names = ("phase.map_sigma_b", "phase.map_sigma_w", "phase.map_chi")
    return {name: _series(column) for name, column in zip(names, columns, strict=True)}


def _said_of_edge(phi: Activation) -> str:
    edges = gaussian.edge_points(0.0, phi)
    if not edges:
        return f"With Gaussian weights and no bias {phi.name} has no edge of chaos at a finite signal length."
    edge = next((point for point in edges if point.stable), edges[0])
    warning = "" if edge.stable else ", where the signal’s length itself is unstable"
    return f"With Gaussian weights and no bias the edge of chaos of {phi.name} is at σ_w = {edge.sigma_w:.4g}{warning}."


def _spin_glass(phi: Activation, points: int) -> _Part:
    if phi.name != "tanh":
        reason = f"the (J₀, J) boundary is known for tanh layers, not for {phi.name}"
        return _Part({"phase.boundary_j": not_applicable(reason)}, ())
    j0s = np.unique([*np.linspace(-_LARGEST_J0, _LARGEST_J0, 2 * (points // 2) + 1), -1.0, 1.0])
    js = [spin_glass.boundary(float(j0)) for j0 in j0s]
    at_two = spin_glass.boundary(2.0)
    measurements = {
        "phase.boundary_j0": _series(j0s),
        "phase.boundary_j": _series(js),
        "phase.boundary_at_0": measured(spin_glass.boundary(0.0), method="J at J₀ = 0"),
        "phase.boundary_at_2": measured(at_two, method="J at J₀ = 2"),
    }
    said = f"Square tanh layers become chaotic above J = 1 while |J₀| ≤ 1, and above J = {at_two:.3g} at J₀ = 2."
    return _Part(measurements, (said,))
