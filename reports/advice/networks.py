"""The networks of the studies on initialisation, and the initialisations that are compared on them."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable

import torch
from torch import nn

WIDTH = 128
CLASSES = 10


def network(name: str) -> nn.Module:
    """`tanh-L` and `relu-L`: L hidden layers of 128; `resnet`, `resnet-plain` (no normalisation); `transformer`."""
    kind, _, depth = name.partition("-")
    if kind in ("tanh", "relu"):
        return _chain(int(depth), nn.Tanh if kind == "tanh" else nn.ReLU)
    if kind == "resnet":
        return Residual(normalised=depth != "plain")
    return Transformer()


def _chain(depth: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 784
    for _ in range(depth):
        layers += [nn.Linear(width, WIDTH), activation()]
        width = WIDTH
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


class Block(nn.Module):
    """relu(x + conv(relu(conv(x)))), with or without batch normalisation behind each convolution."""

    def __init__(self, into: int, out: int, stride: int, *, normalised: bool) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if normalised else lambda _: nn.Identity()
        self.conv1 = nn.Conv2d(into, out, 3, stride, 1, bias=not normalised)
        self.norm1 = norm(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=not normalised)
        self.norm2 = norm(out)
        self.skip: nn.Module = nn.Identity()
        if into != out or stride != 1:
            self.skip = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=not normalised), norm(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        branch = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(self.skip(x) + branch)


class Residual(nn.Module):
    """A residual network of 8 blocks for 28×28 images (17 convolutions deep), widths 16, 32, 64."""

    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, 2, 1, bias=not normalised)
        self.norm = nn.BatchNorm2d(16) if normalised else nn.Identity()
        sizes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2), (64, 64, 1)]
        self.blocks = nn.Sequential(*(Block(*size, normalised=normalised) for size in sizes))
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of flat images (n, 784)."""
        x = torch.relu(self.norm(self.stem(x.view(-1, 1, 28, 28))))
        return self.head(self.blocks(x).mean((2, 3)))


class Layer(nn.Module):
    """A pre-normalised transformer layer: x + attention(norm(x)), x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.act, self.fc2 = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output, of x's shape (n, tokens, width)."""
        n, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*qkv)
        x = x + self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class Transformer(nn.Module):
    """A transformer of 6 layers over the 28 rows of an image, width 64, mean pooling."""

    def __init__(self, depth: int = 6, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(28, width)
        self.position = nn.Parameter(torch.zeros(1, 28, width))
        nn.init.normal_(self.position, std=0.02)
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of flat images (n, 784)."""
        x = self.embed(x.view(-1, 28, 28)) + self.position
        return self.head(self.norm(self.layers(x)).mean(1))


def _weights(module: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]


def _each(module: nn.Module, fill: Callable[[torch.Tensor], object]) -> None:
    for layer in _weights(module):
        fill(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def xavier(module: nn.Module, _: torch.Tensor) -> None:
    """Glorot's normal, gain 1, biases zero."""
    _each(module, nn.init.xavier_normal_)


def kaiming(module: nn.Module, _: torch.Tensor) -> None:
    """He's normal for ReLU (fan-in), biases zero."""
    _each(module, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


def orthogonal(module: nn.Module, _: torch.Tensor) -> None:
    """Orthogonal, gain 1, biases zero."""
    _each(module, nn.init.orthogonal_)


def orthogonal_relu(module: nn.Module, _: torch.Tensor) -> None:
    """Orthogonal, gain √2, biases zero."""
    _each(module, lambda weight: nn.init.orthogonal_(weight, math.sqrt(2.0)))


def lsuv(module: nn.Module, batch: torch.Tensor) -> None:
    """The package lsuv with its defaults."""
    from lsuv import lsuv_with_singlebatch

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lsuv_with_singlebatch(module, batch, verbose=False)


def anyinit_analytic(module: nn.Module, batch: torch.Tensor) -> None:
    """The package anyinit with its defaults (no data)."""
    import anyinit

    anyinit.initialize(module, "analytic", batch)


def anyinit_empirical(module: nn.Module, batch: torch.Tensor) -> None:
    """The package anyinit in its empirical mode."""
    import anyinit

    anyinit.initialize(module, "empirical", batch)


def default(module: nn.Module, batch: torch.Tensor) -> None:
    """What PyTorch gives."""


METHODS: dict[str, Callable[[nn.Module, torch.Tensor], None]] = {
    one.__name__: one
    for one in (default, xavier, kaiming, orthogonal, orthogonal_relu, lsuv, anyinit_analytic, anyinit_empirical)
}
