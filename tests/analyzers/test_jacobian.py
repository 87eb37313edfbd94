"""Growth as the user sees it: what is measured, what is found, and what is said where it cannot be measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import critaudit
from critaudit.analyzers.jacobian import JACOBIAN
from critaudit.measurement import Measurement, measured
from critaudit.report import measures
from critaudit.report.measures.jacobian import MEASURES
from critaudit.report.record import Finding, Report


def _chain(depth: int, gain: float, width: int = 24) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(width, width) for _ in range(depth)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, gain=gain)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def _audit(network: nn.Module, **options: object) -> Report:
    return critaudit.audit(network, only=["jacobian"], jobs=1, **options)  # type: ignore[arg-type]


def _rules(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings if finding.rule.startswith("jacobian.")]


def _series(report: Report, name: str) -> tuple[float, ...]:
    value = report.model[f"jacobian.{name}"].value
    assert isinstance(value, tuple)
    return tuple(float(item) for item in value)


def test_given_rotations_then_every_series_says_that_nothing_grows() -> None:
    report = _audit(_chain(4, 1.0))
    for name in ("block_norm", "partial_norm", "gradient_norm", "block_top"):
        assert _series(report, name) == pytest.approx([1.0] * 4, rel=0.2)
        low, high = _series(report, f"{name}_low"), _series(report, f"{name}_high")
        assert all(a <= b <= c for a, b, c in zip(low, _series(report, name), high, strict=True))
        assert _series(report, f"{name}_places") == (1.0, 2.0, 3.0, 4.0)
    assert _series(report, "block_mean_log") == pytest.approx([0.0] * 4, abs=1e-5)
    assert _series(report, "block_expanding") == (0.0,) * 4
    assert report.model["jacobian.lyapunov"].number == pytest.approx(0.0, abs=1e-5)
    assert report.model["jacobian.block_radius_max"].number == pytest.approx(1.0, abs=1e-5)
    assert report.model["jacobian.blocks"].value == ("0", "1", "2", "3")
    assert _rules(report) == []


@pytest.mark.parametrize(("gain", "rule", "word"), [(0.2, "vanishing", "shrinks"), (5.0, "exploding", "grows")])
def test_given_a_gradient_that_dies_or_explodes_then_it_is_found_with_its_factor(
    gain: float, rule: str, word: str
) -> None:
    report = _audit(_chain(6, gain))
    assert _rules(report) == [f"jacobian.{rule}"]
    finding = next(finding for finding in report.findings if finding.rule == f"jacobian.{rule}")
    assert finding.severity == "warning"
    assert f"through 6 blocks a gradient {word}" in finding.text
    assert report.model["jacobian.gradient_ratio"].number == pytest.approx(gain**6, rel=0.3)
    assert report.model["jacobian.lyapunov"].number == pytest.approx(math.log(gain), abs=1e-4)


def test_given_a_factor_within_its_interval_of_the_limit_then_nothing_is_claimed() -> None:
    assert JACOBIAN.find is not None
    wide = {"jacobian.gradient_ratio": measured(9e-4, interval=(2e-4, 4e-3)), "jacobian.block_count": measured(5)}
    clear = {"jacobian.gradient_ratio": measured(9e-5, interval=(2e-5, 4e-4)), "jacobian.block_count": measured(5)}
    assert list(JACOBIAN.find([], wide)) == []
    assert [finding.rule for finding in _found(clear)] == ["jacobian.vanishing"]


def _found(model: dict[str, Measurement]) -> list[Finding]:
    assert JACOBIAN.find is not None
    return list(JACOBIAN.find([], model))


class _Off(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        nn.init.constant_(self.one.bias, -100.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(x)))  # type: ignore[no-any-return]


def test_given_a_dead_layer_then_the_block_that_no_gradient_passes_is_a_problem() -> None:
    report = _audit(_Off())
    finding = next(finding for finding in report.findings if finding.rule == "jacobian.cut")
    assert finding.severity == "problem"
    assert "1 of 2 blocks (the first: “one”)" in finding.text
    # AND what is shown holds no NaN or infinity (the writer would refuse it)
    assert report.to_dict()["model"]


class _Classes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).argmax(dim=-1)  # type: ignore[no-any-return]


def test_given_nothing_to_differentiate_then_it_says_so_and_layers_are_measured_all_the_same() -> None:
    report = _audit(_Classes(), inputs=np.zeros((2, 4), np.float32))
    status = report.model["jacobian.status"]
    assert status.status == "undetermined"
    assert status.reason is not None
    assert "no block's output depends on its input" in status.reason
    assert report.layer_records[0].measurements["jacobian.mean_log"].status == "measured"


class _Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("not\ntoday")


def test_given_a_network_that_does_not_run_then_the_reason_is_one_line() -> None:
    status = _audit(_Fails(), inputs=np.zeros((2, 4), np.float32)).model["jacobian.status"]
    assert status.status == "undetermined"
    assert status.reason == "the forward pass failed: ValueError: not today"


def test_given_weights_without_a_network_then_the_report_says_what_is_missing() -> None:
    report = critaudit.audit({"a.weight": torch.randn(4, 3), "b.weight": torch.randn(7, 9)}, only=["jacobian"], jobs=1)
    assert report.model["jacobian.status"].status == "not_applicable"


def test_given_non_finite_signals_then_no_number_is_made_of_them() -> None:
    network = _chain(3, 1e30)
    report = _audit(network)
    status = report.model["jacobian.status"]
    assert status.reason == "the network's signals or derivatives are NaN or infinite at every input"


def test_given_the_analyzers_measurements_then_each_has_a_name_and_series_stay_out_of_tables() -> None:
    report = _audit(_chain(3, 1.0))
    own = [name for name in report.model if name.startswith("jacobian.")]
    assert set(own) <= set(MEASURES)
    assert all(not isinstance(report.model[name].value, tuple) for name in measures.tabled(report.model))


def test_given_user_inputs_then_the_network_is_measured_at_them() -> None:
    network = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    small, large = (_audit(network, inputs=np.full((3, 6), value, np.float32)) for value in (0.0, 50.0))
    assert _series(small, "block_norm")[0] > 3 * _series(large, "block_norm")[0]
    assert "3 given inputs" in (small.model["jacobian.lyapunov"].method or "")


def test_given_no_square_block_then_the_spectral_radius_says_why_it_is_missing() -> None:
    report = _audit(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)))
    radius = report.model["jacobian.block_radius_max"]
    assert radius.status == "not_applicable"
    assert radius.reason == "no block keeps its shape: a Jacobian that is not square has no eigenvalues"
    assert report.model["jacobian.block_mean_log_mean"].status == "measured"


def test_given_a_head_of_zeros_then_the_missing_gradient_is_explained_and_no_growth_is_invented() -> None:
    network = _chain(4, 1.0)
    nn.init.zeros_(network[3].weight)
    report = _audit(network)
    ratio = report.model["jacobian.gradient_ratio"]
    assert ratio.status == "undetermined"
    growth = report.model["jacobian.growth_per_block"]
    assert (growth.status, growth.reason) == ("undetermined", "no path leads from end to end")
    assert not any(
        "gave" in (held.reason or "") for layer in report.layer_records for held in layer.measurements.values()
    )
    assert ratio.reason is not None
    assert ratio.reason.startswith("no gradient comes from the output to the last block")
    assert report.model["jacobian.end_to_end"].number == 0.0
    assert report.model["jacobian.lyapunov"].status == "undetermined"
