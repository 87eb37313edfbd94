"""Build the packaged table of stable densities: `python -m critaudit.laws.build_stable_table [OUTPUT]`.

Takes about three minutes on one core and is deterministic. The file holds, per tile of α, the coefficients that
critaudit.laws.stable_table describes, and the quantile statistics that start a fit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev
from scipy.ndimage import spline_filter1d

from critaudit.laws.stable_density import exact_cdf, exact_logpdf
from critaudit.laws.stable_table import KNOTS, LEADING, STEP, TABLE_NAME, WIDTH, Array, centre

# (lowest α, highest α, terms in α, terms in β). A tile is used from 0.02 above its lower end (see stable_table).
PLAN = ((0.5, 0.7, 14, 14), (0.66, 0.9, 14, 13), (0.88, 2.0, 28, 14))


def smooth_part(y: Array, alpha: float, beta: float) -> Array:
    """Q of the decomposition at the centred points y, from the exact density."""
    density = np.exp(exact_logpdf(y - centre(alpha)[0] * beta, alpha, beta))
    gauss = np.exp(-(y**2) / 4) / np.sqrt(4 * np.pi)
    smooth: Array = (density - gauss) / ((2 - alpha) * (1 + y**2) ** (-(1 + alpha) / 2))
    return smooth


def tile_coefficients(low: float, high: float, count_alpha: int, count_beta: int) -> Array:
    """Chebyshev × Chebyshev × B-spline coefficients, shape (count_alpha, count_beta, KNOTS)."""
    y = np.sinh(np.arange(1 - KNOTS, KNOTS) * STEP) * WIDTH
    in_alpha, in_beta = _nodes(count_alpha), _nodes(count_beta)
    values = np.empty((count_alpha, count_beta, y.size))
    for i, alpha in enumerate((low + high) / 2 + (high - low) / 2 * in_alpha):
        for j, beta in enumerate(in_beta):
            # f(y; −β) = f(−y; β): only half of the β nodes are computed.
            mirror = count_beta - 1 - j
            values[i, j] = values[i, mirror, ::-1] if mirror < j else smooth_part(y, float(alpha), float(beta))
    to_alpha = np.linalg.inv(chebyshev.chebvander(in_alpha, count_alpha - 1))
    to_beta = np.linalg.inv(chebyshev.chebvander(in_beta, count_beta - 1))
    terms = np.einsum("ia,jb,abu->iju", to_alpha, to_beta, values)
    splines: Array = spline_filter1d(terms, order=5, axis=-1, mode="mirror")
    return splines[:, :, KNOTS - 1 :]


def start_statistics() -> Array:
    """Rows: α, (q95−q05)/(q75−q25), q75−q25 at β=0; (q95+q05−2·q50)/(q95−q05), centred median at β=1."""
    alphas = np.concatenate([np.linspace(0.5, 1.9, 15), [1.95, 1.98, 1.995, 2.0]])
    rows = []
    for alpha in alphas:
        plain, skewed = (_quantiles(float(alpha), beta) for beta in (0.0, 1.0))
        rows.append(
            (
                alpha,
                (plain[4] - plain[0]) / (plain[3] - plain[1]),
                plain[3] - plain[1],
                (skewed[4] + skewed[0] - 2 * skewed[2]) / (skewed[4] - skewed[0]),
                skewed[2] + centre(float(alpha))[0],
            )
        )
    return np.array(rows).T


def build(output: Path) -> None:
    """Compute everything and write the table to `output`."""
    arrays: dict[str, Array | np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {
        "ranges": np.array([entry[:2] for entry in PLAN]),
        "starts": start_statistics(),
    }
    for index, plan in enumerate(PLAN):
        exact = tile_coefficients(*plan)
        stored = exact.astype(np.float32)
        leading = (slice(LEADING[0]), slice(LEADING[1]))
        arrays[f"coefficients_{index}"] = stored
        arrays[f"corrections_{index}"] = (exact[leading] - stored[leading]).astype(np.float32)
    np.savez(output, **arrays)  # type: ignore[arg-type]


def _nodes(count: int) -> Array:
    """Chebyshev nodes of the first kind, exactly symmetric; none lies on an end of the interval."""
    nodes: Array = np.sin(np.pi * (count - 1 - 2 * np.arange(count)) / (2 * count))
    return nodes


def _quantiles(alpha: float, beta: float) -> Array:
    x = np.sinh(np.linspace(-11, 11, 1201)) * 0.1
    cumulative, first = np.unique(exact_cdf(x, alpha, beta), return_index=True)
    return np.interp([0.05, 0.25, 0.5, 0.75, 0.95], cumulative, x[first])


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name(TABLE_NAME))
