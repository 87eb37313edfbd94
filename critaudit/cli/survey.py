"""`critaudit survey SOURCES…`: a whole zoo of models, resumable."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from critaudit.cli.audit import EXIT_PARTIAL
from critaudit.text import printable

if TYPE_CHECKING:
    from critaudit.surveying import Progress, Survey

_LINE_EVERY = 60.0  # seconds, where there is no terminal for a bar
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def _size(text: str) -> int:
    """A number of bytes: 500M, 8G, 2000000000."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if found is None:
        raise click.BadParameter(f"{text!r} is no size; 500M or 8G are")
    return int(float(found[1]) * _UNITS[found[2]])


@click.command("survey")
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "-o", "--output", default="critaudit-survey", show_default=True, help="Folder or fsspec URL for all results."
)
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Who works.")
@click.option("--cpus", type=click.FloatRange(0, min_open=True), help="Ray: processors a model.  [default: 1]")
@click.option("--gpus", type=click.FloatRange(0), help="Ray: GPUs a model, parts of one too.  [default: 0]")
@click.option("--workers", type=click.IntRange(1, 4096), help="Models audited side by side.  [default: one per core]")
@click.option(
    "--time-limit", type=click.FloatRange(0, min_open=True), default=3600.0, show_default=True, help="Seconds a model."
)
@click.option("--memory-limit", type=_size, metavar="SIZE", help="Private memory a model, such as 8G.")
@click.option("--retry", is_flag=True, help="Compute failures of earlier runs again.")
@click.option("--only", help="Analyzers to run, by commas, or all.")
@click.option("--activation", help="The nonlinearity of models that are chains of layers.")
@click.option("--inputs", type=click.Path(), help="Samples to run the networks on.")
@click.option("--samples", type=click.IntRange(1, 65536), default=16, show_default=True, help="Random inputs a model.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of all randomness.")
@click.option("--random-weights", is_flag=True, help="Audit hub names untrained.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("-q", "--quiet", is_flag=True, help="Print only where the page is.")
def survey_command(sources: tuple[str, ...], output: str, quiet: bool, only: str | None, **options: Any) -> None:
    """Audit many models and compare them on one page.

    SOURCES are folders (searched below), patterns ('runs/**/*.pt'), lists (@FILE, a source per line), timm:resnet*,
    torchvision:*, and all that `critaudit SOURCE` takes. Every model runs in a process of its own; run the same
    command again to go on where it was interrupted.
    """
    from critaudit.surveying import survey

    with _shown(quiet) as progress:
        found = survey(
            sources, output=output, only=only.split(",") if only is not None else None, progress=progress, **options
        )
    _say(found, quiet)
    if found.failed or found.pending:
        click.get_current_context().exit(EXIT_PARTIAL)


def _say(found: Survey, quiet: bool) -> None:
    page = f"{found.output.rstrip('/')}/index.html"
    if quiet:
        click.echo(page)
        return
    from critaudit.report.wording import plural

    failures = (
        f", {plural(found.failed, 'source')} without a report (see models.csv; --retry tries again)"
        if found.failed
        else ""
    )
    click.echo(
        f"{plural(len(found), 'source')}: {found.computed} computed in {found.seconds:.1f} s, "
        f"{found.reused} there already{failures}"
    )
    click.echo(page)


@contextmanager
def _shown(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar with the time to go on a terminal; failures as lines, there and elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    next_line = time.monotonic() + _LINE_EVERY
    if quiet:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("survey", total=None, note="")

        def watch(progress: Progress) -> None:
            nonlocal next_line
            left = "" if progress.left is None else f"{_duration(progress.left)} to go"
            failed = f", {progress.failed} failed" if progress.failed else ""
            bar.update(task, completed=progress.done, total=progress.total, note=f"{left}{failed}")
            if not console.is_terminal and time.monotonic() >= next_line:
                next_line = time.monotonic() + _LINE_EVERY
                click.echo(f"{progress.done} of {progress.total} done, {left}{failed}", err=True)
            latest = progress.latest
            if latest is not None and latest.report is None:
                line = f"{printable(latest.source)}: {latest.kind}: {latest.reason}"
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield watch


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
