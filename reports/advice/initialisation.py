"""Initialisations tried out: `python reports/advice/initialisation.py [METHOD …]` (about two hours on one core).

Deep tanh networks, a small transformer and residual networks with and without normalisation, at learning rates over one
to two decades: what critaudit recommends for each, beside PyTorch's default, the usual inits and the packages lsuv and
anyinit (which must be installed). Runs are kept in `initialisation.jsonl`; what is there is not run again. Writes
`initialisation.md` and `initialisation.png`. With METHODs only those are run; `--page` runs nothing.
"""

from __future__ import annotations

import datetime
import itertools
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from fashion_mnist import images
from networks import METHODS, network
from runs import Plan, Result, lines, run_all

from critaudit import __version__
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

_OTHERS = ("default", "xavier", "kaiming", "orthogonal", *_PEERS)
_COLORS = {
    "default": "C0",
    "xavier": "C1",
    "kaiming": "C5",
    "orthogonal": "C2",
    "lsuv": "C3",
    "anyinit_analytic": "C4",
    "anyinit_empirical": "C8",
}


def plans() -> Iterator[Plan]:
    """Every network, method, learning rate and seed; one seed after the other."""
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
                accuracies.append(accuracy(module, data.test[:2000], data.test_labels[:2000]))
                total, count = 0.0, 0
    return {
        "losses": losses,
        "accuracies": accuracies,
        "accuracy": accuracy(module, data.test[:5000], data.test_labels[:5000]),
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
def accuracy(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    module.eval()
    hits = sum(
        int((module(part).argmax(1) == truth).sum())
        for part, truth in zip(inputs.split(1000), labels.split(1000), strict=True)
    )
    module.train()
    return hits / len(labels)


def page(done: Sequence[dict[str, Any]]) -> str:
    """The study's page."""
    held = {name: [run for run in done if run["plan"]["network"] == name] for name in COMPARED}
    return "\n".join(
        [
            "# Initialisation: recommended against the usual ones",
            "",
            f"Written by `python reports/advice/initialisation.py`, critaudit {__version__}, "
            f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}; {len(done)} runs, "
            f"{sum(run['seconds'] for run in done) / 3600:.1f} hours of one core. Fashion-MNIST; test accuracy in "
            "percent after the last epoch, mean over seeds ± standard deviation, in brackets the number of seeds. "
            "`recommended` is `critaudit.advice.initialisation` for that optimizer and learning rate on 512 training "
            "images and their labels. lsuv 0.3 and anyinit 0.4 (analytic, its default, and empirical) as their "
            "documentation says.",
            "",
            *_summary(held),
            "",
            "![Test accuracy against learning rate](initialisation.png)",
            "",
            *(line for name in COMPARED for line in _network_part(name, held[name])),
        ]
    )


@dataclass(frozen=True, slots=True)
class Beside:
    """A method beside the best of the others at one learning rate; in points of accuracy.

    `gap` is the mean difference over seeds, `noise` half its 95 % interval: Student's t with 2(n − 1) degrees of
    freedom on the scatter of the two methods' n seeds about their means.
    """

    network: str
    lr: float
    best: str
    gap: float
    noise: float


def comparisons(held: dict[str, list[dict[str, Any]]], method: str) -> list[Beside]:
    """One line per network and learning rate, over the seeds that all methods have."""
    found = []
    for name, (_, rates, methods) in COMPARED.items():
        for lr in rates if method in methods else ():
            by = {one: _by_seed(held[name], one, lr) for one in methods}
            seeds = sorted(set.intersection(*(set(values) for values in by.values())))
            if len(seeds) < 2:
                continue
            means = {one: statistics.fmean(values[seed] for seed in seeds) for one, values in by.items()}
            best = max((one for one in methods if one != method), key=lambda one: means[one])
            spread = [statistics.variance([by[one][seed] for seed in seeds]) for one in (method, best)]
            noise = float(student.ppf(0.975, 2 * (len(seeds) - 1))) * math.sqrt(sum(spread) / len(seeds))
            found.append(Beside(name, lr, best, means[method] - means[best], noise))
    return found


def _by_seed(runs: Sequence[dict[str, Any]], method: str, lr: float) -> dict[int, float]:
    return {
        run["plan"]["seed"]: 100 * run["accuracy"]
        for run in runs
        if run["plan"]["method"] == method and run["plan"]["lr"] == lr
    }


def _summary(held: dict[str, list[dict[str, Any]]]) -> list[str]:
    rows = comparisons(held, "recommended")
    worse = [one for one in rows if one.gap < -one.noise]
    ahead = sum(one.gap > one.noise for one in rows)
    behind = "; ".join(f"{one.network} at {one.lr:g} ({one.gap:+.1f} points against {one.best})" for one in worse)
    said = [
        f"At {len(rows)} points (network × learning rate) with two seeds or more for every method, the recommended "
        f"init is ahead of the best of the others by more than the seed noise at {ahead}, within it at "
        f"{len(rows) - ahead - len(worse)}, and behind by more at {len(worse)}{': ' + behind if worse else ''}. Seed "
        "noise is half the 95 % interval of a difference. The best of the others is picked after the fact at each "
        f"point; the same for each of the others: {'; '.join(_of_another(held, other) for other in _OTHERS)}.",
    ]
    deep = [run for name in ("tanh-30", "tanh-50") for run in held[name]]
    for method in ("recommended", "default"):
        values = [100 * run["accuracy"] for run in deep if run["plan"]["method"] == method]
        if values:
            trained = sum(value > 70 for value in values)
            said.append(f"30 and 50 layers, `{method}`: {trained} of {len(values)} runs end above 70 %.")
    advised = [run for runs in held.values() for run in runs if run["plan"]["method"] == "recommended"]
    calm = [run for run in advised if _is_good_rate(run)]
    warned = [run for run in advised if not _is_good_rate(run)]
    if calm and warned:
        said.append(
            f"The advice also says which learning rates hold. Where it calls the rate good, {_ending_low(calm)}; where "
            f"it names other rates or none, {_ending_low(warned)}. The runs were made at the given rate all the same."
        )
    costs = [run["init_seconds"] for run in deep if run["plan"]["method"] == "recommended"]
    if costs:
        spent = statistics.median(costs)
        said.append(f"Weighing the candidates took {spent:.0f} s of one core in the median of these networks.")
    return ["\n".join(f"- {line}" for line in said)]


def _of_another(held: dict[str, list[dict[str, Any]]], method: str) -> str:
    rows = comparisons(held, method)
    behind = sum(one.gap < -one.noise for one in rows)
    return f"{method} is behind at {behind} of {len(rows)}, and ahead at {sum(one.gap > one.noise for one in rows)}"


def _is_good_rate(run: dict[str, Any]) -> bool:
    good, lr = run["good_rates"], run["plan"]["lr"]
    return good is not None and good[0] * (1.0 - 1e-9) <= lr <= good[1] * (1.0 + 1e-9)


def _ending_low(runs: Sequence[dict[str, Any]]) -> str:
    return f"{sum(run['accuracy'] < 0.6 for run in runs)} of {len(runs)} runs end below 60 %"


def _network_part(name: str, runs: Sequence[dict[str, Any]]) -> list[str]:
    setting, rates, methods = COMPARED[name]
    said = [
        f"## {name}",
        "",
        f"{setting['optimizer']}{', momentum 0.9' if setting['momentum'] else ''}, batches of {setting['batch']}, "
        f"{setting['epochs']} epochs of {setting['samples']:,} images.",
        "",
        "| init | " + " | ".join(f"lr {lr:g}" for lr in rates) + " | half epochs to 70 % |",
        "|---" * (len(rates) + 2) + "|",
    ]
    for method in methods:
        cells = []
        for lr in rates:
            values = list(_by_seed(runs, method, lr).values())
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.1f}{spread} ({len(values)})" if values else "—")
        label = f"**{method}**" if method == "recommended" else method
        said.append(f"| {label} | " + " | ".join(cells) + f" | {_threshold(runs, method, rates)} |")
    chosen = Counter(run["chosen"] for run in runs if run["plan"]["method"] == "recommended")
    if chosen:
        said += ["", "Recommended: " + "; ".join(f"{what} ({count})" for what, count in chosen.most_common()) + "."]
    failed = {run["plan"]["method"]: run["failed"] for run in runs if "failed" in run}
    said += [f"`{method}` failed and left the default: {why}." for method, why in failed.items()]
    return [*said, ""]


def _threshold(runs: Sequence[dict[str, Any]], method: str, rates: Sequence[float]) -> str:
    """Fewest half epochs to 70 % on 2,000 test images over the learning rates; the median over seeds at each."""
    medians = []
    for lr in rates:
        times = [
            next((place + 1 for place, value in enumerate(run["accuracies"]) if value >= 0.7), math.inf)
            for run in runs
            if run["plan"]["method"] == method and run["plan"]["lr"] == lr
        ]
        if times:
            medians.append(statistics.median(times))
    best = min(medians, default=math.inf)
    return f"{best:g}" if math.isfinite(best) else "never"


def draw(done: Sequence[dict[str, Any]], path: Path) -> None:
    """Accuracy against learning rate, a panel for each network."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(14, 8), constrained_layout=True)
    for panel, (name, (_, rates, methods)) in zip(panels.flat, COMPARED.items(), strict=True):
        runs = [run for run in done if run["plan"]["network"] == name]
        for method in methods:
            held = [(lr, list(_by_seed(runs, method, lr).values())) for lr in rates]
            held = [(lr, values) for lr, values in held if values]
            style = {"lw": 3, "color": "k", "zorder": 3} if method == "recommended" else {"lw": 1.2}
            style |= {"color": _COLORS[method]} if method in _COLORS else {}
            panel.semilogx(
                [lr for lr, _ in held], [statistics.fmean(v) for _, v in held], marker="o", label=method, **style
            )
            for lr, values in held:
                panel.plot([lr] * len(values), values, ".", color=panel.lines[-1].get_color(), ms=3)
        panel.set(title=name, xlabel="learning rate", ylabel="test accuracy (%)", ylim=(5, 90))
    panels.flat[0].legend(fontsize=8)
    panels.flat[4].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main(arguments: list[str]) -> None:
    """Run what is missing (of the methods named, or of all), and write the page."""
    if "--page" not in arguments:
        wanted = [plan for plan in plans() if not arguments or plan["method"] in arguments]
        run_all(RUNS, train, wanted, jobs=1)
    done = [run for run in lines(RUNS) if run["plan"] in list(plans())]
    RUNS.with_suffix(".md").write_text(page(done) + "\n", encoding="utf-8")
    draw(done, RUNS.with_suffix(".png"))


if __name__ == "__main__":
    main(sys.argv[1:])
