"""One forward and one backward pass, and sharpness, against gradients and matrices made by hand."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critaudit.advice.initial.passes import LayerPass, Passes, experimental, passes
from critaudit.advice.initial.sharpness import sharpness
from critaudit.errors import CritauditError


def batch(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(inplace), nn.Linear(8, 8), nn.ReLU(inplace), nn.Dropout(0.4), nn.Linear(8, 3)
    )


@pytest.mark.parametrize("inplace", [False, True])
def test_signals_and_gradients_are_those_at_the_weights_outputs(inplace: bool) -> None:
    module, x, y = mlp(inplace), batch(16, 6), torch.arange(16) % 3
    found = passes(module, (x,), F.cross_entropy, y)
    h1 = module[0](x)
    h2 = module[2](h1.relu())
    h3 = module[5](h2.relu())
    loss = F.cross_entropy(h3, y)
    gradients = torch.autograd.grad(loss, [h1, h2, h3])
    assert [layer.name for layer in found.layers] == ["0.weight", "2.weight", "5.weight"]
    for layer, h, gradient in zip(found.layers, (h1, h2, h3), gradients, strict=True):
        assert layer.signal == pytest.approx(h.detach().norm().item() / math.sqrt(h.numel()), rel=1e-5)
        assert layer.gradient == pytest.approx(gradient.norm().item(), rel=1e-5)
    assert found.loss == pytest.approx(loss.item(), rel=1e-6)
    assert found.signal_total == pytest.approx(2 * math.log(found.layers[1].signal / found.layers[0].signal))
    assert found.gradient_total == pytest.approx(2 * math.log(found.layers[0].gradient / found.layers[1].gradient))
    assert found.signal_growth == pytest.approx(found.signal_total)


def test_growth_is_per_layer_and_none_where_there_is_none() -> None:
    layers = tuple(LayerPass(str(i), 2.0**i, 3.0**-i) for i in range(5))
    found = Passes((*layers, LayerPass("out", 7.0, 9.0)), 1.0)
    assert found.signal_growth == pytest.approx(2 * math.log(2.0))
    assert found.gradient_growth == pytest.approx(2 * math.log(3.0))
    assert found.gradient_total == pytest.approx(8 * math.log(3.0))
    assert Passes(layers[:2], 1.0).signal_total is None
    assert Passes((LayerPass("a", 0.0, None), *layers), 1.0).signal_total is None
    assert Passes((LayerPass("a", 1.0, None), *layers), 1.0).gradient_total is None
    assert Passes((), 1.0).signal_growth is None


def test_the_module_is_left_as_it_is() -> None:
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    module(batch(4, 6)).sum().backward()
    module[1].eval()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    gradients = [value.grad.clone() for value in module.parameters()]
    modes = [part.training for part in module.modules()]
    random = torch.random.get_rng_state()
    y = torch.arange(16) % 3
    first = passes(module, (batch(16, 6),), F.cross_entropy, y)
    assert passes(module, (batch(16, 6),), F.cross_entropy, y) == first
    assert sharpness(module, (batch(16, 6),)) == sharpness(module, (batch(16, 6),))
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    assert all(torch.equal(one, value.grad) for one, value in zip(gradients, module.parameters(), strict=True))
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(random, torch.random.get_rng_state())
    assert not module._forward_hooks


def test_frozen_modules_have_no_gradients_but_signals() -> None:
    module = mlp().requires_grad_(False)
    found = passes(module, (batch(16, 6),), F.cross_entropy, torch.arange(16) % 3)
    assert all(layer.gradient is None for layer in found.layers)
    assert found.signal_total is not None


def test_a_copy_to_experiment_on_has_no_dropout_and_batch_statistics() -> None:
    module = nn.Sequential(
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.Dropout(),
        nn.LSTM(8, 8, 2, dropout=0.5),
        nn.MultiheadAttention(8, 2, 0.1),
    ).eval()
    copied = experimental(module)
    assert [part.training for part in copied] == [False, True, False, True, False]
    assert copied[3].dropout == 0.0
    assert module[3].dropout == 0.5
    assert not any(part.training for part in module.modules())
    assert copied[0].weight is not module[0].weight


class Attention(nn.Module):
    """Fused attention, which has no second derivative of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v).mean(1))


def explicit(module: nn.Module, x: Tensor, loss) -> Tensor:
    """JᵀHJ row by row: J by one backward pass per output, H by torch's own Hessian."""
    module = module.double()
    output = module(x.double())
    parameters = list(module.parameters())
    rows = [
        torch.cat([part.flatten() for part in torch.autograd.grad(one, parameters, retain_graph=True)])
        for one in output.flatten()
    ]
    jacobian = torch.stack(rows)
    hessian = torch.autograd.functional.hessian(lambda o: loss(o.view_as(output)), output.detach().flatten())
    return jacobian.T @ hessian @ jacobian


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    words = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    return {
        "chain": (plain, batch(7, 5)),
        "attention": (Attention(), batch(5, 6, 4)),
        "positions": (words, batch(3, 4, 4)),
    }


@pytest.mark.parametrize("name", ["chain", "attention", "positions"])
@pytest.mark.parametrize("kind", ["cross_entropy", "squared"])
@pytest.mark.parametrize("given", [False, True])
def test_sharpness_is_the_largest_eigenvalue_of_the_explicit_matrix(name: str, kind: str, given: bool) -> None:
    module, x = networks()[name]
    shape = module(x).shape
    targets = (
        torch.arange(shape[:-1].numel()).view(shape[:-1]) % 3 if kind == "cross_entropy" else batch(*shape, seed=4)
    )

    def loss(output: Tensor, truth: Tensor) -> Tensor:
        if kind == "squared":
            return F.mse_loss(output, truth.to(output.dtype))
        return F.cross_entropy(output.reshape(-1, 3), truth.reshape(-1))

    explicitly = explicit(copy.deepcopy(module), x, lambda o: loss(o, targets))
    largest = float(torch.linalg.eigvalsh(explicitly)[-1])
    options: dict[str, Any] = {"loss": loss, "targets": targets} if given else {"loss_curvature": kind}
    # The error of an eigenvalue is of second order in the residual, over the gap to the next one.
    for settled, error in ((0.1, 0.1), (0.02, 0.02), (1e-3, 1e-4)):
        found = sharpness(module, (x,), settled=settled, **options)
        assert found.samples == shape[:-1].numel()
        assert found.residual < settled
        assert found.value == pytest.approx(largest, rel=error)
        assert found.value <= largest * (1 + 1e-4)


def test_a_loss_of_the_user_has_its_own_curvature() -> None:
    module, x = networks()["chain"]
    found = sharpness(module, (x,), loss=lambda o, _: (o**4).sum(), targets=None, settled=0.02)
    values = torch.linalg.eigvalsh(explicit(module, x, lambda o: (o**4).sum()))
    assert found.value == pytest.approx(float(values[-1]), rel=0.02)
    straight = sharpness(module.float(), (x,), loss=lambda o, _: o.sum(), targets=None)
    assert straight.value == 0.0
    assert straight.residual == 0.0


def test_gradient_descent_is_stable_up_to_two_over_the_sharpness() -> None:
    module, x = nn.Linear(5, 1, bias=False).double(), batch(20, 5).double()
    limit = 2.0 / sharpness(module, (x,), loss_curvature="squared", settled=0.02).value
    for factor, stable in ((0.97, True), (1.06, False)):
        weight = torch.ones(1, 5, dtype=torch.float64)
        for _ in range(300):
            weight = weight - factor * limit * 2.0 / 20 * (weight @ x.T) @ x
        assert (float(weight.norm()) < 10.0) == stable


def test_weights_that_are_not_finite_are_an_error() -> None:
    module, x = networks()["chain"]
    module[0].weight.data.fill_(math.nan)
    with pytest.raises(CritauditError, match="not finite"):
        sharpness(module, (x,))
