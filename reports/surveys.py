"""What surveys cost, and how that scales to 10⁵ models: `python reports/surveys.py`, six minutes on two quiet cores.

Runs the functions of `benchmarks/survey.py`, measures hashing and what a model leaves on the disk, and writes
`surveys.md` beside this file.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for benchmarks and tests

from benchmarks.survey import growth, overhead, page
from critaudit import __version__, processors
from critaudit.surveying import survey
from critaudit.surveying.store import Store
from critaudit.surveying.tables import write_tables

MANY = 100_000
NETWORKS = ("torchvision:alexnet", "torchvision:resnet18")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one audited model takes: core seconds, and bytes on the disk; `tables` are the rows of all models here."""

    source: str
    layers: int
    seconds: float
    report: int
    page: int
    rows: int


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        share, per_audit = _timed_overhead(place)
        more, tiny = _timed_growth(place)
        ready, filtering = page(place)
        costs, again, table_bytes = networks(place)
        writing = table_seconds(place / "networks")
    hashing = hashing_rate()
    tables_each = table_bytes / sum(cost.layers for cost in costs)
    cores = processors.available()
    text = f"""# What a survey costs

Written by `python reports/surveys.py`, critaudit {__version__}, {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d},
Python {platform.python_version()} on {cores} cores of {platform.machine()}, load {os.getloadavg()[0]:.1f}.

| what | measured | limit |
|---|---|---|
| beyond the audits' own work, one worker, {per_audit:.2f} s a model | {100 * share:.1f} % | 5 % |
| growth of the parent's memory over 1,000 tiny models | {more / 1e6:.0f} MB | 50 MB |
| a model that is next to nothing (process, report, page, rows), a worker per core | {1e3 * tiny:.0f} ms | |
| page of 1,000 models × 200 layers: opened | {ready:.0f} ms | 3,000 ms |
| the same: filtered | {filtering:.0f} ms | 200 ms |
| hashing a file that is in memory | {hashing / 1e9:.1f} GB/s a core | |
| writing the tables, a matrix | {1e3 * writing:.2f} ms | |
| the survey below again, with nothing to compute | {again:.1f} s | |

## Models

Untrained, with the analyzers that run by default, a worker per core. Seconds are the audit's own.

| model | matrices | seconds | report | page | rows for the tables |
|---|---|---|---|---|---|
{chr(10).join(map(_row, costs))}

## To 10⁵ models

{_scaling(costs, hashing, tables_each, writing)}
"""
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


def _timed_overhead(place: Path) -> tuple[float, float]:
    """The share beyond the work over 20 models, and the seconds that one of them takes."""
    started = time.perf_counter()
    share = overhead(place, 20)
    return share, (time.perf_counter() - started) / 20


def _timed_growth(place: Path) -> tuple[float, float]:
    started = time.perf_counter()
    more = growth(place, 1000)
    return more, (time.perf_counter() - started) / 1000


def networks(place: Path) -> tuple[list[Cost], float, int]:
    """The costs of real architectures, the seconds of a repeated survey of them, and the bytes of the four tables."""
    output = place / "networks"
    found = survey(NETWORKS, output=output, random_weights=True)
    costs = []
    for entry, (source, report) in zip(found.entries, found.reports(), strict=True):
        sizes = {
            folder: sum(file.stat().st_size for file in (output / folder).glob(f"*.{entry.key}.*"))
            for folder in ("reports", "pages", "rows")
        }
        seconds = report.provenance.seconds
        costs.append(Cost(source, len(report.layer_records), seconds, sizes["reports"], sizes["pages"], sizes["rows"]))
    started = time.perf_counter()
    survey(NETWORKS, output=output, random_weights=True)
    again = time.perf_counter() - started
    return costs, again, sum(file.stat().st_size for file in (*output.glob("*.csv"), *output.glob("*.parquet")))


def table_seconds(output: Path) -> float:
    """Seconds per matrix of writing the tables, with every model of a survey fifty times."""
    store = Store(output)
    store.scan()
    keys = [path.name.split(".")[1] for path in output.glob("rows/*.json")]
    started = time.perf_counter()
    written = write_tables(store, [(f"{key}-{copy}", key) for copy in range(50) for key in keys])
    return (time.perf_counter() - started) / written["layers"]


def hashing_rate() -> float:
    """Bytes per second of SHA-256, which a resumed survey spends on every file."""
    block = os.urandom(1 << 26)
    started = time.perf_counter()
    for _ in range(8):
        hashlib.sha256(block).digest()
    return 8 * len(block) / (time.perf_counter() - started)


def _row(cost: Cost) -> str:
    sizes = " | ".join(f"{size / 1e6:.2f} MB" for size in (cost.report, cost.page, cost.rows))
    return f"| {cost.source} | {cost.layers} | {cost.seconds:.1f} | {sizes} |"


def _scaling(costs: list[Cost], hashing: float, tables_each: float, writing: float) -> str:
    count = len(costs)
    seconds = sum(cost.seconds for cost in costs) / count
    kept = sum(cost.report + cost.page + cost.rows for cost in costs) / count
    layers = sum(cost.layers for cost in costs) / count
    hours = MANY * seconds / 64 / 3600
    paragraphs = (
        f"Models do not know of each other, so that a survey takes models × seconds per model / cores: for 10⁵ models "
        f"like these ({seconds:.0f} s, {layers:.0f} matrices) {MANY * seconds / 3600:,.0f} core hours, {hours:.1f} "
        "hours on 64 cores. Weights-only analyzers (`--only entries,spectrum,edge`) cost less, large language models "
        "more; audits of an architecture cost about the same each time, so that a run over a few of each tells the "
        "whole.",
        f"The disk takes {kept / 1e6:.1f} MB a model ({MANY * kept / 1e9:,.0f} GB for 10⁵) in three files, in folders "
        f"without subfolders, and {tables_each:.0f} bytes a matrix in the tables "
        f"({MANY * layers * tables_each / 1e9:,.1f} GB, most of it CSV).",
        f"To go on, a survey hashes every model file, at {hashing / 1e9:.1f} GB/s a core at most (disks and networks "
        f"are slower: 100 MB a model at 1 GB/s are {MANY * 0.1 / 3600:.1f} hours for 10⁵), and checks the digest of "
        "every result.",
        "The tables are written from the rows beside the reports, one model in memory at a time, on one core: "
        f"{MANY * layers * writing / 3600:.1f} hours for 10⁵, after Ctrl-C, too (a second one ends at once; the "
        "results are there already). The page reads the tables whole and holds a row per model: beyond some 10⁴ models "
        "ask the Parquet tables instead, or survey in parts, a folder per family.",
    )
    return "\n\n".join(textwrap.fill(paragraph, 120) for paragraph in paragraphs)


if __name__ == "__main__":
    main()
