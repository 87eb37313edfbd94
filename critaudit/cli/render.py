"""`critaudit render`: the HTML of a report that was saved as JSON, also by an older version, or of a Monitor's log."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("render")
@click.argument("source", metavar="REPORT|LOG", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The HTML's path.  [default: REPORT with .html]")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the report as JSON too.")
def render_command(source: Path, output: Path | None, json_path: Path | None) -> None:
    """Turn a JSON report into HTML; or the log of a training (critaudit.Monitor), also while it runs.

    Exits with 4 where lines of the log are damaged; a last line that is not whole yet is no damage.
    """
    from critaudit.cli.audit import EXIT_PARTIAL, check_writable, write
    from critaudit.logs import is_log
    from critaudit.report import Report

    target = output or source.with_suffix(".html")
    check_writable(target, json_path)
    lost: tuple[str, ...] = ()
    if is_log(source):
        from critaudit.training.report import report_of_log

        report = report_of_log(source)
        lost = report.coverage.problems
    else:
        report = Report.load(source)
    for path in write(report, target, json_path):
        click.echo(str(path))
    for problem in lost:
        click.echo(f"critaudit: {source}: {problem}", err=True)
    if lost:
        click.get_current_context().exit(EXIT_PARTIAL)
