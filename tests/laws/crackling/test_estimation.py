"""Whole estimates: processes that are solved exactly, invariances, and ensembles with nothing to fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import gammaln

from critaudit.errors import CritauditError
from critaudit.laws.crackling import Crackling, estimate
from critaudit.laws.crackling.histogram import Histogram
from critaudit.laws.crackling.records import AvalancheCounts
from critaudit.laws.crackling.truncated import fit_range
from tests.laws.crackling.samples import branching_sample, duration_counts


def grouped(masses: np.ndarray, edges: np.ndarray) -> Histogram:
    """Exact probabilities of the integers 1, 2, … as if they had been counted, 10⁶ in all."""
    starts = (edges[:-1] - 1).astype(int)
    logs = np.log(np.arange(1.0, edges[-1]))
    number = np.diff(edges)
    counts = 1e6 * np.add.reduceat(masses[: int(edges[-1]) - 1], starts)
    return Histogram(edges, np.add.reduceat(logs, starts) / number, np.log(number), counts[np.newaxis], True)


def test_given_the_borel_law_when_fitted_then_critical_branching_has_a_size_exponent_of_three_halves() -> None:
    # P(S = n) = e^−n·n^{n−1}/n! (Otter 1949, Borel 1942): the total progeny of a critical Poisson process.
    n = np.arange(1.0, 200_001)
    masses = np.exp(-n + (n - 1) * np.log(n) - gammaln(n + 1))
    edges = np.unique(np.rint(np.geomspace(1, 200_001, 400)))
    histogram = grouped(masses, edges)
    fit = fit_range(histogram, int(np.searchsorted(edges, 30)), edges.size - 1)
    assert fit is not None
    # The law is n^{−3/2}(1 − 1/12n …).
    assert fit.exponent == pytest.approx(1.5, abs=1e-3)


def test_given_exact_survival_when_fitted_then_durations_of_critical_branching_approach_an_exponent_of_two() -> None:
    # 1 − q_{t+1} = 1 − e^{−(1 − q_t)}… with q the extinct share: q_{t+1} = e^{q_t − 1}.
    extinct = [0.0]
    for _ in range(20_001):
        extinct.append(math.exp(extinct[-1] - 1.0))
    masses = np.diff(np.array(extinct))
    edges = np.unique(np.rint(np.geomspace(1, 20_001, 300)))
    histogram = grouped(masses, edges)
    exponents = []
    for low in (10, 100, 1000):
        fit = fit_range(histogram, int(np.searchsorted(edges, low)), edges.size - 1)
        assert fit is not None
        exponents.append(fit.exponent)
    assert exponents[0] < exponents[1] < exponents[2]
    assert exponents[2] == pytest.approx(2.0, abs=5e-3)


@pytest.fixture(scope="module")
def branching() -> tuple[AvalancheCounts, Crackling]:
    lasting, total = branching_sample(40_000, 800)
    counts = duration_counts(lasting, total, 800, clusters=40)
    return counts, estimate(counts, rng=np.random.default_rng(0), name="branching")


def test_given_critical_branching_when_estimated_then_its_exponents_lie_in_their_intervals(
    branching: tuple[AvalancheCounts, Crackling],
) -> None:
    counts, found = branching
    assert found.avalanches == counts.durations.sum()
    assert found.censored == counts.censored.sum() > 0
    assert found.clusters == 40
    scaling = found.excess
    assert found.duration.exponent is not None
    assert scaling.size.exponent is not None
    assert scaling.mean_size is not None
    pairs = ((found.duration.exponent, 2.0), (scaling.size.exponent, 1.5), (scaling.mean_size.slope, 2.0))
    for one, truth in pairs:
        assert one.interval is not None
        assert one.error is not None
        assert one.interval[0] <= one.value <= one.interval[1]
        # Two and a half half-widths: five standard errors.
        middle, half = sum(one.interval) / 2, (one.interval[1] - one.interval[0]) / 2
        assert abs(middle - truth) < 2.5 * half
    assert scaling.classes[0].name.startswith("mean-field")
    assert not scaling.classes[0].excluded
    assert scaling.classes[-1].excluded
    assert scaling.relation == pytest.approx(2.0, abs=0.3)
    assert scaling.mismatch is not None
    assert scaling.covariance is not None
    assert np.all(np.linalg.eigvalsh(scaling.covariance) > 0)
    assert scaling.cloud is not None
    assert scaling.cloud.shape[1] == 3
    # Sizes of one kind here: total and excess are the same numbers, and differ by the seeds of their tests only.
    assert found.total.size.exponent is not None
    assert found.total.size.exponent.value == pytest.approx(scaling.size.exponent.value, abs=0.02)
    assert scaling.size.cross_check is not None
    rows = scaling.size.density
    widths = rows[:, 2] / rows[:, 1] / found.avalanches
    assert np.all(widths > 0)
    assert rows[:, 2].sum() == pytest.approx(scaling.size.n)


def test_given_the_same_seed_when_estimated_again_then_equal_and_with_other_seeds_within_the_errors(
    branching: tuple[AvalancheCounts, Crackling],
) -> None:
    counts, found = branching
    again = estimate(counts, rng=np.random.default_rng(0), checked=False)
    other = estimate(counts, rng=np.random.default_rng(1), checked=False)
    assert again.excess.size.exponent == found.excess.size.exponent
    assert again.duration.exponent == found.duration.exponent
    assert again.verdict == found.verdict
    assert found.excess.size.exponent is not None
    assert other.excess.size.exponent is not None
    assert other.excess.size.exponent.value == pytest.approx(found.excess.size.exponent.value, abs=0.03)


def test_given_clusters_in_another_order_when_estimated_then_the_exponents_are_the_same(
    branching: tuple[AvalancheCounts, Crackling],
) -> None:
    counts, found = branching
    turned = estimate(counts.resample(np.arange(40)[::-1]), rng=np.random.default_rng(0), checked=False)
    assert found.excess.size.fit is not None
    assert turned.excess.size.fit is not None
    assert turned.excess.size.fit.exponent == pytest.approx(found.excess.size.fit.exponent, abs=0.02)
    assert turned.avalanches == found.avalanches


def test_given_one_cluster_when_estimated_then_exponents_have_no_intervals_and_the_reason_says_why() -> None:
    lasting, total = branching_sample(40_000, 1000, seed=2)
    found = estimate(duration_counts(lasting, total, 1000, clusters=1), rng=np.random.default_rng(0), checked=False)
    assert found.resamples == 0
    assert found.duration.exponent is not None
    assert found.duration.exponent.interval is None
    assert "10 or more" in found.duration.exponent.reason
    assert found.excess.mismatch is not None
    assert found.excess.mismatch.interval is None
    assert found.excess.covariance is None
    assert found.verdict.kind == "undetermined"


def test_given_thousands_of_clusters_when_estimated_then_blocks_of_them_give_the_same_errors() -> None:
    lasting, total = branching_sample(20_000, 300, seed=3)
    many, few = (duration_counts(lasting, total, 300, clusters=clusters) for clusters in (1500, 150))
    one, other = (estimate(counts, rng=np.random.default_rng(0), checked=False) for counts in (many, few))
    assert one.clusters > 1400
    assert one.duration.fit is not None
    assert one.duration.fit.cluster_error == pytest.approx(one.duration.fit.standard_error, rel=0.35)
    assert other.duration.exponent is not None
    assert one.duration.exponent is not None
    assert one.duration.exponent.error is not None
    assert other.duration.exponent.error is not None
    assert one.duration.exponent.error == pytest.approx(other.duration.exponent.error, rel=0.6)


@pytest.mark.parametrize(
    ("lasting", "kind"),
    [
        (np.zeros(0), "undetermined"),
        (np.zeros(300), "undetermined"),
        (np.full(3000, 40.0), "undetermined"),
        (np.full(3000, 7.0), "insufficient_range"),
        (np.array([1.0]), "insufficient_range"),
    ],
    ids=["no paths", "no avalanches", "all censored", "all equal", "one avalanche"],
)
def test_given_nothing_to_fit_when_estimated_then_a_verdict_says_so_and_no_number_is_made_up(
    lasting: np.ndarray, kind: str
) -> None:
    counts = duration_counts(lasting, np.maximum(lasting, 1.0), 40, clusters=20)
    found = estimate(counts, rng=np.random.default_rng(0))
    assert found.verdict.kind == kind
    assert found.verdict.text.endswith(".")
    assert found.duration.exponent is None
    assert found.duration.reason
    assert found.excess.classes == ()
    assert found.branching_ratio is None


def test_given_geometric_durations_when_estimated_then_there_is_no_power_law() -> None:
    rng = np.random.default_rng(4)
    lasting = np.minimum(rng.geometric(0.02, 40_000), 2000).astype(float)
    volume = lasting**1.5 * np.exp(0.1 * rng.standard_normal(lasting.size))
    found = estimate(duration_counts(lasting, volume, 2000), rng=rng, checked=False)
    assert found.verdict.kind == "no_power_law"


def test_given_too_few_resamples_when_asked_then_one_line_says_how_many_are_needed() -> None:
    with pytest.raises(CritauditError, match="20 or more"):
        estimate(duration_counts(np.ones(10), np.ones(10), 5), rng=np.random.default_rng(0), bootstrap=5)
