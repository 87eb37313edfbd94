"""Avalanches of random networks as a report: simulated, estimated, compared with null models and with theory."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from critaudit import processors
from critaudit.analyzers import crackling
from critaudit.auditing.ensembles import Plan, over_scales, over_widths, place_in_theory
from critaudit.auditing.modelless import report_without_model
from critaudit.dynamics.avalanches.ensemble import Progress, Simulation
from critaudit.dynamics.avalanches.null_models import (
    SURROGATE,
    derived_seed,
    linear_networks,
    surrogate_avalanches,
)
from critaudit.errors import UsageError
from critaudit.laws.crackling.estimation import estimate
from critaudit.laws.crackling.results import Crackling
from critaudit.report import Report, wording

_MOST_WIDTHS = 12


def avalanche_report(
    plan: Plan, *, widths: Sequence[int] = (), mapped: bool = False, progress: Progress | None = None
) -> Report:
    """Simulate an ensemble and its null models, estimate exponents, and say what they amount to.

    Linear networks of the same size and surrogate paths are always run beside. `widths`: the same at these widths and
    the plan's own, and exponents extrapolated in 1/N. `mapped`: mean sizes and strengths over (σ_w, σ_b) beside the
    theory's susceptibility (Gaussian weights only). Raises as `simulate` does, and UsageError for fewer than two
    widths, the plan's own among them.
    """
    started = time.perf_counter()
    if widths:
        widths = sorted({*widths, plan.width})
        if not 2 <= len(widths) <= _MOST_WIDTHS:
            raise UsageError(
                f"{wording.plural(len(widths), 'width')} would be simulated, {plan.width} among them; an extrapolation "
                f"needs 2 to {_MOST_WIDTHS}, and 3 or more for a check of its line"
            )
    if mapped and plan.alpha != 2.0:
        raise UsageError("a map over sigma_w and sigma_b is made for Gaussian weights; leave out --map or --alpha")
    simulation = plan.run(progress=progress)
    nulls = _nulls(simulation, plan, progress)
    found = estimate(simulation.counts, nulls=nulls, rng=np.random.default_rng(plan.seed))
    held = crackling.measurements(found, depth=simulation.depth, nulls=nulls)
    held |= place_in_theory(plan)
    if widths:
        held |= over_widths(plan, widths, {plan.width: found}, progress)
    if mapped:
        held |= over_scales(plan, progress)
    return report_without_model(
        "simulation",
        _subject(simulation),
        held,
        summary=_summary(simulation, found, nulls),
        findings=crackling.findings(held, found.verdict.text),
        settings=_settings(simulation, widths, mapped),
        seconds=time.perf_counter() - started,
        seed=plan.seed,
        threads=plan.workers or processors.available(),
        device=simulation.device,
        packages=("critaudit", "numpy", "scipy", *(("torch",) if simulation.device != "cpu" else ())),
    )


def _nulls(simulation: Simulation, plan: Plan, progress: Progress | None) -> list[Crackling]:
    """Linear networks and surrogates, estimated in the same way."""

    def told(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(f"null models: {stage}", done, total)

    linear = linear_networks(simulation, workers=plan.workers, progress=told)
    ensembles = {name: null.counts for name, null in linear.items()}
    ensembles[SURROGATE] = surrogate_avalanches(simulation, workers=plan.workers, progress=told)
    return [
        estimate(counts, rng=np.random.default_rng(derived_seed(plan.seed, 10 + place)), name=name, checked=False)
        for place, (name, counts) in enumerate(ensembles.items())
    ]


def _subject(simulation: Simulation) -> str:
    weights = "" if simulation.alpha == 2.0 else f", α = {simulation.alpha:g}"
    biases = f", σ_b = {simulation.sigma_b:.4g}" if simulation.sigma_b else ""
    return (
        f"avalanches of random {simulation.activation} networks, N = {simulation.width}{weights}, "
        f"σ_w = {simulation.sigma_w:.5g}{biases}"
    )


def _summary(simulation: Simulation, found: Crackling, nulls: Sequence[Crackling]) -> list[str]:
    paths = max(found.paths, 1.0)
    networks = wording.plural(simulation.networks, "network")
    inputs = wording.plural(simulation.inputs_per_network, "input")
    each = ", each" if simulation.paths > 1 else ""
    kinds = {
        "fresh": f"{wording.plural(simulation.paths, 'input')}{each} with weights of its own",
        "quenched": f"{networks} with {inputs} each",
        "recurrent": f"{networks} with {inputs} each, all layers of a network alike",
    }
    return [
        f"{kinds[simulation.ensemble]}, followed through {wording.plural(simulation.depth, 'layer')} at threshold "
        f"{wording.number(simulation.strength)}: {wording.share(found.none / paths)} have no avalanche, "
        f"{wording.share(found.censored / paths)} are above threshold to the last layer, {_others(simulation, found)}.",
        f"Verdict: {crackling.VERDICTS[found.verdict.kind]}{_named(found)}.",
        f"Run beside: {', '.join(null.name for null in nulls)}.",
    ]


def _others(simulation: Simulation, found: Crackling) -> str:
    """What the paths with a duration do, if there are any."""
    if not found.avalanches:
        return "and none has an avalanche that ends"
    lengths = simulation.counts.duration_edges[:-1]
    mean = float(simulation.counts.durations.sum(axis=0) @ lengths) / found.avalanches
    return f"and the others last {wording.number(mean)} layers on average"


def _named(found: Crackling) -> str:
    """The classes or null models that the verdict is about."""
    names = found.verdict.classes or found.verdict.nulls
    return f" ({', '.join(names)})" if names else ""


def _settings(simulation: Simulation, widths: Sequence[int], mapped: bool) -> dict[str, object]:
    return {
        "width": simulation.width,
        "depth": simulation.depth,
        "sigma_w": simulation.sigma_w,
        "sigma_b": simulation.sigma_b,
        "activation": simulation.activation,
        "alpha": simulation.alpha,
        "strength": simulation.strength,
        "ensemble": simulation.ensemble,
        "networks": simulation.networks,
        "inputs": simulation.inputs_per_network,
        "widths": list(widths),
        "map": mapped,
        "method": simulation.method,
    }
