"""D_q of vectors: closed cases, brute force, the Gaussian reference, and Qu22's numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.laws.eigenvectors import Modes, eigenmodes
from critaudit.laws.multifractal import ORDERS, dimensions, gaussian_dimensions, gaussian_participation
from tests.laws.ensembles import random_layer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "multifractal.json").read_text())
PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)
VECTORS = st.tuples(st.integers(2, 40), st.integers(0, 2**32 - 1), st.booleans())


def _vectors(sites: int, seed: int, is_complex: bool, count: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    heavy = rng.standard_normal((sites, count)) * np.exp(3 * rng.standard_normal((sites, count)))
    return heavy * np.exp(1j * rng.uniform(0, 6, (sites, count))) if is_complex else heavy


def test_given_more_vectors_than_are_done_at_once_then_each_has_its_own_dimensions() -> None:
    vectors = np.random.default_rng(1).standard_normal((70_000, 9))

    np.testing.assert_allclose(dimensions(vectors)[:, 7:8], dimensions(vectors[:, 7:8]), rtol=1e-10)


def test_given_localised_and_spread_vectors_then_dimensions_are_zero_and_one() -> None:
    localised, spread, half = np.eye(64)[:, :1], np.ones((64, 1)), np.repeat([1.0, 0.0], 32)[:, None]

    np.testing.assert_allclose(dimensions(localised), 0.0, atol=1e-14)
    np.testing.assert_allclose(dimensions(spread * 1j), 1.0, atol=1e-14)
    np.testing.assert_allclose(dimensions(half), math.log(32) / math.log(64), atol=1e-14)
    assert dimensions(np.ones(8)).shape == (len(ORDERS), 1)


@given(VECTORS)
@PROPERTY
def test_given_any_vectors_then_dimensions_are_the_definition_and_fall_with_q(drawn: tuple[int, int, bool]) -> None:
    vectors = _vectors(*drawn)
    orders = np.array([0.0, 0.3, 0.999999, 1.0, 1.000001, 2.0, 7.5, 20.0])
    found = dimensions(vectors, orders)

    p = np.abs(vectors) ** 2 / (np.abs(vectors) ** 2).sum(axis=0)
    for place in (1, 5, 6):
        q = orders[place]
        np.testing.assert_allclose(
            found[place], np.log((p**q).sum(axis=0)) / ((1 - q) * math.log(len(p))), rtol=1e-9, atol=1e-12
        )
    np.testing.assert_allclose(found[3], -(p * np.log(p)).sum(axis=0) / math.log(len(p)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[2], found[4], atol=1e-3)
    assert np.all(np.diff(found, axis=0) <= 1e-7)
    assert np.all((found >= -1e-12) & (found <= 1 + 1e-12))


@given(VECTORS, st.floats(1e-150, 1e150))
@PROPERTY
def test_given_another_scale_phase_or_order_of_sites_then_dimensions_stay(
    drawn: tuple[int, int, bool], factor: float
) -> None:
    vectors = _vectors(*drawn)
    order = np.random.default_rng(0).permutation(len(vectors))

    np.testing.assert_allclose(dimensions(factor * vectors), dimensions(vectors), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(dimensions(vectors[order] * np.exp(0.4j)), dimensions(vectors), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("is_complex", [True, False])
@pytest.mark.parametrize("sites", [2, 10, 196])
def test_given_gaussian_vectors_then_the_reference_is_their_mean(sites: int, is_complex: bool) -> None:
    rng = np.random.default_rng([sites, is_complex])
    count = 400_000 // sites
    sample = rng.standard_normal((sites, count)) + (1j * rng.standard_normal((sites, count)) if is_complex else 0.0)
    orders = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 10.0, 20.0])
    found = dimensions(sample, orders)

    error = 6 * found.std(axis=1) / math.sqrt(count) + 1e-12
    assert np.all(np.abs(found.mean(axis=1) - gaussian_dimensions(sites, orders, is_complex=is_complex)) <= error)


@pytest.mark.parametrize(("is_complex", "expected"), [(True, lambda n: 2 / (n + 1)), (False, lambda n: 3 / (n + 2))])
def test_given_gaussian_vectors_then_participation_is_the_closed_form(is_complex: bool, expected: object) -> None:
    for sites in (2, 10, 784, 10_000):
        assert gaussian_participation(sites, 2.0, is_complex=is_complex) == pytest.approx(expected(sites), rel=1e-9)
        assert gaussian_participation(sites, 1.0, is_complex=is_complex) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("is_complex", [True, False])
def test_given_many_sites_then_the_reference_is_that_of_the_mean_participation(is_complex: bool) -> None:
    # E ln S = ln E S − var(S)/2(E S)² + O(1/N²): equal to a few 1/N, and by Jensen never below for q > 1.
    for order in (1.5, 2.0, 3.0):
        sites = 20_000
        annealed = math.log(gaussian_participation(sites, order, is_complex=is_complex))
        annealed /= (1 - order) * math.log(sites)
        quenched = float(gaussian_dimensions(sites, order, is_complex=is_complex)[0])
        assert annealed <= quenched + 1e-9
        assert quenched == pytest.approx(annealed, abs=2e-3 if order == 3.0 else 2e-4)


def test_given_more_sites_then_the_reference_approaches_one() -> None:
    found = [float(gaussian_dimensions(sites, 2.0)[0]) for sites in (10, 100, 1000, 10_000)]

    assert found == sorted(found)
    assert found[-1] > 0.92


@pytest.mark.parametrize(
    ("vectors", "orders", "message"),
    [
        (np.ones((1, 3)), (2.0,), "at least two sites"),
        (np.zeros((4, 1)), (2.0,), "zero or not finite"),
        (np.full((4, 1), np.nan), (2.0,), "zero or not finite"),
        (np.ones((4, 1)), (-1.0,), "outside"),
        (np.ones((4, 1)), (math.nan,), "outside"),
        (np.ones((2, 2, 2)), (2.0,), "have no dimensions"),
    ],
)
def test_given_what_has_no_dimensions_then_the_error_says_so(
    vectors: np.ndarray, orders: tuple[float, ...], message: str
) -> None:
    with pytest.raises(CritauditError, match=message):
        dimensions(vectors, orders)


def test_given_a_single_site_or_a_bad_order_then_there_is_no_reference() -> None:
    with pytest.raises(CritauditError, match="at least two"):
        gaussian_dimensions(1)
    with pytest.raises(CritauditError, match="outside"):
        gaussian_dimensions(8, (21.0,))


def _mean_dimensions(modes: Modes, side: str, orders: list[float]) -> np.ndarray:
    """Over the vectors with |λ| > 0.01, both members of a pair counted, as in the golden numbers."""
    large = modes.trusted & (np.abs(modes.eigenvalues) > 0.01)
    found = dimensions(modes.vectors(side)[:, large], orders)  # type: ignore[arg-type]
    return np.average(found, axis=1, weights=modes.multiplicity[large])


def test_given_gaussian_layers_of_784_then_right_vectors_have_the_golden_dimensions() -> None:
    row = GOLDEN["rows"][0]
    modes = [eigenmodes(*random_layer(GOLDEN["N"], row["alpha"], row["g"], seed)) for seed in (1, 2, 3)]
    found = np.mean([_mean_dimensions(one, "right", GOLDEN["q"]) for one in modes], axis=0)

    # The seeds' means scatter by 0.0025.
    np.testing.assert_allclose(found, row["Dq_mean"], rtol=0, atol=0.01)


def test_given_heavy_tailed_layers_of_784_then_left_vectors_have_the_golden_dimension() -> None:
    modes = [eigenmodes(*random_layer(784, 1.2, 1.5, seed)) for seed in (0, 1, 2)]
    found = [float(_mean_dimensions(one, "left", [2.0])[0]) for one in modes]

    # Single networks scatter by 0.013 around 0.688.
    assert np.mean(found) == pytest.approx(0.688, abs=0.015)
    assert max(abs(value - 0.688) for value in found) < 6 * 0.013
    for one in modes:
        large = np.abs(one.eigenvalues) > 0.01
        assert one.residuals[large].max() < 1e-6
