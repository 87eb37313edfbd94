"""Rivals against scipy's densities and known laws; verdicts on laws whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from critaudit.errors import CritauditError
from critaudit.laws.comparison import EntryLaws, compare_entry_laws
from critaudit.laws.rival_laws import gaussian, generalised_normal, student_t, two_gaussians
from critaudit.laws.stable_density import exact_cdf
from critaudit.laws.stable_likelihood import Sample

N = 40_000


def stable(rng: np.random.Generator, alpha: float, n: int) -> np.ndarray:
    """Symmetric stable numbers (Chambers, Mallows & Stuck 1976)."""
    angle, waiting = rng.uniform(-math.pi / 2, math.pi / 2, n), rng.exponential(size=n)
    left = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
    return left * (np.cos((1 - alpha) * angle) / waiting) ** ((1 - alpha) / alpha)


LAWS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "gauss": lambda rng: rng.standard_normal(N),
    "uniform": lambda rng: rng.uniform(-1, 1, N),
    "t3": lambda rng: rng.standard_t(3, N),
    "t5": lambda rng: rng.standard_t(5, N),
    "laplace": lambda rng: rng.laplace(size=N),
    "mixture": lambda rng: rng.standard_normal(N) * np.where(rng.uniform(size=N) < 0.1, 3.0, 1.0),
    "rows": lambda rng: rng.standard_normal((200, 200)) * np.exp(0.5 * rng.standard_normal((200, 1))),
    "columns": lambda rng: rng.standard_normal((200, 200)) * np.exp(0.5 * rng.standard_normal((1, 200))),
    "cauchy": lambda rng: rng.standard_cauchy(N),
    "stable 1.5": lambda rng: stable(rng, 1.5, N),
    "stable 1.9": lambda rng: stable(rng, 1.9, N),
}
EXPECTED = {
    "gauss": "gaussian_not_rejected",
    "uniform": "lighter_than_gaussian",
    "t3": "heavier_not_stable",
    "t5": "heavier_not_stable",
    "laplace": "heavier_not_stable",
    "mixture": "scale_mixture",
    "rows": "scale_mixture",
    "columns": "scale_mixture",
    "cauchy": "stable_compatible",
    "stable 1.5": "stable_compatible",
    "stable 1.9": "stable_compatible",
}


@pytest.fixture(scope="module")
def compared() -> dict[str, tuple[np.ndarray, EntryLaws]]:
    """Every law, drawn once and compared."""
    found = {}
    for index, (name, law) in enumerate(LAWS.items()):
        values = 0.03 * law(np.random.default_rng(index)) + 0.01
        found[name] = (values, compare_entry_laws(values.astype(np.float32)))
    return found


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_given_a_known_law_when_judged_then_the_verdict_is_right(compared: dict, name: str) -> None:
    _, laws = compared[name]
    assert laws.verdict == EXPECTED[name]
    assert laws.reason
    assert "\n" not in laws.reason


def test_given_heavy_matrices_when_rows_or_columns_differ_in_scale_then_the_reason_names_them(compared: dict) -> None:
    assert "rows differ" in compared["rows"][1].reason
    assert "columns differ" in compared["columns"][1].reason


def test_given_student_t_when_compared_then_the_fit_is_scipys_and_the_tails_show_it(compared: dict) -> None:
    values, laws = compared["t3"]
    rival = next(law for law in laws.rivals if law.name == "Student-t")
    freedom, location, scale = stats.t.fit(values, 3, loc=0.01, scale=0.03)
    parameters = dict(rival.parameters)
    assert parameters["degrees_of_freedom"] == pytest.approx(freedom, rel=2e-3)
    assert parameters["scale"] == pytest.approx(scale, rel=2e-3)
    assert parameters["location"] == pytest.approx(location, abs=2e-5)
    normal = stats.norm.logpdf(values, values.mean(), values.std()).mean()
    assert rival.gain == pytest.approx(stats.t.logpdf(values, freedom, location, scale).mean() - normal, abs=2e-5)
    assert rival.vuong_z is not None
    assert rival.vuong_z < -3
    deep = {tail.level: tail for tail in laws.exceedances}
    assert set(deep) == {1e-2, 1e-3, 1e-4}
    assert deep[1e-3].interval[1] < 0.5
    assert laws.hill[0].alpha == pytest.approx(2.9, abs=0.4)


def test_given_laplace_when_compared_then_the_generalised_normal_finds_its_shape(compared: dict) -> None:
    rival = next(law for law in compared["laplace"][1].rivals if law.name == "generalised normal")
    assert dict(rival.parameters)["shape"] == pytest.approx(1.0, abs=0.05)
    uniform = next(law for law in compared["uniform"][1].rivals if law.name == "generalised normal")
    assert dict(uniform.parameters)["shape"] > 20
    assert uniform.gain == pytest.approx(0.5 * math.log(2 * math.pi * math.e / 12), abs=0.02)


def test_given_a_mixture_when_compared_then_its_parts_are_found(compared: dict) -> None:
    rival = next(law for law in compared["mixture"][1].rivals if law.name == "two Gaussians")
    parameters = dict(rival.parameters)
    assert parameters["std"] == pytest.approx(0.03, rel=0.05)
    assert parameters["wide_std"] == pytest.approx(0.09, rel=0.1)
    assert parameters["share"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("name", ["cauchy", "stable 1.5", "stable 1.9"])
def test_given_a_stable_law_when_compared_then_tails_and_distance_agree_with_it(compared: dict, name: str) -> None:
    values, laws = compared[name]
    for tail in laws.exceedances:
        # five Poisson standard deviations, and two more for the fitted quantile
        assert abs(tail.observed - tail.expected) < 7 * math.sqrt(tail.expected) + 7
    assert laws.distance < 2.5 / math.sqrt(values.size)
    if name == "cauchy":
        some = np.sort(values)[::80]
        exact = exact_cdf((some - laws.fit.mu_s0) / laws.fit.sigma, laws.fit.alpha, laws.fit.beta or 0.0)
        distance = np.abs(np.arange(0, values.size, 80) / values.size - exact).max()
        assert 0.5 * laws.distance < distance < laws.distance + 5e-5
        assert next(law for law in laws.rivals if law.name == "Student-t").vuong_z is None or laws.stable_gain > 0
        assert laws.hill[0].interval[0] < 1.15
        assert laws.hill[0].interval[1] > 0.85


def test_given_uniform_entries_when_compared_then_no_tail_exceeds_and_the_distance_is_that_of_the_gaussian(
    compared: dict,
) -> None:
    _, laws = compared["uniform"]
    assert all(tail.observed == 0 for tail in laws.exceedances)
    grid = np.linspace(-1, 1, 4001)
    distance = np.abs((grid + 1) / 2 - stats.norm.cdf(grid, 0, math.sqrt(1 / 3))).max()
    assert laws.distance == pytest.approx(distance, abs=0.01)


def test_given_few_heavy_entries_when_judged_then_it_is_left_open() -> None:
    laws = compare_entry_laws(np.random.default_rng(3).standard_t(2, 300))
    assert laws.verdict == "undetermined"
    assert [tail.level for tail in laws.exceedances] == [1e-2]
    assert laws.hill == ()


def test_given_scaled_and_shifted_entries_when_compared_then_the_verdict_and_numbers_follow(compared: dict) -> None:
    values, laws = compared["t5"]
    moved = compare_entry_laws(-7e6 * values + 3e5)
    assert moved.verdict == laws.verdict
    assert moved.stable_gain == pytest.approx(laws.stable_gain, abs=2e-5)
    assert [tail.ratio for tail in moved.exceedances] == pytest.approx([t.ratio for t in laws.exceedances], abs=0.02)
    assert moved.distance == pytest.approx(laws.distance, abs=5e-4)


def test_given_nothing_to_fit_when_compared_then_the_reason_is_that_of_the_fit() -> None:
    with pytest.raises(CritauditError, match="too few"):
        compare_entry_laws(np.zeros((5, 5)))


@pytest.mark.parametrize("law", [gaussian, student_t, generalised_normal, two_gaussians])
def test_given_a_rival_when_integrated_then_its_density_has_mass_one(law: Callable) -> None:
    points = np.sort(np.random.default_rng(1).standard_t(4, 3000))
    rival = law(Sample(points, np.ones(3000), 3000.0))
    x = np.sinh(np.linspace(-14, 14, 20001))
    mass = np.trapezoid(np.exp(rival.logpdf(x)), x)
    assert mass == pytest.approx(1, abs=1e-3)
    assert rival.free == len(rival.parameters)
