"""`critaudit render REPORT.json`: the HTML of a report that was saved as JSON, also by an older version."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("render")
@click.argument("report", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The HTML's path.  [default: REPORT with .html]")
def render_command(report: Path, output: Path | None) -> None:
    """Turn a JSON report into HTML."""
    from critaudit.cli.audit import write
    from critaudit.report import Report

    target = output or report.with_suffix(".html")
    write(Report.load(report), target, None)
    click.echo(str(target))
