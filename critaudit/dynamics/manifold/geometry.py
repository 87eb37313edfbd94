"""The geometry of a closed curve in many dimensions from the inner products of its points alone.

A curve h(θ) that was sampled at M equally spaced angles is known up to rotations by its M×M Gram matrix, so that a
layer with a million units needs one pass over its values and no copy of them (`gram.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import CritauditError

Array = NDArray[np.float64]

# std/mean of the neighbour distances of a circle that was flattened onto a line: the mean of |sin θ| is 2/π.
CV_OF_A_LINE = math.sqrt(math.pi**2 / 8.0 - 1.0)
# … and of the unit circle in a plane of two units behind tanh (Qu22 start their manifolds with it).
CV_OF_TANH_CIRCLE = 0.159842
# Below this many units in the last place of the signal's size, differences of points are rounding.
_ROUNDINGS = 50.0
_LEAST_POINTS = 8


@dataclass(frozen=True, slots=True)
class Curve:
    """The inner products of a closed curve's points h(θᵢ), θᵢ = 2πi/M, in `size` dimensions.

    `gram` (M×M) holds the products of the points with their mean taken off; `mean_square` is the mean over points and
    units of h², mean included. `epsilon` is the relative rounding error of the values.
    """

    gram: Array
    mean_square: float
    size: int
    epsilon: float = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a closed curve of M points looks like. c is the curve with its mean taken off, all angles are in radians.

    strength: root mean square of all values. variance: ⟨|c|²⟩/n per unit. spread: variance over mean square, 1 for a
    curve around the origin, 0 for a point.
    cv: std/mean over i of the neighbours' distances |h(θᵢ₊₁) − h(θᵢ)| (Qu22, Fig 5); 0 for a circle.
    length: sum of those distances over √n, so that widths compare; that of a circle of strength s is 2πs. It is
    extrapolated to M → ∞ with that of every second point, and `length_error` is the size of the extrapolation.
    variance_shares: λₖ/Σλ of the principal components, largest first, at most five; singular_shares: √λₖ/Σ√λ, which is
    what Qu22 plot. participation: (Σλ)²/Σλ², 2 for a circle, 1 for a line.
    turns: the sum of the angles between successive steps over 2π; at least 1 for any closed curve (Fenchel), exactly 1
    for a flat convex one. Where curvature is smooth, 2π·turns is Poole 2016's Gauss length ∫κ|∂h|dθ.
    curvature: mean over i of κ(θᵢ)·R with R = √⟨|c|²⟩, 1 for a circle of any size; κ is that of the circle through
    three successive points, extrapolated in the same way.
    correlation_width: the Δθ at which the autocorrelation ⟨c(θ)·c(θ+Δθ)⟩ has fallen to half; π/3 for a circle.
    step_correlation: that autocorrelation at one step: below about a half neighbours have lost each other.
    projection: the points in the space of the first principal components in units of R, shape (M, components); a circle
    becomes the unit circle. Each component has the sign that makes its largest entry positive.

    All but strength, variance and length do not depend on the curve's scale.
    """

    points: int
    size: int
    strength: float
    variance: float
    spread: float
    cv: float
    length: float
    length_error: float
    variance_shares: tuple[float, ...]
    singular_shares: tuple[float, ...]
    participation: float
    turns: float
    turns_error: float
    curvature: float
    curvature_error: float
    correlation_width: float
    step_correlation: float
    projection: Array


def curve_geometry(curve: Curve, *, components: int = 3) -> Geometry:
    """Measure a curve, with `components` columns in its projection (see `Geometry`).

    Raises CritauditError where the points differ by no more than rounding, or are fewer than eight.
    """
    points = len(curve.gram)
    if points < _LEAST_POINTS:
        raise CritauditError(f"{points} points were given, but a curve needs at least {_LEAST_POINTS}")
    total = float(np.trace(curve.gram))
    if not (math.isfinite(total) and math.isfinite(curve.mean_square)):
        raise CritauditError("the output holds NaN or infinite values")
    variance = total / (points * curve.size)
    noise = (_ROUNDINGS * curve.epsilon) ** 2 * curve.mean_square
    if total <= 0.0 or variance <= noise:
        raise CritauditError(
            "the output is the same along the whole circle to within rounding: the manifold has become a point"
        )
    gram = curve.gram / (total / points)
    steps = _distances(gram, 1)
    # A step that is rounding would enter the angles as a random direction.
    if float(np.mean(np.square(steps))) * variance <= noise:
        raise CritauditError(
            "neighbouring points differ by no more than rounding; fewer points or a longer circle helps"
        )
    eigenvalues, vectors = np.linalg.eigh(gram)
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1]
    fine, coarse = float(steps.sum()), float(_distances(gram, 2).sum()) / 2.0
    near, far = _mean_curvature(gram, 1), _mean_curvature(gram, 2)
    turns = _turns(gram)
    correlations = _autocorrelation(gram)
    shares = eigenvalues / eigenvalues.sum()
    roots = np.sqrt(shares)
    return Geometry(
        points=points,
        size=curve.size,
        strength=math.sqrt(curve.mean_square),
        variance=variance,
        spread=min(variance / curve.mean_square, 1.0),
        cv=float(steps.std() / steps.mean()),
        length=(fine + (fine - coarse) / 3.0) * math.sqrt(variance),
        length_error=(fine - coarse) / 3.0 * math.sqrt(variance),
        variance_shares=tuple(map(float, shares[:5])),
        singular_shares=tuple(map(float, roots[:5] / roots.sum())),
        participation=1.0 / float(np.sum(np.square(shares))),
        turns=turns,
        turns_error=abs(turns - _turns(gram[::2, ::2])),
        curvature=near + (near - far) / 3.0,
        curvature_error=abs(near - far) / 3.0,
        correlation_width=_half_width(correlations),
        step_correlation=float(correlations[1]),
        projection=_projection(eigenvalues, vectors, components),
    )


def _distances(gram: Array, stride: int) -> Array:
    """|h(θᵢ₊ₛ) − h(θᵢ)| for every i, shape (M,)."""
    squares = np.diag(gram)
    return np.sqrt(np.maximum(np.roll(squares, -stride) + squares - 2.0 * _band(gram, stride), 0.0))


def _band(gram: Array, stride: int) -> Array:
    """The products of every point with the one `stride` further on, shape (M,)."""
    places = np.arange(len(gram))
    return np.asarray(gram[places, (places + stride) % len(gram)])


def _mean_curvature(gram: Array, stride: int) -> float:
    """Mean over i of 1/radius of the circle through points i − stride, i, i + stride (Menger), by Heron's formula."""
    ahead, across = _distances(gram, stride), _distances(gram, 2 * stride)
    behind = np.roll(ahead, stride)
    across = np.roll(across, stride)
    product = ahead * behind * across
    sine = _sine(ahead, behind, across)
    # Twice the sine of the angle opposite a side, over that side; a point where the curve stands still has none.
    return float(np.mean(np.divide(2.0 * sine, across, out=np.zeros_like(product), where=product > 0.0)))


def _sine(a: Array, b: Array, c: Array) -> Array:
    """Sine of the angle between the sides a and b of a triangle whose third side is c, stable for flat ones (Kahan)."""
    long, middle, short = np.sort(np.stack([a, b, c]), axis=0)[::-1]
    square = (
        (long + (middle + short)) * (short - (long - middle)) * (short + (long - middle)) * (long + (middle - short))
    )
    product = 2.0 * a * b
    area = np.sqrt(np.maximum(square, 0.0))
    sine = np.divide(area, product, out=np.zeros_like(area), where=product > 0.0)
    return np.asarray(np.minimum(sine, 1.0))


def _turns(gram: Array) -> float:
    """The sum over i of the angle between step i and the next one, over 2π."""
    ahead = _distances(gram, 1)
    behind, across = np.roll(ahead, 1), np.roll(_distances(gram, 2), 1)
    sine = _sine(ahead, behind, across)
    # The steps' inner product tells an angle from its supplement.
    forward = np.square(across) - np.square(ahead) - np.square(behind)
    angles = np.arctan2(sine, np.where(forward >= 0.0, 1.0, -1.0) * np.sqrt(np.maximum(1.0 - np.square(sine), 0.0)))
    return float(angles[(ahead > 0.0) & (behind > 0.0)].sum()) / (2.0 * math.pi)


def _autocorrelation(gram: Array) -> Array:
    """⟨c(θ)·c(θ + Δθ)⟩/⟨|c|²⟩ at Δθ = 0, 1, … M/2 steps."""
    total = float(np.trace(gram))
    return np.array([float(_band(gram, lag).sum()) / total for lag in range(len(gram) // 2 + 1)])


def _half_width(correlations: Array) -> float:
    """The first Δθ at which the autocorrelation is one half, by a straight line between the points beside it."""
    step = math.pi / (len(correlations) - 1) if len(correlations) > 1 else math.pi
    below = np.flatnonzero(correlations < 0.5)
    if not below.size:
        return math.pi
    after = int(below[0])
    high, low = float(correlations[after - 1]), float(correlations[after])
    return step * (after - 1 + (high - 0.5) / (high - low))


def _projection(eigenvalues: Array, vectors: Array, components: int) -> Array:
    """Principal coordinates, shape (M, components), zero where there are fewer directions than components."""
    kept = vectors[:, :components] * np.sqrt(eigenvalues[:components])
    largest = kept[np.argmax(np.abs(kept), axis=0), np.arange(kept.shape[1])]
    found = kept * np.where(largest < 0.0, -1.0, 1.0)
    return np.asarray(np.pad(found, ((0, 0), (0, max(0, components - found.shape[1])))))
