"""Avalanche: how far signals stay above their usual strength, operation by operation, and what that is evidence of.

Ghavasieh25, Methods 0.8 and 0.15, with null models run beside and errors that are stated for what they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from critaudit.analyzers.base import Analyzer, Measurements, NetworkMeasurements, Settings
from critaudit.errors import CritauditError
from critaudit.measurement import measured, not_applicable, undetermined
from critaudit.model import ModelView
from critaudit.report.measures import describe
from critaudit.report.record import Finding, Layer
from critaudit.report.wording import plural

# What avalanches need is imported where they are asked for: a usual audit does without, and starts sooner.
if TYPE_CHECKING:
    from critaudit.dynamics.model_avalanches import Paths
    from critaudit.dynamics.model_paths import ModelPaths
    from critaudit.dynamics.operations import NetworkPaths
    from critaudit.laws.crackling.results import Crackling

# Thresholds θ = μ + nσ, the headline first, and what their IDs start with; then the headline for weight layers only.
THRESHOLDS = {0: "avalanche.", -1: "avalanche.n-1.", 1: "avalanche.n1."}
WEIGHTS = "avalanche.weights."
LINEAR = "the network without its nonlinearities"
SURROGATES = {
    "phase": "phase-randomised strengths",
    "autoregressive": "autoregressive strengths",
    "gaussian": "Gaussian strengths of the same covariances",
}
_CONDITIONAL = "intervals are over inputs of this one network and say nothing about others of its kind"


def _network(view: ModelView, settings: Settings, _: Sequence[Layer]) -> NetworkMeasurements:
    from critaudit.dynamics.model_avalanches import gather, weight_layers
    from critaudit.dynamics.model_paths import model_paths

    assert view.runnable is not None
    followed = model_paths(view.runnable, inputs=settings.inputs, seed=settings.seed, device=settings.device)
    if followed.network is None:
        return NetworkMeasurements(model={"avalanche.status": undetermined(followed.reason or "not followed")})
    try:
        paths = gather([followed.network])
    except CritauditError as failure:
        return NetworkMeasurements(model={"avalanche.status": undetermined(str(failure))})
    model = _operations(followed, followed.network, paths)
    twin = _gathered(followed.linear)
    nulls = ({LINEAR: twin} if twin is not None else {}) | surrogate_nulls(paths, seed=settings.seed)
    for n, prefix in THRESHOLDS.items():
        model |= at_threshold(paths, nulls, n, prefix, seed=settings.seed)
    try:
        coarse = weight_layers(paths)
        nulls = {name: weight_layers(null) for name, null in nulls.items()}
    except CritauditError as failure:
        model[f"{WEIGHTS}verdict"] = not_applicable(str(failure))
        return NetworkMeasurements(model=_counted(model, followed.method))
    model |= at_threshold(coarse, nulls, 0, WEIGHTS, seed=settings.seed)
    return NetworkMeasurements(model=_counted(model, followed.method))


def _counted(model: Measurements, method: str) -> Measurements:
    """The same with what became of the inputs beside each number of paths."""
    paths = [f"{prefix}paths" for prefix in (*THRESHOLDS.values(), WEIGHTS)]
    return model | {name: replace(model[name], method=method) for name in paths if name in model}


def at_threshold(paths: Paths, nulls: dict[str, Paths], n: float, prefix: str, *, seed: int = 0) -> Measurements:
    """What a report says of an ensemble at θ = μ + nσ; series for figures at the headline's threshold only."""
    from critaudit.analyzers import crackling

    found, beside = crackle(paths, nulls, n, seed=seed)
    result = crackling.measurements(found, depth=paths.layers, prefix=prefix, nulls=beside)
    if paths.count == 1:
        result[f"{prefix}clusters"] = measured(found.clusters, method=f"inputs: {_CONDITIONAL}")
    if prefix == THRESHOLDS[0]:
        return result
    return {name: held for name, held in result.items() if not describe(name).plotted}


def crackle(paths: Paths, nulls: dict[str, Paths], n: float, *, seed: int = 0) -> tuple[Crackling, list[Crackling]]:
    """The estimation for an ensemble at θ = μ + nσ, beside the same for its null models."""
    from critaudit.dynamics.model_avalanches import counts
    from critaudit.laws.crackling.estimation import estimate

    rng = np.random.default_rng(seed)
    beside = [estimate(counts(null, n), rng=rng, name=name, checked=False) for name, null in nulls.items()]
    return estimate(counts(paths, n), nulls=beside, rng=rng, name="this network"), beside


def surrogate_nulls(paths: Paths, *, seed: int = 0) -> dict[str, Paths]:
    """The null models that share the linear statistics of the strengths and none of their dynamics, by name."""
    from critaudit.dynamics.model_avalanches import surrogates

    rng = np.random.default_rng(seed)
    return {name: surrogates(paths, rng, kind=kind) for kind, name in SURROGATES.items()}  # type: ignore[arg-type]


def _gathered(network: NetworkPaths | None) -> Paths | None:
    """The twin's paths; None where there is no twin or too little in it varies."""
    from critaudit.dynamics.model_avalanches import gather

    if network is None:
        return None
    try:
        return gather([network])
    except CritauditError:
        return None


def _operations(followed: ModelPaths, network: NetworkPaths, paths: Paths) -> Measurements:
    """Which operations are layers, and which are not."""
    kinds = dict(zip(network.operations, network.kinds, strict=True))
    layers = Counter(kinds[name] for name in paths.operations)
    reasons = Counter(reason for _, reason in network.left_out)
    if paths.pinned:
        reasons["held fixed by a normalisation"] = len(paths.pinned)
    twin = followed.linear.method if followed.linear is not None else followed.linear_reason
    result = {
        "avalanche.operations": measured(
            ", ".join(f"{number} {kind}" for kind, number in layers.most_common()),
            n=len(paths.scores),
            method=f"{network.method}; {followed.method}; null model: {twin}",
        )
    }
    if reasons:
        told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
        result["avalanche.left_out"] = measured(sum(reasons.values()), method=told)
    if network.overflowed:
        result["avalanche.overflowed"] = measured(network.overflowed, n=len(paths.scores) + network.overflowed)
    return result


def _find(_: Sequence[Layer], model: Measurements) -> Iterator[Finding]:
    from critaudit.analyzers import crackling

    verdict = model.get("avalanche.verdict")
    if verdict is None or verdict.status != "measured":
        return
    number, paths = model["avalanche.number"].number or 0, model["avalanche.paths"]
    coarse = model.get("avalanche.weights.verdict")
    beside = ""
    if coarse is not None and coarse.status == "measured":
        same = " too" if coarse.value == verdict.value else ""
        beside = f" Counted in weight layers only: {coarse.value}{same}."
    text = (
        f"{verdict.reason}{beside} Seen in {plural(int(number), 'avalanche')} on "
        f"{plural(int(paths.number or 0), 'path')} at thresholds of mean strength ({paths.method}); {_CONDITIONAL}."
    )
    yield from crackling.findings(model, text)


AVALANCHE = Analyzer(
    id="avalanche",
    title="Avalanches",
    why="Near a critical point signals die out without a scale of their own; whether they do is tested, not assumed.",
    requires="network",
    network=_network,
    find=_find,
    usual=False,
)
