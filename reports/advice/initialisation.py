"""Initialisations tried out: `python reports/advice/initialisation.py` (about two hours on two cores)."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from fashion_mnist import images
from networks import METHODS, network
from runs import Plan, Result, run_all

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.initial import initialisation

RUNS = Path(__file__).with_name("initialisation.jsonl")
SEEDS = (0, 1, 2)
CHAIN = {"optimizer": "SGD", "momentum": 0.0, "batch": 128, "epochs": 6, "samples": 10_000}
RESIDUAL = {"optimizer": "SGD", "momentum": 0.9, "batch": 64, "epochs": 2, "samples": 4_000}
TRANSFORMER = {"optimizer": "AdamW", "momentum": 0.0, "batch": 64, "epochs": 2, "samples": 4_000}
CHAIN_RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
RESIDUAL_RATES = (0.01, 0.03, 0.1)
TRANSFORMER_RATES = (0.001, 0.003, 0.01)
_PEERS = ("lsuv", "anyinit_analytic", "anyinit_empirical")
COMPARED = {
    "tanh-10": (CHAIN, CHAIN_RATES, ("recommended", "default", "xavier", "orthogonal", *_PEERS)),
    "tanh-30": (CHAIN, CHAIN_RATES, ("recommended", "default", "xavier", "orthogonal", *_PEERS)),
    "tanh-50": (CHAIN, CHAIN_RATES, ("recommended", "default", "xavier", "orthogonal", *_PEERS)),
    "transformer": (TRANSFORMER, TRANSFORMER_RATES, ("recommended", "default", "xavier", *_PEERS)),
    "resnet": (RESIDUAL, RESIDUAL_RATES, ("recommended", "default", "kaiming", *_PEERS)),
    "resnet-plain": (RESIDUAL, RESIDUAL_RATES, ("recommended", "default", "kaiming", *_PEERS)),
}


def plans() -> Iterator[Plan]:
    """Every network, method, learning rate and seed; all of one seed before the next."""
    for seed in SEEDS:
        for name, (setting, rates, methods) in COMPARED.items():
            for method, rate in itertools.product(methods, rates):
                yield {**setting, "network": name, "method": method, "lr": rate, "seed": seed}


def train(plan: Plan) -> Result:
    """Train as planned; mean training loss and accuracy on 2,000 test images twice an epoch, on 5,000 at the end."""
    data = images(plan["samples"])
    torch.manual_seed(plan["seed"])
    module = network(plan["network"])
    started = time.process_time()
    note = initialise(module, plan, data.train[: plan["batch"]])
    spent = time.process_time() - started
    if plan["optimizer"] == "SGD":
        optimizer = torch.optim.SGD(module.parameters(), lr=plan["lr"], momentum=plan["momentum"])
    else:
        optimizer = torch.optim.AdamW(module.parameters(), lr=plan["lr"], weight_decay=0.01)
    loss = nn.CrossEntropyLoss()
    losses, accuracies, total, count = [], [], 0.0, 0
    generator = torch.Generator().manual_seed(1_000 + plan["seed"])
    for _ in range(plan["epochs"]):
        batches = torch.randperm(len(data.train), generator=generator).split(plan["batch"])
        for place, batch in enumerate(batches, 1):
            optimizer.zero_grad()
            value = loss(module(data.train[batch]), data.train_labels[batch])
            value.backward()
            optimizer.step()
            total, count = total + float(value.detach()), count + 1
            if place in (len(batches) // 2, len(batches)):
                losses.append(total / count if total == total and total < 1e9 else None)
                accuracies.append(_accuracy(module, data.test[:2000], data.test_labels[:2000]))
                total, count = 0.0, 0
    return {
        "losses": losses,
        "accuracies": accuracies,
        "accuracy": _accuracy(module, data.test[:5000], data.test_labels[:5000]),
        "init_seconds": spent,
        "seconds": time.process_time() - started,
        **note,
    }


def initialise(module: nn.Module, plan: Plan, batch: torch.Tensor) -> Result:
    """Apply the plan's method. A package that fails on a network leaves PyTorch's default, and the failure is noted."""
    if plan["method"] == "recommended":
        return recommended(module, plan)
    try:
        METHODS[plan["method"]](module, batch)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:200]}
    return {}


def recommended(module: nn.Module, plan: Plan) -> Result:
    """What critaudit advises for this optimizer and learning rate, on 512 training images and their labels."""
    data = images(plan["samples"])
    setting = OptimizerSetting(
        plan["optimizer"],
        plan["lr"],
        momentum=plan["momentum"],
        weight_decay=0.01 if plan["optimizer"] == "AdamW" else 0.0,
    )
    advice = initialisation(
        module,
        data.train[:512],
        data.train_labels[:512],
        optimizer=setting,
        batch_size=plan["batch"],
        seed=plan["seed"],
    )
    advice.apply_(module)
    scores = {one.name: one.trial.score for one in advice.candidates if one.trial is not None}
    return {
        "chosen": advice.chosen.name,
        "good_rates": advice.rates.good,
        "best_rate": advice.rates.best,
        "scores": scores,
    }


@torch.no_grad()
def _accuracy(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    module.eval()
    hits = sum(
        int((module(part).argmax(1) == truth).sum())
        for part, truth in zip(inputs.split(1000), labels.split(1000), strict=True)
    )
    module.train()
    return hits / len(labels)


def main(arguments: list[str]) -> None:
    """Run what is missing; of the methods named, or of all."""
    run_all(RUNS, train, [plan for plan in plans() if not arguments or plan["method"] in arguments], jobs=1)


if __name__ == "__main__":
    main(sys.argv[1:])
