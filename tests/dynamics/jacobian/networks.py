"""Small blocks and networks with known structure, in float64 so that only arithmetic is left as error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.resnet import BasicBlock, Bottleneck
from timm.models.vision_transformer import Block
from torch import nn

from critaudit.contents import Preprocessing, Runnable
from critaudit.dynamics.hooks import first_signal
from critaudit.dynamics.running import Running, running

Made = tuple[nn.Module, torch.Tensor]


class Pair(nn.Module):
    """Gives a tuple whose first tensor is the signal, and takes a second argument that is constant."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> tuple[torch.Tensor, None]:
        return torch.tanh(self.inner(x)) * gain, None


class Tokens(nn.Module):
    """Pixels as tokens: the gradient comes back in another memory layout."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).transpose(1, 2)


def _pieces() -> dict[str, Callable[[], Made]]:
    return {
        "convolution": lambda: (nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=1), torch.randn(1, 3, 7, 6)),
        "depthwise": lambda: (nn.Conv2d(4, 8, 3, groups=4, padding=1, bias=False), torch.randn(1, 4, 5, 5)),
        "1d, same": lambda: (nn.Conv1d(3, 3, 4, padding="same", dilation=2), torch.randn(1, 3, 9)),
        "3d": lambda: (nn.Conv3d(2, 2, 2, stride=(1, 2, 1)), torch.randn(1, 2, 3, 4, 3)),
        "transposed": lambda: (
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
            torch.randn(1, 4, 3, 4),
        ),
        "circular": lambda: (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), torch.randn(1, 2, 4, 4)),
        "unbatched": lambda: (nn.Conv2d(2, 3, 3), torch.randn(2, 5, 5)),
        "residual": lambda: (BasicBlock(4, 4), torch.randn(1, 4, 6, 6)),
        "bottleneck": lambda: (Bottleneck(8, 2), torch.randn(1, 8, 5, 5)),
        "inverted, silu in place": lambda: (
            nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.SiLU(inplace=True), nn.Conv2d(6, 3, 3, groups=3)),
            torch.randn(1, 3, 5, 5),
        ),
        "attention": lambda: (Block(16, 4, qkv_bias=True), torch.randn(1, 5, 16)),
        "encoder layer": lambda: (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), torch.randn(1, 5, 16)),
        "lstm": lambda: (nn.LSTM(5, 6, 2, batch_first=True), torch.randn(1, 4, 5)),
        "pooling and norms": lambda: (
            nn.Sequential(nn.GroupNorm(2, 4), nn.MaxPool2d(2), nn.PReLU(), nn.Upsample(scale_factor=2), nn.Softmax(1)),
            torch.randn(1, 4, 4, 4),
        ),
        "hard swish, hard sigmoid in place": lambda: (
            nn.Sequential(nn.Conv2d(2, 3, 1), nn.Hardswish(), nn.Conv2d(3, 3, 1), nn.Hardsigmoid(inplace=True)),
            3 * torch.randn(1, 2, 4, 4),
        ),
        "hard swish in place": lambda: (nn.Sequential(nn.Linear(4, 5), nn.Hardswish(inplace=True)), torch.randn(3, 4)),
        "tokens out of a normalised convolution": lambda: (
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), Tokens()),
            torch.randn(1, 3, 8, 8),
        ),
        "tuple": lambda: (Pair(), torch.randn(1, 6)),
    }


PIECES = tuple(_pieces())


def piece(name: str, dtype: torch.dtype = torch.float64) -> Made:
    """A block of that kind with untidy normalisation statistics, at rest, and an input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sum(map(ord, name)))
        module, x = _pieces()[name]()
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2.0)
                nn.init.normal_(layer.weight)
                nn.init.normal_(layer.bias)
    return module.eval().to(dtype).requires_grad_(False), x.to(dtype)


def brute_force(module: nn.Module, x: torch.Tensor) -> NDArray[np.float64]:
    """The Jacobian by `torch.func.jacrev`, shape (outputs, inputs)."""

    def function(values: torch.Tensor) -> torch.Tensor:
        found = first_signal(module(values.clone()))
        assert found is not None
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that fused attention is mapped one by one
        matrix = torch.func.jacrev(function)(x)
    return np.asarray(matrix.reshape(-1, x.numel()).detach().double().numpy())


class Residual(nn.Module):
    """x + branch(x), and a nonlinearity behind the sum where one is given."""

    def __init__(self, branch: nn.Module, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.behind = behind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = x + self.branch(x)
        return found if self.behind is None else self.behind(found)


def mlp_branch(width: int) -> nn.Sequential:
    """Two dense layers with tanh between them."""
    return nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))


def runnable(module: nn.Module, shape: tuple[int, ...]) -> Runnable:
    """A source that runs `module` on samples of `shape`."""
    return Runnable(lambda: module.eval(), Preprocessing(shape), {})


@contextmanager
def opened(module: nn.Module, shape: tuple[int, ...], *, samples: int = 4, seed: int = 0) -> Iterator[Running]:
    """`running` that lets the body's own errors through as they are, so that none of ours can hide."""
    mine: list[BaseException] = []
    try:
        with running(runnable(module, shape), samples=samples, seed=seed) as network:
            try:
                yield network
            except BaseException as error:
                mine.append(error)
                raise
    except BaseException:
        if mine:
            raise mine[0] from None
        raise
