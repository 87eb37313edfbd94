"""Avalanches of residual networks: `python reports/resnet_avalanches.py [--trained FILE] [--only NAME …]`.

Draws networks at initialisation, follows many inputs through all their operations and through those of their linear
twins, and writes `resnet_avalanches.md` and `.json` beside this file: exponents with intervals over networks at three
thresholds, the crackling relation, and the verdict beside its null models. Strengths are kept in `.cache`, one file per
network, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from whole_range import Whole, whole_range

import critaudit
from critaudit import __version__
from critaudit.analyzers.avalanche import LINEAR, SURROGATES, THRESHOLDS, WEIGHTS, crackle, surrogate_nulls
from critaudit.analyzers.crackling import measurements
from critaudit.dynamics.model_avalanches import Paths, counts, gather, weight_layers
from critaudit.dynamics.operations import NetworkPaths, Samples, linear_paths, network_paths, of_strength
from critaudit.errors import CritauditError
from critaudit.report.measures import describe
from critaudit.report.wording import plural

SEED = 20265
CACHE = Path(__file__).parents[1] / ".cache" / "resnet_avalanches"
TRAINED = "efficientnet_lite0"


@dataclass(frozen=True, slots=True)
class Study:
    """`networks` draws of an architecture (one where it is trained), each with inputs of side `side`."""

    name: str
    networks: int
    calibration: int
    samples: int
    side: int = 64


STUDIES = (
    Study("resnet18", 32, 128, 128),
    Study("resnet50", 28, 128, 128),
    Study("resnet34", 12, 128, 128),
    Study("resnet101", 10, 128, 128, side=32),
    Study("resnet152", 10, 128, 128, side=32),
    Study(TRAINED, 1, 256, 768, side=224),
)


def strengths(study: Study, network: int, *, linear: bool, trained: Path | None) -> NetworkPaths:
    """One network's strengths, or its linear twin's: from the cache, else measured and put there."""
    kind = "linear" if linear else "network"
    file = CACHE / f"{study.name}-{study.side}-{study.calibration}-{study.samples}-{network}-{kind}.npz"
    if file.exists():
        with np.load(file) as kept:
            names, kinds = (tuple(kept[key].tolist()) for key in ("operations", "kinds"))
            method, overflowed = str(kept["method"]), int(kept["overflowed"])
            weighted = frozenset(tuple(kept["weighted"].tolist())) if "weighted" in kept else _weighted(names, kinds)
            return NetworkPaths(names, kinds, kept["calibration"], kept["strengths"], (), method, overflowed, weighted)
    with torch.no_grad():
        module = _module(study, network, trained)
        follow = linear_paths if linear else network_paths
        found = follow(
            module,
            _inputs(study, (SEED, network, 0), study.calibration),
            _inputs(study, (SEED, network, 1), study.samples),
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npz")
    np.savez(
        partial,
        operations=np.array(found.operations),
        kinds=np.array(found.kinds),
        calibration=found.calibration,
        strengths=found.strengths,
        method=np.array(found.method),
        overflowed=np.array(found.overflowed),
    )
    partial.rename(file)
    return found


def _module(study: Study, network: int, trained: Path | None) -> torch.nn.Module:
    if study.name == TRAINED:
        if trained is None:
            raise CritauditError(f"{study.name}: its weights are named with --trained FILE")
        view = critaudit.load(trained)
        if view.runnable is None:
            raise CritauditError(f"{trained}: {view.architecture.detail}")
        return view.runnable.build().eval()
    from torchvision.models import get_model

    torch.manual_seed(SEED + network)
    return get_model(study.name, weights=None).eval()


def _inputs(study: Study, seed: tuple[int, ...], count: int) -> Samples:
    """Gaussian images of strength 1, the same each time."""

    def draw() -> Iterator[torch.Tensor]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            yield torch.from_numpy(rng.standard_normal((1, 3, study.side, study.side), dtype=np.float32))

    return lambda: of_strength(draw(), 1.0)


def paths_of(study: Study, trained: Path | None) -> tuple[Paths, dict[str, Paths]]:
    """The paths of the ensemble and those of its null models."""
    found = {}
    for linear in (False, True):
        networks = []
        for network in range(study.networks):
            started = time.process_time()
            networks.append(strengths(study, network, linear=linear, trained=trained))
            if (seconds := time.process_time() - started) > 0.5:
                print(f"{study.name} {network + 1}/{study.networks}{' linear' * linear}: {seconds:.1f} s", flush=True)
        found[linear] = gather(networks)
    return found[False], {LINEAR: found[True]} | surrogate_nulls(found[False], seed=SEED)


def _weighted(names: tuple[str, ...], kinds: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name, kind in zip(names, kinds, strict=True) if kind.startswith(("Conv", "Linear")))


def study_results(study: Study, paths: Paths, nulls: dict[str, Paths]) -> list[dict[str, Any]]:
    """For each threshold, and for weight layers only: what critaudit reports, and exponents over the whole range."""
    coarse = weight_layers(paths), {name: weight_layers(null) for name, null in nulls.items()}
    rows = []
    for n, prefix in [*THRESHOLDS.items(), (0, WEIGHTS)]:
        if prefix == WEIGHTS:
            paths, nulls = coarse
        found, beside = crackle(paths, nulls, n, seed=SEED)
        told = measurements(found, depth=paths.layers, prefix=prefix, nulls=beside)
        rows.append(
            {
                "architecture": study.name,
                "layers_are": "weight layers" if prefix == WEIGHTS else "operations",
                "n": n,
                "networks": paths.count,
                "side": study.side,
                "layers": paths.layers,
                "verdict": found.verdict.kind,
                "text": found.verdict.text,
                "whole_range": {
                    name: {kind: _plain(whole_range(counts(one, n), kind, seed=SEED)) for kind in ("total", "excess")}
                    for name, one in {"network": paths, **nulls}.items()
                },
                "null_verdicts": {null.name: null.verdict.kind for null in beside},
                "measurements": {
                    name: {"value": held.value, "interval": held.interval, "n": held.n, "reason": held.reason}
                    for name, held in told.items()
                    if not describe(name).plotted
                },
            }
        )
        print(study.name, n, found.verdict.kind, flush=True)
    return rows


def _plain(whole: Whole | None) -> dict[str, Any] | None:
    """As JSON knows it: no NaN."""
    if whole is None:
        return None
    return {
        **{name: held for name, held in asdict(whole).items() if name != "p"},
        "p": [None if p != p else p for p in whole.p],
        "relation": whole.relation,
    }


def main() -> None:
    """Run the study and write its report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trained", type=Path, help="weights of EfficientNet-Lite0 (efficientnet-lite0-57934424.pth)")
    parser.add_argument("--only", nargs="+", help="architectures, of " + ", ".join(one.name for one in STUDIES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    rows = []
    with threadpool_limits(1):
        for study in STUDIES:
            if options.only and study.name not in options.only:
                continue
            try:
                paths, nulls = paths_of(study, options.trained)
            except CritauditError as error:
                print(error)
                continue
            rows += study_results(study, paths, nulls)
    text = "\n".join([*_head(time.process_time() - started), *_tables(rows), ""])
    if options.only:
        print(text)
        return
    target = Path(__file__).with_suffix(".md")
    target.write_text(text, encoding="utf-8")
    kept = {"schema": "critaudit.study/1", "seed": SEED, "results": rows}
    target.with_suffix(".json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {target.name} and its JSON after {time.process_time() - started:.0f} s of processor time")


def _head(seconds: float) -> list[str]:
    versions = f"critaudit {__version__}, PyTorch {torch.__version__}, NumPy {np.__version__}"
    sizes = "; ".join(
        f"{one.name}: {plural(one.networks, 'network')} × {one.samples} inputs of {one.side}×{one.side}, "
        f"{one.calibration} others for the thresholds"
        for one in STUDIES
    )
    return [
        "# Avalanches of residual networks",
        "",
        f"`python reports/resnet_avalanches.py --trained efficientnet-lite0-57934424.pth`, seed {SEED}, "
        f"{datetime.date.today().isoformat()}, {versions}; {seconds:.0f} s of processor time on one thread (strengths "
        "that an earlier run has left in `.cache` not counted; they take about 20 minutes).",
        "",
        "Every operation (convolution, normalisation, activation, sum, pooling) is a layer; its strength is "
        "s̃ = ‖x‖₂/√n, its threshold θ = μ + nσ over calibration inputs of the same network. A path lasts "
        "D = (first layer with s̃ < θ) − 1 layers; paths above threshold to the end are censored. Sizes are Σ s̃ "
        "(*total*) and Σ (s̃ − θ)/σ (*z-scored*). Networks of torchvision at initialisation, batch normalisation "
        "calibrated and in eval mode; inputs are Gaussian images of unit strength. "
        f"{sizes}.",
        "",
        "Null models run beside on the same inputs: the same network with every activation replaced by the identity "
        "and max pooling by average pooling (linear); surrogates of the strengths with randomised phases, from an "
        "autoregressive process, and Gaussian ones with the full covariance of the layers. All keep each layer's "
        "values; the tables show the linear network and the Gaussian surrogates, the JSON all four.",
        "",
        "Behind an activation or a normalisation the strength is nearly what it was before: avalanches rarely end "
        "there, so durations in operations come in steps, which no smooth law fits. Therefore n = 0 is also counted in "
        "weight layers only (convolutions, the linear layer).",
        "",
    ]


def _tables(rows: list[dict[str, Any]]) -> list[str]:
    lines = [*_summary(rows), "", "## Verdicts", ""]
    lines += [
        "| network | layers | n | avalanches | none | censored | verdict | durations: α on | z-scored sizes: τ on |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        held = {name.rpartition(".")[2]: value for name, value in row["measurements"].items()}
        lines.append(
            f"| {row['architecture']} | {row['layers']} {row['layers_are']} | {_sign(row['n'])} | "
            f"{held['number']['value']} | "
            f"{held['none_share']['value']:.1%} | {held['censored_share']['value']:.1%} | "
            f"{row['verdict'].replace('_', ' ')} | {_accepted(held, 'alpha', 'duration')} | "
            f"{_accepted(held, 'tau_excess', 'excess')} |"
        )
    for kind, title in (("total", "total sizes"), ("excess", "z-scored sizes")):
        lines += [
            "",
            f"## Exponents over the whole range, {title}",
            "",
            "Truncated maximum likelihood from the smallest value (z-scored: from 1) to the one that ten are above, "
            "whether a power law fits there or not: *p* is the goodness of fit of durations and of sizes. "
            "95 % intervals by bootstrap over networks (the trained network: over its inputs). "
            "Relation: (α − 1)/(τ − 1) − 1/σνz, which has no value where τ is not above 1.",
            "",
            "| network | n | α | τ | 1/σνz | crackling relation | p |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            for name, sizes in row["whole_range"].items():
                if name not in _SHOWN:
                    continue
                who = f"{row['architecture']}, {row['layers_are']}" if name == "network" else f"↳ {name}"
                lines.append(_whole_row(who, row["n"], sizes[kind]))
    lines += ["", "## In plain words", ""]
    lines += [f"- **{row['architecture']}, {row['layers_are']}, n = {_sign(row['n'])}**: {row['text']}" for row in rows]
    return lines


# The two other surrogates are in the JSON.
_SHOWN = ("network", LINEAR, SURROGATES["gaussian"])


def _summary(rows: list[dict[str, Any]]) -> list[str]:
    kinds = Counter(row["verdict"] for row in rows)
    told = ", ".join(f"{number} × {kind.replace('_', ' ')}" for kind, number in kinds.most_common())
    claims = [row for row in rows if row["verdict"] in ("classes", "no_listed_class")]
    drawn = [row for row in rows if row["networks"] > 1]
    tested = [row["whole_range"]["network"]["total"] for row in drawn]
    broken = sum(whole is not None and "violated" in whole["relation"] for whole in tested)
    holding = sum(whole is not None and "holds" in whole["relation"] for whole in tested)
    alike = sum(_like_a_null(row) for row in rows)
    noisy = sum(
        "holds" in row["whole_range"]["network"]["total"]["relation"] and "holds" in gaussian["relation"]
        for row in drawn
        if row["whole_range"]["network"]["total"]
        and (gaussian := row["whole_range"][SURROGATES["gaussian"]]["total"]) is not None
    )
    return [
        "## In short",
        "",
        f"Of {len(rows)} combinations of network, threshold and kind of layer: {told}. "
        + (
            "In none do sizes and durations both follow power laws over the decades that are asked for."
            if not claims
            else f"{len(claims)} give power laws that null models do not."
        ),
        "",
        f"Over the whole range, with total sizes, the crackling relation holds within its error in {holding}, is "
        f"violated in {broken} and has no value in {len(drawn) - holding - broken} of {len(drawn)} combinations at "
        f"initialisation; it also holds for the Gaussian surrogates in {noisy} of the {holding} where it holds.",
        "",
        f"In {alike} of {len(rows)}, some null model has exponents α and τ whose intervals overlap those "
        "of the network: where that is so, correlated noise is enough to explain them.",
    ]


def _like_a_null(row: dict[str, Any]) -> bool:
    """Whether a null model's intervals of α and τ (total sizes, whole range) overlap those of the network."""
    found = {name: sizes["total"] for name, sizes in row["whole_range"].items()}
    own = found.pop("network")
    return own is not None and any(
        null is not None
        and all(null[name][1] <= own[name][2] and own[name][1] <= null[name][2] for name in ("alpha", "tau"))
        for null in found.values()
    )


def _accepted(held: dict[str, Any], name: str, stem: str) -> str:
    exponent, span = held[name], held.get(f"{stem}_range")
    if exponent["value"] is None or span is None:
        return "none found"
    interval = exponent["interval"]
    shown = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
    low, high = span["value"]
    return f"{exponent['value']:.2f}{shown} on {low:.3g} … {high:.3g}"


def _whole_row(who: str, n: float, whole: dict[str, Any] | None) -> str:
    if whole is None:
        return f"| {who} | {_sign(n)} | – | – | – | too few avalanches | – |"
    alpha, tau, slope = (_with_interval(whole[name]) for name in ("alpha", "tau", "slope"))
    shown = ", ".join("–" if p is None else "< 0.01" if p < 0.01 else f"{p:.2f}" for p in whole["p"])
    return f"| {who} | {_sign(n)} | {alpha} | {tau} | {slope} | {whole['relation']} | {shown} |"


def _with_interval(value: tuple[float, float, float] | None) -> str:
    return "–" if value is None else f"{value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]".replace("-", "−")


def _sign(n: float) -> str:
    return f"{n:+d}".replace("-", "−").replace("+0", "0")


if __name__ == "__main__":
    main()
