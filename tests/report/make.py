"""Synthetic reports for tests: small, hostile and large, with every status, severity and section."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from critaudit.auditing.phase import phase_report
from critaudit.measurement import Measurement, failed, measured, not_applicable, undetermined
from critaudit.report import (
    Advice,
    ArchitectureRecord,
    Coverage,
    Finding,
    Layer,
    Provenance,
    Report,
    SourceRecord,
    TensorRecord,
)

HOSTILE = (
    '</script><img src=x onerror="alert(1)">',
    "{{7*7}}{% raw %}",
    "\"'><svg onload=alert(1)>",
    "]]><!--<script>",
    "javascript:alert(1)",
    "<a href='javascript:alert(1)'>x</a>",
    "${7*7}%{x}",
    "tab\tnew\nline\x1b[31m\u202egnp.exe",
    "\ud800 lone surrogate",
    "\u2028 separators \u2029",
    "<style>*{display:none}</style>",
    "&lt;b&gt; &amp;",
    "x" * 5000,
    "",
)
_KINDS = ("conv", "linear", "attention", "depthwise_conv", "embedding", "recurrent")


def small_report(layers: int = 12, *, seed: int = 0, names: tuple[str, ...] = (), tensors: int | None = None) -> Report:
    """A report on `layers` layers, named after `names` first, that holds every status and every section."""
    rng = np.random.default_rng(seed)
    made = tuple(
        _layer(index, names[index] if index < len(names) else f"blocks.{index}.{_KINDS[index % 6]}.weight", rng)
        for index in range(layers)
    )
    return Report(
        source=SourceRecord(names[0] if names else "network.pt", "zip checkpoint", "ab" * 32, 46_830_571),
        architecture=ArchitectureRecord("resnet18", "recognised", "names and shapes match timm's resnet18"),
        coverage=_coverage(made, layers if tensors is None else tensors, names),
        layer_records=made,
        model={
            "entries.alpha_median": measured(1.83, n=layers, method="median over layers"),
            "signal.input_strength": measured(0.58, interval=(0.57, 0.59), n=64, method="calibrated Gaussian input"),
            "avalanche.tau": not_applicable("only runs on request"),
            "avalanche.classes": measured(("mean-field", "Brownian excursion"), n=1000),
        },
        findings=_findings(made, names),
        advice=(
            Advice("weight_decay", None, "weight_decay", 1.05e-4, (0.9e-4, 1.2e-4), "J stays at the edge", "Zhang21"),
            Advice(
                "init", made[0].name if made else None, "init", "orthogonal, gain 1.1", None, "keeps signals", "Qu22"
            ),
        ),
        provenance=Provenance(
            versions={"critaudit": "0.1.0", "numpy": np.__version__},
            settings={"only": ["entries", "edge"], "samples": 64, "nested": {"device": None}},
            seed=0,
            threads=2,
            device="cpu",
            seconds=3.21,
            peak_memory=412_000_000,
            skipped={"avalanche": "only runs on request"},
            created="2026-01-01T00:00:00+00:00",
        ),
    )


def empty_report() -> Report:
    """A report on a model in which nothing could be analysed."""
    return Report(
        source=SourceRecord("empty.pt", "zip checkpoint", None, None),
        architecture=ArchitectureRecord(None, "none", ""),
        coverage=Coverage(0, 0, ()),
        layer_records=(),
        model={},
        findings=(),
        advice=(),
        provenance=Provenance({}, {}, 0, 1, "cpu", 0.0, None, {}, ""),
    )


def theory_report() -> Report:
    """A report without a model: measurements, one series for a figure, one gap, and the maker's own sentences."""
    return replace(
        empty_report(),
        source=SourceRecord("phase diagrams of tanh networks", "theory", None, None),
        model={
            "novel.line": measured(0.602, interval=(0.601, 0.603), method="cut-off radius one"),
            "novel.widom": not_applicable("the length diverges"),
            "novel.summary": measured(("The ordered line is at 0.602.", "It closes at 2.")),
        },
    )


@lru_cache(maxsize=1)
def drawn_phases() -> Report:
    """The phase diagrams of tanh networks, coarsely: seconds of work, so made once."""
    return phase_report(points=10)


def hostile_report() -> Report:
    """A report in which every string tries to break out of wherever it is shown."""
    return small_report(len(HOSTILE), names=HOSTILE)


def _layer(index: int, name: str, rng: np.random.Generator) -> Layer:
    kind = _KINDS[index % 6]
    shape = (64, 32, 3, 3) if "conv" in kind else (128, 64 + index % 7)
    size = int(np.prod(shape))
    alpha = float(np.clip(rng.normal(1.8, 0.12), 1.05, 1.995))
    found: dict[str, Measurement] = {
        "entries.alpha": measured(alpha, interval=(alpha - 0.02, alpha + 0.02), n=size, method="maximum likelihood"),
        "entries.beta": measured(0.01, interval=(-0.03, 0.05), n=size, method="maximum likelihood"),
        "entries.sigma": measured(0.031, interval=(0.0305, 0.0315), n=size, method="maximum likelihood"),
        "entries.g_paper": measured(float(rng.uniform(0.6, 1.6)), n=size),
        "entries.g_forward": measured(float(rng.uniform(0.4, 1.5)), interval=(0.3, 1.6), n=size, method="N = fan-in"),
        "entries.mean": measured(float(rng.normal(0, 1e-4)), n=size),
        "entries.std": measured(0.0448, n=size),
        "entries.excess_kurtosis": measured(float(rng.exponential(2.0)), n=size),
        "entries.non_finite": measured(0, n=size),
        "entries.zeros": measured(0.0, n=size),
        "spectrum.norm": measured(float(rng.lognormal(0.5, 0.4)), n=min(shape), method="largest singular value"),
        "spectrum.stable_rank": measured(float(rng.uniform(3, 30)), n=min(shape)),
        "spectrum.rank": measured(min(shape), n=min(shape)),
        "edge.j0": measured(float(rng.normal(0, 0.3)), n=size),
        "edge.j": measured(float(rng.uniform(0.3, 1.6)), interval=(0.2, 1.7), n=size),
        "edge.chi1": measured(float(rng.uniform(0.3, 1.7)), interval=(0.25, 1.75), n=4096, method="mean field"),
        "edge.phase": measured("ordered") if kind == "linear" else not_applicable("only square tanh layers"),
        "signal.strength": measured(float(np.exp(-0.1 * index)), interval=(0.01, 2.0), n=64, method="forward pass"),
        "novel.flag": measured(True),
        "novel.verdict": measured("Gaussian not rejected", n=size, method="simulated critical values"),
    }
    gaps = {
        3: ("entries.alpha", undetermined("only 40 entries, at least 100 are needed", n=40)),
        4: ("edge.chi1", not_applicable("an embedding has no activation")),
        5: ("signal.strength", failed("the forward pass gave NaN")),
        6: ("entries.g_forward", not_applicable("recurrent weights have no fan-in")),
    }
    gap = gaps.get(index % 12)
    return Layer(name, kind, shape, found | ({gap[0]: gap[1]} if gap else {}))


def _coverage(layers: tuple[Layer, ...], tensors: int, names: tuple[str, ...]) -> Coverage:
    ledger = [TensorRecord(layer.name, layer.shape, "float32", "analysed", None) for layer in layers[:tensors]]
    ledger += [
        TensorRecord(f"blocks.{index}.bias", (64,), "float32", "skipped", "a bias: no matrix")
        for index in range(max(3, tensors - len(ledger)))
    ]
    ledger += [TensorRecord(name, (8,), "float32", "lost", f"bad checksum in {name}") for name in names]
    analysed = sum(int(np.prod(layer.shape)) for layer in layers)
    return Coverage(analysed + 64 * 12, analysed, tuple(ledger), tuple(names[:3]))


def _findings(layers: tuple[Layer, ...], names: tuple[str, ...]) -> tuple[Finding, ...]:
    if not layers:
        return ()
    made = [
        Finding(
            "edge.above",
            "warning",
            layers[min(1, len(layers) - 1)].name,
            "differences between inputs grow by 40 % in this layer",
            ("edge.chi1", "edge.j", "no.such"),
            "mean-field theory assumes independent weights",
        ),
        Finding("entries.tail", "info", None, "9 layers have heavier than Gaussian tails", ("entries.alpha_median",)),
        Finding(
            "signal.lost", "problem", layers[-1].name, "the signal dies out", ("signal.strength",), "64 inputs only"
        ),
    ]
    made += [Finding(name, "warning", name, name, (name,), name) for name in names]
    return tuple(made)
