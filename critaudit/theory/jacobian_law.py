"""The spectrum of the layerwise Jacobian J = W·diag φ′(h) of a wide random network with heavy-tailed weights (Qu22).

With χ = gφ′(h), h at the fixed point, and w = (y/r)^α, the parametric form of Qu22's Eqs. 7 and 8 needs no root
finding: r^α = E[|χ|^αΦ(w|χ|^α)] and P(|λ| < r) = E[H(w|χ|^α)], with the two functions of `universal_functions`.
The law of g only stretches that of g = 1 at the same q, so that everything is kept in r/g and w·g^α.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from critaudit.errors import CritauditError
from critaudit.theory import levy_fixed_point
from critaudit.theory.activations import Activation, Function, as_activation
from critaudit.theory.levy_fixed_point import LevyFixedPoint
from critaudit.theory.parametric_spectrum import ParametricSpectrum, parametric_spectrum
from critaudit.theory.quadrature import Array
from critaudit.theory.slope_law import slope_law

AnyActivation: TypeAlias = str | Activation | Function

# Where Qu22 cuts the spectrum: y = 0.01·y₀.
CUTOFF_SHARE = 0.01
_SMALLEST_R0 = 1e-100
_EULER_GAMMA = 0.57721566490153286060651209


def log_determinant_constant(alpha: float) -> float:
    """c_α = lim (1/N) ln|det W| for N×N weights of g = 1, so that mean ln|λ| = ln g + E ln|φ′(h)| + c_α.

    Closed form, −1/2 at α = 2. Valid for 0 < α ≤ 2. Oracle: `numpy.linalg.slogdet` of sampled matrices.
    Raises CritauditError for other α.
    """
    if not 0.0 < alpha <= 2.0:  # NaN fails as well
        raise CritauditError(f"alpha = {alpha} was given, but a stability index is above 0 and at most 2")
    log_ratio = math.lgamma(1.0 + alpha) - math.log(2.0) - 2.0 * math.lgamma(1.0 + alpha / 2.0)
    return (log_ratio - 1.0) / alpha + _EULER_GAMMA * (2.0 / alpha - 1.0)


@dataclass(frozen=True, slots=True)
class JacobianLaw:
    """The law of |λ| over the eigenvalues λ of a layer's Jacobian at the fixed point of (α, g), N → ∞.

    `fixed_point` is that point; `mean_log` = E ln|λ| in closed form, −inf where E ln|φ′(h)| is (tanh at α ≤ 1).
    Probabilities and quantiles are good to 1e-7, at radii from 1e-150·g up. Valid for bounded activations, for
    unbounded ones at α = 2 only, and for independent weights: a trained layer is only compared with it. An activation
    given as a Python function has a numerical derivative, so that radii below 1e-10·g mean nothing there.
    Raises CritauditError as `levy.fixed_point` does, and for g = 0.

    >>> law = JacobianLaw(1.5, 1.0)
    >>> round(law.expanding_share, 5)
    0.07963
    """

    alpha: float
    g: float
    bias: float = field(default=0.0, kw_only=True)
    activation: AnyActivation = field(default="tanh", kw_only=True)
    fixed_point: LevyFixedPoint = field(init=False, repr=False)
    mean_log: float = field(init=False, repr=False)
    _spectrum: ParametricSpectrum = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        phi = as_activation(self.activation)
        found = levy_fixed_point.fixed_point(self.alpha, self.g, bias=self.bias, activation=phi)
        if self.g == 0.0:
            raise CritauditError("g = 0 was given, but a layer without weights has no spectrum; give a positive g")
        slopes = slope_law(found.alpha, found.log_scale, phi)
        if slopes.psi.max() == 0.0:
            raise CritauditError(f"{phi.name} is flat at every pre-activation, so that its Jacobian is zero")
        values = {
            "fixed_point": found,
            "mean_log": math.log(self.g) + slopes.mean_log + log_determinant_constant(self.alpha),
            "_spectrum": parametric_spectrum(found.alpha, slopes),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def survival(self, r: ArrayLike) -> Array:
        """P(|λ| ≥ r) at radii r ≥ 0, an array of their shape; relatively accurate in the outer tail.

        Raises CritauditError for a negative radius or NaN.
        """
        radii = _checked_radii(r) / self.g
        result = np.where(radii == 0.0, 1.0, 0.0)
        inside = (radii > 0.0) & (radii < self._spectrum.outermost)
        result[inside] = self._spectrum.at(self._spectrum.parameter_of_radius(radii[inside])).above
        return result

    def density(self, r: ArrayLike) -> Array:
        """Density of |λ| at r ≥ 0; divided by 2πr it is the density of eigenvalues in the complex plane.

        Zero beyond the edge; NaN at r = 0, where it need not exist. Raises CritauditError for a negative radius or NaN.
        """
        radii = _checked_radii(r) / self.g
        result = np.where(radii == 0.0, math.nan, 0.0)
        inside = (radii > 0.0) & (radii < self._spectrum.outermost)
        point = self._spectrum.at(self._spectrum.parameter_of_radius(radii[inside]))
        # d ln r/dt = m′/(αm).
        slopes = point.m_slope / (self.alpha * point.m)
        result[inside] = point.below_slope / (slopes * radii[inside] * self.g)
        return result

    def quantile(self, p: ArrayLike) -> Array:
        """The radius r with P(|λ| < r) = p, an array of the shape of `p`.

        0 where that is below 1e-150·g, the edge at p = 1 (infinite for α < 2). Raises CritauditError for p outside
        [0, 1].
        """
        shares = np.asarray(p, dtype=np.float64)
        if not np.all((shares >= 0.0) & (shares <= 1.0)):  # NaN fails as well
            raise CritauditError("a quantile was asked at a probability outside [0, 1]; give p between 0 and 1")
        result = np.where(shares == 1.0, self.edge, 0.0)
        inside = (shares > self._spectrum.table.below[-1]) & (shares < 1.0)
        point = self._spectrum.at(self._spectrum.parameter_of_probability(shares[inside]))
        result[inside] = self.g * point.m ** (1.0 / self.alpha)
        return result

    @property
    def edge(self) -> float:
        """Radius beyond which there are no eigenvalues: g·√E φ′² = √χ₁ at α = 2, infinite below."""
        return self.g * self._spectrum.edge

    @property
    def cutoff_radius(self) -> float:
        """Characteristic radius: |z| where y falls to a hundredth of its value y₀ at z = 0 (Qu22).

        Beyond it the density is exponentially small, but for α < 2 not zero.
        """
        return self.g * self._spectrum.cutoff_radius(CUTOFF_SHARE)

    @property
    def expanding_share(self) -> float:
        """P(|λ| ≥ 1): the share of eigenvalues that expand."""
        return float(self.survival(1.0))

    def log_average(self, power: int = 1, *, r0: float | None = 0.01) -> float:
        """E f₁(max(|λ|, r₀)) with f₁(r) = sgn(ln r)|ln r|^power: J_f1 of Qu22 (Eq. 10) with a cut at r₀ > 0.

        Without the cut it diverges for α < 2 and power ≥ 2; for power = 1 that limit is `mean_log`, which r₀ = None
        gives. It moves with r₀: show r₀ with every value. Raises CritauditError for a power that is not in 1 … 20, r₀
        outside [1e-100, 1e100], and None with a higher power.
        """
        check_average(power, r0)
        if r0 is None:
            return self.mean_log
        return clipped_log_average(self._spectrum, math.log(self.g), power, r0)

    def power_average(self, power: float = 2.0) -> float:
        """E f₂(|λ|) with f₂(r) = r^power: growth over `power` layers that act alike. Finite at every α, needs no cut.

        A second average beside f₁, which weighs what expands where f₁ weighs what dies. That Qu22 means the same
        function by its f₂ is not certain: this choice is critaudit's. At α = 2 and power 2, a linear layer has g²/2.
        Raises CritauditError for a power that is not above 0 and at most 20.
        """
        if not 0.0 < power <= 20.0:  # NaN fails as well
            raise CritauditError(f"power = {power} was given, but the average of |λ|^power needs one in (0, 20]")
        spectrum = self._spectrum
        # What lies below e^{−40/power} of the largest slope adds less than e^−40 of the rest.
        inner = spectrum.typical_radius * math.exp(-40.0 / power)
        stop = float(spectrum.parameter_of_radius(np.array([inner]))[0])

        def integrand(log_r: Array, above: Array) -> Array:
            return np.asarray(power * np.exp(power * log_r) * above)

        return float(self.g**power * spectrum.integral(integrand, float(spectrum.knots[0]), stop))


def clipped_log_average(spectrum: ParametricSpectrum, log_g: float, power: int, r0: float) -> float:
    """E f₁(max(g·ρ, r₀)) for radii ρ from a spectrum of g = 1: f₁(r₀) + ∫ P(|λ| ≥ r) df₁(r) from r₀ on."""
    log_r0 = math.log(r0)
    at_cut = math.copysign(abs(log_r0) ** power, log_r0)
    if log_r0 - log_g >= math.log(spectrum.outermost):
        return at_cut
    # The integrand has a kink at r = 1.
    radii = [math.exp(log_r - log_g) for log_r in {log_r0, max(0.0, log_r0)}]
    inside = sorted(radius for radius in radii if radius < spectrum.outermost)
    stops = spectrum.parameter_of_radius(np.array(inside[::-1])).tolist()

    def integrand(log_r: Array, above: Array) -> Array:
        return np.asarray(power * np.abs(log_r + log_g) ** (power - 1) * above)

    starts = [float(spectrum.knots[0]), *stops[:-1]]
    return at_cut + sum(spectrum.integral(integrand, low, high) for low, high in zip(starts, stops, strict=True))


def check_average(power: int, r0: float | None) -> None:
    """Raise CritauditError where f₁ with this power and cut has no average."""
    if power not in range(1, 21):
        raise CritauditError(f"power = {power} was given, but the logarithm's power is a whole number from 1 to 20")
    if r0 is None:
        if power > 1:
            raise CritauditError(f"without a cut the average of |ln r|^{power} diverges; give r0, such as 0.01")
        return
    if not _SMALLEST_R0 <= r0 <= 1.0 / _SMALLEST_R0:  # NaN fails as well
        raise CritauditError(f"r0 = {r0} was given, but the cut is a radius from 1e-100 to 1e100, 0.01 by default")


def _checked_radii(r: ArrayLike) -> Array:
    radii = np.asarray(r, dtype=np.float64)
    if not np.all(radii >= 0.0):  # NaN fails as well
        raise CritauditError("a radius below zero or NaN was given; give radii |λ| ≥ 0")
    return radii
