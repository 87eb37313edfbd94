"""The law of ⟨φ²⟩ at given strength against its definition: Gaussian vectors moved to the sphere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from critaudit.dynamics.avalanches.microcanonical import STRATA, direct_ratio, ratio_law
from critaudit.theory.activations import named_activation


def exact_mean(name: str, width: int, strength: float) -> float:
    """One coordinate of a unit vector in N dimensions has v² ~ Beta(1/2, (N−1)/2): another route than Fourier's."""
    phi = named_activation(name).value
    log_norm = math.lgamma(width / 2) - math.lgamma((width - 1) / 2) - 0.5 * math.log(math.pi)

    def integrand(v: float) -> float:
        density = math.exp(log_norm + 0.5 * (width - 3) * math.log1p(-v * v))
        values = phi(np.array([v, -v]) * strength * math.sqrt(width))
        return float(np.square(values).sum()) / strength**2 * density

    # Activations with kinks have them at 0 and ±1.
    kink = min(1.0 / (strength * math.sqrt(width)), 0.9)
    return sum(
        scipy.integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-12, limit=400)[0]
        for a, b in ((0.0, kink), (kink, 0.999999))
    )


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "sigmoid", "hardtanh"])
@pytest.mark.parametrize(("width", "strength"), [(33, 0.3), (100, 0.05), (100, 2.0), (400, 0.5)])
def test_given_a_strength_when_averaged_then_the_mean_is_that_of_one_coordinate_of_the_sphere(
    name: str, width: int, strength: float
) -> None:
    law = ratio_law(named_activation(name), width, math.log(strength), math.log(strength) + 0.1, 0.1)
    assert law.mean[0] == pytest.approx(exact_mean(name, width, strength), rel=5e-6)


@pytest.mark.parametrize(("name", "width", "k"), [("tanh", 33, -10), ("tanh", 100, 3), ("relu", 50, 0)])
def test_given_sampled_vectors_when_compared_then_they_follow_the_law(name: str, width: int, k: int) -> None:
    phi, strength, count = named_activation(name), math.exp(0.1 * k), 40_000
    law = ratio_law(phi, width, 0.1 * k, 0.1 * k + 0.1, 0.1)
    sites = np.random.default_rng(7).standard_normal((count, width))
    found = (direct_ratio(phi.value, sites, strength) - law.mean[0]) / law.deviation[0]
    assert abs(found.mean()) < 5.5 / math.sqrt(count)
    assert abs(found.var() - 1.0) < 5.5 * math.sqrt((scipy.stats.kurtosis(found) + 2.0) / count)
    # A stratum's mean is a quantile within half a stratum.
    parts = np.clip(np.searchsorted(law.strata[0], found) / STRATA, 0.0, 1.0)
    distance = scipy.stats.kstest(parts, "uniform").statistic
    assert distance < 0.5 / STRATA + 2.7 / math.sqrt(count)


def test_given_many_strengths_when_interpolated_then_strata_are_sorted_and_standardised() -> None:
    law = ratio_law(named_activation("tanh"), 100, math.log(0.03), math.log(3.0), 0.01)
    np.testing.assert_allclose(law.strata.mean(axis=1), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.square(law.strata).mean(axis=1), 1.0, atol=1e-5)
    assert np.all(np.diff(law.strata, axis=1) > 0.005)
    assert np.all(np.diff(law.mean) < 0.0)
    assert law.log_strength[0] == math.log(0.03)
    assert law.log_strength[-1] == math.log(3.0)


def test_given_a_linear_network_when_asked_then_nothing_fluctuates() -> None:
    law = ratio_law(named_activation("identity"), 64, -3.0, 3.0, 0.5)
    np.testing.assert_allclose(law.mean, 1.0, atol=1e-12)
    assert not law.deviation.any()
