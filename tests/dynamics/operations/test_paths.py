"""Paths of a network: calibration apart from samples, inputs of one norm, normalisation calibrated where it must be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.dynamics.operations import Samples, linear_paths, network_paths, of_strength, watch
from critaudit.dynamics.running import CannotRunError
from tests.dynamics.operations.networks import Branching, Residual, Tokens, rms, samples


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    torch.manual_seed(7)
    with torch.no_grad():
        yield


def _images(count: int, seed: int) -> Samples:
    return lambda: samples(count, 3, 6, 6, seed=seed)


def test_paths_are_the_strengths_of_both_sets_of_inputs() -> None:
    network = Branching().eval()
    found = network_paths(network, lambda: samples(5, 6, seed=1), lambda: samples(3, 6, seed=2))
    watched = watch(network, samples(2, 6, seed=1))
    assert found.operations == watched.names
    np.testing.assert_allclose(found.calibration, watched.strengths(samples(5, 6, seed=1)), rtol=1e-6)
    np.testing.assert_allclose(found.strengths, watched.strengths(samples(3, 6, seed=2)), rtol=1e-6)
    assert found.overflowed == 0


def test_normalisation_without_data_is_calibrated_and_a_trained_one_stays() -> None:
    # GIVEN the same network fresh and with trained statistics
    fresh, trained = Residual().eval(), Residual().eval()
    trained.norm.running_mean += 0.3
    # WHEN paths are taken
    first = network_paths(fresh, _images(40, 1), _images(3, 2))
    second = network_paths(trained, _images(40, 1), _images(3, 2))
    # THEN the fresh one has the calibration inputs' statistics, so that its normalised signal has unit strength
    assert "calibrated" in first.method
    assert "calibrated" not in second.method
    assert first.calibration[:, first.operations.index("norm")].mean() == pytest.approx(1.0, abs=0.05)
    assert trained.norm.running_mean.tolist() == pytest.approx([0.3] * 4)


def test_the_linear_twin_runs_beside_and_says_what_it_is() -> None:
    network = Residual().eval()
    found = linear_paths(network, _images(20, 1), _images(3, 2))
    assert found.strengths.shape == (3, 10)
    assert "activations replaced by the identity" in found.method
    assert "from affine" not in found.method
    assert network.norm.running_mean.tolist() == [0.0] * 4


def test_token_networks_have_paths_too() -> None:
    def ids(count: int, seed: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return [torch.randint(0, 30, (1, 7), generator=generator) for _ in range(count)]

    found = network_paths(Tokens().eval(), lambda: of_strength(ids(4, 0), 1.0), lambda: of_strength(ids(6, 1), 1.0))
    assert found.strengths.shape == (6, 5)
    assert linear_paths(Tokens().eval(), lambda: ids(4, 0), lambda: ids(6, 1)).strengths.shape == (6, 5)


def test_an_input_that_overflows_is_left_out_and_counted() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).eval()
    inputs = [*samples(3, 4), torch.full((1, 4), 1e38) * 10]
    found = network_paths(network, lambda: samples(3, 4), lambda: inputs)
    assert len(found.strengths) == 3
    assert found.overflowed == 1


def test_inputs_are_scaled_to_one_strength_and_zeros_left_out() -> None:
    found = list(of_strength([*samples(3, 5), torch.zeros(1, 5)], 0.25))
    assert [rms(values) for values in found] == pytest.approx([0.25] * 3)


def test_one_calibration_input_is_too_few() -> None:
    for follow in (network_paths, linear_paths):
        with pytest.raises(CannotRunError, match="1 inputs to calibrate"):
            follow(Branching().eval(), lambda: samples(1, 6), lambda: samples(3, 6))


def test_the_same_inputs_give_the_same_paths() -> None:
    network = Branching().eval()
    first, second = (network_paths(network, lambda: samples(9, 6), lambda: samples(8, 6)) for _ in range(2))
    np.testing.assert_array_equal(first.strengths, second.strengths)
