"""Names of the measurements on avalanches.

Those of a model are taken at several thresholds θ = μ + nσ: `avalanche.tau` is at n = 0, `avalanche.n-1.tau` and
`avalanche.n1.tau` at the others; `avalanche.weights.tau` counts only weight layers, at n = 0. Series for figures come
in pairs of equal length, or as rows of `collapse_places`.
"""

from __future__ import annotations

from dataclasses import replace

from critaudit.report.measures.measure import Measure


def _with_corrected(numbers: dict[str, Measure]) -> dict[str, Measure]:
    """Behind each number that is corrected for scaling the corrected one; the labels tell the two apart."""
    result: dict[str, Measure] = {}
    for name, measure in numbers.items():
        if name not in CORRECTED:
            result[name] = measure
            continue
        result[name] = replace(measure, label=f"{measure.label}, plain fit")
        result[f"{name}_corrected"] = replace(
            measure,
            label=f"{measure.label}, corrected for scaling",
            meaning="Allows for corrections to scaling: what distances from classes are measured from, the figures' "
            "main mark, and what the plain fit's interval is about.",
        )
    return result


CORRECTED = ("tau", "tau_excess", "alpha", "slope", "slope_excess", "collapse_exponent", "predicted_slope", "dcc")

_NUMBERS = {
    "verdict": Measure(
        "verdict on avalanches",
        None,
        "What the avalanches show: no power law, too short a range, nothing that null models do not, or classes.",
    ),
    "classes": Measure("classes not excluded", None, "Universality classes whose exponents the data do not exclude."),
    "tau": Measure("size exponent", "τ", "P(S) ~ S^−τ on the fitted range; S is the sum of the strengths."),
    "tau_excess": Measure(
        "size exponent, excess", "τ", "The same for what is above threshold; of a model, in units of its deviation."
    ),
    "alpha": Measure("duration exponent", "α", "P(D) ~ D^−α on the fitted range; D counts layers."),
    "slope": Measure("size against duration", "1/σνz", "⟨S⟩(D) ~ D^(1/σνz), weighted least squares."),
    "slope_excess": Measure("excess size against duration", "1/σνz"),
    "collapse_exponent": Measure("collapse exponent", "1/σνz", "For which the avalanches' profiles fall on one curve."),
    "collapse_error": Measure("collapse error", "NMSE", "What is left between the collapsed profiles; 0 is perfect."),
    "predicted_slope": Measure("slope by the crackling relation", None, "(α − 1)/(τ − 1)."),
    "dcc": Measure(
        "crackling mismatch", "DCC", "|(α − 1)/(τ − 1) − 1/σνz|: 0 where the crackling relation holds; excess sizes."
    ),
    "branching_ratio": Measure(
        "branching ratio", "m", "By multistep regression, which subsampling does not bias; 1 is critical branching."
    ),
    "number": Measure("avalanches", None, "Paths that start above threshold and end before the last layer."),
    "paths": Measure("paths", None, "Inputs followed through all layers."),
    "clusters": Measure("clusters", None, "What the intervals are bootstrapped over: networks, or inputs of one."),
    "depth": Measure("layers", None, "A model's operations, or the layers of a simulation."),
    "none_share": Measure("paths without avalanche", None, "Share that is below threshold in the first layer."),
    "censored_share": Measure("censored paths", None, "Share that is above threshold to the last layer."),
    "size_range": Measure("range of sizes", None, "Where the power law of total sizes was fitted: from, to."),
    "excess_range": Measure("range of excess sizes", None, "From, to."),
    "duration_range": Measure("range of durations", None, "From, to."),
    "size_decades": Measure("decades of size"),
    "excess_decades": Measure("decades of excess size"),
    "duration_decades": Measure("decades of duration"),
    "size_law": Measure("law of sizes", None, "The law that likelihood-ratio tests leave standing on the range."),
    "excess_law": Measure("law of excess sizes"),
    "duration_law": Measure("law of durations"),
}

_SERIES = {
    # Logarithmically binned densities: x, y; and the fitted line's two ends x₁, y₁, x₂, y₂.
    "sizes": Measure("sizes", "S", plotted=True),
    "size_density": Measure("density of sizes", "P(S)", plotted=True),
    "size_fit": Measure("power law of sizes", plotted=True),
    "excess_sizes": Measure("excess sizes", plotted=True),
    "excess_density": Measure("density of excess sizes", plotted=True),
    "excess_fit": Measure("power law of excess sizes", plotted=True),
    "durations": Measure("durations", "D", plotted=True),
    "duration_density": Measure("density of durations", "P(D)", plotted=True),
    "duration_fit": Measure("power law of durations", plotted=True),
    # ⟨S⟩(D) of excess sizes with 95 % intervals.
    "mean_durations": Measure("durations", "D", plotted=True),
    "mean_size": Measure("mean size", "⟨S⟩(D)", plotted=True),
    "mean_size_low": Measure("mean size, lower end", plotted=True),
    "mean_size_high": Measure("mean size, upper end", plotted=True),
    "mean_size_fit": Measure("power law of the mean size", plotted=True),
    # Profiles: one row for each of `collapse_durations`, its columns at `collapse_places` l/D.
    "collapse_durations": Measure("durations of the profiles", plotted=True),
    "collapse_places": Measure("places in the avalanche", "l/D", plotted=True),
    "collapse_before": Measure("profiles ⟨s⟩(l/D)", plotted=True),
    "collapse_after": Measure("profiles, collapsed", plotted=True),
    # Bootstrap resamples of the three exponents.
    "cloud_tau": Measure("resampled size exponents", plotted=True),
    "cloud_alpha": Measure("resampled duration exponents", plotted=True),
    "cloud_slope": Measure("resampled slopes", plotted=True),
    # Null models and universality classes, each with its exponents and its distance from the data.
    "null_names": Measure("null models", plotted=True),
    "null_tau": Measure("size exponents of the null models", plotted=True),
    "null_alpha": Measure("duration exponents of the null models", plotted=True),
    "null_slope": Measure("slopes of the null models", plotted=True),
    "null_distances": Measure("distances of the null models", plotted=True),
    "class_names": Measure("universality classes", plotted=True),
    "class_tau": Measure("size exponents of the classes", plotted=True),
    "class_alpha": Measure("duration exponents of the classes", plotted=True),
    "class_slope": Measure("slopes of the classes", plotted=True),
    "class_distances": Measure("distances of the classes", plotted=True),
}

VARIANTS = {"": "", "n-1.": ", θ = μ − σ", "n1.": ", θ = μ + σ", "weights.": ", weight layers only"}

MEASURES = {
    f"avalanche.{prefix}{name}": replace(measure, label=f"{measure.label}{suffix}")
    for prefix, suffix in VARIANTS.items()
    for name, measure in (_with_corrected(_NUMBERS) | _SERIES).items()
} | {
    "avalanche.operations": Measure("operations that are layers", None, "By kind."),
    "avalanche.left_out": Measure("operations that are none"),
    "avalanche.overflowed": Measure("inputs that overflowed", None, "Left out: a strength was not finite."),
}
