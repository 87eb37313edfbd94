"""What measured exponents amount to: compared with nulls first, with universality classes second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, ndtri

from critaudit.laws.crackling.results import ClassDistance, Estimate, PowerLaw, Verdict
from critaudit.laws.crackling.truncated import LEAST_CLUSTERS
from critaudit.theory.avalanche_classes import CLASSES

Array = NDArray[np.float64]

LEAST_DECADES = 1.5
"""Sizes and durations must follow a power law over as many decades each."""
GREATEST_DRIFT = 0.6
"""A power law is claimed where its tail exponent cannot change by more than this part of itself over the range, nor by
more than this part of what a lognormal's would.

The tail exponent is a − 1, in P(X > x) ∝ x^−(a − 1). Under X → X^γ, which turns durations into sizes, it and its change
both become 1/γ of what they were, and a lognormal stays one: durations and sizes of the same avalanches are treated
alike, and lognormals of any width. `reports/calibration/avalanches.md` says how often they pass.
"""
SYSTEMATIC_FLOOR = (0.02, 0.03, 0.01)
"""Systematic errors of τ, α and 1/σνz, added in quadrature to the bootstrap's.

What is left, after corrections, on processes whose exponents are known exactly but which approach them slowly (critical
branching: ln n / n in durations; random walks at integer times): the larger mean departure and its error together, at
200,000 avalanches, rounded to 0.01. `reports/calibration/avalanches.md` prints it.
"""
LEVEL = 0.05
_ONE_SIDED = 1.6448536269514722


def drift_bound(law: PowerLaw) -> float:
    """How much the tail exponent may change over the range at most (95 % confidence, either way), relative to it."""
    if law.fit is None or law.fit.exponent <= 1.0:
        return math.inf
    return (abs(law.fit.drift) + _ONE_SIDED * law.fit.drift_error) / (law.fit.exponent - 1.0)


def drift_allowed(law: PowerLaw) -> float:
    """How much a tail exponent may change for a power law to be claimed, relative to it; zero without a fit."""
    return GREATEST_DRIFT * min(1.0, lognormal_drift(law))


def lognormal_drift(law: PowerLaw) -> float:
    """By how much the tail exponent changes over the range in a lognormal of the same tail exponent and position.

    Relative to the tail exponent. Position is the share of all values above the range's lower end, z standard
    deviations above the median: for a range of length L in ln x, a − 1 = (z + L/2σ)/σ gives σ, and the change is L/σ².
    """
    if law.fit is None or law.fit.exponent <= 1.0:
        return 0.0
    tail, length, z = law.fit.exponent - 1.0, math.log(law.fit.high / law.fit.low), -float(ndtri(law.fit.share))
    if math.isinf(z):
        # All values are in the range or above: no lognormal begins like that.
        return math.inf
    sigma = (z + math.sqrt(z * z + 2.0 * length * tail)) / (2.0 * tail)
    return length / sigma**2 / tail


def beaten_by(law: PowerLaw) -> tuple[str, ...]:
    """Laws that fit the range better at 5 %. A power law with a cut-off is a power law still: it is none of them."""
    return tuple(
        rival.law for rival in law.rivals if rival.verdict == rival.law and rival.law != "power_law_with_cutoff"
    )


def is_power_law(law: PowerLaw) -> bool:
    """Whether a power law is claimed: over enough decades, not beaten, and with little room to bend."""
    long_enough = law.fit is not None and law.fit.decades >= LEAST_DECADES
    return long_enough and not beaten_by(law) and drift_bound(law) <= drift_allowed(law)


def distance_to(name: str, exponents: tuple[float, float, float], centre: Array, covariance: Array) -> ClassDistance:
    """Mahalanobis distance with the covariance and the systematic floor."""
    difference = centre - np.asarray(exponents)
    total = covariance + np.diag(np.square(SYSTEMATIC_FLOOR))
    squared = float(difference @ np.linalg.solve(total, difference))
    p = float(gammaincc(1.5, squared / 2.0))
    return ClassDistance(name, exponents, math.sqrt(max(squared, 0.0)), p, p < LEVEL)


def class_distances(centre: Array, covariance: Array) -> tuple[ClassDistance, ...]:
    """Distances to all classes, nearest first."""
    found = [distance_to(row.name, row.exponents, centre, covariance) for row in CLASSES]
    return tuple(sorted(found, key=lambda row: row.distance))


def judge(
    duration: PowerLaw,
    size: PowerLaw,
    *,
    clusters: int,
    classes: Sequence[ClassDistance],
    nulls: Sequence[ClassDistance],
    silent_nulls: Sequence[str],
    mismatch: Estimate | None,
    depth: int,
    centre: Array | None = None,
) -> Verdict:
    """The verdict, first reason first: no power law, too short a range, too few clusters, nulls, classes.

    `depth` is the number of layers: where it is too small for durations over enough decades, nothing else is asked for.
    `silent_nulls` are null models that were run and gave no power law; `centre` are the corrected (τ, α, 1/σνz) that
    distances were measured from. Nothing is called critical: the text says what is in agreement with what, and on
    which evidence.
    """
    laws = (duration, size)
    if min(law.n for law in laws) < 1:
        return Verdict("undetermined", "No avalanche ended before the last layer: there is nothing to fit.")
    short = _too_short(laws, depth)
    if short is not None:
        return short
    beaten = [f"{law.quantity} by {_listed(beaten_by(law))}" for law in laws if beaten_by(law)]
    if beaten:
        return Verdict(
            "undetermined",
            f"The power law is fitted worse than other laws on its own range: {'; '.join(beaten)}.".replace("_", " "),
        )
    drifting = [law for law in laws if drift_bound(law) > drift_allowed(law)]
    if drifting:
        parts = " and ".join(
            f"the tail exponent of {law.quantity} may change by up to {100 * drift_bound(law):.0f} % of itself "
            f"over the range ({100 * drift_allowed(law):.0f} % is allowed)"
            for law in drifting
        )
        return Verdict(
            "undetermined",
            f"Too few avalanches to tell a power law from a bent law such as a lognormal: {parts}. More avalanches "
            "decide it.",
        )
    if clusters < LEAST_CLUSTERS:
        return Verdict(
            "undetermined",
            f"Power laws are found, but {clusters} networks are too few to know how much exponents differ from one "
            f"to the next: {LEAST_CLUSTERS} or more give errors, and with them a verdict.",
        )
    if not classes:
        return Verdict("undetermined", "The exponents have no joint errors: too few durations for ⟨S⟩(D).")
    found = _compared(classes, nulls, silent_nulls, mismatch)
    return found if centre is None else replace(found, text=f"{found.text} {_compared_ones(centre)}")


def too_shallow(depth: int) -> str:
    """Why no power law can be claimed in so few layers, whatever the avalanches; empty where depth allows one."""
    decades = math.log10(max(depth - 1, 1))
    if decades >= LEAST_DECADES:
        return ""
    return (
        f"durations in {depth} layers span {decades:.2f} decades at most, and a power law is believed over "
        f"{LEAST_DECADES} or more, which takes {math.ceil(10**LEAST_DECADES) + 1} layers, whatever the number of inputs"
    )


def _too_short(laws: Sequence[PowerLaw], depth: int) -> Verdict | None:
    missing = [law for law in laws if law.fit is None]
    short = [law for law in laws if law.fit is not None and law.fit.decades < LEAST_DECADES]
    if not missing and not short:
        return None
    told = " ".join(_range_text(law) for law in laws)
    # Below one decade out of a long enough record, what is found is a piece of a bent curve.
    rejected = [
        law
        for law in (*missing, *short)
        if law.available >= LEAST_DECADES and (law.fit is None or law.fit.decades < 1.0)
    ]
    if rejected:
        which = " and ".join(law.quantity for law in rejected)
        return Verdict("no_power_law", f"No power law: {which} bend wherever the data could show it. {told}")
    shallow = too_shallow(depth)
    if shallow:
        found = "".join(f" {_range_text(law)}" for law in laws if law.fit is not None)
        return Verdict("insufficient_range", f"Too few layers: {shallow}.{found}")
    return Verdict(
        "insufficient_range",
        f"{told} A power law is believed over {LEAST_DECADES} decades or more in both; that is not reached here.",
    )


def _range_text(law: PowerLaw) -> str:
    if law.fit is None:
        return f"For {law.quantity}, {law.reason}."
    return (
        f"The {law.quantity} follow a power law over {law.fit.decades:.2f} decades "
        f"({law.fit.low:.3g} to {law.fit.high:.3g}) out of {law.available:.2f} available."
    )


def _compared(
    classes: Sequence[ClassDistance],
    nulls: Sequence[ClassDistance],
    silent_nulls: Sequence[str],
    mismatch: Estimate | None,
) -> Verdict:
    same = tuple(null.name for null in nulls if not null.excluded)
    if same:
        return Verdict(
            "null_equivalent",
            f"The exponents cannot be told from those of {_listed(same)}, run beside: whatever made these avalanches, "
            "such power laws need no critical point.",
            nulls=same,
        )
    left = tuple(row for row in classes if not row.excluded)
    beside = _beside(nulls, silent_nulls)
    relation = _relation(mismatch)
    if not left:
        nearest = classes[0]
        return Verdict(
            "no_listed_class",
            f"Power laws over enough decades, but with the exponents of none of the {len(classes)} classes listed; the "
            f"nearest, {nearest.name}, is {nearest.distance:.1f} standard errors away. {relation} {beside}",
        )
    walks = {row.name for row in CLASSES if row.null}
    walk = [row.name for row in left if row.name in walks]
    caution = " A random walk's first return gives such exponents as well, without any interaction." if walk else ""
    return Verdict(
        "classes",
        f"In agreement with {_listed([row.name for row in left])}; the other {len(classes) - len(left)} classes are "
        f"excluded.{caution} {relation} {beside}",
        classes=tuple(row.name for row in left),
    )


def _compared_ones(centre: Array) -> str:
    tau, alpha, slope = centre
    return (
        f"Compared are the exponents corrected for scaling, τ = {tau:.2f}, α = {alpha:.2f}, 1/σνz = {slope:.2f}, and "
        "not those of the plain fits."
    )


def _relation(mismatch: Estimate | None) -> str:
    if mismatch is None or mismatch.interval is None or mismatch.corrected is None:
        return "The crackling relation could not be tested."
    low, high = mismatch.interval
    both = f"mismatch {mismatch.corrected:.2f}, of the plain fits {mismatch.value:.2f}"
    if low <= 0.0:
        return f"The crackling relation holds within its error ({both}, at most {high:.2f})."
    return f"The crackling relation is violated ({both}, at least {low:.2f})."


def _beside(nulls: Sequence[ClassDistance], silent: Sequence[str]) -> str:
    run = [null.name for null in nulls] + list(silent)
    if not run:
        return "No null model was run beside: this alone is no evidence of criticality."
    parts = []
    if nulls:
        parts.append(f"{_listed([null.name for null in nulls])} gave other exponents")
    if silent:
        parts.append(f"{_listed(silent)} gave no power law")
    return f"Of the null models run beside, {', '.join(parts)}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
