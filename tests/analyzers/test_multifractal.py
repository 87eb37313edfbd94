"""The multifractal analyzer: numbers with their references and reasons, a finding only where it is solid, figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from torch import nn

import critaudit
from critaudit.laws.multifractal import ORDERS, gaussian_dimensions
from critaudit.report import Report
from critaudit.report.measures import describe
from tests.dynamics.networks import random_network


@pytest.fixture(scope="module")
def heavy() -> Report:
    network = random_network(100, 3, 1.1, 2.0, seed=1, out=70)
    return critaudit.audit(network, only=["multifractal"], device="cpu", samples=3, seed=2)


def test_given_a_network_then_every_dense_layer_has_its_dimensions_beside_their_references(heavy: Report) -> None:
    for layer in heavy.layer_records:
        held = layer.measurements
        for side, sites in (("left", layer.shape[0]), ("right", layer.shape[1])):
            d2 = held[f"multifractal.d2_{side}"]
            low, middle, high = held[f"multifractal.d2_{side}_quantiles"].value
            assert 0.0 < d2.number < 1.0
            assert low <= middle <= high
            assert f"{sites} sites" in d2.method
            curve = held[f"multifractal.dq_{side}"].value
            assert len(curve) == len(ORDERS) == len(held["multifractal.orders"].value)
            assert curve[ORDERS.index(2.0)] == pytest.approx(d2.number, rel=1e-5)
            between = [float(gaussian_dimensions(sites, 2.0, is_complex=kind)[0]) for kind in (False, True)]
            assert between[0] - 1e-9 <= held[f"multifractal.d2_{side}_reference"].number <= between[1] + 1e-9
        assert held["multifractal.residual"].number < 1e-6
    first, second = heavy.layer_records[:2]
    assert first.measurements["multifractal.d2_left"].interval is None  # no nonlinearity before it: one Jacobian
    assert second.measurements["multifractal.d2_left"].interval is not None
    assert "judge on the left" in second.measurements["multifractal.d2_right"].reason


def test_given_localised_modes_then_one_finding_says_so_with_its_evidence(heavy: Report) -> None:
    finding = next(item for item in heavy.findings if item.rule == "multifractal.localised")

    assert finding.severity == "info"
    assert "Gaussian vectors of that length" in finding.text
    assert "random places" in finding.text
    gaps = [
        layer.measurements["multifractal.d2_left_reference"].number - layer.measurements["multifractal.d2_left"].number
        for layer in heavy.layer_records
    ]
    assert heavy.model["multifractal.gap_mean"].number == pytest.approx(np.mean(gaps))
    assert heavy.model["multifractal.gap_mean"].interval == pytest.approx((min(gaps), max(gaps)))


def test_given_gaussian_weights_then_there_is_no_finding() -> None:
    report = critaudit.audit(random_network(80, 3, 2.0, 1.2, seed=3), only=["multifractal"], device="cpu")

    assert not [item for item in report.findings if item.rule.startswith("multifractal")]
    assert abs(report.model["multifractal.gap_mean"].number) < 0.1


def test_given_narrow_layers_then_they_are_measured_and_not_judged() -> None:
    report = critaudit.audit(random_network(12, 3, 1.0, 3.0, seed=4), only=["multifractal"], device="cpu")

    assert report.layer_records[1].measurements["multifractal.d2_left"].status == "measured"
    assert report.model["multifractal.gap_mean"].status == "undetermined"
    assert not [item for item in report.findings if item.rule.startswith("multifractal")]


def test_given_a_convolution_then_it_is_not_applicable_with_a_reason() -> None:
    network = nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14, 16))
    inputs = np.random.default_rng(5).standard_normal((2, 4, 16)).astype(np.float32)
    report = critaudit.audit(network, only=["multifractal"], device="cpu", inputs=inputs)
    conv, linear = report.layer_records

    assert conv.measurements["multifractal.d2_left"].status == "not_applicable"
    assert conv.measurements["multifractal.d2_left"].reason
    assert linear.measurements["multifractal.d2_left"].status == "measured"


def test_given_a_network_that_cannot_run_then_the_reason_stands_in_the_model() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: object) -> object:
            raise RuntimeError("no")

    report = critaudit.audit(Broken(), only=["multifractal"], device="cpu", inputs=np.ones((1, 4), dtype=np.float32))

    assert report.model["multifractal.status"].status == "undetermined"


def test_given_measurements_then_all_have_names_and_the_json_holds_them(heavy: Report) -> None:
    names = {name for layer in heavy.layer_records for name in layer.measurements} | set(heavy.model)

    assert all(describe(name).label != name.partition(".")[2].replace("_", " ") for name in names)
    assert Report.from_dict(json.loads(json.dumps(heavy.to_dict()))).layer_records == heavy.layer_records
