"""Names of the measurements on singular values."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "spectrum.norm": Measure("spectral norm", "‖W‖", "Largest singular value: the most that an input can grow."),
    "spectrum.frobenius": Measure("Frobenius norm"),
    "spectrum.operator_norm": Measure(
        "operator norm", None, "Norm of a convolution as a map of images; bounds where it is not exact."
    ),
    "spectrum.operator_q05": Measure("operator, 5 % of singular values below"),
    "spectrum.operator_q25": Measure("operator, a quarter of singular values below"),
    "spectrum.operator_q50": Measure(
        "operator, median singular value", None, "Of the convolution as a map of images, over all frequencies."
    ),
    "spectrum.operator_q75": Measure("operator, three quarters of singular values below"),
    "spectrum.operator_q95": Measure("operator, 95 % of singular values below"),
    "spectrum.operator_mean_log": Measure(
        "operator, mean ln σ", None, "How the convolution stretches images on the average over its directions."
    ),
    "spectrum.operator_condition": Measure(
        "operator, condition number", None, "Largest over smallest singular value of the map of images."
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
        "distance from its shuffle",
        None,
        "Between the singular values and those of the same entries shuffled once, or of noise where that is the same.",
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
}
