"""Ordered lines and the phases in the (α, g) plane."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from critaudit.errors import CritauditError
from critaudit.theory import gaussian
from critaudit.theory.build_phase_lines import ALPHAS
from critaudit.theory.levy import (
    JacobianAverage,
    JacobianLaw,
    ordered_line,
    phase,
    phase_diagram,
    phase_diagrams,
)
from critaudit.theory.phase_lines_table import CHAOTIC_LINE, FIXED_POINT_LINE, ORDERED_LINE

# Qu22 by PHYSICS: the figure's line and the text's.
CUTOFF = {1.0: 0.47687, 1.2: 0.51428, 1.5: 0.60201, 1.8: 0.76266, 1.9: 0.85636, 2.0: 1.0}
FIXED_POINT = {1.0: 0.51596, 1.2: 0.62012, 1.5: 0.76059, 1.8: 0.90135, 1.9: 0.95309, 2.0: 1.00987}


@pytest.mark.parametrize("alpha", CUTOFF)
def test_given_both_definitions_when_the_ordered_line_is_asked_then_it_has_the_published_digits(alpha: float) -> None:
    assert ordered_line(alpha) == pytest.approx(CUTOFF[alpha], abs=6e-6)
    assert ordered_line(alpha, definition="fixed_point") == pytest.approx(FIXED_POINT[alpha], abs=6e-6)


def test_given_the_tables_for_figures_when_compared_then_points_and_chords_are_on_the_lines() -> None:
    for (alpha, cutoff), (_, fixed) in list(zip(ORDERED_LINE, FIXED_POINT_LINE, strict=True))[::3]:
        assert cutoff == pytest.approx(ordered_line(alpha), abs=6e-6)
        assert fixed == pytest.approx(ordered_line(alpha, definition="fixed_point"), abs=6e-6)
    for (left, low), (right, high) in list(itertools.pairwise(ORDERED_LINE))[::7]:
        assert ordered_line(0.5 * (left + right)) == pytest.approx(0.5 * (low + high), abs=5e-3)
    diagram = phase_diagram([alpha for alpha, _ in CHAOTIC_LINE[::6]], [1.0])
    np.testing.assert_allclose(diagram.chaotic_line, [g for _, g in CHAOTIC_LINE[::6]], atol=6e-5)
    assert (ORDERED_LINE[0][0], ORDERED_LINE[-1], CHAOTIC_LINE[-1]) == (0.5, (2.0, 1.0), (2.0, 1.0))
    assert [alpha for alpha, _ in ORDERED_LINE] == [alpha for alpha, _ in CHAOTIC_LINE] == list(ALPHAS)


@pytest.mark.parametrize("alpha", [0.6, 1.3, 1.95])
@pytest.mark.parametrize("activation", ["tanh", "hardtanh", "erf"])
def test_given_a_point_on_the_line_when_its_spectrum_is_computed_then_the_cutoff_radius_is_one(
    alpha: float, activation: str
) -> None:
    g = ordered_line(alpha, activation=activation)
    assert JacobianLaw(alpha, g, activation=activation).cutoff_radius == pytest.approx(1.0, abs=1e-6)


def test_given_alpha_up_to_two_when_the_line_is_asked_then_it_rises_to_the_edge_of_chaos() -> None:
    lines = [ordered_line(alpha) for alpha in (1.8, 1.9, 1.99, 1.999, 1.9999, 2.0)]
    assert lines == sorted(lines)
    assert lines[-1] == gaussian.edge_of_chaos(0.0)
    assert ordered_line(2.0, activation="relu") == pytest.approx(math.sqrt(2.0), rel=1e-12)


def test_given_wrong_arguments_when_the_line_is_asked_then_an_error_says_so() -> None:
    with pytest.raises(CritauditError, match="no definition"):
        ordered_line(1.5, definition="other")  # type: ignore[arg-type]
    with pytest.raises(CritauditError, match="outside"):
        ordered_line(2.5)
    with pytest.raises(CritauditError, match="unbounded"):
        ordered_line(1.5, activation="gelu")


def test_given_a_grid_when_drawn_then_three_regions_close_on_the_gaussian_critical_point() -> None:
    alphas, gs = np.array([1.0, 1.5, 1.9, 2.0]), np.linspace(0.1, 3.0, 24)
    diagram = phase_diagram(alphas, gs)
    assert diagram.phases.shape == diagram.averages.shape == (4, 24)
    assert np.all(np.diff(diagram.phases, axis=1) >= 0)
    assert set(diagram.names[1]) == {"ordered", "extended critical", "chaotic"}
    assert set(diagram.names[3]) == {"ordered", "chaotic"}
    widths = diagram.chaotic_line - diagram.ordered_line
    assert np.all(np.diff(widths) < 0.0)
    assert diagram.chaotic_line[3] == diagram.ordered_line[3] == 1.0
    # J > J̄ is what makes the regime.
    critical = diagram.phases == 1
    above = diagram.averages > diagram.ordered_averages[:, np.newaxis]
    assert np.all(above[critical])
    assert not np.any(above[diagram.phases == 2])


@pytest.mark.parametrize(("power", "r0"), [(1, 0.01), (6, 0.01), (2, 0.3), (1, 3.0)])
def test_given_a_grid_when_averages_are_taken_then_they_are_those_of_the_law(power: int, r0: float) -> None:
    gs = np.array([0.3, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 20.0])
    for alpha in (1.0, 1.7, 2.0):
        diagram = phase_diagram([alpha], gs, power=power, r0=r0)
        expected = [JacobianLaw(alpha, g).log_average(power, r0=r0) for g in gs[[0, 4, 8]]]
        np.testing.assert_allclose(diagram.averages[0][[0, 4, 8]], expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_given_the_chaotic_line_when_the_law_is_asked_then_both_averages_are_equal(power: int) -> None:
    diagram = phase_diagram([1.6], [1.0], power=power)
    ends = [float(line[0]) for line in (diagram.ordered_line, diagram.chaotic_line)]
    on_lines = [JacobianLaw(1.6, g).log_average(power) for g in ends]
    assert on_lines[1] == pytest.approx(on_lines[0], abs=1e-4)
    assert diagram.ordered_averages[0] == pytest.approx(on_lines[0], abs=1e-5)


def test_given_the_cut_when_it_moves_then_so_does_the_upper_edge_and_never_the_lower() -> None:
    wide, narrow = (phase_diagram([1.3], [1.0], r0=r0) for r0 in (0.1, 0.001))
    assert wide.chaotic_line[0] > narrow.chaotic_line[0] + 0.5
    assert wide.ordered_line[0] == narrow.ordered_line[0]


@pytest.mark.parametrize("alpha", [0.8, 1.0, 1.3, 1.9, 2.0])
def test_given_several_averages_when_drawn_at_once_then_each_is_the_diagram_drawn_alone(alpha: float) -> None:
    gs = np.array([0.3, 0.7, 1.1, 2.5])
    averages = [JacobianAverage(1, None), JacobianAverage(1, 0.01), JacobianAverage(4, 0.01), JacobianAverage(2, 0.2)]

    together = phase_diagrams([alpha], gs, averages)

    for average, diagram in zip(averages, together, strict=True):
        alone = phase_diagram([alpha], gs, power=average.power, r0=average.r0)
        assert (diagram.power, diagram.r0) == (average.power, average.r0)
        np.testing.assert_array_equal(diagram.phases, alone.phases)
        np.testing.assert_allclose(diagram.averages, alone.averages, rtol=2e-4)
        np.testing.assert_allclose(diagram.chaotic_line, alone.chaotic_line, rtol=1e-4)


def test_given_no_cut_when_drawn_then_the_average_is_the_closed_form_and_alpha_one_has_no_regime() -> None:
    diagram = phase_diagram([1.0, 1.4, 2.0], [0.5, 1.0, 2.0], r0=None)

    laws = [JacobianLaw(1.4, g).mean_log for g in (0.5, 1.0, 2.0)]
    np.testing.assert_allclose(diagram.averages[1], laws, rtol=2e-4)
    assert np.all(diagram.averages[0] == -math.inf)
    assert diagram.chaotic_line[0] == diagram.ordered_line[0]
    line = diagram.chaotic_line[1]
    assert 1.0 < line < 2.0
    assert JacobianLaw(1.4, line).mean_log == pytest.approx(diagram.ordered_averages[1], abs=1e-3)
    # The limit of ever smaller cuts, from above.
    cuts = [phase_diagram([1.4], [1.0], r0=r0).chaotic_line[0] for r0 in (1e-2, 1e-6, 1e-20)]
    assert cuts[0] > cuts[1] > cuts[2] > line


def bump(x: np.ndarray) -> np.ndarray:
    return np.tanh(x) + 6.0 * np.exp(-np.square(x - 4.0))


def overshoot(x: np.ndarray) -> np.ndarray:
    return np.tanh(x) * (1.0 + np.exp(-x * x))


@pytest.mark.parametrize(
    ("activation", "alpha"),
    [("erf", 1.3), ("sigmoid", 1.7), ("softsign", 1.1), (overshoot, 1.7), (bump, 1.9)],
)
def test_given_other_activations_when_drawn_then_averages_are_those_of_the_law(activation: Any, alpha: float) -> None:
    # Slopes above one (erf), slopes that pass zero (overshoot), several fixed points at one g (bump).
    gs = np.linspace(0.3, 1.3, 8)
    diagram = phase_diagram([alpha], gs, activation=activation)
    for place in (0, 7):
        law = JacobianLaw(alpha, gs[place], activation=activation)
        assert diagram.averages[0, place] == pytest.approx(law.log_average(1), abs=3e-4)


def test_given_single_points_when_asked_then_their_phase_has_a_name() -> None:
    assert phase(1.2, 0.3) == "ordered"
    assert phase(1.2, 1.0) == "extended critical"
    assert phase(1.2, 3.0) == "chaotic"
    assert phase(2.0, 1.01) == "chaotic"


@pytest.mark.parametrize(
    ("alphas", "gs"), [([], [1.0]), ([1.5], []), ([1.5], [0.0]), ([1.5], [math.nan]), ([3.0], [1])]
)
def test_given_a_grid_that_is_none_when_drawn_then_an_error_says_so(alphas: list[float], gs: list[float]) -> None:
    with pytest.raises(CritauditError):
        phase_diagram(alphas, gs)


def test_given_averages_that_do_not_exist_when_drawn_then_an_error_says_so() -> None:
    with pytest.raises(CritauditError, match="diverges"):
        phase_diagram([1.5], [1.0], power=2, r0=None)
    with pytest.raises(CritauditError, match="at least one"):
        phase_diagrams([1.5], [1.0], [])
    assert JacobianAverage().name == "f₁ with L = 1, r₀ = 0.01"
    assert JacobianAverage(1, None).name == "f₁ with L = 1, no cut"
