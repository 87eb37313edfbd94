"""What the measurement IDs are called in front of people. An ID that is not listed here is shown under its own name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from critaudit.report.record import Report


@dataclass(frozen=True, slots=True)
class Measure:
    """A measurement's name in the field's words, its sign, and one sentence on what it is."""

    label: str
    symbol: str | None = None
    meaning: str | None = None

    @property
    def heading(self) -> str:
        """The shortest unambiguous heading of a table column."""
        return f"{self.label} {self.symbol}" if self.symbol else self.label


_MEASURES = {
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
    "spectrum.norm": Measure("spectral norm", "‖W‖", "Largest singular value: the most that an input can grow."),
    "spectrum.frobenius": Measure("Frobenius norm"),
    "spectrum.operator_norm": Measure(
        "operator norm", None, "Norm of a convolution as a map of images; bounds where it is not exact."
    ),
    "spectrum.nuclear": Measure("nuclear norm", None, "Sum of the singular values."),
    "spectrum.stable_rank": Measure(
        "stable rank", None, "Squared Frobenius norm over squared spectral norm: how many directions carry weight."
    ),
    "spectrum.rank": Measure("numerical rank", None, "Singular values above what the stored precision can resolve."),
    "spectrum.effective_rank": Measure("effective rank", None, "Exponential of the entropy of the singular values."),
    "spectrum.entropy": Measure(
        "spectral entropy", None, "1 where all directions carry the same weight, 0 where one does."
    ),
    "spectrum.participation": Measure("participation ratio", None, "Effective number of singular directions."),
    "spectrum.condition": Measure("condition number"),
    "spectrum.verdict": Measure(
        "noise or structure", None, "Whether chance could have made these singular values, in plain words."
    ),
    "spectrum.shuffled_p": Measure(
        "chance of it, entries shuffled",
        "p",
        "Against every arrangement of the same entries: small means correlations.",
    ),
    "spectrum.null_p": Measure(
        "chance of it, Gaussian entries",
        "p",
        "Against independent Gaussian entries: heavy tails alone make it small too.",
    ),
    "spectrum.stable_p": Measure(
        "chance of it, stable entries", "p", "Against independent stable entries of the fitted α; at least 0.05."
    ),
    "spectrum.correlated_directions": Measure(
        "correlated directions", None, "Directions beyond the edge of noise once heavy tails are taken out."
    ),
    "spectrum.mp_spikes": Measure(
        "spikes", None, "Singular values beyond the Marchenko–Pastur edge, with the Tracy–Widom margin."
    ),
    "spectrum.mp_softrank": Measure(
        "softrank", None, "Squared edge of the bulk over the largest squared singular value; about 1 for noise."
    ),
    "spectrum.shuffled_distance": Measure(
        "distance from its shuffle", None, "Between the singular values and those of the same entries shuffled once."
    ),
    "spectrum.traps": Measure("traps", None, "Spikes that the entries make even when they are shuffled."),
    "spectrum.exponent": Measure(
        "tail exponent", None, "Power law of the density of the largest eigenvalues of WᵀW; WeightWatcher's alpha."
    ),
    "spectrum.exponent_preferred": Measure(
        "law of the tail", None, "The law that likelihood-ratio tests leave standing."
    ),
    "spectrum.alpha_weighted": Measure(
        "weighted exponent", None, "Exponent · log₁₀ λ_max, as WeightWatcher has it; depends on the scale."
    ),
    "spectrum.log_norm": Measure("log norm", None, "log₁₀ of the squared Frobenius norm, as WeightWatcher has it."),
    "spectrum.log_spectral_norm": Measure("log spectral norm", None, "log₁₀ of the largest eigenvalue of WᵀW."),
    "spectrum.log_alpha_norm": Measure("log α-norm", None, "log₁₀ Σ λ^exponent, as WeightWatcher has it."),
    "spectrum.trained_layers": Measure(
        "trained layers", None, "Layers with trained structure, with false discoveries over the layers controlled."
    ),
    "spectrum.alpha_weighted_mean": Measure("mean weighted exponent", None, "WeightWatcher's summary of a model."),
    "edge.j0": Measure("mean coupling", "J₀", "N · mean(W), Zhang et al. 2021."),
    "edge.j": Measure("coupling spread", "J", "√(N · var(W)), Zhang et al. 2021."),
    "edge.chi1": Measure(
        "susceptibility", "χ₁", "Mean squared slope of one layer: below 1 differences shrink, above 1 they grow."
    ),
    "edge.distance": Measure("distance from the edge", "ln χ₁", "Negative on the ordered side, else positive."),
    "edge.phase": Measure("phase", None, "Ordered, ferromagnetic or chaotic, by the (J₀, J) boundary of tanh layers."),
    "edge.distance_mean": Measure("mean distance from the edge", "ln χ₁"),
    "signal.strength": Measure("signal strength", "s", "Root mean square of the layer's output in a forward pass."),
    "signal.ratio": Measure("signal ratio", None, "Strength after this layer over strength before it."),
    "signal.non_finite": Measure("non-finite outputs", None, "Samples for which the layer gave NaN or infinity."),
    "signal.output_strength": Measure("output strength", None, "Root mean square of the network's output."),
    "signal.top_classes": Measure(
        "class of the largest output", None, "Index of the largest output, sample by sample."
    ),
    "signal.first_non_finite": Measure("first non-finite layer"),
    "signal.input_strength": Measure("input strength", "s₀", "Root mean square of the input."),
}

# The columns of the layer table, most telling first; those that a report has are shown.
_KEY = (
    "entries.alpha",
    "entries.verdict",
    "entries.g_forward",
    "spectrum.norm",
    "spectrum.stable_rank",
    "spectrum.verdict",
    "edge.chi1",
    "jacobian.mean_log",
    "multifractal.d2_left",
    "signal.strength",
)
_ANALYZERS = ("entries", "spectrum", "edge", "signal", "jacobian", "multifractal", "manifold", "avalanche")


def describe(identifier: str) -> Measure:
    """The measure behind an ID; its own last part, spelled out, where it is unknown."""
    known = _MEASURES.get(identifier)
    return known or Measure(identifier.partition(".")[2].replace("_", " ") or identifier)


def analyzer(identifier: str) -> str:
    """The analyzer that an ID belongs to: "entries" of "entries.alpha"."""
    return identifier.partition(".")[0]


def ordered(identifiers: Iterable[str]) -> list[str]:
    """IDs in reading order: known analyzers and measures first, the rest by name."""
    known = {name: place for place, name in enumerate(_MEASURES)}
    return sorted(set(identifiers), key=lambda name: (_place(name), known.get(name, len(known)), name))


def analyzers(report: Report) -> list[str]:
    """The analyzers whose measurements are in the report, in reading order."""
    found = {analyzer(name) for layer in report.layer_records for name in layer.measurements}
    found |= {analyzer(name) for name in report.model}
    return sorted(found, key=lambda name: (_place(name), name))


def key_measures(report: Report) -> list[str]:
    """The IDs that the layer table shows: the key ones that some layer has, else the first six of any kind."""
    present = {name for layer in report.layer_records for name in layer.measurements}
    return [name for name in _KEY if name in present] or ordered(present)[:6]


def _place(identifier: str) -> int:
    name = analyzer(identifier)
    return _ANALYZERS.index(name) if name in _ANALYZERS else len(_ANALYZERS)
