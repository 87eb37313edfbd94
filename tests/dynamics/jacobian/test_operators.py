"""A Jacobian that is never written out acts like the one that is, whatever the module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import svds
from torch import nn

from critaudit.dynamics.jacobian import JacobianOperator, NotDifferentiableError, differentiable, operator
from tests.dynamics.jacobian.networks import PIECES, brute_force, piece


@pytest.mark.parametrize("name", PIECES)
def test_given_any_kind_of_block_then_its_products_equal_those_with_the_brute_force_jacobian(name: str) -> None:
    module, x = piece(name)
    matrix = brute_force(module, x)
    rng = np.random.default_rng(0)
    V, U = rng.standard_normal((matrix.shape[1], 3)), rng.standard_normal((matrix.shape[0], 3))

    with differentiable(module):
        J = operator(module, x)
        products = J.matvec(V[:, 0]), J.rmatvec(U[:, 0]), J.matmat(V), J.rmatmat(U), J.dense()

    expected = matrix @ V[:, 0], matrix.T @ U[:, 0], matrix @ V, matrix.T @ U, matrix
    scale = np.abs(matrix).max()
    # PyTorch's own derivative of the hard sigmoid holds 1/6 in single precision.
    rtol = 1e-7 if "sigmoid" in name else 1e-9
    assert J.shape == matrix.shape
    assert np.linalg.matrix_rank(matrix) > 0
    for found, wanted in zip(products, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=0.1 * rtol * scale)


@pytest.mark.parametrize("name", ["bottleneck", "attention", "depthwise"])
def test_given_single_precision_then_products_are_right_to_its_rounding(name: str) -> None:
    module, x = piece(name, torch.float32)
    wide, _ = piece(name)
    matrix = brute_force(wide, x.double())
    v = np.random.default_rng(0).standard_normal(matrix.shape[1])

    with differentiable(module):
        J = operator(module, x)
        found = J.matvec(v)

    assert found.dtype == J.dtype == np.float32
    assert np.linalg.norm(found - matrix @ v) < 1e-5 * np.linalg.norm(matrix @ v)


def test_given_half_precision_then_it_says_how_coarse_its_numbers_are() -> None:
    module = nn.Linear(6, 5).to(torch.bfloat16).requires_grad_(False)
    with differentiable(module):
        J = operator(module, torch.randn(1, 6, dtype=torch.bfloat16))
        found = J.dense()

    assert J.precision == pytest.approx(2**-7)
    np.testing.assert_array_equal(found, module.weight.float().numpy())


def test_given_the_scipy_form_then_a_library_routine_finds_the_largest_singular_values() -> None:
    module, x = piece("bottleneck")
    expected = np.linalg.svd(brute_force(module, x), compute_uv=False)

    with differentiable(module):
        found = svds(operator(module, x).linear_operator(), k=3, return_singular_vectors=False)

    np.testing.assert_allclose(np.sort(found)[::-1], expected[:3], rtol=1e-6)


def test_given_matrices_wider_than_a_batch_then_products_go_on_in_parts() -> None:
    module = nn.Linear(150, 140).double().requires_grad_(False)
    with differentiable(module):
        found = operator(module, torch.randn(1, 150, dtype=torch.float64)).dense()
    np.testing.assert_allclose(found, module.weight.numpy(), rtol=1e-12)


class _OnlyOnce(torch.autograd.Function):
    """sin with a hand-written derivative that has no derivative itself, and a tangent."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return grad * x.cos()

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return tangent * x.cos()


class _Sine(nn.Module):
    def __init__(self, only_once: bool) -> None:
        super().__init__()
        self.only_once = only_once

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _OnlyOnce.apply(x) if self.only_once else x.sin()  # type: ignore[no-any-return]


def test_given_an_operation_with_one_derivative_only_then_tangents_come_from_forward_mode() -> None:
    x = torch.randn(1, 5, dtype=torch.float64)
    with differentiable():
        J = operator(_Sine(only_once=True), x)
        for found in (J.rmatvec(np.ones(5)), J.matvec(np.ones(5)), J.matmat(np.eye(5)).sum(axis=1)):
            np.testing.assert_allclose(found, x.cos()[0].numpy(), rtol=1e-12)


def test_given_one_derivative_only_and_no_function_to_run_again_then_tangents_are_refused() -> None:
    x = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    with differentiable():
        J = JacobianOperator(x, _OnlyOnce.apply(x))
        np.testing.assert_allclose(J.rmatvec(np.ones(5)), x.cos()[0].detach().numpy(), rtol=1e-12)
        with pytest.raises(NotDifferentiableError, match="cannot be differentiated itself"):
            J.matvec(np.ones(5))


class _Detached(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.detach() * 2).sum(dim=-1, keepdim=True)


def test_given_an_output_that_does_not_depend_on_the_input_then_the_operator_is_zero() -> None:
    with differentiable():
        J = operator(_Detached(), torch.randn(2, 4))
        assert J.shape == (2, 8)
        assert not J.rmatvec(np.ones(2)).any()
        assert not J.matvec(np.ones(8)).any()
        assert not J.dense().any()


class _Words(nn.Module):
    def forward(self, x: torch.Tensor) -> str:
        return f"{x.shape}"


def test_given_a_module_without_a_tensor_to_differentiate_then_it_is_refused_in_one_line() -> None:
    with differentiable(), pytest.raises(NotDifferentiableError, match="_Words gave no floating-point tensor"):
        operator(_Words(), torch.randn(2))


def test_given_surroundings_for_derivatives_then_global_switches_are_as_before_afterwards() -> None:
    before = torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()
    with torch.no_grad():
        with differentiable(nn.LSTM(2, 2)):
            assert torch.is_grad_enabled()
            assert not torch.backends.mha.get_fastpath_enabled()
        assert not torch.is_grad_enabled()
    assert (torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()) == before


def test_given_trainable_weights_then_convolutions_keep_their_gradients_inside_the_surroundings() -> None:
    # GIVEN a convolution in training, which the linear maps must leave alone
    layer = nn.Conv2d(2, 3, 3)
    with differentiable(layer):
        layer(torch.randn(1, 2, 4, 4)).square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_given_batch_normalisation_then_values_in_the_surroundings_are_the_usual_ones() -> None:
    module, x = piece("residual")
    with differentiable(module):
        inside = module(x)
    torch.testing.assert_close(inside, module(x), rtol=1e-12, atol=1e-12)


class _HalfHidden(nn.Module):
    """x + sin x, where only the sum's second derivative is seen by autograd."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + _OnlyOnce.apply(x)


def test_given_one_path_with_a_hidden_derivative_beside_an_ordinary_one_then_it_is_not_dropped() -> None:
    x = torch.randn(1, 5, dtype=torch.float64)
    with differentiable():
        np.testing.assert_allclose(operator(_HalfHidden(), x).matvec(np.ones(5)), 1 + x.cos()[0].numpy(), rtol=1e-12)
        start = x.clone().requires_grad_(True)
        with pytest.raises(NotDifferentiableError):
            JacobianOperator(start, _HalfHidden()(start)).matvec(np.ones(5))


def test_given_forward_mode_through_convolutions_then_products_are_right() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), _HalfHidden(), nn.ConvTranspose2d(3, 2, 2))
    module = module.eval().double().requires_grad_(False)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    plain = nn.Sequential(*module[:2], _Plain(), module[3])
    v = np.random.default_rng(0).standard_normal(x.numel())
    with differentiable():
        found = operator(module, x).matvec(v)
    np.testing.assert_allclose(found, brute_force(plain, x) @ v, rtol=1e-10)


class _Plain(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x.sin()


def test_given_batch_normalisation_then_no_slow_derivative_is_in_the_graph() -> None:
    # GIVEN PyTorch's layer, and its function as other libraries call it
    layer = nn.BatchNorm2d(3).eval().requires_grad_(False)
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    with differentiable(layer):
        for y in (layer(x), nn.functional.batch_norm(x, layer.running_mean, layer.running_var, layer.weight)):
            assert y.grad_fn is not None
            assert "BatchNorm" not in y.grad_fn.name()
            torch.testing.assert_close(y, layer(x))
    assert "BatchNorm" in layer(x).grad_fn.name()
