"""Weight decay by the edge of chaos, tried out: `python reports/advice/weight_decay.py` (two hours on one core).

Zhang21's Figs 2–6 with its network (784-784-10, tanh, Fashion-MNIST): how J² grows, what that depends on, which decay
follows from the first epochs, and how good it is beside a grid of decays and beside a controller that holds J² at the
edge. Runs are kept in `weight_decay.jsonl`; what is there is not run again. Writes `weight_decay.md` and `.png`.
"""

from __future__ import annotations

import datetime
import itertools
import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from fashion_mnist import Images, images
from runs import Plan, Result, lines, run_all

import critaudit
from critaudit import __version__
from critaudit.advice import WeightDecayAdvice, weight_decay
from critaudit.advice.course import Course, LayerCourse, OptimizerSetting
from critaudit.theory.spin_glass_table import BOUNDARY
from critaudit.training import Controller

RUNS = Path(__file__).with_name("weight_decay.jsonl")
WIDTH = 784
SEEDS = (0, 1, 2)
PAPER = 5e-5  # Zhang21's λ for this setting
PROBED = 9  # epochs of a run without decay that the advice for a grid is taken from
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
CHANGES: tuple[dict[str, Any], ...] = (
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
# What λ depends on beyond η, m and B: the readout's first weights and the inputs' scale.
VARIANTS: tuple[dict[str, Any], ...] = ({"readout": "xavier"}, {"inputs": "unit"})
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
    for seed, change in itertools.product(SEEDS[:2], VARIANTS):
        yield {**ZHANG, **change, "seed": seed}


def grid_plans() -> Iterator[Plan]:
    """Eight decays for two optimizers and three seeds."""
    for seed, setting in itertools.product(SEEDS, (SGD, ADAMW)):
        for decay in DECAYS[str(setting["optimizer"])]:
            yield {**GRID, **setting, "decay": decay, "seed": seed}


def advised_plans(done: Sequence[dict[str, Any]]) -> Iterator[Plan]:
    """For each optimizer and seed: the decay advised from the first epochs without decay, and the controller."""
    for seed, setting in itertools.product(SEEDS, (SGD, ADAMW)):
        base = {**GRID, **setting, "seed": seed}
        probe = next((run for run in done if run["plan"] == {**base, "decay": 0.0}), None)
        if probe is not None:
            advised = advice_on(probe, until=PROBED).weight_decay.number
            if advised is not None:
                yield {**base, "study": "advised", "decay": float(f"{advised:.3g}")}
        yield {**base, "study": "controller", "decay": 0.0}
        yield {**base, "study": "controller", "decay": 0.0, "share": True}


def train(plan: Plan) -> Result:
    """Train 784-784-10 as planned; J₀, J², losses and test accuracy after every epoch (epoch 0: before the first)."""
    data = images(plan["samples"])
    if plan.get("inputs") == "unit":  # pixels from 0 to 1
        data = Images(data.train * 0.3530 + 0.2860, data.train_labels, data.test * 0.3530 + 0.2860, data.test_labels)
    torch.manual_seed(plan["seed"])
    network = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 10))
    for layer in (network[0], network[2]):
        nn.init.normal_(layer.weight, std=plan["j"] / layer.in_features**0.5)
        nn.init.zeros_(layer.bias)
    if plan.get("readout") == "xavier":
        nn.init.xavier_normal_(network[2].weight)
    optimizer = _optimizer(plan, network)
    history: Result = {name: [] for name in ("j2", "j0", "train_loss", "test_loss", "test_accuracy")}
    started = time.process_time()
    if plan["study"] != "controller":
        _epochs(plan, network, optimizer, data, history)
        return {**history, "seconds": time.process_time() - started}
    with critaudit.Monitor(
        network, optimizer, dataset_size=plan["samples"], batch_size=plan["batch"], quiet=True
    ) as monitor:
        controller = Controller(monitor, split_groups=True, share=plan.get("share", False))
        _epochs(plan, network, optimizer, data, history)
        decays = [one.weight_decay for one in controller.layers]
    return {**history, "seconds": time.process_time() - started, "final_decay": decays[0]}


def _epochs(
    plan: Plan, network: nn.Sequential, optimizer: torch.optim.Optimizer, data: Images, history: Result
) -> None:
    loss = nn.CrossEntropyLoss()
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


def _optimizer(plan: Plan, network: nn.Module) -> torch.optim.Optimizer:
    if plan["optimizer"] == "AdamW":
        return torch.optim.AdamW(network.parameters(), lr=plan["lr"], weight_decay=plan["decay"], fused=True)
    return torch.optim.SGD(
        network.parameters(), lr=plan["lr"], momentum=plan["momentum"], weight_decay=plan["decay"], fused=True
    )


@torch.no_grad()
def _note(history: Result, network: nn.Sequential, data: Images, train_loss: float) -> None:
    weight = network[0].weight.double()
    history["j2"].append(WIDTH * weight.var(correction=0).item())
    history["j0"].append(WIDTH * weight.mean().item())
    history["train_loss"].append(None if train_loss != train_loss else train_loss)
    output = network(data.test)
    history["test_loss"].append(nn.functional.cross_entropy(output, data.test_labels).item())
    history["test_accuracy"].append((output.argmax(1) == data.test_labels).double().mean().item())


def advice_on(run: dict[str, Any], *, until: int | None = None) -> WeightDecayAdvice:
    """What critaudit advises from a run's first epochs (all of them without `until`)."""
    plan = run["plan"]
    count = len(run["j2"]) if until is None else until + 1
    per_epoch = plan["samples"] / plan["batch"]
    setting = OptimizerSetting(
        plan["optimizer"],
        plan["lr"],
        momentum=plan["momentum"],
        weight_decay=plan["decay"],
        decoupled=plan["optimizer"] == "AdamW",
        betas=(0.9, 0.999) if plan["optimizer"] == "AdamW" else None,
    )
    layer = LayerCourse(
        "0.weight",
        (WIDTH, WIDTH),
        WIDTH,
        tuple(epoch * per_epoch for epoch in range(count)),
        tuple(run["j2"][:count]),
        tuple(run["j0"][:count]),
        (setting,) * count,
        activation="tanh",
    )
    return weight_decay(Course((layer,), plan["samples"], plan["batch"], source="0.weight of 784-784-10"))


def report(done: Sequence[dict[str, Any]], seconds: float) -> str:
    """The study's page."""
    return "\n".join(
        [
            "# Weight decay by the edge of chaos",
            "",
            f"Written by `python reports/advice/weight_decay.py`, critaudit {__version__}, "
            f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}; {len(done)} runs, {seconds / 3600:.1f} hours of one "
            "core. The network is Zhang21's: 784-784-10, tanh, Fashion-MNIST (standardised), Gaussian weights with "
            "J(0) = 0.5 in both layers, biases zero. J² = 784·var(W) of the square layer.",
            "",
            *(f"- {optimizer}: {_regret_of(done, optimizer)}" for optimizer in DECAYS),
            "",
            "![J² over the epochs, growth against η/((1−m)B), accuracy against decay](weight_decay.png)",
            "",
            *_growth_part(done),
            *_lambda_part(done),
            *_grid_part(done),
            *_controller_part(done),
        ]
    )


def _growth_part(done: Sequence[dict[str, Any]]) -> list[str]:
    said = [
        "## How J² grows without decay",
        "",
        "J² = A·epoch + C below the edge, with A = ηD/((1 − m)B) (Zhang21, Eq. 9). A is critaudit's fit to 12 epochs "
        "with its 95 % interval; D also allows for the drift of the slope on the way to the edge. One line per run.",
        "",
        "| η | m | B | seed | A per epoch | D | J² at the end |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in done:
        plan = run["plan"]
        if plan["study"] == "growth" and not {"readout", "inputs"} & set(plan):
            layer = advice_on(run).layers[0]
            a, d = (layer.measurements[f"decay.{name}"] for name in ("growth_per_epoch", "constant"))
            said.append(
                f"| {plan['lr']:g} | {plan['momentum']:g} | {plan['batch']} | {plan['seed']} | {_value(a, 4)} | "
                f"{_value(d, 3)} | {run['j2'][-1]:.3f} |"
            )
    return [*said, "", *_independence(done), ""]


def _independence(done: Sequence[dict[str, Any]]) -> list[str]:
    """Whether settings of the same η/((1−m)B) grow alike, and how D changes over a factor of ten."""
    growth = [run for run in done if run["plan"]["study"] == "growth" and not {"readout", "inputs"} & set(run["plan"])]
    by_rate: dict[float, list[float]] = {}
    for run in growth:
        by_rate.setdefault(_rate(run["plan"]), []).append(run["j2"][-1])
    same = {rate: values for rate, values in by_rate.items() if len(values) > 3}
    spread = max(((max(v) - min(v)) / (statistics.fmean(v) - 0.25) for v in same.values()), default=math.nan)
    logs = [(math.log(_rate(run["plan"])), math.log(_slope(run))) for run in growth]
    power = _regression(logs)
    return [
        f"Settings with the same η/((1 − m)B) end at the same J²: their growth over 12 epochs differs by at most "
        f"{100 * spread:.1f} % ({sum(map(len, same.values()))} runs in {len(same)} groups). Over a factor of "
        f"{max(by_rate) / min(by_rate):.0f} in η/((1 − m)B), the mean growth per epoch goes as its power "
        f"{power[0]:.3f} ± {power[1]:.3f} (Zhang21: 1): D is no constant but rises with the way that J² has gone.",
    ]


def _rate(plan: Plan) -> float:
    return float(f"{plan['lr'] / (1 - plan['momentum']) / plan['batch']:.6g}")


def _slope(run: dict[str, Any]) -> float:
    """Mean growth per epoch behind the first one."""
    return (run["j2"][-1] - run["j2"][1]) / (len(run["j2"]) - 2)


def _regression(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope of a line through points and its 95 % half width."""
    x = [a for a, _ in points]
    fit = statistics.linear_regression(x, [b for _, b in points])
    rest = [b - fit.slope * a - fit.intercept for a, b in points]
    wide = math.fsum((a - statistics.fmean(x)) ** 2 for a in x)
    return fit.slope, 1.96 * math.sqrt(math.fsum(r * r for r in rest) / (len(points) - 2) / wide)


def _lambda_part(done: Sequence[dict[str, Any]]) -> list[str]:
    said = [
        "## λ from twelve epochs",
        "",
        f"η = 0.01, B = 32, no momentum; Zhang21 gives λ = {PAPER:g}. PyTorch's `weight_decay` is twice λ.",
        "",
        "| what | seed | D | λ | weight_decay | beside 5e-5 |",
        "|---|---|---|---|---|---|",
    ]
    for run in done:
        plan = run["plan"]
        base = {name: value for name, value in plan.items() if name not in ("seed", "readout", "inputs")}
        if base != ZHANG:
            continue
        what = {"readout": "readout Xavier-normal", "inputs": "pixels from 0 to 1"}
        named = next((text for name, text in what.items() if name in plan), "as above")
        advice = advice_on(run)
        layer = advice.layers[0]
        found, constant = layer.lambda_.number, layer.measurements["decay.constant"]
        said.append(
            f"| {named} | {plan['seed']} | {_value(constant, 3)} | {_value(layer.lambda_, 3)} | "
            f"{_value(layer.weight_decay, 3)} | {'—' if found is None else f'{100 * (found / PAPER - 1):+.0f} %'} |"
        )
    return [
        *said,
        "",
        "λ depends on what the readout starts from and on the inputs' scale as well: it belongs to the network and the "
        "data as they are, and is to be measured on them.",
        "",
    ]


def _grid_part(done: Sequence[dict[str, Any]]) -> list[str]:
    said = [
        "## The advised decay beside a grid",
        "",
        f"{GRID['samples']:,} training images, {GRID['epochs']} epochs, B = 128; SGD with η = 0.05 and m = 0.9, AdamW "
        f"with η = 0.001. The advice comes from the first {PROBED} epochs of the run without decay. Test accuracy in "
        "percent: mean over the last five epochs, then over seeds ± standard deviation; in brackets that of each run's "
        "best epoch.",
        "",
    ]
    for setting in (SGD, ADAMW):
        said += _grid_table(done, str(setting["optimizer"]))
    return said


def _grid_table(done: Sequence[dict[str, Any]], optimizer: str) -> list[str]:
    runs = [run for run in done if run["plan"]["optimizer"] == optimizer and run["plan"]["study"] != "growth"]
    grid = [run for run in runs if run["plan"]["study"] == "grid"]
    advised = [run for run in runs if run["plan"]["study"] == "advised"]
    said = [
        f"### {optimizer}",
        "",
        "| weight_decay | seeds | accuracy | best epoch | test loss | J² at the end |",
        "|---|---|---|---|---|---|",
    ]
    for decay in DECAYS[optimizer]:
        said.append(_grid_row(f"{decay:g}", [run for run in grid if run["plan"]["decay"] == decay]))
    if advised:
        shown = ", ".join(f"{run['plan']['decay']:g}" for run in advised)
        said.append(_grid_row(f"**advised** ({shown})", advised))
    for share, name in ((False, "controller"), (True, "controller, sharing")):
        controlled = [run for run in runs if _is_controlled(run, optimizer, share=share)]
        if controlled:
            ended = ", ".join(f"{run['final_decay']:.3g}" for run in controlled)
            said.append(_grid_row(f"**{name}** (at the end {ended})", controlled))
    return [*said, "", _regret_of(done, optimizer), ""]


def _grid_row(name: str, runs: Sequence[dict[str, Any]]) -> str:
    if not runs:
        return f"| {name} | 0 | — | — | — | — |"
    return (
        f"| {name} | {len(runs)} | {_mean([100 * _final(run) for run in runs])} | "
        f"[{_mean([100 * max(run['test_accuracy']) for run in runs])}] | "
        f"{statistics.fmean(statistics.fmean(run['test_loss'][-5:]) for run in runs):.3f} | "
        f"{statistics.fmean(run['j2'][-1] for run in runs):.2f} |"
    )


def _regret_of(done: Sequence[dict[str, Any]], optimizer: str) -> str:
    """By how much the advised decay is behind the grid's best, and its share of the grid's cost."""
    runs = [run for run in done if run["plan"]["optimizer"] == optimizer]
    grid = [run for run in runs if run["plan"]["study"] == "grid"]
    advised = [run for run in runs if run["plan"]["study"] == "advised"]
    seeds = sorted({run["plan"]["seed"] for run in advised})
    decays = DECAYS[optimizer]
    of = {(run["plan"]["seed"], run["plan"]["decay"]): _final(run) for run in grid}
    seeds = [seed for seed in seeds if all((seed, decay) in of for decay in decays)]
    if not seeds:
        return "the grid is not complete for any seed that has advice."
    found = {run["plan"]["seed"]: _final(run) for run in advised}
    best = max(decays, key=lambda decay: statistics.fmean(of[seed, decay] for seed in seeds))
    one = [100 * (of[seed, best] - found[seed]) for seed in seeds]
    each = [100 * (max(of[seed, decay] for decay in decays) - found[seed]) for seed in seeds]
    cost = (PROBED + GRID["epochs"]) / (len(decays) * GRID["epochs"])
    return (
        f"the advised decay is behind the decay that is best in the mean of {len(seeds)} seeds ({best:g}) by "
        f"{_mean(one)} points of test accuracy, and behind each seed's own best of {len(decays)} by {_mean(each)}. It "
        f"costs {PROBED} epochs to learn and {GRID['epochs']} to train, {100 * cost:.0f} % of the grid."
    )


def _controller_part(done: Sequence[dict[str, Any]]) -> list[str]:
    runs = [run for run in done if run["plan"]["study"] == "controller"]
    said = ["## The controller", ""]
    if not runs:
        return [*said, "Not run."]
    late = [value for run in runs for value in run["j2"][-20:]]
    said += [
        "`Controller(monitor, split_groups=True)` starts at decay 0 and holds J² at the edge of its own layer by "
        f"changing that layer's decay. Over the last 20 epochs of {len(runs)} runs J² is {statistics.fmean(late):.3f} "
        f"(from {min(late):.3f} to {max(late):.3f}; the target is 1 while |J₀| ≤ 1). The readout has no edge: it is "
        "left without decay, or with `share=True` takes the square layer's; the advised decay acts on all parameters. "
        "Accuracy beside the advised decay, mean over seeds of the difference:",
        "",
    ]
    for optimizer, share in itertools.product(DECAYS, (False, True)):
        held = {run["plan"]["seed"]: _final(run) for run in runs if _is_controlled(run, optimizer, share=share)}
        advised = {
            run["plan"]["seed"]: _final(run)
            for run in done
            if run["plan"]["study"] == "advised" and run["plan"]["optimizer"] == optimizer
        }
        gaps = [100 * (held[seed] - advised[seed]) for seed in sorted(held.keys() & advised.keys())]
        if gaps:
            said.append(f"- {optimizer}, {'sharing' if share else 'readout without decay'}: {_mean(gaps)} points.")
    return [*said, ""]


def _is_controlled(run: dict[str, Any], optimizer: str, *, share: bool) -> bool:
    plan = run["plan"]
    return (plan["study"], plan["optimizer"], plan.get("share", False)) == ("controller", optimizer, share)


def _final(run: dict[str, Any]) -> float:
    return statistics.fmean(run["test_accuracy"][-5:])


def _mean(values: Iterable[float]) -> str:
    held = list(values)
    spread = f" ± {statistics.stdev(held):.2f}" if len(held) > 1 else ""
    return f"{statistics.fmean(held):.2f}{spread}".replace("-", "−")


def _value(found: Any, digits: int) -> str:
    if found.number is None:
        return f"{found.status}: {found.reason}"
    ends = "" if found.interval is None else f" [{found.interval[0]:.{digits}g}, {found.interval[1]:.{digits}g}]"
    return f"{found.number:.{digits}g}{ends}"


def draw(done: Sequence[dict[str, Any]], path: Path) -> None:
    """Four panels: J² of the grids, growth against η/((1−m)B), accuracy against decay, the way in the plane."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(12, 9), constrained_layout=True)
    growth = [run for run in done if run["plan"]["study"] == "growth" and not {"readout", "inputs"} & set(run["plan"])]
    _draw_growth(panels[0, 0], growth)
    _draw_courses(panels[0, 1], done)
    _draw_accuracy(panels[1, 0], done)
    _draw_plane(panels[1, 1], done)
    figure.savefig(path, dpi=110)


def _draw_growth(panel: Any, growth: Sequence[dict[str, Any]]) -> None:
    kinds = (("η changed", "lr", "o"), ("m changed", "momentum", "s"), ("B changed", "batch", "^"))
    for name, key, mark in kinds:
        held = [
            run for run in growth if all(run["plan"][k] == ZHANG[k] for k in ("lr", "momentum", "batch") if k != key)
        ]
        panel.loglog([_rate(run["plan"]) for run in held], [_slope(run) for run in held], mark, label=name, alpha=0.7)
    rates = sorted({_rate(run["plan"]) for run in growth})
    if rates:
        panel.loglog(rates, [12.6 * rate for rate in rates], "k--", lw=1, label="D = 12.6")
    panel.set(xlabel="η/((1 − m)B)", ylabel="growth of J² per epoch (epochs 2 to 12)", title="Growth without decay")
    panel.legend()


def _is_drawn(plan: Plan) -> bool:
    """Whether a run is one of those whose courses are drawn: SGD, the first seed, the plain controller."""
    of_interest = plan["study"] in ("grid", "advised", "controller") and not plan.get("share")
    return bool(of_interest and plan["seed"] == 0 and plan["optimizer"] == "SGD")


def _draw_courses(panel: Any, done: Sequence[dict[str, Any]]) -> None:
    for run in done:
        plan = run["plan"]
        if not _is_drawn(plan):
            continue
        style = {"advised": ("C3", 2.5), "controller": ("C2", 2.5)}.get(plan["study"], ("0.6", 1.0))
        panel.plot(run["j2"], color=style[0], lw=style[1], label=plan["study"] if plan["study"] != "grid" else None)
        if plan["study"] == "grid":
            panel.annotate(f"{plan['decay']:g}", (len(run["j2"]) - 1, run["j2"][-1]), fontsize=8, color="0.35")
    panel.axhline(1.0, color="k", ls="--", lw=1)
    panel.set(xlabel="epoch", ylabel="J²", title="SGD: J² for eight decays (grey), advised and controlled")
    panel.legend()


def _draw_accuracy(panel: Any, done: Sequence[dict[str, Any]]) -> None:
    for place, optimizer in enumerate(DECAYS):
        scale = DECAYS[optimizer][3]
        color = f"C{place}"
        for run in done:
            plan = run["plan"]
            if plan["optimizer"] != optimizer or plan["study"] not in ("grid", "advised"):
                continue
            x = max(plan["decay"] / scale, 0.06)
            mark = (
                {"marker": "*", "ms": 14, "mec": "k"}
                if plan["study"] == "advised"
                else {"marker": "o", "ms": 4, "alpha": 0.6}
            )
            panel.semilogx([x], [100 * _final(run)], color=color, ls="", **mark)
        panel.plot([], [], color=color, marker="o", ls="", label=f"{optimizer}, in units of {scale:g}")
    panel.plot([], [], color="0.5", marker="*", ms=12, mec="k", ls="", label="advised after nine epochs")
    panel.set(
        xlabel="weight_decay (0 is drawn at 0.06)", ylabel="test accuracy, last five epochs (%)", title="Accuracy"
    )
    panel.legend()


def _draw_plane(panel: Any, done: Sequence[dict[str, Any]]) -> None:
    edge = [(j0, j) for j0, j in BOUNDARY if j0 <= 2.0]
    panel.plot([-j0 for j0, _ in reversed(edge)], [j for _, j in reversed(edge)], "k--", lw=1)
    panel.plot([j0 for j0, _ in edge], [j for _, j in edge], "k--", lw=1, label="edge of chaos")
    for run in done:
        plan = run["plan"]
        if _is_drawn(plan):
            style = {"advised": ("C3", 2.5), "controller": ("C2", 2.5)}.get(plan["study"], ("0.7", 1.0))
            panel.plot(run["j0"], [math.sqrt(value) for value in run["j2"]], color=style[0], lw=style[1])
    panel.set(xlabel="J₀ = N·mean(W)", ylabel="J = √(N·var(W))", title="The way in the phase diagram (SGD, seed 0)")
    panel.set_xlim(-1.5, 1.5)
    panel.legend()


def main(arguments: Sequence[str]) -> None:
    """Run what is missing (not with `--page`), and write the page."""
    if "--page" not in arguments:
        run_all(RUNS, train, [*growth_plans(), *grid_plans()], jobs=1)
        run_all(RUNS, train, list(advised_plans(lines(RUNS))), jobs=1)
    done = lines(RUNS)
    RUNS.with_suffix(".md").write_text(report(done, sum(run["seconds"] for run in done)) + "\n", encoding="utf-8")
    draw(done, RUNS.with_suffix(".png"))


if __name__ == "__main__":
    main(sys.argv[1:])
