"""Names of the measurements on Jacobians."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

# Single dense layers: J = W·diag φ′(h).
_DENSE = {
    "jacobian.mean_log": Measure(
        "Jacobian, mean log",
        "⟨ln|λ|⟩",
        "Below 0 a small change shrinks on average over the directions of this layer, above 0 it grows.",
    ),
    "jacobian.mean_log_shuffled": Measure(
        "mean log, entries shuffled", None, "Of the same entries in random places, with the same slopes."
    ),
    "jacobian.mean_log_iid": Measure(
        "mean log, independent weights", None, "For independent weights of the fitted law and the measured slopes."
    ),
    "jacobian.mean_log_theory": Measure(
        "mean log, theory", None, "For independent weights at the fixed point of the layer's α and g (Qu et al. 2022)."
    ),
    "jacobian.mean_log_clipped": Measure(
        "mean log, cut at 0.01", None, "As the mean log, but no eigenvalue counts as smaller than 0.01."
    ),
    "jacobian.mean_log_clipped_shuffled": Measure("mean log, cut, entries shuffled"),
    "jacobian.mean_log_clipped_theory": Measure("mean log, cut, theory"),
    "jacobian.expanding_share": Measure(
        "expanding share", None, "Share of the eigenvalues with |λ| ≥ 1: modes in which a small change grows."
    ),
    "jacobian.expanding_share_shuffled": Measure("expanding share, entries shuffled"),
    "jacobian.expanding_share_theory": Measure("expanding share, theory"),
    "jacobian.spectral_radius": Measure("spectral radius", "ρ", "The largest |λ|: one eigenvalue, so that it jumps."),
    "jacobian.spectral_radius_shuffled": Measure("spectral radius, entries shuffled"),
    "jacobian.cutoff_radius_theory": Measure(
        "cut-off radius, theory", None, "Beyond it the density of eigenvalues is exponentially small (Qu et al. 2022)."
    ),
    "jacobian.gain": Measure(
        "gain",
        "‖J‖_F/√n",
        "How much a small random change of the pre-activations grows in this layer, in root mean square.",
    ),
    "jacobian.norm": Measure("norm of the Jacobian", "‖J‖", "The most that a small change can grow in this layer."),
    "jacobian.mean_log_singular": Measure(
        "mean log of the singular values", "⟨ln σ⟩", "As the mean log of the eigenvalues, for any shape of layer."
    ),
    "jacobian.mean_log_singular_shuffled": Measure("mean log of the singular values, entries shuffled"),
    "jacobian.expanding_singular_share": Measure(
        "expanding directions", None, "Share of the singular values with σ ≥ 1: input directions that grow."
    ),
    "jacobian.condition": Measure("condition of the Jacobian", None, "Largest over smallest singular value."),
    "jacobian.zero_share": Measure("zero eigenvalues", None, "Of inputs whose neuron is off or saturated."),
    "jacobian.residual": Measure(
        "residual of the eigenvectors", None, "Largest relative error of their equation; beyond 1e-6 they are not used."
    ),
    "jacobian.eigenvalues_re": Measure("eigenvalues, real parts", plotted=True),
    "jacobian.eigenvalues_im": Measure("eigenvalues, imaginary parts", plotted=True),
    "jacobian.singular_values": Measure("singular values of the Jacobian", plotted=True),
}

# Blocks and the whole network.
_NETWORK = {
    "jacobian.block_count": Measure("blocks", None, "Pieces in which the network is cut, in the order they run."),
    "jacobian.growth_per_block": Measure(
        "growth per block",
        "½ ln ‖J‖²/n",
        "Logarithm of the root mean square growth of a small random change, per block; 0 is critical.",
    ),
    "jacobian.lyapunov": Measure(
        "Lyapunov growth per block",
        "λ",
        "Mean logarithm of the growth of single random changes; below the growth per block where inputs differ.",
    ),
    "jacobian.gradient_ratio": Measure(
        "gradient, first block over last",
        None,
        "Norm of a gradient at the first block's input over its norm behind the last one; 1 where it keeps its size.",
    ),
    "jacobian.end_to_end": Measure(
        "growth from end to end",
        "‖J‖/√n",
        "Root mean square change of an output when every input changes by a random amount of variance 1.",
    ),
    "jacobian.block_mean_log_mean": Measure(
        "mean log of the blocks' Jacobians",
        "⟨ln σ⟩",
        "For a residual block of I + J_branch. Equals ⟨ln|λ|⟩ where a block keeps its shape; 0 keeps volumes.",
    ),
    "jacobian.block_expanding_mean": Measure(
        "expanding directions of blocks", None, "Share of the singular values above 1, mean over the blocks."
    ),
    "jacobian.block_top_max": Measure(
        "strongest amplification of a block", "σ₁", "The most that any block can amplify a small change."
    ),
    "jacobian.block_radius_max": Measure(
        "largest spectral radius of a block", "ρ", "The largest |λ| of any block that keeps its shape."
    ),
}
_SERIES = {
    "block_norm": "partial-Jacobian norm of each block",
    "partial_norm": "partial-Jacobian norm from the start",
    "gradient_norm": "partial-Jacobian norm to the output",
    "block_top": "largest singular value of each block",
    "block_mean_log": "mean log of each block's singular values",
    "block_expanding": "share of expanding directions of each block",
    "block_live": "share of each block's directions that are not zero",
    "block_radius": "spectral radius of each block",
}
_ENDS = {"": "", "_low": ", lower end", "_high": ", upper end", "_places": ", block numbers"}
_PLOTTED = {"jacobian.blocks": Measure("names of the blocks", plotted=True)} | {
    f"jacobian.{name}{end}": Measure(label + words, plotted=True)
    for name, label in _SERIES.items()
    for end, words in _ENDS.items()
}

MEASURES: dict[str, Measure] = {**_NETWORK, **_DENSE, **_PLOTTED}
