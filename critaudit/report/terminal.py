"""The report in a terminal: verdict, coverage, findings, the most remarkable layers, and where the files went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from critaudit.report import measures, verdict, wording
from critaudit.report.record import Finding, Layer, Report
from critaudit.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_STYLES = {"problem": "bold red", "warning": "yellow", "info": "cyan"}
_MARKS = {"problem": "■", "warning": "▲", "info": "●"}
_SHOWN_FINDINGS = 8
_SHOWN_LAYERS = 8
_SHOWN_MEASUREMENTS = 16
# For terminals that cannot show the typographic signs: what stands in for them, longer signs first.
_SIGNS = (
    "·10 χ₁ √ ² ⁻ → ≈ ≥ ≤ α β σ μ χ φ ‖ × · – − … ■ ▲ ● █ ░ ⁰ ¹ ³ ⁴ ⁵ ⁶ ⁷ ⁸ ⁹ ₀ ₁ ₂",
    "e chi1 sqrt ^2 - -> ~ >= <= alpha beta sigma mu chi phi | x * - - ... !! ! i # . 0 1 3 4 5 6 7 8 9 0 1 2",
)
_ASCII = dict(zip(*(signs.split(" ") for signs in _SIGNS), strict=True)) | {"\u202f": " "}


def render(report: Report, console: Console, *, written: Sequence[str | Path] = ()) -> None:
    """Print a summary of `report`. `written` are the paths of its files, named at the end.

    In a terminal: colours (unless NO_COLOR), a coverage bar and a table of layers, within the console's width.
    Elsewhere (a pipe, a log): the same sentences as plain lines, without the bar and the table. Where no model was
    audited, the first measurements stand in their place.
    """
    rich_view = console.is_terminal
    for place, sentence in enumerate(verdict.sentences(report)):
        console.print(_text(sentence, console, "bold" if place == 0 else ""), soft_wrap=not rich_view)
    if rich_view and report.has_model:
        console.print(_coverage_bar(report, console))
    findings = verdict.by_severity(report)
    if findings:
        console.print()
    for finding in findings[:_SHOWN_FINDINGS]:
        console.print(_finding(finding, console), soft_wrap=not rich_view)
    if len(findings) > _SHOWN_FINDINGS:
        rest = wording.plural(len(findings) - _SHOWN_FINDINGS, "more finding")
        console.print(_text(f"and {rest} in the report", console, "dim"))
    remarkable = most_remarkable(report)
    if rich_view and remarkable:
        console.print()
        console.print(_layer_table(report, remarkable, console))
    if not report.has_model:
        _print_measurements(report, console)
    _print_advice(report, console)
    if written:
        console.print()
    for path in written:
        console.print(_text(f"wrote {printable(str(path), limit=4000)}", console, "green"), soft_wrap=True)


def most_remarkable(report: Report, limit: int = _SHOWN_LAYERS) -> list[Layer]:
    """The layers that a reader should look at first: those with the worst findings, then the heaviest tails."""
    weight: dict[str, int] = {}
    for finding in report.findings:
        if finding.layer is not None:
            points = {"problem": 100, "warning": 10, "info": 1}[finding.severity]
            weight[finding.layer] = weight.get(finding.layer, 0) + points

    def rank(layer: Layer) -> tuple[float, float]:
        alpha = layer.measurements.get("entries.alpha")
        return -weight.get(layer.name, 0), (alpha.number if alpha and alpha.number is not None else 9.0)

    return sorted(report.layer_records, key=rank)[:limit]


def _finding(finding: Finding, console: Console) -> Text:
    """One line: the severity's mark and word, the layer, the text, and the caveat dimmed."""
    line = _text("", console).append_text(
        _text(f"{_MARKS[finding.severity]} {finding.severity}", console, _STYLES[finding.severity])
    )
    if finding.layer:
        line.append_text(_text(f"  {printable(finding.layer)}", console, "bold"))
    line.append_text(_text(f"  {printable(finding.text, limit=1000)}", console))
    if finding.caveat and console.is_terminal:
        line.append_text(_text(f" ({printable(finding.caveat, limit=400)})", console, "dim"))
    return line


def _coverage_bar(report: Report, console: Console) -> Text:
    """A bar as wide as the console allows (at most 40) with the share of parameters analysed."""
    coverage = report.coverage
    width = max(10, min(40, console.width - 34))
    full = int(coverage.share * width)
    bar = _text("", console).append_text(_text("█" * full, console, "blue"))
    bar.append_text(_text("░" * (width - full), console, "dim"))
    noun = "parameters" if verdict.parameters_noun(coverage) == "parameters" else "what is known"
    bar.append_text(_text(f" {wording.share(coverage.share)} of {noun} analysed", console))
    return bar


def _layer_table(report: Report, layers: list[Layer], console: Console) -> Table:
    """Names, shapes and as many key measurements as the width holds; 60 columns hold two."""
    from rich import box
    from rich.table import Table

    columns = measures.key_measures(report)[: max(1, (console.width - 32) // 13)]
    title = f"{wording.plural(len(layers), 'layer')} of {len(report.layer_records)} to look at first"
    table = Table(
        box=box.SIMPLE_HEAD if _is_unicode(console) else box.ASCII,
        title=_text(title, console, "bold"),
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("layer", overflow="fold", min_width=12, ratio=None)
    if console.width >= 80:
        table.add_column("shape", overflow="fold")
    for identifier in columns:
        measure = measures.describe(identifier)
        table.add_column(_text(measure.symbol or measure.label, console), justify="right", overflow="fold")
    for layer in layers:
        cells = [_text(printable(layer.name), console)]
        if console.width >= 80:
            cells.append(_text(wording.shape(layer.shape), console))
        for identifier in columns:
            held = layer.measurements.get(identifier)
            dim = "" if held is not None and held.status == "measured" else "dim"
            cells.append(_text("–" if held is None else wording.value(held), console, dim))
        table.add_row(*cells)
    return table


_COMPARED = (
    ("signal over the depth ×", "init.signal_change"),
    ("gradient over the depth ×", "init.gradient_change"),
    ("sharpness λ", "init.sharpness"),
    ("trial loss", "init.loss"),
)
_SNIPPETS = ("init.snippet", "decay.snippet")


def _print_advice(report: Report, console: Console) -> None:
    """What advice changes, side by side, and the code to copy, which is never wrapped."""
    held = report.model
    if "init.loss_after" in held:
        console.print()
        console.print(_text(f"{'':<26}{'before':>14}{'after':>14}", console, "dim"), soft_wrap=True)
        for label, name in _COMPARED:
            shown = [wording.value(held[f"{name}_{when}"]) for when in ("before", "after")]
            console.print(_text(f"{label:<26}{shown[0]:>14}{shown[1]:>14}", console), soft_wrap=True)
    for code in (held[name].value for name in _SNIPPETS if name in held):
        console.print()
        for line in code if isinstance(code, tuple) else ():
            console.print(_text(printable(str(line), limit=2000), console), soft_wrap=True)


def _print_measurements(report: Report, console: Console) -> None:
    """One line per measurement: its name, its value and interval."""
    listed = [name for name in measures.tabled(report.model) if report.model[name].status == "measured"]
    if listed:
        console.print()
    for name in listed[:_SHOWN_MEASUREMENTS]:
        line = _text(f"{printable(measures.describe(name).heading)}  ", console, "dim")
        line.append_text(_text(printable(wording.with_interval(report.model[name]), limit=300), console))
        console.print(line, soft_wrap=not console.is_terminal)
    if len(listed) > _SHOWN_MEASUREMENTS:
        rest = wording.plural(len(listed) - _SHOWN_MEASUREMENTS, "more measurement")
        console.print(_text(f"and {rest} in the report", console, "dim"))


def _is_unicode(console: Console) -> bool:
    return console.encoding.lower().replace("-", "").startswith("utf")


def _text(text: str, console: Console, style: str = "") -> Text:
    """Text that is never read as markup, in signs that the console's encoding can show."""
    from rich.text import Text

    if not _is_unicode(console):
        for sign, stand_in in _ASCII.items():
            text = text.replace(sign, stand_in)
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    return Text(text, style=style)
