"""Small networks with known operations."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """A convolutional net with a shared, in-place activation, a sum, a function call, views and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.shift = nn.Parameter(torch.ones(4, 1, 1))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.stem(x)))
        y = self.act(self.body(x)) + self.shift.abs()
        y += x
        y = functional.max_pool2d(functional.relu(y), 3)
        y = self.drop(y).transpose(2, 3).contiguous()
        return self.head(y.flatten(1))


class Branching(nn.Module):
    """Its control flow depends on values, so that no graph can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.act = nn.Tanh()
        self.second = nn.Linear(8, 8)
        self.third = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.first(x))
        if float(x.abs().sum()) > 1e9:
            x = x * 0
        return self.third(self.act(self.second(x)))


class Recurrent(nn.Module):
    """Its hidden states are time first."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(5, 6)
        self.memory = nn.LSTM(6, 7)
        self.answer = nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.memory(self.encode(x).transpose(0, 1))
        return self.answer(states).transpose(0, 1)


class Tokens(nn.Module):
    """A small classifier of token sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 8)
        self.mix = nn.Linear(8, 8)
        self.answer = nn.Linear(8, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.answer(torch.tanh(self.mix(self.embed(ids))).mean(dim=1))


def samples(count: int, *shape: int, seed: int = 0) -> list[torch.Tensor]:
    """Gaussian samples of shape (1, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, *shape, generator=generator) for _ in range(count)]


def rms(values: torch.Tensor) -> float:
    """√(mean of squares), in float64."""
    return float(values.double().square().mean().sqrt())


def batch(values: Iterable[torch.Tensor]) -> torch.Tensor:
    """Samples as one batch."""
    return torch.cat(list(values))
