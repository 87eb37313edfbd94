"""Names of the measurements on ensembles of random networks: their place in theory, several widths, maps."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

_NUMBERS = {
    "susceptibility": Measure(
        "susceptibility by theory", "χ_s", "∂s*/∂σ_w of the mean field: how much strength responds to the weights."
    ),
    "fixed_strength": Measure("strength by theory", "s*", "Where the mean field of infinite width settles."),
    "widom_sigma_w": Measure("Widom line at this σ_b", "σ_w", "Where χ_s is largest."),
    "edge_sigma_w": Measure("edge of chaos at this σ_b", "σ_w", "Where χ₁ = 1."),
    "limit_tau": Measure("excess size exponent, corrected, N → ∞", "τ", "Weighted straight line in 1/N."),
    "limit_alpha": Measure("duration exponent, corrected, N → ∞", "α"),
    "limit_slope": Measure("excess size against duration, corrected, N → ∞", "1/σνz"),
}

_SERIES = {
    "width_values": "widths",
    **{
        f"width_{name}{end}": f"{words} by width{said}"
        for name, words in (("tau", "size exponents"), ("alpha", "duration exponents"), ("slope", "slopes"))
        for end, said in (("_at", ", which widths"), ("", ""), ("_low", ", lower ends"), ("_high", ", upper ends"))
    },
    "map_sigma_w": "weight scales of the map",
    "map_sigma_b": "bias scales of the map",
    "map_size": "mean avalanche sizes",
    "map_excess": "mean excess sizes",
    "map_censored": "shares of censored paths",
    "map_strength": "mean strengths",
    "map_chi_sigma_w": "weight scales of the susceptibilities",
    "map_chi_sigma_b": "bias scales of the susceptibilities",
    "map_chi": "susceptibilities",
    "map_widom_sigma_w": "Widom line, σ_w",
    "map_widom_sigma_b": "Widom line, σ_b",
    "map_edge_sigma_w": "edge of chaos, σ_w",
    "map_edge_sigma_b": "edge of chaos, σ_b",
}

MEASURES = {f"avalanche.{name}": measure for name, measure in _NUMBERS.items()} | {
    f"avalanche.{name}": Measure(words, plotted=True) for name, words in _SERIES.items()
}
