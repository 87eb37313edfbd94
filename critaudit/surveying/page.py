"""The page of a survey: distributions, the models in a table that sorts and filters, outliers, failures."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from critaudit import __version__
from critaudit.report import html, measures, wording
from critaudit.surveying.figures import figures
from critaudit.surveying.store import Store
from critaudit.surveying.summary import ModelRow, Summary, summarise

_REASONS = 200
_AUDITED = ("audited", "partial")


def write_page(store: Store, *, name: str) -> None:
    """Write `index.html` from the tables at the store's place, and the assets that it shares with the models' pages."""
    summary = summarise(store)
    for file, text in html.assets().items():
        store.place.write(f"assets/{file}", text.encode())
    store.place.write("index.html", render(summary, name=name).encode())


def render(summary: Summary, *, name: str) -> str:
    """The page as text."""
    return html.framed(
        "survey.html.j2",
        title=name,
        version=__version__,
        figures=figures(summary),
        data={"models": [asdict(row) for row in summary.rows], "outliers": [asdict(one) for one in summary.outliers]},
        shared="assets",
        file_name="critaudit-survey.json",
        name=name,
        sentences=_sentences(summary),
        columns=[measures.describe(column) for column in summary.columns],
        rows=[(place, row, _cells(row, summary.columns)) for place, row in enumerate(summary.rows, start=1)],
        folder=common_folder([row.source for row in summary.rows]),
        families=sorted({row.family for row in summary.rows if row.family}),
        failures=[row for row in summary.rows if row.status not in _AUDITED][:_REASONS],
        failed=sum(row.status not in _AUDITED for row in summary.rows),
        outliers=summary.outliers,
        pages={row.source: row.page for row in summary.rows},
    )


def common_folder(sources: list[str]) -> str:
    """The beginning that all sources share, up to a slash: names in the page leave it out. "" where there is none."""
    if len(sources) < 2:
        return ""
    begin = os.path.commonprefix([min(sources), max(sources)])  # noqa: RUF071 – cut at a slash below
    return begin[: begin.rfind("/") + 1]


def _sentences(summary: Summary) -> list[str]:
    audited = sum(summary.statuses.get(status, 0) for status in _AUDITED)
    matrices = wording.plural(summary.layer_count, "weight matrix", "weight matrices")
    said = [
        f"{wording.plural(audited, 'model')} with {matrices} were audited, of "
        f"{wording.plural(len(summary.rows), 'source')}."
    ]
    rest = {status: count for status, count in summary.statuses.items() if status not in _AUDITED}
    if rest:
        listed = ", ".join(f"{count} {status}" for status, count in sorted(rest.items()))
        said.append(f"Without a report: {listed}.")
    medians = [(row.spreads["entries.alpha"].median, row) for row in summary.rows if "entries.alpha" in row.spreads]
    if medians:
        alpha, row = min(medians, key=lambda pair: pair[0])
        said.append(
            f"The heaviest tails on average: {row.architecture or row.source}, median α = {wording.number(alpha)}."
        )
    return said


def _cells(row: ModelRow, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    cells = []
    for column in columns:
        spread = row.spreads.get(column)
        cells.append(
            {"key": None, "text": "–", "below": None}
            if spread is None
            else {
                "key": spread.median,
                "text": wording.within(spread.median, (spread.low, spread.high) if spread.n > 1 else None),
                "below": wording.interval((spread.low, spread.high)) if spread.n > 1 else None,
            }
        )
    return cells
