"""An ensemble of random networks and its surroundings: theory's view of it, other widths, other weight scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from critaudit.analyzers.crackling import series
from critaudit.dynamics.avalanches.ensemble import Ensemble, Progress, Simulation, simulate
from critaudit.dynamics.avalanches.maps import SusceptibilityMap, susceptibility_map
from critaudit.dynamics.avalanches.null_models import derived_seed
from critaudit.errors import CritauditError, UsageError
from critaudit.laws.crackling.estimation import estimate
from critaudit.laws.crackling.finite_size import extrapolate
from critaudit.laws.crackling.results import Crackling, Estimate
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.theory import gaussian, levy
from critaudit.theory.activations import Activation, as_activation
from critaudit.theory.quadrature import gaussian_rule

_LEAST_DECADES = 1.0
# The map around the edge of chaos at zero bias: shares of its σ_w, and σ_b in the same unit.
_MAP_WEIGHTS, _MAP_BIASES, _MAP_PATHS, _MAP_DEPTH = (0.8, 1.5, 15), (0.0, 0.3, 9), 1000, 300


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate; `sigma_w` None is the edge of chaos at this σ_b and width, or the ordered line below α = 2."""

    width: int = 100
    depth: int = 1000
    sigma_w: float | None = None
    sigma_b: float = 0.0
    activation: str = "tanh"
    alpha: float = 2.0
    strength: float = 0.01
    ensemble: Ensemble = "fresh"
    networks: int = 200
    inputs: int = 2500
    seed: int = 0
    workers: int | None = None
    device: str = "cpu"

    @property
    def phi(self) -> Activation:
        """The activation. Raises UsageError for an unknown name."""
        return as_activation(self.activation)

    @property
    def scale(self) -> float:
        """σ_w, given or by default. Raises UsageError where there is no edge to take it from.

        The default is the edge of chaos; without biases it is that of width N, where ln s drifts neither up nor down
        at first: e^{(κ − 1)/4N} above it, κ = E[φ⁴]/E[φ²]² at the input's strength (e^{1/2N} for tanh).
        """
        if self.sigma_w is not None:
            return self.sigma_w
        try:
            if self.alpha != 2.0:
                return levy.ordered_line(self.alpha, activation=self.phi)
            edge = gaussian.edge_of_chaos(self.sigma_b, self.phi)
        except CritauditError as error:
            raise UsageError(f"{error} (so that sigma_w has no default)") from None
        if self.sigma_b > 0.0 or not self.strength > 0.0:  # what `simulate` refuses has no κ
            return edge
        rule = gaussian_rule(0.0, self.strength, self.phi.kinks)
        squares = np.square(self.phi.value(rule.x))
        kurtosis = rule.mean(np.square(squares)) / rule.mean(squares) ** 2
        return float(edge * math.exp((kurtosis - 1.0) / (4.0 * self.width)))

    def run(self, *, width: int | None = None, seed: int | None = None, progress: Progress | None = None) -> Simulation:
        """Simulate it, or the same at another width (and its edge, by default). Raises as `simulate` does."""
        wide = self if width is None else replace(self, width=width)
        return simulate(
            width=wide.width,
            depth=self.depth,
            sigma_w=wide.scale,
            sigma_b=self.sigma_b,
            activation=self.phi,
            alpha=self.alpha,
            strength=self.strength,
            ensemble=self.ensemble,
            networks=self.networks,
            inputs_per_network=self.inputs,
            seed=self.seed if seed is None else seed,
            workers=self.workers,
            device=self.device,
            progress=progress,
        )


def place_in_theory(plan: Plan) -> dict[str, Measurement]:
    """Where the network sits in the mean field of infinite width: strength, susceptibility, Widom line and edge."""
    if plan.alpha != 2.0:
        reason = "the susceptibility map is that of Gaussian weights"
        return {"avalanche.susceptibility": not_applicable(reason)}
    phi, sigma_w = plan.phi, plan.scale
    fixed = gaussian.fixed_point(sigma_w, plan.sigma_b, phi)
    result = {
        "avalanche.fixed_strength": measured(fixed.strength, method="mean field")
        if fixed.strength is not None
        else not_applicable("the signal's length diverges")
    }
    wanted: tuple[tuple[str, Callable[[], float]], ...] = (
        ("susceptibility", lambda: gaussian.susceptibility(sigma_w, plan.sigma_b, phi)),
        ("widom_sigma_w", lambda: gaussian.widom_line(plan.sigma_b, phi)),
        ("edge_sigma_w", lambda: gaussian.edge_of_chaos(plan.sigma_b, phi)),
    )
    for name, of in wanted:
        try:
            result[f"avalanche.{name}"] = measured(of(), method="mean field")
        except CritauditError as error:
            result[f"avalanche.{name}"] = not_applicable(str(error))
    return result


def over_widths(
    plan: Plan, widths: Sequence[int], known: dict[int, Crackling], progress: Progress | None
) -> dict[str, Measurement]:
    """Exponents at each width, and their limits in 1/N where at least two widths have errors; some may be `known`."""
    for place, width in enumerate(widths):
        if width not in known:
            simulation = plan.run(width=width, seed=derived_seed(plan.seed, 2 * width))
            rng = np.random.default_rng(derived_seed(plan.seed, 2 * width + 1))
            known = known | {width: estimate(simulation.counts, rng=rng, checked=False)}
        if progress is not None:
            progress("widths", place + 1, len(widths))
    result: dict[str, Measurement] = {}
    for name in ("tau", "alpha", "slope"):
        result |= _one_exponent(name, {width: _estimate_of(known[width], name) for width in widths})
    if any(held.status == "measured" for held in result.values()):
        result["avalanche.width_values"] = series(widths)
    return result


def _estimate_of(found: Crackling, name: str) -> Estimate | None:
    """The exponent, if the power law that it belongs to holds over a decade: pieces of bent curves have no limit."""
    law = found.excess.size if name == "tau" else found.duration
    if law.fit is None or law.fit.decades < _LEAST_DECADES:
        return None
    if name == "slope":
        return None if found.excess.mean_size is None else found.excess.mean_size.slope
    return law.exponent


def _one_exponent(name: str, by_width: dict[int, Estimate | None]) -> dict[str, Measurement]:
    rows = [
        (float(width), one.corrected, one.error, one.unstretched)
        for width, one in by_width.items()
        if one is not None and one.corrected is not None and one.error and one.unstretched is not None
    ]
    if not rows:
        return {
            f"avalanche.limit_{name}": undetermined("at no width there is a power law over a decade, with an error")
        }
    result = {
        f"avalanche.width_{name}_at": series([row[0] for row in rows]),
        f"avalanche.width_{name}": series([row[1] for row in rows]),
        f"avalanche.width_{name}_low": series([row[3][0] for row in rows]),
        f"avalanche.width_{name}_high": series([row[3][1] for row in rows]),
    }
    if len(rows) < 2:
        reason = "at only one width there is a power law over a decade, with an error"
        return result | {f"avalanche.limit_{name}": undetermined(reason)}
    limit = extrapolate([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    said = "errors stretched: the widths do not lie on a line" if limit.stretched else None
    if len(rows) == 2:
        said = f"from two widths ({rows[0][0]:.0f} and {rows[1][0]:.0f}): the line is not checked by a third"
    result[f"avalanche.limit_{name}"] = measured(
        limit.limit,
        interval=limit.interval,
        n=len(rows),
        method="weighted straight line in 1/N of the exponents corrected for scaling",
        reason=said,
    )
    return result


def over_scales(plan: Plan, progress: Progress | None) -> dict[str, Measurement]:
    """Measured sizes and strengths over (σ_w, σ_b) around the edge of chaos, beside the theory's susceptibility."""
    phi = plan.phi
    unit = gaussian.edge_of_chaos(0.0, phi)
    weights, biases = (unit * np.linspace(*ends) for ends in (_MAP_WEIGHTS, _MAP_BIASES))
    found = susceptibility_map(
        weights,
        biases,
        width=plan.width,
        depth=min(plan.depth, _MAP_DEPTH),
        activation=phi,
        strength=plan.strength,
        paths=_MAP_PATHS,
        seed=plan.seed,
        workers=plan.workers,
        progress=progress,
    )
    return _map_measurements(found)


def _map_measurements(found: SusceptibilityMap) -> dict[str, Measurement]:
    grid_b, grid_w = np.meshgrid(found.sigma_b, found.sigma_w, indexing="ij")
    known = np.isfinite(found.susceptibility)
    result = {
        "map_sigma_w": found.sigma_w,
        "map_sigma_b": found.sigma_b,
        "map_size": found.mean_size,
        "map_excess": found.mean_excess,
        "map_censored": found.censored,
        "map_strength": found.mean_strength,
        "map_chi_sigma_w": grid_w[known],
        "map_chi_sigma_b": grid_b[known],
        "map_chi": found.susceptibility[known],
    }
    for name, line in (("widom", found.widom_line), ("edge", found.edge_of_chaos)):
        there = np.isfinite(line)
        result |= {f"map_{name}_sigma_w": line[there], f"map_{name}_sigma_b": found.sigma_b[there]}
    return {f"avalanche.{name}": series(values) for name, values in result.items() if values.size}
