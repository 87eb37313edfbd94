"""Entries: how heavy-tailed the weights of a matrix are, and how strong (Qu22, Fig. 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from critaudit.analyzers.base import Analyzer, LayerInput, Measurements, Settings, numbers
from critaudit.errors import CritauditError
from critaudit.laws.comparison import EntryLaws, Verdict
from critaudit.laws.moments import Moments
from critaudit.laws.stable import StableFit
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report.record import Finding, Layer

_PRUNED_SHARE = 0.05
_LAW_IDS = ("alpha", "beta", "sigma", "g_paper", "g_forward", "verdict")
_WORDS: dict[Verdict, str] = {
    "gaussian_not_rejected": "Gaussian not rejected",
    "lighter_than_gaussian": "lighter than Gaussian",
    "stable_compatible": "heavy-tailed (stable-compatible)",
    "heavier_not_stable": "heavier than Gaussian but not stable",
    "scale_mixture": "scale mixture",
    "undetermined": "undetermined",
}


def _layer(layer: LayerInput, _settings: Settings) -> Measurements:
    found = layer.moments()
    measurements: dict[str, Measurement] = {
        "entries.non_finite": measured(found.nan + found.inf, n=found.n, method="count"),
        "entries.zeros": measured(found.zeros / max(found.n, 1), n=found.n, method="share of exact zeros"),
    }
    measurements |= _moments(found)
    try:
        laws = layer.entry_laws()
    except CritauditError as error:
        return measurements | {f"entries.{name}": undetermined(str(error), n=found.finite) for name in _LAW_IDS}
    return measurements | _stable(laws.fit, layer) | _meaning(laws)


def _moments(found: Moments) -> Measurements:
    """Sample moments with 95 % intervals where the standard error is known."""
    named = {
        "mean": (found.mean, found.mean_se),
        "std": (found.standard_deviation, _std_error(found)),
        "skewness": (found.skewness, None),
        "excess_kurtosis": (found.excess_kurtosis, None),
        "max_abs": (found.max_abs, None),
    }
    return {
        f"entries.{name}": undetermined("too few or all equal finite entries", n=found.finite)
        if value is None
        else measured(value, interval=_around(value, error), n=found.finite, method="sample moment")
        for name, (value, error) in named.items()
    }


def _std_error(found: Moments) -> float | None:
    if not found.standard_deviation or found.variance_se is None:
        return None
    return found.variance_se / (2 * found.standard_deviation)


def _stable(fit: StableFit, layer: LayerInput) -> Measurements:
    method, matrix = fit.method, layer.matrix
    paper = math.sqrt(matrix.fan_in * matrix.fan_out)
    return {
        "entries.alpha": measured(
            fit.alpha,
            interval=fit.alpha_interval,
            n=fit.n,
            method=method,
            reason="Gaussian not rejected: α is bounded from below only" if fit.boundary else None,
        ),
        "entries.beta": not_applicable("a Gaussian has no skewness β")
        if fit.boundary or fit.beta is None
        else measured(fit.beta, interval=_around(fit.beta, fit.beta_se), n=fit.n, method=method),
        "entries.sigma": measured(fit.sigma, interval=_around(fit.sigma, fit.sigma_se), n=fit.n, method=method),
        "entries.g_paper": _strength(fit, paper, "N = √(fan_in·fan_out)"),
        "entries.g_forward": _strength(fit, float(matrix.fan_in), "N = fan_in"),
    }


def _meaning(laws: EntryLaws) -> Measurements:
    """What α̂ means: rivals, tails and verdict (PHYSICS: α̂ < 2 alone is no tail index)."""
    n, fit = laws.fit.n, laws.fit
    found = {
        "entries.verdict": measured(
            _WORDS[laws.verdict], n=n, method="stable law against rivals and tails", reason=laws.reason
        ),
        "entries.stable_gain": measured(laws.stable_gain, n=n, method="log-likelihood per entry above the Gaussian's"),
        "entries.ks_distance": measured(
            laws.distance, n=n, method="Kolmogorov–Smirnov distance from the stable fit: an effect size, no test"
        ),
    }
    for rival in laws.rivals:
        name = rival.name.lower().replace("-", "_").replace(" ", "_")
        if name == "gaussian":
            continue
        parameters = ", ".join(f"{key} = {value:.3g}" for key, value in rival.parameters)
        versus = (
            "the two fits coincide" if rival.vuong_z is None else f"Vuong z of stable against it {rival.vuong_z:+.2f}"
        )
        found[f"entries.gain_{name}"] = measured(
            rival.gain, n=n, method=f"log-likelihood per entry above the Gaussian's; {parameters}; {versus}"
        )
    for tail in laws.exceedances:
        found[f"entries.tail_{tail.level:.0e}".replace("e-0", "e-")] = measured(
            tail.ratio,
            interval=tail.interval,
            n=tail.observed,
            method=f"entries beyond the fit's two-sided {tail.level:g} quantiles over {tail.expected:.3g} expected",
        )
    for index in laws.hill:
        found[f"entries.hill_{index.share:.0e}".replace("e-0", "e-")] = measured(
            index.alpha,
            interval=index.interval,
            n=index.k,
            method=f"Hill's index of the {index.k} largest of {fit.n:,}",
        )
    return found


def _strength(fit: StableFit, size: float, convention: str) -> Measurement:
    """g = (2N)^{1/α}·σ with an interval from the errors of α and ln σ added up (a bound: they are correlated)."""
    g = (2 * size) ** (1 / fit.alpha) * fit.sigma
    interval = None
    if fit.sigma_se is not None:
        error = fit.sigma_se / fit.sigma + math.log(2 * size) / fit.alpha**2 * (fit.alpha_se or 0.0)
        interval = (g * math.exp(-1.96 * error), g * math.exp(1.96 * error))
    return measured(g, interval=interval, n=fit.n, method=f"g = (2N)^(1/α)·σ, {convention}; {fit.method}")


def _around(value: float, error: float | None) -> tuple[float, float] | None:
    return None if error is None else (value - 1.96 * error, value + 1.96 * error)


def _summary(layers: Sequence[Layer]) -> Measurements:
    alphas = sorted(value for _, value in numbers(layers, "entries.alpha"))
    if not alphas:
        return {"entries.alpha_median": undetermined("no layer's α could be fitted", n=0)}
    middle = (alphas[(len(alphas) - 1) // 2] + alphas[len(alphas) // 2]) / 2
    summary = {
        "entries.alpha_median": measured(
            middle, interval=(alphas[0], alphas[-1]), n=len(alphas), method="median over layers; interval: their range"
        )
    }
    verdicts = [str(layer.measurements["entries.verdict"].value) for layer, _ in numbers(layers, "entries.alpha")]
    for verdict, words in _WORDS.items():
        summary[f"entries.layers_{verdict}"] = measured(
            verdicts.count(words), n=len(verdicts), method=f"layers whose entries are judged “{words}”"
        )
    return summary


def _find(layers: Sequence[Layer], model: Measurements) -> Iterator[Finding]:
    for layer, largest in numbers(layers, "entries.max_abs"):
        spread = layer.measurements["entries.std"].number
        if spread == 0.0:
            what = "zero" if largest == 0 else "one and the same value"
            text = f"All weights are {what}: the layer passes nothing on that depends on direction."
            yield Finding("entries.constant", "warning", layer.name, text, ("entries.std",))
    for layer, share in numbers(layers, "entries.zeros"):
        if _PRUNED_SHARE < share < 1.0:
            yield Finding(
                "entries.zeros",
                "info",
                layer.name,
                f"{share:.0%} of the weights are exactly zero (pruned?); the tail estimates use the others.",
                ("entries.zeros",),
            )
    yield from _heavy_tails(model)


def _heavy_tails(model: Measurements) -> Iterator[Finding]:
    """One finding on the tails of the whole model, saying how many of the heavy ones can be stable laws."""
    counts = {
        verdict: int(model[f"entries.layers_{verdict}"].number or 0)
        for verdict in _WORDS
        if f"entries.layers_{verdict}" in model
    }
    heavy = sum(counts.get(name, 0) for name in ("stable_compatible", "heavier_not_stable", "scale_mixture"))
    if heavy == 0:
        return
    mixtures = counts["scale_mixture"]
    named = {
        "compatible with a stable law": counts["stable_compatible"],
        "not stable": counts["heavier_not_stable"],
        "mixtures of scales" if mixtures > 1 else "mixture of scales": mixtures,
    }
    total = sum(counts.values())
    where = f"In {heavy} of {total} layers" if total > 1 else "In the one layer"
    kinds = ", ".join(f"{count} {words}" if total > 1 else words for words, count in named.items() if count)
    yield Finding(
        "entries.heavy_tails",
        "info",
        None,
        f"{where} the weights are heavier-tailed than a Gaussian: {kinds}.",
        ("entries.layers_stable_compatible", "entries.layers_heavier_not_stable", "entries.layers_scale_mixture"),
        "A fitted α below 2 alone proves no power-law tail; the verdict also uses rival laws and counts in the tails.",
    )


ENTRIES = Analyzer(
    id="entries",
    title="Weight entries",
    why="Training drives weights away from the Gaussian they started from; heavy tails widen the critical regime.",
    requires="weights",
    layer=_layer,
    summary=_summary,
    find=_find,
)
