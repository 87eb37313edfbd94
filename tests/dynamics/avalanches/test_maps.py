"""Maps of the susceptibility: measured strengths settle on the mean field, sizes rise with σ_w, lines are theory's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from critaudit.dynamics.avalanches import simulate, susceptibility_map
from critaudit.errors import UsageError
from critaudit.theory import gaussian


def test_given_a_grid_when_mapped_then_strengths_follow_theory_and_lines_are_those_of_the_mean_field() -> None:
    sigma_w, sigma_b = [0.8, 0.9, 1.0, 1.1, 1.2, 1.3], [0.05, 0.15]
    told: list[int] = []
    found = susceptibility_map(
        sigma_w, sigma_b, width=400, depth=80, strength=0.2, paths=500, progress=lambda _s, done, _t: told.append(done)
    )
    assert found.mean_size.shape == found.susceptibility.shape == (2, 6)
    assert told == list(range(1, 13))
    for row, b in enumerate(sigma_b):
        assert found.widom_line[row] == gaussian.widom_line(b)
        assert found.edge_of_chaos[row] == gaussian.edge_of_chaos(b)
        for column, w in enumerate(sigma_w):
            fixed = gaussian.fixed_point(w, b).strength
            assert found.strength[row, column] == fixed
            assert found.susceptibility[row, column] == gaussian.susceptibility(w, b)
            assert found.mean_strength[row, column] == pytest.approx(fixed, rel=0.03)
    assert np.all(np.diff(found.mean_size[0]) > 0)
    assert np.all(found.mean_excess <= found.mean_size)
    # Away from the peak finite width changes little.
    np.testing.assert_allclose(found.measured_susceptibility[1, 1:-1], found.susceptibility[1, 1:-1], rtol=0.06)


def test_given_one_point_when_mapped_then_mean_size_is_that_of_the_simulation() -> None:
    settings = {"width": 60, "depth": 50, "strength": 0.2}
    found = susceptibility_map([1.05], [0.05], **settings, paths=20_000, seed=3)
    counts = simulate(**settings, sigma_w=1.05, sigma_b=0.05, networks=20, inputs_per_network=1000, seed=4).counts
    share = counts.censored.sum() / 20_000
    error = math.sqrt(2 * share * (1 - share) / 20_000)
    assert abs(found.censored[0, 0] - share) < 5.5 * error
    centres = counts.total.centres
    size = (counts.total.moments[..., 2].sum() + counts.total.censored @ centres) / 20_000
    assert abs(found.mean_size[0, 0] - size) < 5.5 * math.sqrt(2) * found.size_error[0, 0] + 0.006 * size


def test_given_an_activation_whose_length_diverges_when_mapped_then_theory_is_absent_and_numbers_are_there() -> None:
    found = susceptibility_map([1.0, 1.5], [0.1], width=40, depth=20, activation="relu", paths=100)
    assert np.all(np.isfinite(found.mean_size))
    assert math.isnan(found.susceptibility[0, 1])
    assert math.isnan(found.widom_line[0])
    assert math.isnan(found.edge_of_chaos[0])


@pytest.mark.parametrize(
    ("sigma_w", "sigma_b", "more"),
    [
        ([], [0.1], {}),
        ([1.0, 0.9], [0.1], {}),
        ([1.0], [0.1, 0.1], {}),
        (np.linspace(1, 2, 101), np.linspace(0, 1, 100), {}),
        ([1.0], [0.1], {"paths": 1}),
        ([-1.0], [0.1], {}),
    ],
)
def test_given_grids_that_make_no_sense_when_mapped_then_one_line_says_so(
    sigma_w: object, sigma_b: object, more: dict[str, int]
) -> None:
    with pytest.raises(UsageError) as error:
        susceptibility_map(sigma_w, sigma_b, width=40, depth=10, **more)
    assert "\n" not in str(error.value)
