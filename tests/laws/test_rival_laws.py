"""Rivals are at the maximum of their likelihood: against SciPy's fits, finite differences, and on hard samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from critaudit.laws.rival_laws import (
    _slope,
    _standard_mixture,
    _standard_t,
    gaussian,
    generalised_normal,
    student_t,
    two_gaussians,
)
from critaudit.laws.stable_likelihood import Sample

DRAWS = {
    "gauss": lambda rng, n: rng.standard_normal(n),
    "uniform": lambda rng, n: rng.uniform(-1.3, 1.3, n),
    "t3": lambda rng, n: rng.standard_t(3, n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "mixture": lambda rng, n: rng.standard_normal(n) * np.where(rng.random(n) < 0.1, 4.0, 1.0),
    "skewed": lambda rng, n: rng.gamma(2.0, size=n) - 1.7,
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
}


def sample_of(name: str, n: int = 3000) -> Sample:
    values = np.sort(DRAWS[name](np.random.default_rng(len(name)), n))
    return Sample(values, np.ones(n), float(n))


@pytest.mark.parametrize(
    ("law", "parameters"),
    [(_standard_t, [0.2, -0.3, 0.3]), (_standard_t, [0.0, 0.1, 0.004]), (_standard_mixture, [0.1, 0.2, 0.9, -1.5])],
)
def test_given_a_law_when_differentiated_then_finite_differences_agree(law, parameters) -> None:  # type: ignore[no-untyped-def]
    sample, p, step = sample_of("t3", 200), np.array(parameters), 1e-6
    here = _slope(sample, law, p)
    for index in range(p.size):
        shift = np.eye(p.size)[index] * step
        above, below = _slope(sample, law, p + shift), _slope(sample, law, p - shift)
        assert here.gradient[index] == pytest.approx((above.value - below.value) / (2 * step), rel=1e-5, abs=1e-3)
        bends = (below.gradient - above.gradient) / (2 * step)
        assert here.information[index] == pytest.approx(bends, rel=1e-4, abs=1e-2)


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_given_any_sample_when_fitted_then_no_scipy_fit_is_likelier(name: str) -> None:
    sample = sample_of(name)
    values = sample.points
    best_t = max(stats.t.logpdf(values, *stats.t.fit(values, guess, loc=0, scale=1)).sum() for guess in (2.0, 10.0))
    assert student_t(sample).logpdf(values).sum() > best_t - 1.5  # degrees of freedom end at 1000
    fitted = stats.gennorm.fit(values, 1.5, loc=0, scale=1)
    if fitted[0] > 50:  # where our shapes end
        fitted = stats.gennorm.fit(values, f0=50, loc=0, scale=1)
    theirs = stats.gennorm.logpdf(values, *fitted).sum()
    # Likelihoods of peaked laws have a spike at every value.
    assert generalised_normal(sample).logpdf(values).sum() > theirs - (12.0 if name == "cauchy" else 1.0)


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_given_any_sample_when_fitted_then_wider_families_are_not_worse_than_the_gaussian(name: str) -> None:
    sample = sample_of(name)
    base = gaussian(sample).logpdf(sample.points).sum()
    for law in (student_t, generalised_normal, two_gaussians):
        fitted = law(sample)
        assert fitted.logpdf(sample.points).sum() > base - 1.5  # degrees of freedom end at 1000
        assert all(math.isfinite(value) for value in fitted.parameters.values())


def test_given_a_mixture_when_fitted_then_random_starts_find_nothing_better() -> None:
    from scipy.optimize import minimize

    sample = sample_of("mixture")
    ours = two_gaussians(sample).logpdf(sample.points).sum()

    def loss(p: np.ndarray) -> float:
        share = 1 / (1 + math.exp(-p[3]))
        return -np.logaddexp(
            math.log(share) + stats.norm.logpdf(sample.points, p[0], math.exp(p[1] + abs(p[2]))),
            math.log1p(-share) + stats.norm.logpdf(sample.points, p[0], math.exp(p[1])),
        ).sum()

    rng = np.random.default_rng(1)
    starts = [rng.normal([0, 0, 1, -1], [0.1, 0.5, 0.5, 1]) for _ in range(3)]
    assert ours > -min(minimize(loss, start, method="Nelder-Mead").fun for start in starts) - 0.05
