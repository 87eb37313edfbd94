"""Weight decay by the edge of chaos, tried out: `python reports/advice/weight_decay.py` (about two hours on two cores).

Zhang21's Figs 2-6 with its network (784-784-10, tanh, Fashion-MNIST).
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from fashion_mnist import Images, images
from runs import Plan, Result, run_all

RUNS = Path(__file__).with_name("weight_decay.jsonl")
WIDTH = 784
SEEDS = (0, 1, 2)
# Laws of growth: one thing changed at a time.
ZHANG = {
    "study": "growth",
    "optimizer": "SGD",
    "lr": 0.01,
    "momentum": 0.0,
    "batch": 32,
    "decay": 0.0,
    "epochs": 12,
    "samples": 60_000,
    "j": 0.5,
}
CHANGES = (
    {},
    {"lr": 0.005},
    {"lr": 0.02},
    {"lr": 0.04},
    {"momentum": 0.5},
    {"momentum": 0.8},
    {"momentum": 0.9},
    {"batch": 16},
    {"batch": 64},
    {"batch": 128},
)
# Grids of decays.
GRID = {"study": "grid", "batch": 128, "epochs": 60, "samples": 20_000, "j": 0.5}
SGD = {"optimizer": "SGD", "lr": 0.05, "momentum": 0.9}
ADAMW = {"optimizer": "AdamW", "lr": 0.001, "momentum": 0.0}
DECAYS = {
    "SGD": (0.0, 1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3),
    "AdamW": (0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6),
}


def growth_plans() -> Iterator[Plan]:
    """Zhang21's settings; three seeds of the base, two of every change."""
    for seed, change in itertools.product(SEEDS, CHANGES):
        if seed < 2 or not change:
            yield {**ZHANG, **change, "seed": seed}


def grid_plans() -> Iterator[Plan]:
    """Eight decays for two optimizers and three seeds."""
    for seed, setting in itertools.product(SEEDS, (SGD, ADAMW)):
        for decay in DECAYS[str(setting["optimizer"])]:
            yield {**GRID, **setting, "decay": decay, "seed": seed}


def train(plan: Plan) -> Result:
    """Train 784-784-10 as planned; J₀, J², losses and test accuracy after every epoch (epoch 0: before the first)."""
    data = images(plan["samples"])
    torch.manual_seed(plan["seed"])
    network = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 10))
    for layer in (network[0], network[2]):
        nn.init.normal_(layer.weight, std=plan["j"] / layer.in_features**0.5)
        nn.init.zeros_(layer.bias)
    optimizer = _optimizer(plan, network)
    loss = nn.CrossEntropyLoss()
    history: Result = {name: [] for name in ("j2", "j0", "train_loss", "test_loss", "test_accuracy")}
    started = time.process_time()
    running = float("nan")
    for epoch in range(plan["epochs"] + 1):
        if epoch:
            total = torch.zeros(())
            order = torch.randperm(len(data.train))
            for batch in torch.split(order, plan["batch"]):
                optimizer.zero_grad()
                value = loss(network(data.train[batch]), data.train_labels[batch])
                value.backward()
                optimizer.step()
                total += value.detach() * len(batch)
            running = float(total) / len(order)
        _note(history, network, data, running)
    return {**history, "seconds": time.process_time() - started}


def _optimizer(plan: Plan, network: nn.Module) -> torch.optim.Optimizer:
    if plan["optimizer"] == "AdamW":
        return torch.optim.AdamW(network.parameters(), lr=plan["lr"], weight_decay=plan["decay"])
    return torch.optim.SGD(network.parameters(), lr=plan["lr"], momentum=plan["momentum"], weight_decay=plan["decay"])


@torch.no_grad()
def _note(history: Result, network: nn.Sequential, data: Images, train_loss: float) -> None:
    weight = network[0].weight.double()
    history["j2"].append(WIDTH * weight.var(correction=0).item())
    history["j0"].append(WIDTH * weight.mean().item())
    history["train_loss"].append(None if train_loss != train_loss else train_loss)
    output = network(data.test)
    history["test_loss"].append(nn.functional.cross_entropy(output, data.test_labels).item())
    history["test_accuracy"].append((output.argmax(1) == data.test_labels).double().mean().item())


def main() -> None:
    """Run what is missing."""
    run_all(RUNS, train, [*growth_plans(), *grid_plans()], jobs=1)


if __name__ == "__main__":
    main()
