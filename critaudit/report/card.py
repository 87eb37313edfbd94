"""The audit as a section of a model card (a README.md with a YAML head, as hubs for models show it)."""

from __future__ import annotations

import re
from pathlib import Path

from critaudit.errors import UsageError
from critaudit.report import verdict, wording
from critaudit.report.record import Layer, Report
from critaudit.report.writing import write_text

BEGIN, END = "<!-- critaudit begin -->", "<!-- critaudit end -->"
_SECTION = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_COLUMNS = (
    ("entries.alpha", "α"),
    ("entries.verdict", "law of the entries"),
    ("spectrum.stable_rank", "stable rank"),
    ("spectrum.verdict", "spectrum"),
    ("edge.chi1", "χ₁"),
    ("signal.strength", "signal"),
)
_ROWS = 12
_FINDINGS = 8


def section(report: Report) -> str:
    """The section in Markdown, between its two marks, without a final newline."""
    lines = [BEGIN, "## Criticality audit", "", *map(_plain, verdict.sentences(report)), ""]
    findings = verdict.by_severity(report)
    for finding in findings[:_FINDINGS]:
        where = f" `{_plain(finding.layer)}`" if finding.layer else ""
        lines.append(f"- **{finding.severity}**{where}: {_plain(finding.text)}")
    if len(findings) > _FINDINGS:
        lines.append(f"- and {wording.plural(len(findings) - _FINDINGS, 'more finding')}")
    if findings:
        lines.append("")
    lines += _table(report)
    version = report.provenance.versions.get("critaudit", "")
    digest = f", SHA-256 `{report.source.sha256}`" if report.source.sha256 else ""
    lines += [
        "",
        f"By critaudit {version} on {report.provenance.created[:10]}, seed {report.provenance.seed}{digest}.",
        END,
    ]
    return "\n".join(lines)


def into(report: Report, path: str | Path) -> Path:
    """Put the section into a card: in the place of an earlier one, or at the end. A missing card is begun.

    What else the card says, its YAML head included, stays as it is. Raises UsageError where it cannot be read or
    written.
    """
    target = Path(path)
    try:
        card = target.read_text(encoding="utf-8") if target.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"{target}: this card cannot be read ({reason}); a Markdown file is expected") from None
    if card.count(BEGIN) != card.count(END) or card.count(BEGIN) > 1:
        raise UsageError(f"{target}: the marks {BEGIN} and {END} do not stand in one pair; mend them by hand")
    new = section(report)
    if BEGIN in card:
        return write_text(target, _SECTION.sub(lambda _: new, card, count=1))
    return write_text(target, f"{card.rstrip()}\n\n{new}\n" if card.strip() else f"{new}\n")


def _table(report: Report) -> list[str]:
    """The first and last layers with what was measured on them."""
    layers = report.layer_records
    present = [(name, title) for name, title in _COLUMNS if any(name in layer.measurements for layer in layers)]
    if not present:
        return []
    lines = ["| layer | " + " | ".join(title for _, title in present) + " |", "|---" * (len(present) + 1) + "|"]
    half = _ROWS // 2
    shown = layers if len(layers) <= _ROWS else (*layers[:half], *layers[-half:])
    for place, layer in enumerate(shown):
        if len(layers) > _ROWS and place == half:
            lines.append(f"| … {len(layers) - _ROWS} more |" + " |" * len(present))
        lines.append(_row(layer, [name for name, _ in present]))
    return lines


def _row(layer: Layer, identifiers: list[str]) -> str:
    cells = []
    for name in identifiers:
        held = layer.measurements.get(name)
        cells.append("–" if held is None else _plain(wording.value(held)).replace("_", " "))
    return f"| `{_plain(layer.name)}` | " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Text that Markdown and HTML leave alone."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'").replace("\n", " ")
