"""Spectra of sampled layers against Qu22's law: `python reports/jacobian_law.py`, three minutes.

Layers with independent stable weights, slopes of tanh at pre-activations of the fixed point: the share of eigenvalues
beyond given radii against `theory.levy.JacobianLaw`, at two widths, so that effects of finite width show; and ln|det W|
against the closed form. Writes `jacobian_law.md` beside this file.
"""

from __future__ import annotations

import datetime
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma
from threadpoolctl import threadpool_limits

from critaudit import __version__
from critaudit.laws.eigenvectors import jacobian_eigenvalues, log_determinant
from critaudit.laws.nulls import stable_sample
from critaudit.theory.activations import named_activation
from critaudit.theory.levy import JacobianLaw, log_determinant_constant

RADII = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
POINTS = ((1.5, 0.75), (1.5, 1.5), (2.0, 0.75), (2.0, 1.5), (2.0, 3.0))
DRAWS = {250: 160, 1000: 20}


def main() -> None:
    """Draw, compare, and write the tables."""
    with threadpool_limits(1):
        parts = [_head(), *_spectra(), *_determinants()]
    Path(__file__).with_suffix(".md").write_text("\n".join(parts) + "\n", encoding="utf-8")


def _head() -> str:
    return f"""# Sampled spectra against the law of the Jacobian

Written by `python reports/jacobian_law.py`, critaudit {__version__}, {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}.

Eigenvalues of W·diag φ′(h), W independent and stable, h independent at the fixed point of (α, g), φ = tanh. Cells:
share of |λ| beyond the radius, and in brackets its distance from the law (N → ∞) in standard errors over the draws.
What is left at N = 1000 are effects of finite width where they must be: at the smallest radii, and at and beyond the
edge, where a finite matrix has no sharp end."""


def _spectra() -> list[str]:
    header = "| α | g | N | draws | " + " | ".join(f"|λ| ≥ {radius:g}".replace("|", "\\|") for radius in RADII) + " |"
    lines = ["\n## Shares of eigenvalues\n", header, "|---|---|---|---|" + "---|" * RADII.size]
    for alpha, g in POINTS:
        law = JacobianLaw(alpha, g)
        expected = law.survival(RADII)
        lines.append(f"| {alpha:g} | {g:g} | law | | " + " | ".join(f"{share:.4f}" for share in expected) + " |")
        for width, draws in DRAWS.items():
            shares = np.array([_shares(law, width, seed) for seed in range(draws)])
            errors = shares.std(axis=0, ddof=1) / math.sqrt(draws)
            cells = [_cell(*one) for one in zip(shares.mean(axis=0), errors, expected, strict=True)]
            lines.append(f"| {alpha:g} | {g:g} | {width} | {draws} | " + " | ".join(cells) + " |")
    return lines


def _shares(law: JacobianLaw, width: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng([seed, width, round(100 * law.alpha), round(100 * law.g)])
    weight = law.g * (2 * width) ** (-1 / law.alpha) * stable_sample(law.alpha, 0.0, (width, width), rng)
    h = law.fixed_point.scale * stable_sample(law.alpha, 0.0, (width,), rng)
    sizes = np.abs(jacobian_eigenvalues(weight, named_activation("tanh").derivative(h)))
    return np.asarray((sizes[:, None] >= RADII).mean(axis=0))


def _cell(share: float, error: float, expected: float) -> str:
    if error == 0.0:
        return f"{share:.4f}"
    return f"{share:.4f} ({(share - expected) / error:+.1f})".replace("-", "−")


def _determinants() -> list[str]:
    width, draws = 1000, 40
    # ln|det W|² of a Gaussian W is a sum of independent logarithms of χ²_k.
    finite = float(np.mean(digamma(np.arange(1, width + 1) / 2.0) + math.log(2.0 / width))) / 2.0
    note = f"At α = 2 the exact mean at this width is {finite:.4f}, below its limit by ln N/4N to leading order."
    lines = [
        f"\n## ln|det W|/N against c_α\n\nN = {width}, g = 1, {draws} draws. {note}\n",
        "| α | c_α | sampled | in standard errors |",
        "|---|---|---|---|",
    ]
    for alpha in (2.0, 1.8, 1.5, 1.2, 1.0):
        values = []
        for seed in range(draws):
            rng = np.random.default_rng([seed, round(100 * alpha)])
            weight = (2 * width) ** (-1 / alpha) * stable_sample(alpha, 0.0, (width, width), rng)
            values.append(log_determinant(weight, np.ones(width)))
        mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(draws)
        exact = log_determinant_constant(alpha)
        lines.append(f"| {alpha:g} | {exact:.4f} | {mean:.4f} ± {error:.4f} | {(mean - exact) / error:+.1f} |")
    return lines


if __name__ == "__main__":
    main()
