"""A report in a notebook: the verdict and the findings as a small piece of HTML without scripts or styles."""

from __future__ import annotations

from html import escape

from critaudit.report import verdict, wording
from critaudit.report.record import Report
from critaudit.text import printable

_SHOWN = 8


def summary(report: Report) -> str:
    """The verdict, up to eight findings, and where to go on."""
    lines = [f"<p>{_safe(' '.join(verdict.sentences(report)))}</p>"]
    findings = verdict.by_severity(report)
    if findings:
        lines.append("<table><thead><tr><th>severity</th><th>layer</th><th>finding</th></tr></thead><tbody>")
        lines += [
            f"<tr><td>{_safe(finding.severity)}</td><td>{_safe(finding.layer or 'model')}</td>"
            f"<td style='text-align:left'>{_safe(finding.text)}</td></tr>"
            for finding in findings[:_SHOWN]
        ]
        lines.append("</tbody></table>")
    if len(findings) > _SHOWN:
        lines.append(f"<p>and {wording.plural(len(findings) - _SHOWN, 'more finding')}.</p>")
    table = "report.layers" if report.has_model else "report.model"
    lines.append(f"<p><code>{table}</code> · <code>report.figures</code> · <code>report.to_html(path)</code></p>")
    return f"<div>{''.join(lines)}</div>"


def _safe(text: str) -> str:
    return escape(printable(text, limit=1000))
