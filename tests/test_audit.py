"""The audit as a whole, from Python: what is scaled, transposed or retyped changes what it should and nothing else."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import critaudit
from critaudit.errors import UsageError


def value(report: critaudit.Report, layer: int, name: str) -> float:
    found = report.layer_records[layer].measurements[name]
    assert found.status == "measured", found.reason
    assert isinstance(found.value, (int, float))
    return float(found.value)


def gaussian(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 100), st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=8, derandomize=True)
def test_scaling_scales_scales_and_leaves_shapes(seed: int, factor: float) -> None:
    weight = gaussian(seed, 60, 50)
    one, other = (critaudit.audit({"w.weight": w}, only=["entries", "spectrum"]) for w in (weight, factor * weight))
    for name in ("entries.sigma", "entries.std", "entries.g_forward", "spectrum.norm", "spectrum.frobenius"):
        assert value(other, 0, name) == pytest.approx(factor * value(one, 0, name), rel=1e-3)
    for name in (
        "entries.alpha",
        "spectrum.stable_rank",
        "spectrum.rank",
        "spectrum.entropy",
        "spectrum.participation",
    ):
        assert value(other, 0, name) == pytest.approx(value(one, 0, name), rel=1e-3)


@given(st.integers(0, 100))
@settings(deadline=None, max_examples=6, derandomize=True)
def test_transposition_changes_fans_only(seed: int) -> None:
    weight = gaussian(seed, 60, 30)
    one, other = (critaudit.audit({"w.weight": w}, only=["entries", "spectrum"]) for w in (weight, weight.T))
    for name in (
        "entries.alpha",
        "entries.sigma",
        "entries.g_paper",
        "spectrum.norm",
        "spectrum.entropy",
        "spectrum.rank",
    ):
        assert value(other, 0, name) == pytest.approx(value(one, 0, name), rel=1e-5)
    ratio = value(other, 0, "entries.g_forward") / value(one, 0, "entries.g_forward")
    assert ratio == pytest.approx(2 ** (1 / value(one, 0, "entries.alpha")), rel=1e-6)


def test_a_1x1_convolution_is_a_linear_layer() -> None:
    weight = gaussian(1, 40, 30)
    linear, conv = (critaudit.audit({"w.weight": w}) for w in (weight, weight[:, :, None, None]))
    for name, measurement in linear.layer_records[0].measurements.items():
        if name.startswith(("entries.", "spectrum.")):
            assert conv.layer_records[0].measurements[name] == measurement


def test_what_is_known_of_a_gaussian_matrix_comes_out() -> None:
    weight = gaussian(3, 400, 400) / 20
    report = critaudit.audit({"w.weight": weight}, activation="tanh")
    assert value(report, 0, "entries.std") == pytest.approx(0.05, rel=0.02)
    alpha = report.layer_records[0].measurements["entries.alpha"]
    assert alpha.interval is not None
    assert alpha.interval[1] == 2.0
    assert alpha.interval[0] > 1.95
    assert value(report, 0, "edge.j") == pytest.approx(1.0, rel=0.02)
    assert value(report, 0, "spectrum.norm") == pytest.approx(2.0, rel=0.05)
    assert value(report, 0, "spectrum.rank") == 400
    # For α = 2, g = √(2N)·σ with σ = sd/√2: g is √N·sd = J.
    assert value(report, 0, "entries.g_forward") == pytest.approx(value(report, 0, "edge.j"), rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_give_the_same_numbers_to_their_precision(dtype: torch.dtype) -> None:
    weight = gaussian(5, 80, 80)
    one, other = (critaudit.audit({"w.weight": w}, only=["entries", "spectrum"]) for w in (weight, weight.to(dtype)))
    for name in ("entries.std", "spectrum.norm", "spectrum.entropy", "entries.sigma"):
        assert value(other, 0, name) == pytest.approx(value(one, 0, name), rel=2e-2)


def test_a_live_module_is_run_and_left_as_it_was() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Dropout(0.5), nn.Linear(40, 5)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    report = critaudit.audit(network)
    assert network.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert report.architecture.how == "given"
    weight = network[0].weight.detach().numpy()
    expected = math.sqrt(float(np.square(weight, dtype=np.float64).sum()) / 40)  # E‖Wx‖² = ‖W‖²_F for x ~ N(0, 1)
    assert value(report, 0, "signal.strength") == pytest.approx(expected, rel=0.1)
    assert value(report, 0, "edge.chi1") > 0


def test_calm_on_odd_matrices() -> None:
    tensors = {
        "one.weight": torch.ones(1, 1),
        "zero.weight": torch.zeros(30, 30),
        "constant.weight": torch.full((30, 30), 2.0),
        "row.weight": torch.randn(1, 500),
        "nan.weight": torch.full((30, 30), math.nan),
        "inf.weight": torch.randn(30, 30).index_fill_(0, torch.tensor(3), math.inf),
        "huge.weight": torch.randn(30, 30) * 1e37,
        "tiny.weight": torch.randn(30, 30) * 1e-40,
        "empty.weight": torch.zeros(0, 5),
    }
    report = critaudit.audit(tensors, activation="tanh")
    problems = {finding.layer for finding in report.findings if finding.severity == "problem"}
    assert {"nan.weight", "inf.weight"} <= problems
    for layer in report.layer_records:
        for name, measurement in layer.measurements.items():
            assert measurement.status != "failed", (layer.name, name, measurement.reason)
    report.to_dict()


def test_only_runs_what_is_named() -> None:
    report = critaudit.audit({"w.weight": gaussian(0, 20, 20)}, only=["spectrum"])
    assert {name.split(".")[0] for name in report.layer_records[0].measurements} == {"spectrum"}
    with pytest.raises(UsageError, match="no analyzer is called"):
        critaudit.audit({"w.weight": gaussian(0, 20, 20)}, only=["spectra"])


def test_the_number_of_threads_changes_nothing() -> None:
    tensors = {f"w{k}.weight": gaussian(k, 30 + 40 * (k % 4), 50 + 10 * k) for k in range(12)}
    reports = [critaudit.audit(tensors, jobs=jobs) for jobs in (1, 3, 16)]
    assert [report.provenance.threads for report in reports] == [1, 3, 16]
    for report in reports[1:]:
        assert report.layer_records == reports[0].layer_records
        assert report.findings == reports[0].findings
    with pytest.raises(UsageError, match="jobs"):
        critaudit.audit(tensors, jobs=0)


def test_all_given_inputs_are_used() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 3))
    inputs = np.random.default_rng(0).standard_normal((40, 10)).astype(np.float32)
    report = critaudit.audit(network, inputs=inputs, only=["signal"])
    strength = report.layer_records[0].measurements["signal.strength"]
    hidden = network[0](torch.from_numpy(inputs)).detach().numpy()
    assert strength.n == 40
    assert strength.value == pytest.approx(float(np.sqrt(np.square(hidden).mean(1)).mean()), rel=1e-5)


def test_broken_weights_are_a_problem_whatever_is_asked_for() -> None:
    weight = gaussian(0, 20, 20)
    weight[1, 2] = math.nan
    for only in (["spectrum"], ["edge"], ["entries"]):
        findings = critaudit.audit({"w.weight": weight}, only=only).findings
        assert [finding.severity for finding in findings] == ["problem"]
        assert "1 of 400 weights" in findings[0].text


def test_an_unknown_activation_is_refused_whatever_the_model() -> None:
    with pytest.raises(UsageError, match="foo"):
        critaudit.audit({"w.weight": gaussian(0, 20, 20)}, activation="foo")


def test_a_stable_law_has_no_variance_and_the_edge_says_so() -> None:
    weight = torch.from_numpy(np.random.default_rng(0).standard_cauchy((120, 120)).astype(np.float32))
    report = critaudit.audit({"w.weight": weight}, activation="tanh")
    j = report.layer_records[0].measurements["edge.j"]
    assert j.reason is not None
    assert "no variance" in j.reason
    assert not any(finding.rule.startswith("edge.") for finding in report.findings)


def test_packages_that_the_readme_names_are_there_after_the_import() -> None:
    code = (
        "import critaudit; critaudit.advice.weight_decay; critaudit.init.critical_; critaudit.laws.fit_stable; "
        "critaudit.training.sinks.tensorboard; critaudit.training.Controller; critaudit.theory; critaudit.dynamics"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"advice", "init", "training"} <= set(dir(critaudit))
