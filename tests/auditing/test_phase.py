"""Phase diagrams as a report: the numbers are theory's, what does not exist has its reason."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from critaudit.auditing.phase import phase_report
from critaudit.errors import UsageError
from critaudit.report import Report, verdict
from critaudit.theory import gaussian, spin_glass
from critaudit.theory.levy import JacobianLaw, ordered_line
from critaudit.theory.widom_crossing import widom_crossing
from tests.report.make import drawn_phases

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "gaussian_mean_field.json").read_text())


@pytest.fixture(scope="module")
def report() -> Report:
    return drawn_phases()


def series(report: Report, name: str) -> np.ndarray:
    value = report.model[f"phase.{name}"].value
    assert isinstance(value, tuple)
    return np.array(value)


def test_given_tanh_when_drawn_then_all_three_diagrams_are_there_and_the_headline_quotes_them(report: Report) -> None:
    said = " ".join(verdict.sentences(report))

    assert list(report.figures) == ["phase_alpha_g", "phase_sigma", "phase_j0_j"]
    assert "begins at g = 0.602 and ends at g = 2.01 (f₁ with L = 1, r₀ = 0.01); its upper edge moves with r₀" in said
    assert "crosses it again at σ_b = 0.149, σ_w = 1.25" in said
    assert "J = 1.73 at J₀ = 2" in said
    assert "weight" not in said.replace("Gaussian weights", "")


def test_given_tanh_when_drawn_then_lines_are_those_of_the_theory(report: Report) -> None:
    alphas, cutoff, fixed = (series(report, name) for name in ("alphas", "ordered_cutoff", "ordered_fixed_point"))
    assert (alphas[0], alphas[-1]) == (1.0, 2.0)
    for place in (0, 3, len(alphas) - 1):
        assert cutoff[place] == pytest.approx(ordered_line(alphas[place]), rel=1e-7)
        assert fixed[place] == pytest.approx(ordered_line(alphas[place], definition="fixed_point"), rel=1e-7)
    at, line = series(report, "chaotic_alphas"), series(report, "chaotic")
    place = int(np.argmin(abs(at - 1.5)))
    on_lines = [JacobianLaw(at[place], g).log_average() for g in (line[place], np.interp(at[place], alphas, cutoff))]
    assert on_lines[0] == pytest.approx(on_lines[1], abs=3e-3)
    # Smaller cuts move the upper edge down, no cut most of all; all close on (2, 1).
    for name in ("chaotic_smaller_r0", "chaotic_no_cut"):
        assert np.all(series(report, name) <= line + 1e-6)
        assert series(report, name)[-1] == pytest.approx(1.0, abs=1e-9)


def test_given_tanh_when_mapped_then_susceptibility_edge_and_boundary_are_those_of_the_theory(report: Report) -> None:
    biases, weights, values = (series(report, f"map_{name}") for name in ("sigma_b", "sigma_w", "chi"))
    for place in (5, 50, 90):
        expected = gaussian.susceptibility(weights[place], biases[place])
        assert values[place] == pytest.approx(expected, rel=1e-7, abs=1e-12)
    for bias, weight in zip(series(report, "edge_stable_sigma_b"), series(report, "edge_stable_sigma_w"), strict=True):
        assert weight == pytest.approx(gaussian.edge_of_chaos(bias), rel=1e-7)
    for bias, weight in zip(series(report, "widom_sigma_b")[::2], series(report, "widom_sigma_w")[::2], strict=True):
        assert weight == pytest.approx(gaussian.widom_line(bias), rel=1e-7)
    for j0, j in zip(series(report, "boundary_j0"), series(report, "boundary_j"), strict=True):
        assert j == pytest.approx(spin_glass.boundary(j0), rel=1e-7)


def test_given_the_golden_crossing_when_searched_then_it_is_found_and_only_where_it_is() -> None:
    golden = GOLDEN["widom_edge_crossing"]
    found = widom_crossing("tanh", 0.6)
    assert found is not None
    assert (found[0] ** 2, found[1]) == pytest.approx((golden["sb2"], golden["sw"]), abs=1e-6)
    assert widom_crossing("tanh", 0.1) is None
    assert widom_crossing("relu") is None


def test_given_gelu_when_drawn_then_gaussian_weights_remain_with_the_unstable_edge_apart() -> None:
    report = phase_report(activation="gelu", points=12)
    said = verdict.sentences(report)

    assert list(report.figures) == ["phase_sigma"]
    assert "where the signal’s length itself is unstable" in said[1]
    assert said[2].startswith("Not determined: ordered and chaotic lines (no Lévy mean field for gelu")
    for stable, name in ((True, "stable"), (False, "unstable")):
        bias, weight = (series(report, f"edge_{name}_{axis}")[-1] for axis in ("sigma_b", "sigma_w"))
        points = [point for point in gaussian.edge_points(bias, "gelu") if point.stable is stable]
        assert weight in [pytest.approx(point.sigma_w, rel=1e-7) for point in points]
    # No number where the length diverges.
    weights = series(report, "map_sigma_w")
    assert len(weights) < 144
    assert all(math.isfinite(value) for value in series(report, "map_chi"))


def test_given_one_diagram_when_asked_then_only_it_is_computed() -> None:
    report = phase_report(["spin-glass"], points=12)

    assert list(report.figures) == ["phase_j0_j"]
    assert {name.partition("_")[0] for name in report.model} == {"phase.boundary", "phase.summary"}
    assert report.provenance.settings["diagrams"] == ["spin-glass"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"diagrams": ["alpha-g"], "activation": "relu"}, "no alpha-g diagram for relu"),
        ({"diagrams": ["spin-glass"], "activation": "gelu"}, "known for tanh"),
        ({"activation": "nothing"}, "not known"),
        ({"r0": 0.0}, "r0"),
        ({"power": 99}, "whole number"),
        ({"points": 2}, "at least 8"),
    ],
)
def test_given_what_does_not_exist_when_asked_by_name_then_one_line_says_so(arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        phase_report(**arguments)
