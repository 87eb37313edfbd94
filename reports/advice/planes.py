"""Where deep tanh networks train: `python reports/advice/planes.py` (fifteen minutes on one core).

Qu22's Fig. 6 and Ghavasieh25's Fig. 3 in small: networks of 10 and 30 hidden layers of 128 units, started from
heavy-tailed weights over (α, g) and from Gaussian weights and biases over (σ_w, σ_b), trained for two epochs on
10,000 images of Fashion-MNIST at one learning rate. Runs are kept in `planes.jsonl`; writes `planes.md` and `.png`.
"""

from __future__ import annotations

import datetime
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from fashion_mnist import images
from initialisation import CHAIN, accuracy
from networks import METHODS, network
from runs import Plan, Result, lines, run_all

from critaudit import __version__
from critaudit.init import gaussian_, stable_
from critaudit.theory import gaussian, levy

RUNS = Path(__file__).with_name("planes.jsonl")
DEPTHS = (10, 30)
ALPHAS, GS = (1.0, 1.2, 1.5, 1.8, 2.0), (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
SIGMA_WS, SIGMA_BS = (0.6, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0), (0.0, 0.1, 0.3, 0.6)
SETTING = {**CHAIN, "epochs": 2, "lr": 0.01, "seed": 0}


def plans() -> Iterator[Plan]:
    """Both planes, and PyTorch's default beside them."""
    for depth in DEPTHS:
        yield {**SETTING, "depth": depth, "plane": "default"}
        for alpha, g in itertools.product(ALPHAS, GS):
            yield {**SETTING, "depth": depth, "plane": "alpha-g", "alpha": alpha, "g": g}
        for sigma_w, sigma_b in itertools.product(SIGMA_WS, SIGMA_BS):
            yield {**SETTING, "depth": depth, "plane": "sigma", "sigma_w": sigma_w, "sigma_b": sigma_b}


def train(plan: Plan) -> Result:
    """Train as planned; mean loss of the last half epoch and accuracy on 5,000 test images."""
    data = images(plan["samples"])
    torch.manual_seed(plan["seed"])
    module = network(f"tanh-{plan['depth']}")
    _fill(module, plan)
    optimizer = torch.optim.SGD(module.parameters(), lr=plan["lr"])
    losses: list[float] = []
    generator = torch.Generator().manual_seed(1_000 + plan["seed"])
    for _ in range(plan["epochs"]):
        for batch in torch.randperm(len(data.train), generator=generator).split(plan["batch"]):
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(module(data.train[batch]), data.train_labels[batch])
            value.backward()
            optimizer.step()
            losses.append(float(value.detach()))
    last = float(np.mean(losses[-len(losses) // (2 * plan["epochs"]) :]))
    return {
        "loss": last if np.isfinite(last) else None,
        "accuracy": accuracy(module, data.test[:5000], data.test_labels[:5000]),
    }


def _fill(module: nn.Module, plan: Plan) -> None:
    if plan["plane"] == "default":
        METHODS["default"](module, torch.empty(0))
        return
    *hidden, readout = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    for layer in hidden:
        if plan["plane"] == "alpha-g":
            stable_(layer.weight, plan["alpha"], plan["g"])
            nn.init.zeros_(layer.bias)
        else:
            gaussian_(layer.weight, plan["sigma_w"])
            nn.init.normal_(layer.bias, std=plan["sigma_b"])
    gaussian_(readout.weight, 1.0)
    nn.init.zeros_(readout.bias)


def _grid(
    done: Sequence[dict[str, Any]], depth: int, plane: str, rows: Sequence[float], columns: Sequence[float]
) -> Any:
    first, second = ("alpha", "g") if plane == "alpha-g" else ("sigma_b", "sigma_w")
    found = np.full((len(rows), len(columns)), np.nan)
    for run in done:
        plan = run["plan"]
        if plan["plane"] == plane and plan["depth"] == depth:
            found[rows.index(plan[first]), columns.index(plan[second])] = run["accuracy"]
    return found


def page(done: Sequence[dict[str, Any]]) -> str:
    """The study's page."""
    said = [
        "# Where deep tanh networks train",
        "",
        f"Written by `python reports/advice/planes.py`, critaudit {__version__}, "
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}. Hidden layers of 128 tanh units on 784 inputs, readout "
        "Gaussian of variance 1/128, plain SGD at learning rate 0.01, batches of 128, two epochs of 10,000 images of "
        "Fashion-MNIST, one seed. Test accuracy in percent.",
        "",
        "![Accuracy over both planes](planes.png)",
        "",
    ]
    for depth in DEPTHS:
        default = next(
            run["accuracy"] for run in done if run["plan"]["plane"] == "default" and run["plan"]["depth"] == depth
        )
        heavy = _grid(done, depth, "alpha-g", ALPHAS, GS)
        light = _grid(done, depth, "sigma", SIGMA_BS, SIGMA_WS)
        said += [f"## {depth} layers (PyTorch's default: {100 * default:.1f})", ""]
        said += [*_table("α", ALPHAS, "g", GS, heavy), ""]
        said += [*_table("σ_b", SIGMA_BS, "σ_w", SIGMA_WS, light), ""]
        i, j = np.unravel_index(np.nanargmax(heavy[:-1]), heavy[:-1].shape)
        shared = [g for g in GS if g in SIGMA_WS]
        gaps = [100 * abs(heavy[-1][GS.index(g)] - light[0][SIGMA_WS.index(g)]) for g in shared]
        said += [
            f"α = 2 and σ_b = 0 are the same law, drawn twice: at the same scale accuracy differs by up to "
            f"{max(gaps):.0f} points, which is how far a single seed can be trusted.",
            "",
            f"Best with α < 2: {100 * heavy[i, j]:.1f} at α = {ALPHAS[i]:g}, g = {GS[j]:g}; best at α = 2: "
            f"{100 * np.nanmax(heavy[-1]):.1f}. Share of the tried g at which accuracy is above 70: "
            + ", ".join(f"{np.mean(row > 0.7):.0%} at α = {alpha:g}" for alpha, row in zip(ALPHAS, heavy, strict=True))
            + ".",
            "",
        ]
    return "\n".join(said)


def _table(name: str, rows: Sequence[float], across: str, columns: Sequence[float], values: Any) -> list[str]:
    return [
        f"| {name} \\ {across} | " + " | ".join(f"{column:g}" for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {row:g} | " + " | ".join("—" if np.isnan(value) else f"{100 * value:.1f}" for value in line) + " |"
            for row, line in zip(rows, values, strict=True)
        ),
    ]


def draw(done: Sequence[dict[str, Any]], path: Path) -> None:
    """Both planes for both depths, with the lines of mean-field theory."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(12, 8.5), constrained_layout=True)
    for row, depth in enumerate(DEPTHS):
        heavy = _grid(done, depth, "alpha-g", ALPHAS, GS)
        _image(figure, panels[row, 0], heavy, GS, ALPHAS, ("g", "α"), f"{depth} layers: heavy-tailed weights")
        line = [levy.ordered_line(alpha) for alpha in ALPHAS]
        _line(panels[row, 0], line, range(len(ALPHAS)), GS, "ordered line (Qu22)")
        light = _grid(done, depth, "sigma", SIGMA_BS, SIGMA_WS)
        _image(
            figure,
            panels[row, 1],
            light,
            SIGMA_WS,
            SIGMA_BS,
            ("σ_w", "σ_b"),
            f"{depth} layers: Gaussian weights, biases",
        )
        edge = [gaussian.edge_of_chaos(sigma_b, "tanh") for sigma_b in SIGMA_BS]
        _line(panels[row, 1], edge, range(len(SIGMA_BS)), SIGMA_WS, "edge of chaos")
        widom = [gaussian.widom_line(sigma_b, "tanh") for sigma_b in SIGMA_BS]
        _line(panels[row, 1], widom, range(len(SIGMA_BS)), SIGMA_WS, "Widom line", "C1")
    figure.savefig(path, dpi=110)


def _image(
    figure: Any,
    panel: Any,
    values: Any,
    columns: Sequence[float],
    rows: Sequence[float],
    labels: tuple[str, str],
    title: str,
) -> None:
    shown = panel.imshow(100 * values, vmin=10, vmax=85, cmap="viridis", aspect="auto", origin="lower")
    panel.set_xticks(range(len(columns)), [f"{column:g}" for column in columns])
    panel.set_yticks(range(len(rows)), [f"{row:g}" for row in rows])
    panel.set(xlabel=labels[0], ylabel=labels[1], title=title)
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            panel.text(
                j, i, f"{100 * value:.0f}", ha="center", va="center", color="k" if value > 0.55 else "w", fontsize=8
            )
    figure.colorbar(shown, ax=panel, label="test accuracy (%)")


def _line(
    panel: Any, values: Sequence[float], rows: Any, columns: Sequence[float], name: str, color: str = "r"
) -> None:
    """A line of theory, between the columns that the values lie between."""
    places = np.interp(values, columns, range(len(columns)))
    panel.plot(places, list(rows), color=color, marker="o", label=name)
    panel.legend(loc="upper right", fontsize=8)


def main() -> None:
    """Run what is missing, and write the page."""
    run_all(RUNS, train, plans(), jobs=1)
    done = lines(RUNS)
    RUNS.with_suffix(".md").write_text(page(done) + "\n", encoding="utf-8")
    draw(done, RUNS.with_suffix(".png"))


if __name__ == "__main__":
    main()
