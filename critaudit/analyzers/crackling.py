"""What an estimation of avalanche exponents becomes in a report: measurements and findings, for models and simulations.

Names are those of `report.measures.avalanche`. The same function serves each threshold, under its own prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from critaudit.laws.crackling.results import ClassDistance, Crackling, Estimate, PowerLaw, SizeScaling, VerdictKind
from critaudit.laws.crackling.verdict import too_shallow
from critaudit.measurement import Measurement, measured, undetermined
from critaudit.report.record import Finding, Severity
from critaudit.report.wording import within

VERDICTS: Mapping[VerdictKind, str] = {
    "undetermined": "undetermined",
    "no_power_law": "no power law",
    "insufficient_range": "too short a range",
    "null_equivalent": "like a null model",
    "classes": "classes not excluded",
    "no_listed_class": "no listed class",
}
_LAWS = {
    "lognormal": "lognormal",
    "exponential": "exponential",
    "stretched_exponential": "stretched exponential",
    "power_law_with_cutoff": "power law with cut-off",
}
_FIT = "maximum likelihood truncated at both ends"
_SLOPE = "weighted least squares of ln⟨S⟩ on ln D"
_COLLAPSE = "least NMSE of profiles"
_BOOTSTRAP = "interval by cluster bootstrap"
_COMPARED = ("tau_excess", "alpha", "slope_excess", "dcc")
_EVIDENCE = (
    "verdict",
    "classes",
    *(f"{name}{end}" for name in _COMPARED for end in ("_corrected", "")),
    "branching_ratio",
)
_CAVEAT = (
    "Power laws of strengths above a threshold arise from any correlated noise; exponents mean something only beside "
    "those of null models of the same size, and over the range that is stated."
)


def measurements(
    found: Crackling, *, depth: int, prefix: str = "avalanche.", nulls: Sequence[Crackling] = ()
) -> dict[str, Measurement]:
    """Everything that a report says of one ensemble at one threshold, series for its figures included.

    `nulls` are the null models run beside, as they were given to `estimate`.
    """
    result = _numbers(found, depth)
    for sizes, stem, scaling in (("sizes", "size", found.total), ("excess_sizes", "excess", found.excess)):
        result |= _distribution(scaling.size, sizes, stem)
    result |= _distribution(found.duration, "durations", "duration")
    result |= _growth(found.excess)
    result |= _shapes(found.excess)
    result |= _plane(found.excess, nulls)
    return {f"{prefix}{name}": held for name, held in result.items()}


def findings(
    measured_ones: Mapping[str, Measurement], text: str, *, prefix: str = "avalanche.", severity: Severity = "info"
) -> Iterable[Finding]:
    """The verdict as a finding, with what it rests on. `text` is the verdict in plain language."""
    evidence = [
        f"{prefix}{name}"
        for name in _EVIDENCE
        if f"{prefix}{name}" in measured_ones and measured_ones[f"{prefix}{name}"].status == "measured"
    ]
    if evidence:
        yield Finding("avalanche.verdict", severity, None, text, tuple(evidence), _CAVEAT)


def exponent(estimate: Estimate | None, reason: str, *, n: float, method: str, corrected: str = "") -> Measurement:
    """The plain value as a measurement; where it has no interval, the reason is kept beside it.

    `corrected` says for what the value is corrected that the interval is about, and how the interval was made.
    """
    number = round(n)
    if estimate is None:
        return undetermined(reason, n=number, method=method)
    if estimate.corrected is not None and corrected:
        shown = within(estimate.corrected, estimate.unstretched)
        method = f"{method}; corrected for {corrected}: {shown}, which the interval is about, stretched to the value"
    return measured(estimate.value, interval=estimate.interval, n=number, method=method, reason=estimate.reason or None)


def both(
    name: str, estimate: Estimate | None, reason: str, *, n: float, method: str, bootstrap: str = _BOOTSTRAP
) -> dict[str, Measurement]:
    """The value of the plain fit, and under `<name>_corrected` the one with corrections to scaling, if there is one."""
    result = {name: exponent(estimate, reason, n=n, method=f"{method}; {bootstrap}", corrected="scaling")}
    if estimate is not None and estimate.corrected is not None:
        result[f"{name}_corrected"] = measured(
            estimate.corrected,
            interval=estimate.unstretched,
            n=round(n),
            method=f"{method}, with corrections to scaling; {bootstrap}",
        )
    return result


def series(values: ArrayLike) -> Measurement:
    """Numbers for a figure, in six figures."""
    numbers = np.asarray(values, dtype=np.float64).ravel()
    return measured(tuple(float(f"{value:.6g}") for value in numbers), n=numbers.size)


def _numbers(found: Crackling, depth: int) -> dict[str, Measurement]:
    total, excess = found.total, found.excess
    n, paths = found.avalanches, max(found.paths, 1.0)
    no_tau, no_tau_excess, no_alpha = (_why_not(law, depth) for law in (total.size, excess.size, found.duration))
    no_slope = "durations spread too little for a slope"
    result = {
        "verdict": measured(
            VERDICTS[found.verdict.kind], n=round(n), method="excess sizes and durations, beside null models",
            reason=found.verdict.text,
        ),
        **both("tau", total.size.exponent, no_tau, n=_inside(total.size), method=_FIT),
        **both("tau_excess", excess.size.exponent, no_tau_excess, n=_inside(excess.size), method=_FIT),
        **both("alpha", found.duration.exponent, no_alpha, n=_inside(found.duration), method=_FIT),
        **both("slope", _slope(total), no_slope, n=n, method=_SLOPE),
        **both("slope_excess", _slope(excess), no_slope, n=n, method=_SLOPE),
        **both(
            "collapse_exponent", excess.collapse_exponent, "fewer than three durations have profiles", n=n,
            method=_COLLAPSE,
        ),
        "predicted_slope": (
            measured(excess.relation, n=round(n), method="(α − 1)/(τ − 1), excess sizes")
            if excess.relation is not None
            else undetermined("needs exponents of sizes, above 1, and of durations")
        ),
        **both(
            "dcc", excess.mismatch, "needs all three exponents", n=n, method="excess sizes",
            bootstrap=f"{_BOOTSTRAP} and systematic errors",
        ),
        "branching_ratio": exponent(
            found.branching_ratio, "fewer than three lags have enough pairs", n=n,
            method="multistep regression; interval by jackknife over clusters", corrected="the bias of a ratio",
        ),
        "number": measured(round(n)),
        "paths": measured(round(found.paths)),
        "clusters": measured(found.clusters),
        "depth": measured(depth),
        "none_share": measured(found.none / paths, n=round(found.paths)),
        "censored_share": measured(found.censored / paths, n=round(found.paths)),
    }  # fmt: skip
    if excess.collapse is not None:
        result["collapse_error"] = measured(excess.collapse.mismatch, n=len(excess.collapse.durations))
    if excess.corrected_relation is not None:
        result["predicted_slope_corrected"] = measured(
            excess.corrected_relation, n=round(n), method="(α − 1)/(τ − 1), excess sizes, corrected exponents"
        )
    if found.verdict.classes:
        result["classes"] = measured(found.verdict.classes, method="Mahalanobis distance, p ≥ 0.05")
    return result


def _why_not(law: PowerLaw, depth: int) -> str:
    """Why there is no exponent: first what no further avalanche would change."""
    return "; ".join(filter(None, (too_shallow(depth), law.reason))) if law.fit is None else law.reason


def _inside(law: PowerLaw) -> float:
    return law.n if law.fit is None else law.fit.n


def _slope(scaling: SizeScaling) -> Estimate | None:
    return None if scaling.mean_size is None else scaling.mean_size.slope


def _distribution(law: PowerLaw, places: str, stem: str) -> dict[str, Measurement]:
    """Range, preferred law, density and fitted line of one distribution."""
    result: dict[str, Measurement] = {}
    if law.density.size:
        result[places] = series(law.density[:, 0])
        result[f"{stem}_density"] = series(law.density[:, 1])
    if law.fit is None:
        return result
    fit = law.fit
    result[f"{stem}_range"] = measured((fit.low, fit.high), n=round(fit.n))
    result[f"{stem}_decades"] = measured(fit.decades)
    result[f"{stem}_law"] = measured(
        _preferred(law), n=round(fit.n), method="likelihood ratios on the range, variance over clusters"
    )
    result[f"{stem}_fit"] = series(_line(law))
    return result


def _preferred(law: PowerLaw) -> str:
    """The law that is left standing: the rival that beats the power law by most, or the power law."""
    better = [rival for rival in law.rivals if rival.verdict == rival.law]
    if not better:
        return "power law"
    best = min(better, key=lambda rival: rival.log_ratio)
    return _LAWS.get(best.law, best.law)


def _line(law: PowerLaw) -> list[float]:
    """Ends x₁, y₁, x₂, y₂ of the fitted line, at the height of the density's points within the range."""
    fit = law.fit
    assert fit is not None
    x, density, number = law.density.T
    inside = (x >= fit.low) & (x <= fit.high) & (density > 0.0)
    if not inside.any():
        inside = density > 0.0
    weight = number[inside]
    height = float(weight @ (np.log(density[inside]) + fit.exponent * np.log(x[inside])) / weight.sum())
    ends = np.array([fit.low, fit.high])
    y = np.exp(height - fit.exponent * np.log(ends))
    return [float(ends[0]), float(y[0]), float(ends[1]), float(y[1])]


def _growth(scaling: SizeScaling) -> dict[str, Measurement]:
    """⟨S⟩(D) with 95 % intervals and the fitted line."""
    law = scaling.mean_size
    if law is None or not law.points.size:
        return {}
    duration, mean, error, _ = law.points.T
    ends = np.array([law.low, law.high])
    heights = np.exp(law.intercept + law.slope.value * np.log(ends))
    return {
        "mean_durations": series(duration),
        "mean_size": series(mean),
        "mean_size_low": series(mean * np.exp(-1.96 * error)),
        "mean_size_high": series(mean * np.exp(1.96 * error)),
        "mean_size_fit": series([ends[0], heights[0], ends[1], heights[1]]),
    }


def _shapes(scaling: SizeScaling) -> dict[str, Measurement]:
    shapes = scaling.collapse
    if shapes is None:
        return {}
    return {
        "collapse_durations": series(shapes.durations),
        "collapse_places": series(shapes.phases),
        "collapse_before": series(shapes.before),
        "collapse_after": series(shapes.after),
    }


def _plane(scaling: SizeScaling, nulls: Sequence[Crackling]) -> dict[str, Measurement]:
    """The bootstrap's cloud of exponents, the classes and the null models with their distances."""
    result: dict[str, Measurement] = {}
    if scaling.cloud is not None:
        for name, column in zip(("tau", "alpha", "slope"), scaling.cloud.T, strict=True):
            result[f"cloud_{name}"] = series(column)
    for stem, rows in (("class", scaling.classes), ("null", scaling.nulls)):
        result |= _rows(stem, rows)
    silent = [null.name for null in nulls if null.name not in {row.name for row in scaling.nulls}]
    if silent and not scaling.nulls:
        result["null_names"] = undetermined(f"{', '.join(silent)}: run beside, but without a power law to compare with")
    return result


def _rows(stem: str, rows: Sequence[ClassDistance]) -> dict[str, Measurement]:
    if not rows:
        return {}
    result = {f"{stem}_names": measured(tuple(row.name for row in rows))}
    for place, name in enumerate(("tau", "alpha", "slope")):
        result[f"{stem}_{name}"] = series([row.exponents[place] for row in rows])
    result[f"{stem}_distances"] = series([row.distance for row in rows])
    return result
