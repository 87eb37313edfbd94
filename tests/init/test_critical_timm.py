"""Published architectures of every family: initialised, run, and passed backward."""

from __future__ import annotations

import math

import pytest
import timm
import torch
import torch.nn.functional as F

from critaudit.init import critical_
from critaudit.init.modes import calm
from tests.init.networks import batch

# Name, options, and how many residual branches get their size.
FAMILIES = {
    "resnet10t": ({}, 4),
    "vit_tiny_patch16_224": ({"img_size": 32}, 24),
    "convnext_atto": ({}, 0),  # layer scales set the branches
    "efficientnet_b0": ({}, 9),
    "swin_tiny_patch4_window7_224": ({"img_size": 32, "window_size": 4, "depths": (1, 1, 2, 1)}, 10),
    "mixer_s32_224": ({"img_size": 32}, 16),
    "densenet121": ({}, 0),
    "regnetx_002": ({}, 13),
    "mobilenetv3_small_050": ({}, 7),
    "nf_resnet26": ({}, 0),  # standardised weights are functions of parameters
    "xcit_nano_12_p16_224": ({"img_size": 32}, 0),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_timm(name: str) -> None:
    options, branches = FAMILIES[name]
    torch.manual_seed(0)
    module = timm.create_model(name, num_classes=10, **options)
    inputs = batch(4, 3, 32, 32)
    found = critical_(module, inputs)
    assert found.branches == branches
    named = {layer.name for layer in found.layers}
    assert {key for key, value in module.named_parameters() if value.ndim > 1} <= named
    assert all(layer.reason for layer in found.layers if layer.strength is None and layer.role != "branch_end")
    with calm(module):
        output = module(inputs)
        loss = F.cross_entropy(output, torch.arange(4))
        gradients = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(one).all() for one in gradients if one is not None)
    readouts = [layer for layer in found.layers if layer.role == "readout"]
    assert [layer.strength for layer in readouts] == [1.0]
    assert float(output.detach().square().mean().sqrt()) == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
def test_gradients_reach_the_first_layer_of_convolutions_without_norms(activation: str) -> None:
    bend = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU, "silu": torch.nn.SiLU}[activation]
    parts: list[torch.nn.Module] = []
    for place in range(16):
        parts += [torch.nn.Conv2d(24 if place else 3, 24, 3, padding=1, padding_mode="circular"), bend()]
    network = torch.nn.Sequential(*parts, torch.nn.Flatten(), torch.nn.Linear(24 * 64, 5))
    inputs = batch(8, 3, 8, 8)

    def change() -> float:
        signals = [network[0](inputs)]
        for part in network[1:]:
            signals.append(part(signals[-1]))
        first, last = torch.autograd.grad(F.cross_entropy(signals[-1], torch.arange(8) % 5), [signals[0], signals[30]])
        return math.log(float(first.norm() / last.norm()))

    default = change()
    critical_(network, inputs)
    assert abs(change()) < 1.5
    assert default < -3.0
