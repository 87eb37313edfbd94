"""Manifold measurements in a report: one number per layer with its reason, pictures of few, findings with a cause."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import critaudit
from critaudit.contents import Runnable
from critaudit.dynamics.manifold import propagate_circle
from critaudit.report.html import render


def _tanh_network(width: int, depth: int, sigma_w: float, *, bias: float = 0.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(width, width, bias=bias > 0)
        nn.init.normal_(layer.weight, std=sigma_w / math.sqrt(width))
        if bias:
            nn.init.normal_(layer.bias, std=bias)
        parts += [layer, nn.Tanh()]
    return nn.Sequential(*parts)


def _audit(network: nn.Module, **options: object) -> critaudit.Report:
    return critaudit.audit(network, only=["manifold"], device="cpu", **options)


def _values(report: critaudit.Report, name: str) -> list[float]:
    found = [layer.measurements[f"manifold.{name}"] for layer in report.layer_records]
    assert all(item.status == "measured" for item in found), [item.reason for item in found]
    return [item.number or 0.0 for item in found]


def test_given_a_random_network_then_every_layer_has_its_numbers_with_intervals_and_method() -> None:
    report = _audit(_tanh_network(120, 8, 1.5))

    first = report.layer_records[0].measurements
    assert first["manifold.participation"].number == pytest.approx(2.0, abs=0.1)
    assert first["manifold.stretch"].number == pytest.approx(1.5, rel=0.25)
    assert first["manifold.turns"].number == pytest.approx(1.0, abs=0.01)
    for name in ("cv", "participation", "stretch", "turns", "curvature", "spread", "plane_share", "correlation_width"):
        measurement = first[f"manifold.{name}"]
        assert measurement.n == 4
        assert measurement.interval is not None
        assert measurement.interval[0] <= (measurement.number or 0.0) <= measurement.interval[1]
        assert "256 points; 4 of 4 circles" in (measurement.method or "")
    # above the edge a circle becomes longer, more tangled and less flat
    for name, sign in (("stretch", 1), ("turns", 1), ("participation", 1), ("plane_share", -1)):
        values = _values(report, name)
        assert sign * (values[-1] - values[1]) > 0
    assert "four" not in str(report.model["manifold.points"].value)
    assert report.model["manifold.points"].value == 256
    assert not report.findings


def test_given_many_layers_then_six_circles_are_kept_as_pictures() -> None:
    report = _audit(_tanh_network(30, 11, 1.2))
    held = [layer.measurements.get("manifold.projection") for layer in report.layer_records]
    assert [place for place, item in enumerate(held) if item is not None] == [0, 2, 4, 6, 8, 10]
    values = np.array(held[0].value if held[0] is not None else ()).reshape(-1, 3)
    assert values.shape == (64, 3)
    assert np.square(values).sum(axis=1).mean() == pytest.approx(1.0, abs=0.01)
    page = render(report)
    assert "manifold_projections" in page or "seen in two dimensions" in page
    # a series for a figure is in the JSON and in no table
    assert "manifold.projection" not in page.partition("<script")[0]


def test_given_kinks_then_curvature_is_undetermined_and_says_why() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 20))
    report = _audit(network)
    curvature = report.layer_records[-1].measurements["manifold.curvature"]
    assert curvature.status == "undetermined"
    assert "kinks, or folds finer than the points" in (curvature.reason or "")
    assert report.layer_records[-1].measurements["manifold.stretch"].status == "measured"


def test_given_a_network_in_the_ordered_phase_then_the_finding_names_where_the_circle_collapses() -> None:
    report = _audit(_tanh_network(100, 12, 0.4, bias=0.5))
    (finding,) = report.findings
    assert finding.rule == "manifold.collapsed"
    assert finding.severity == "warning"
    spreads = [layer.measurements["manifold.spread"] for layer in report.layer_records]
    first = next(place for place, spread in enumerate(spreads) if spread.number is None or spread.number < 1e-4)
    assert finding.layer == report.layer_records[first].name
    assert f"({12 - first} layers)" in finding.text
    # the last layers are points to within rounding
    assert spreads[-1].status == "undetermined"
    assert "has become a point" in (spreads[-1].reason or "")


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(30, 30), nn.Linear(30, 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.two(torch.tanh(self.one(x)))


def test_given_residual_blocks_then_what_leaves_them_stands_beside_their_last_layers() -> None:
    torch.manual_seed(0)
    report = _audit(nn.Sequential(_Residual(), _Residual(), nn.Linear(30, 4)))
    held = {layer.name: "manifold.block_stretch" in layer.measurements for layer in report.layer_records}
    assert held == {
        "0.one.weight": False,
        "0.two.weight": True,
        "1.one.weight": False,
        "1.two.weight": True,
        "2.weight": False,
    }
    behind = report.layer_records[3].measurements
    assert "behind the block 1, which ends with this layer" in (behind["manifold.block_cv"].method or "")
    # the residual path keeps the circle longer than the branch does
    assert (behind["manifold.block_stretch"].number or 0.0) > 0.9 > (behind["manifold.stretch"].number or 1.0)


class _Gated(nn.Module):
    """A gate that gives the same for all inputs, on the way of a signal that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.last = nn.Linear(10, 10), nn.Linear(10, 10), nn.Linear(10, 4)
        with torch.no_grad():
            self.gate.weight *= 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.last(x * torch.sigmoid(self.gate(x)))


def test_given_a_branch_that_collapses_and_joins_again_then_there_is_no_finding() -> None:
    torch.manual_seed(0)
    report = _audit(_Gated())
    assert (report.layer_records[1].measurements["manifold.spread"].number or 0.0) < 1e-4
    assert not report.findings


def test_given_a_matrix_that_no_module_applies_then_it_says_that_its_output_is_not_seen() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen, self.unseen = nn.Linear(5, 5), nn.Linear(5, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(self.seen(x), self.unseen.weight)

    torch.manual_seed(0)
    held = _audit(Functional()).layer_records[1].measurements["manifold.cv"]
    assert held.status == "not_applicable"
    assert "its output is not seen" in (held.reason or "")


def test_given_kinks_then_the_length_from_few_points_has_an_interval_that_holds_the_one_from_many() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(20, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 300))
    runnable = Runnable(lambda: network.eval(), None, {name: name for name in network.state_dict()})
    few, many = (propagate_circle(runnable, points=points, circles=1) for points in (32, 1024))
    few_length, many_length = (found.layers[-1].circles[0].length for found in (few, many))
    assert few_length == pytest.approx(many_length, abs=3 * few.layers[-1].circles[0].length_error)


def test_given_strong_chaos_then_neighbours_have_become_unrelated() -> None:
    report = _audit(_tanh_network(100, 16, 5.0))
    assert [finding.rule for finding in report.findings] == ["manifold.folded"]
    last = report.layer_records[-1].measurements
    assert (last["manifold.neighbour_correlation"].number or 0.0) < 0.5
    assert last["manifold.stretch"].status == "undetermined"


def test_given_one_heavy_weight_then_the_circle_is_on_a_line_with_the_cv_of_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Linear(50, 50, bias=False) for _ in range(3)))
    with torch.no_grad():
        network[1].weight[3, 7] = 1e3
    report = _audit(network)
    (finding,) = report.findings
    assert (finding.rule, finding.layer) == ("manifold.flattened", "1.weight")
    assert _values(report, "cv")[1] == pytest.approx(math.sqrt(math.pi**2 / 8 - 1), rel=0.01)
    assert _values(report, "participation")[1] == pytest.approx(1.0, abs=0.01)


def test_given_no_network_or_one_that_fails_then_the_report_says_so() -> None:
    weights = critaudit.audit({"w.weight": torch.ones(3, 4), "other": torch.ones(5, 7)}, only=["manifold"])
    assert weights.model["manifold.status"].status == "not_applicable"
    failing = _audit(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(7, 2)))
    assert failing.model["manifold.status"].status == "undetermined"
    assert "no usual input size fits" in (failing.model["manifold.status"].reason or "")


def test_given_two_runs_then_they_agree_to_the_last_digit() -> None:
    network = _tanh_network(40, 3, 1.3)
    one, two = (_audit(network, seed=5, jobs=jobs) for jobs in (1, 2))
    assert [layer.measurements for layer in one.layer_records] == [layer.measurements for layer in two.layer_records]
