"""Names of the measurements on the laws of the weights."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "entries.alpha": Measure(
        "stable exponent", "α", "Tail index of the stable law fitted to the entries; 2 is Gaussian, smaller is heavier."
    ),
    "entries.beta": Measure("stable skewness", "β", "Asymmetry of the stable law, from −1 to 1."),
    "entries.sigma": Measure("stable scale", "σ", "Width of the stable law; at α = 2 the variance is 2σ²."),
    "entries.mu": Measure("stable location", "μ", "Centre of the stable law."),
    "entries.g_paper": Measure(
        "weight scale (paper)", "g", "(2 N σ^α)^(1/α) with N = √(fan-in · fan-out), as in Qu et al. 2022."
    ),
    "entries.g_forward": Measure(
        "weight scale (forward)", "g", "(2 N σ^α)^(1/α) with N = fan-in, as forward mean-field theory needs it."
    ),
    "entries.mean": Measure("mean"),
    "entries.std": Measure("standard deviation"),
    "entries.skewness": Measure("skewness"),
    "entries.excess_kurtosis": Measure("excess kurtosis", None, "0 for a Gaussian; a few large entries dominate it."),
    "entries.zeros": Measure("exact zeros", None, "Share of entries that are exactly zero."),
    "entries.non_finite": Measure("non-finite entries", None, "NaN and infinite entries."),
    "entries.max_abs": Measure("largest entry", "max |w|"),
    "entries.alpha_median": Measure("median stable exponent", "α", "Over the layers where it was measured."),
    "entries.verdict": Measure("law of the entries", None, "Stable fit, rival laws and tail counts taken together."),
    "entries.stable_gain": Measure("stable: gain per entry", None, "Log-likelihood per entry above the Gaussian's."),
    "entries.gain_student_t": Measure("Student-t: gain per entry", None, "As above, for its best fit."),
    "entries.gain_generalised_normal": Measure("generalised normal: gain per entry"),
    "entries.gain_two_gaussians": Measure("two Gaussians: gain per entry"),
    "entries.ks_distance": Measure("distance from the stable fit", "KS", "Largest gap between the two distributions."),
    "entries.tail_1e-2": Measure("tail beyond 1 %", None, "Entries there over those that the stable fit expects."),
    "entries.tail_1e-3": Measure("tail beyond 0.1 %"),
    "entries.tail_1e-4": Measure("tail beyond 0.01 %"),
    "entries.tail_1e-5": Measure("tail beyond 0.001 %"),
    "entries.hill_1e-2": Measure("Hill index, largest 1 %", None, "α of P(|w| > x) ∝ x^−α from the largest entries."),
    "entries.hill_1e-3": Measure("Hill index, largest 0.1 %"),
    "entries.hill_1e-4": Measure("Hill index, largest 0.01 %"),
    "entries.layers_gaussian_not_rejected": Measure("layers: Gaussian not rejected"),
    "entries.layers_lighter_than_gaussian": Measure("layers: lighter than Gaussian"),
    "entries.layers_stable_compatible": Measure("layers: stable-compatible"),
    "entries.layers_heavier_not_stable": Measure("layers: heavier, not stable"),
    "entries.layers_scale_mixture": Measure("layers: scale mixture"),
    "entries.layers_undetermined": Measure("layers: undetermined"),
}
