"""Makes the packaged table of symmetric stable densities: `python -m critaudit.theory.build_symmetric_stable`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from critaudit.laws.stable_density import exact_logpdf
from critaudit.theory.quadrature import Array
from critaudit.theory.symmetric_stable import HIGHEST, LOWEST, NODES, STEP, TABLE_NAME, TILES


def smooth_part(alpha: float) -> Array:
    """Q(u; α) at the table's points, from the exact density; `alpha` < 2."""
    x = np.exp(LOWEST + STEP * np.arange(round((HIGHEST - LOWEST) / STEP) + 1))
    gaussian = np.exp(-0.25 * x * x) / math.sqrt(4.0 * math.pi)
    excess = np.exp(exact_logpdf(x, alpha)) - gaussian
    return np.asarray(excess / (2.0 - alpha) * np.exp(0.5 * (1.0 + alpha) * np.log1p(x * x)))


def chebyshev_series(low: float, high: float) -> Array:
    """Coefficients of Q in α over [low, high], shape (NODES, points), by interpolation at Chebyshev's nodes."""
    nodes = np.cos(math.pi * (np.arange(NODES) + 0.5) / NODES)
    values = np.stack([smooth_part(0.5 * (low + high) + 0.5 * (high - low) * float(node)) for node in nodes])
    return np.asarray(np.linalg.solve(np.polynomial.chebyshev.chebvander(nodes, NODES - 1), values))


def main() -> None:
    """Write the table beside this module."""
    tables = {f"tile_{index}": chebyshev_series(low, high) for index, (low, high) in enumerate(TILES)}
    with (Path(__file__).parent / TABLE_NAME).open("wb") as stream:
        np.savez_compressed(stream, **tables)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
