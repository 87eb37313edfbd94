"""A source's network is followed as the definition says, on inputs of one norm; what cannot be followed says why."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import Preprocessing, Runnable
from critaudit.dynamics import model_paths as module
from critaudit.dynamics.model_paths import affordable, model_paths
from critaudit.dynamics.operations import watch
from critaudit.errors import UsageError
from tests.dynamics.operations.networks import Branching, Recurrent, Tokens, rms


@pytest.fixture(autouse=True)
def _few_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEWEST", 24)
    monkeypatch.setattr(module, "_MOST", 24)
    torch.manual_seed(11)


def _runnable(network: nn.Module, *shape: int) -> Runnable:
    return Runnable(lambda: network.eval(), Preprocessing(shape) if shape else None, {})


def test_random_inputs_are_followed_and_a_third_as_many_others_calibrate() -> None:
    found = model_paths(_runnable(Branching()), seed=3)
    assert found.reason is None
    assert found.network is not None
    assert found.network.strengths.shape == (24, 5)
    assert found.network.calibration.shape == (8, 5)
    assert not np.isin(found.network.calibration[:, 0], found.network.strengths[:, 0]).any()
    assert "24 inputs and 8 others for the thresholds, each scaled to strength" in found.method
    # The twin ran on the same inputs: before the first activation nothing differs.
    assert found.linear is not None
    np.testing.assert_allclose(found.linear.strengths[:, 0], found.network.strengths[:, 0], rtol=1e-6)
    assert not np.allclose(found.linear.strengths[:, 2], found.network.strengths[:, 2], rtol=1e-3)


def test_the_same_seed_gives_the_same_strengths_and_another_one_others() -> None:
    network = Branching()
    first, again, other = (model_paths(_runnable(network), seed=seed).network for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(first.strengths, again.strengths)
    assert not np.array_equal(first.strengths, other.strengths)


def test_of_given_inputs_every_third_calibrates_and_all_have_the_mean_strength() -> None:
    # GIVEN 60 inputs of very different norms
    network = Branching().eval()
    rng = np.random.default_rng(0)
    inputs = (rng.standard_normal((60, 6)) * rng.uniform(0.1, 10, (60, 1))).astype(np.float32)
    # WHEN they are followed
    found = model_paths(_runnable(network), inputs=inputs)
    # THEN strengths are those of the inputs scaled to their mean strength
    assert found.network is not None
    assert (len(found.network.calibration), len(found.network.strengths)) == (20, 40)
    norms = [rms(torch.from_numpy(values)) for values in inputs]
    scaled = [
        torch.from_numpy(values[np.newaxis] * np.float32(np.mean(norms) / norm))
        for values, norm in zip(inputs, norms, strict=True)
    ]
    with torch.no_grad():
        expected = watch(network, scaled[:2]).strengths(scaled)
    np.testing.assert_allclose(found.network.calibration, expected[::3], rtol=1e-5)
    np.testing.assert_allclose(found.network.strengths[:2], expected[1:3], rtol=1e-5)
    assert found.method.startswith("60 given inputs, each scaled to strength")


def test_recurrent_and_token_networks_are_followed() -> None:
    recurrent = model_paths(_runnable(Recurrent(), 9, 5))
    assert recurrent.network is not None
    assert recurrent.network.operations == ("encode", "memory", "answer")
    assert recurrent.linear is None
    assert "no activation" in str(recurrent.linear_reason)
    tokens = model_paths(_runnable(Tokens()))
    assert tokens.network is not None
    assert tokens.network.operations[0] == "embed"


def test_what_cannot_be_followed_says_why() -> None:
    few = np.ones((59, 6), dtype=np.float32)
    assert "avalanches need 60 or more" in str(model_paths(_runnable(Branching()), inputs=few).reason)
    broken = np.full((60, 6), np.nan, dtype=np.float32)
    assert "NaN" in str(model_paths(_runnable(Branching()), inputs=broken).reason)
    assert "forward pass failed" in str(model_paths(_runnable(Branching(), 7)).reason)
    with pytest.raises(UsageError, match="cannot be used"):
        model_paths(_runnable(Branching()), device="no such device")


def test_cheap_networks_get_more_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert affordable(1.0) == 4096
    assert affordable(2.5e9) == 2000
    assert affordable(1e12) == 64
