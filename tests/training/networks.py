"""Small networks and loops for tests of what follows a training."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

from critaudit.training import Monitor

SAMPLES, BATCH = 256, 32
# Monitors made by `follow`, by weak reference; the fixture in conftest closes what a test leaves open.
OPEN: list[weakref.ref[Monitor]] = []


def mlp(depth: int = 3, width: int = 16, *, seed: int = 0, scale: float = 1.0, activation: type[nn.Module] = nn.Tanh):
    """`depth` square layers with their activation, and an output of 4."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    network = nn.Sequential(*layers, nn.Linear(width, 4))
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(std=scale / layer.in_features**0.5)
                layer.bias.zero_()
    return network


def convolutional(seed: int = 0) -> nn.Module:
    """Everything that could be disturbed: normalisation, in-place activations, dropout, a frozen layer, shared ones."""
    torch.manual_seed(seed)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
            self.drop = nn.Dropout(0.2)
            self.frozen = nn.Linear(8, 16)
            self.shared = nn.Linear(16, 16)
            self.out = nn.Linear(16, 4)
            self.frozen.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.bn1(self.conv1(x.view(-1, 1, 4, 4))))
            x = self.relu(self.conv2(x)) + x
            x = self.drop(x.mean((2, 3)))
            x = torch.tanh(self.frozen(x))
            return self.out(torch.tanh(self.shared(torch.tanh(self.shared(x)))))

    return Net()


def data(width: int = 16, *, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Samples with four classes that can be learnt."""
    source = torch.Generator().manual_seed(seed)
    inputs = torch.randn(SAMPLES, width, generator=source)
    return inputs, (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    inputs: Tensor | None = None,
    after: Callable[[Tensor], None] | None = None,
    seed: int = 2,
) -> list[float]:
    """The loop: batches in a random order from the global random state. The losses."""
    torch.manual_seed(seed)
    known, labels = data()
    losses = []
    for _ in range(steps):
        batch = torch.randint(0, SAMPLES, (BATCH,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model((known if inputs is None else inputs)[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if after is not None:
            after(loss)
    return losses


def follow(model: nn.Module, optimizer: torch.optim.Optimizer, **options: object) -> Monitor:
    """A monitor that says nothing and records every step, unless told otherwise."""
    settings = {"dataset_size": SAMPLES, "batch_size": BATCH, "quiet": True, "every": 1} | options
    monitor = Monitor(model, optimizer, **settings)  # type: ignore[arg-type]
    OPEN.append(weakref.ref(monitor))
    return monitor
