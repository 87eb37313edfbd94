"""Spectra of dense layers' Jacobians: brute force on small networks, Qu22's law on random ones, reasons elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.dynamics.jacobian.dense import dense_layers, plan
from critaudit.dynamics.running import running
from critaudit.laws.eigenvectors import jacobian_eigenvalues
from critaudit.measurement import Measurement
from critaudit.model import WeightMatrix
from critaudit.theory.levy import JacobianLaw
from tests.dynamics.networks import random_network, viewed
from tests.laws.ensembles import random_layer


def _measured(
    network: nn.Module, alpha: float | None = 2.0, g: float | None = 1.0, *, samples: int = 4, **options: object
) -> dict[str, dict[str, Measurement]]:
    view, layers = viewed(network, alpha, g)
    assert view.runnable is not None
    with running(view.runnable, samples=samples, **options) as ready:  # type: ignore[arg-type]
        return dense_layers(ready, view, layers)


def test_given_a_small_network_then_every_number_is_that_of_the_jacobian_by_automatic_differentiation() -> None:
    # GIVEN a tanh network and four inputs
    network = random_network(12, 2, 1.8, 1.4, seed=1, out=5).double().float()
    inputs = np.random.default_rng(2).standard_normal((4, 12)).astype(np.float32)
    found = _measured(network, 1.8, 1.4, inputs=inputs)
    # WHEN the map from pre-activations to pre-activations is differentiated
    jacobians: dict[str, list[np.ndarray]] = {"2.weight": [], "4.weight": []}
    for x in torch.from_numpy(inputs).double():
        h = network.double()[0](x)
        for place, tensor in ((2, "2.weight"), (4, "4.weight")):
            part = network[place - 1 : place + 1]
            jacobians[tensor].append(torch.autograd.functional.jacobian(part, h).numpy())
            h = part(h)
    # THEN the measurements are its numbers
    square = [np.linalg.eigvals(J) for J in jacobians["2.weight"]]
    one = found["2.weight"]
    _agrees(one["jacobian.mean_log"], [np.log(np.abs(values)).mean() for values in square])
    _agrees(one["jacobian.expanding_share"], [np.mean(np.abs(values) >= 1) for values in square])
    _agrees(one["jacobian.spectral_radius"], [np.abs(values).max() for values in square])
    _agrees(one["jacobian.mean_log_clipped"], [np.log(np.maximum(np.abs(values), 0.01)).mean() for values in square])
    half = np.array(one["jacobian.eigenvalues_re"].value) + 1j * np.array(one["jacobian.eigenvalues_im"].value)
    whole = np.concatenate((half, half[half.imag > 0].conj()))
    np.testing.assert_allclose(np.sort(np.abs(whole)), np.sort(np.abs(square[0])), rtol=1e-4)
    for tensor, held in jacobians.items():
        sigma = [np.linalg.svd(J, compute_uv=False) for J in held]
        _agrees(found[tensor]["jacobian.norm"], [values[0] for values in sigma])
        _agrees(found[tensor]["jacobian.expanding_singular_share"], [np.mean(values >= 1) for values in sigma])
        _agrees(found[tensor]["jacobian.mean_log_singular"], [np.log(values).mean() for values in sigma])
        _agrees(found[tensor]["jacobian.gain"], [np.linalg.norm(J) / math.sqrt(J.shape[1]) for J in held])
        logs = np.mean([math.log(values[0] / values[-1]) for values in sigma])
        assert found[tensor]["jacobian.condition"].number == pytest.approx(math.exp(logs), rel=1e-4)
    assert one["jacobian.residual"].number < 1e-6
    assert found["4.weight"]["jacobian.mean_log"].status == "not_applicable"


def _agrees(measurement: Measurement, values: list[float]) -> None:
    """The mean and its 95 % interval by Student's t (3.182 for three degrees of freedom)."""
    assert measurement.number == pytest.approx(np.mean(values), rel=1e-4, abs=1e-6)
    assert measurement.interval is not None
    half = 3.1824 * np.std(values, ddof=1) / 2
    assert measurement.interval[1] - measurement.number == pytest.approx(half, rel=2e-3, abs=1e-6)


@pytest.mark.parametrize(("alpha", "g"), [(1.5, 0.75), (2.0, 1.5), (2.0, 3.0)])
def test_given_layers_of_1000_at_the_fixed_point_then_their_spectra_are_qu22s(alpha: float, g: float) -> None:
    # Draws scatter more than independent eigenvalues would (they share their slopes), or less (they repel). Three
    # standard errors hold for these seeds; more draws are in reports/jacobian_law.md.
    law, radii, draws = JacobianLaw(alpha, g), np.array([0.25, 0.5, 0.75, 1.0]), 4
    expected = law.survival(radii)
    shares = np.array(
        [
            (np.abs(jacobian_eigenvalues(*random_layer(1000, alpha, g, seed)))[:, None] >= radii).mean(axis=0)
            for seed in range(draws)
        ]
    )
    errors = np.maximum(shares.std(axis=0, ddof=1), np.sqrt(expected * (1 - expected) / 1000)) / math.sqrt(draws)
    assert np.all(np.abs(shares.mean(axis=0) - expected) <= 3 * errors)


@pytest.mark.parametrize("alpha", [2.0, 1.5])
def test_given_a_random_network_then_layer_shuffle_and_theory_agree(alpha: float) -> None:
    found = _measured(random_network(200, 4, alpha, 1.5, seed=3), alpha, 1.5)["6.weight"]

    def value(name: str) -> float:
        number = found[f"jacobian.{name}"].number
        assert number is not None
        return number

    # One layer of 200: the mean ln|λ| scatters by 0.05 around that of infinite width with the same slopes.
    assert value("mean_log_shuffled") == pytest.approx(value("mean_log"), abs=0.25)
    assert value("mean_log_iid") == pytest.approx(value("mean_log"), abs=0.25)
    assert value("mean_log_clipped_theory") == pytest.approx(value("mean_log_clipped"), abs=0.35)
    assert value("expanding_share_theory") == pytest.approx(value("expanding_share"), abs=0.12)
    assert value("cutoff_radius_theory") > 1.0


def test_given_correlated_weights_then_the_shuffled_layer_differs() -> None:
    network = random_network(100, 3, 2.0, 1.0, seed=4)
    with torch.no_grad():
        network[4].weight.copy_(torch.linalg.svd(network[4].weight).S.mean() * torch.eye(100).roll(1, 0))
    found = _measured(network)["4.weight"]

    # A permutation has |λ| = σ everywhere; its entries in random places are a sparse random matrix.
    assert found["jacobian.mean_log"].number - found["jacobian.mean_log_iid"].number > 0.3
    assert found["jacobian.mean_log_shuffled"].number != found["jacobian.mean_log"].number


def test_given_relu_then_zeros_are_counted_and_the_mean_is_over_the_rest() -> None:
    network = random_network(40, 3, 1.6, 1.0, seed=5, activation=nn.ReLU)
    inputs = np.random.default_rng(6).standard_normal((3, 40)).astype(np.float32)
    found = _measured(network, 1.6, 1.0, inputs=inputs)["4.weight"]

    on = []
    logs = []
    for x in torch.from_numpy(inputs):
        active = (network[:3](x) > 0).numpy()
        on.append(active.mean())
        W = network[4].weight.detach().double().numpy()
        logs.append(np.log(np.abs(np.linalg.eigvals(W[np.ix_(active, active)]))).mean())
    assert found["jacobian.zero_share"].number == pytest.approx(1 - np.mean(on))
    assert found["jacobian.mean_log"].number == pytest.approx(np.mean(logs), rel=1e-5)
    assert "neurons that are on" in found["jacobian.mean_log"].reason
    assert found["jacobian.condition"].status == "not_applicable"
    # THEN the mean field is refused in words, and what can be compared is measured
    assert found["jacobian.mean_log_theory"].status == "not_applicable"
    assert "unbounded" in found["jacobian.mean_log_theory"].reason
    assert found["jacobian.mean_log_iid"].status == found["jacobian.mean_log_shuffled"].status == "measured"


def test_given_a_relu_layer_that_is_dead_then_nothing_is_measured_as_a_number() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    with torch.no_grad():
        network[0].bias.fill_(-1e3)
    found = _measured(network)["2.weight"]

    assert found["jacobian.mean_log"].status == "undetermined"
    assert found["jacobian.gain"].number == 0.0
    assert found["jacobian.zero_share"].number == 1.0


def test_given_degenerate_weights_then_nothing_breaks_and_nothing_is_a_false_number() -> None:
    network = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1))
    with torch.no_grad():
        network[0].weight.fill_(0.1)  # rank one
        network[2].weight.zero_()
    found = _measured(network)

    assert found["0.weight"]["jacobian.spectral_radius"].number == pytest.approx(0.6)
    for tensor in ("0.weight", "2.weight"):
        assert found[tensor]["jacobian.mean_log"].status == "undetermined"
        assert "singular" in found[tensor]["jacobian.mean_log"].reason
    assert found["2.weight"]["jacobian.residual"].status == "undetermined"
    assert found["2.weight"]["jacobian.spectral_radius"].number == 0.0
    assert found["4.weight"]["jacobian.norm"].status == "measured"


def test_given_theory_that_diverges_then_the_cut_average_stands_beside_the_reason() -> None:
    found = _measured(random_network(60, 3, 1.0, 1.0, seed=7), 0.95, 1.0)["4.weight"]

    assert found["jacobian.mean_log_theory"].status == "not_applicable"
    assert "r₀ = 0.01" in found["jacobian.mean_log_theory"].reason
    assert found["jacobian.mean_log_clipped_theory"].number > math.log(0.01)


def test_given_weights_whose_law_is_unknown_then_the_comparison_says_so() -> None:
    found = _measured(random_network(20, 2, 2.0, 1.0, seed=8), None)["2.weight"]

    assert found["jacobian.mean_log"].status == "measured"
    for name in ("mean_log_iid", "mean_log_theory"):
        assert "entries.alpha" in found[f"jacobian.{name}"].reason


def test_given_other_layers_then_each_has_its_reason() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.attention = nn.Conv1d(8, 8, 3, padding=1), nn.MultiheadAttention(8, 2, batch_first=True)
            self.rnn, self.fc = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x.transpose(1, 2)).transpose(1, 2)
            y = self.attention(y, y, y)[0]
            return self.fc(torch.tanh(self.rnn(y)[0]))

    inputs = np.random.default_rng(9).standard_normal((3, 5, 8)).astype(np.float32)
    found = _measured(Mixed(), inputs=inputs)

    reasons = {name: held["jacobian.mean_log"].reason for name, held in found.items()}
    assert "convolution" in reasons["conv.weight"]
    assert "attention" in reasons["attention.in_proj_weight"]
    assert "recurrent" in reasons["rnn.weight_hh_l0"]
    assert found["fc.weight"]["jacobian.mean_log"].status == "measured"


def test_given_the_same_seed_then_the_numbers_are_the_same() -> None:
    network = random_network(30, 3, 1.7, 1.2, seed=10)

    assert _measured(network, 1.7, 1.2) == _measured(network, 1.7, 1.2)


def _matrix(name: str, rows: int, columns: int) -> WeightMatrix:
    return WeightMatrix(
        name, "linear", (rows, columns), "float32", 1, rows, columns, (), None, name, None, lambda: np.zeros(0)
    )


def test_given_large_models_then_spectra_are_bounded_in_points_and_layers() -> None:
    small = plan([_matrix("a", 196, 196), _matrix("b", 10, 196)])
    medium = plan([_matrix(f"{k}", 784, 784) for k in range(3)])
    deep = plan([_matrix(f"{k}", 1024, 1024) for k in range(48)])
    huge = plan([_matrix("a", 4096, 4096), _matrix("b", 4096, 11008), _matrix("c", 2048, 8192), _matrix("d", 64, 64)])

    assert small == (4, {"a", "b"})
    assert medium[1] == {"0", "1", "2"}
    assert 1 <= medium[0] < 4
    assert deep[0] == 1
    assert {"0", "47"} <= deep[1]
    assert 4 <= len(deep[1]) < 12
    assert huge[1] <= {"c", "d"}


def test_given_a_layer_too_large_for_spectra_then_what_is_cheap_is_measured_and_the_rest_has_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("critaudit.dynamics.jacobian.dense.LARGEST_SQUARE", 16)
    monkeypatch.setattr("critaudit.dynamics.jacobian.dense.LARGEST_SIDE", 8)
    found = _measured(random_network(20, 2, 2.0, 1.0, seed=11, out=9))

    assert found["2.weight"]["jacobian.mean_log"].status == "measured"
    assert found["2.weight"]["jacobian.gain"].status == "measured"
    assert "spectra are computed up to" in found["2.weight"]["jacobian.expanding_share"].reason
    assert "spectra are computed up to" in found["4.weight"]["jacobian.mean_log_singular"].reason
