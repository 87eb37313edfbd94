"""Weights stored in several tensors come out as the module's own effective weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from critaudit.structure import arrange
from tests.structure.models import array_reference, look, parameters

LAYERS = [
    lambda: nn.Linear(4, 3),
    lambda: nn.Conv1d(3, 4, 5),
    lambda: nn.Conv2d(4, 6, 3, groups=2),
    lambda: nn.Conv3d(2, 3, (1, 2, 3)),
    lambda: nn.ConvTranspose2d(4, 4, 3),
]


def effective(module: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return module.weight.numpy().reshape(-1)


def stored_order(module: nn.Module, blocks: np.ndarray) -> np.ndarray:
    """Blocks back in the order of the stored weight."""
    if not isinstance(module, nn.ConvTranspose2d):
        return blocks.reshape(-1)
    shape = module.weight.shape
    return blocks.reshape(shape[1], shape[0], -1).transpose(1, 0, 2).reshape(-1)


@pytest.mark.parametrize("hinted", [True, False])
@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("dim", [0, 1, None])
def test_given_new_weight_norm_then_the_matrix_is_the_modules_weight(make, dim: int | None, hinted: bool) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    module = parametrizations.weight_norm(make(), dim=dim)
    with torch.no_grad():
        module.parametrizations.weight.original1.mul_(3)
    matrices, ledger = look(module, hinted=hinted)
    assert list(matrices) == ["weight"]
    if hinted or not isinstance(module, nn.ConvTranspose2d):
        np.testing.assert_allclose(stored_order(module, matrices["weight"].read()), effective(module), rtol=1e-5)
    for member in ("original0", "original1"):
        entry = ledger[f"parametrizations.weight.{member}"]
        assert entry.status == "analysed"
        assert entry.reason is not None
        assert "weight norm" in entry.reason
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)


@pytest.mark.parametrize("make", LAYERS[:4])
@pytest.mark.parametrize("dim", [0, None])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_given_old_weight_norm_then_the_matrix_is_the_modules_weight(make, dim: int | None) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    module = nn.utils.weight_norm(make(), dim=dim)
    with torch.no_grad():
        module.weight_v.mul_(0.2)
    module(torch.zeros(1, 4) if isinstance(module, nn.Linear) else torch.zeros(1, *_input(module)))
    matrices, ledger = look(module)
    np.testing.assert_allclose(stored_order(module, matrices["weight"].read()), effective(module), rtol=1e-5)
    assert matrices["weight"].tensor == "weight_v"
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)


def _input(module: nn.Module) -> tuple[int, ...]:
    return (module.in_channels, *[6] * (module.weight.ndim - 2))


@pytest.mark.parametrize("hinted", [True, False])
@pytest.mark.parametrize("style", ["old", "new"])
@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_given_spectral_norm_then_the_matrix_is_the_modules_weight(make, style: str, hinted: bool) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    layer = make()
    if isinstance(layer, nn.ConvTranspose2d):
        layer = nn.ConvTranspose2d(4, 6, 3)
    norm = nn.utils.spectral_norm if style == "old" else parametrizations.spectral_norm
    module = norm(layer).eval()
    values = torch.zeros(1, 4) if isinstance(layer, nn.Linear) else torch.zeros(1, *_input(layer))
    module(values)
    matrices, ledger = look(module, hinted=hinted)
    np.testing.assert_allclose(stored_order(module, matrices["weight"].read()), effective(module), rtol=1e-4)
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)
    helpers = [entry for entry in ledger.values() if entry.reason and "singular vector" in entry.reason]
    assert len(helpers) == 2


def test_given_spectral_norm_without_v_then_sigma_follows_from_u() -> None:
    rng = np.random.default_rng(0)
    weight, u = rng.standard_normal((3, 5)), rng.standard_normal(3)
    u /= np.linalg.norm(u)
    tensors = {"weight_orig": array_reference(weight), "weight_u": array_reference(u)}
    (matrix,), _ = arrange(tensors, {}, ())
    np.testing.assert_allclose(matrix.read()[0], weight / np.linalg.norm(weight.T @ u))


def test_given_a_pruned_layer_then_the_mask_acts_and_is_no_parameter() -> None:
    torch.manual_seed(0)
    module = prune.random_unstructured(nn.Conv2d(3, 4, 3), "weight", amount=0.5)
    matrices, ledger = look(module)
    np.testing.assert_array_equal(matrices["weight"].read().reshape(-1), effective(module))
    assert (matrices["weight"].read() == 0).sum() == 54
    assert ledger["weight_mask"].reason == "buffer: pruning mask"
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)


@pytest.mark.parametrize("scale_shape", [(), (1,), (6,), (6, 1), (2, 2), (3, 4)])
def test_given_eight_bit_weights_then_their_scales_act(scale_shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(-127, 128, (6, 8)).astype(np.int8)
    scale = rng.uniform(0.5, 2, scale_shape).astype(np.float32)
    tensors = {"fc.weight": array_reference(stored), "fc.weight_scale": array_reference(scale)}
    (matrix,), ledger = arrange(tensors, {}, ())
    if scale.size > 1 and scale.ndim == 2 and scale.shape[1] > 1:
        full = np.kron(scale, np.ones((6 // scale.shape[0], 8 // scale.shape[1]), np.float32))
    else:
        full = scale.reshape(-1, 1) if scale.size > 1 else scale.reshape(1, 1)
    np.testing.assert_array_equal(matrix.read()[0], stored.astype(np.float32) * full)
    assert [entry.parameters for entry in ledger] == [48, 0]


def test_given_llm_int8_then_rows_are_scaled_by_their_largest_entry() -> None:
    stored = np.array([[127, -64], [32, 127]], np.int8)
    tensors = {"fc.weight": array_reference(stored), "fc.SCB": array_reference(np.array([0.5, 2.0], np.float32))}
    (matrix,), _ = arrange(tensors, {}, ())
    np.testing.assert_allclose(matrix.read()[0], stored * np.array([[0.5], [2.0]]) / 127, rtol=1e-6)


def test_given_scales_that_do_not_fit_then_whole_numbers_are_skipped() -> None:
    tensors = {
        "fc.weight": array_reference(np.ones((6, 8), np.int8)),
        "fc.weight_scale": array_reference(np.ones((5,), np.float32)),
    }
    matrices, ledger = arrange(tensors, {}, ())
    assert not matrices
    assert ledger[0].reason == "whole numbers: no weights"


def test_given_half_precision_weight_norm_then_the_result_is_single_precision() -> None:
    rng = np.random.default_rng(0)
    v, g = rng.standard_normal((4, 6)).astype(np.float16), rng.uniform(1, 2, (4, 1)).astype(np.float16)
    (matrix,), _ = arrange({"a.weight_g": array_reference(g), "a.weight_v": array_reference(v)}, {}, ())
    expected = g.astype("f8") * v / np.linalg.norm(v.astype("f8"), axis=1, keepdims=True)
    np.testing.assert_allclose(matrix.read()[0], expected, rtol=1e-6)


def test_given_a_zero_direction_then_the_entries_are_not_finite_and_nothing_breaks() -> None:
    tensors = {"a.weight_g": array_reference(np.ones((2, 1))), "a.weight_v": array_reference(np.zeros((2, 3)))}
    (matrix,), _ = arrange(tensors, {}, ())
    assert np.isnan(matrix.read()).all()


def test_given_a_lone_weight_v_or_orig_then_it_is_an_ordinary_weight() -> None:
    tensors = {"a.weight_v": array_reference(np.ones((2, 3))), "b.weight_orig": array_reference(np.ones((2, 3)))}
    matrices, _ = arrange(tensors, {}, ())
    assert [matrix.name for matrix in matrices] == ["a.weight_v", "b.weight_orig"]


def test_given_an_unknown_parametrisation_then_the_stored_tensor_is_shown_as_such() -> None:
    module = parametrizations.orthogonal(nn.Linear(4, 4))
    matrices, ledger = look(module)
    assert matrices["weight"].note == "the tensor under an unknown parametrisation, as stored"
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)
