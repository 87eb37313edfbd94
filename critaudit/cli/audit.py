"""`critaudit audit SOURCE`, which a bare `critaudit SOURCE` means."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from critaudit.report import Report

EXIT_PARTIAL = 4
EXIT_FINDINGS = 10


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every command with a report has: where it goes and how much is said."""
    for option in (
        _remembered("--config", "Thresholds and fail-on.  [default: the nearest critaudit.toml or pyproject.toml]"),
        _remembered("--junit", "Write the audit as JUnit XML too."),
        _remembered("--sarif", "Write the findings as SARIF 2.1.0 too."),
        click.option("-q", "--quiet", is_flag=True, help="Print only the paths of the files written."),
        click.option(
            "--fail-on",
            type=click.Choice(["info", "warning", "problem"]),
            help="Exit with 10 where there is a finding of this severity or above.",
        ),
        click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the report as JSON too."),
        click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            help="The HTML report's path.  [default: critaudit-NAME.html in the current folder]",
        ),
    ):
        command = option(command)
    return command


def _remembered(name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A path that `finish` and nobody else wants: kept in the context instead of every command's arguments."""

    def keep(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
        ctx.meta[f"critaudit{name}"] = value

    return click.option(name, type=click.Path(path_type=Path), callback=keep, expose_value=False, help=text)


@click.command("audit")
@click.argument("source")
@output_options
@click.option("--arch", help="The architecture, where names and shapes do not tell: timm:NAME or torchvision:NAME.")
@click.option("--activation", help="The nonlinearity between layers that form a chain: tanh, relu, gelu, …")
@click.option(
    "--inputs", type=click.Path(), help="Samples to run the network on: .npy, .npz, an image, a folder of images."
)
@click.option(
    "--samples",
    type=click.IntRange(1, 65536),
    default=16,
    show_default=True,
    help="Random inputs where none are given.",
)
@click.option("--only", help="Analyzers to run, by commas, or all (those that take minutes, too).")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Matrices worked on side by side.  [default: one per core]")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
@click.option(
    "--random-weights", is_flag=True, help="Audit a hub's architecture untrained instead of its pretrained weights."
)
@click.option(
    "--trust",
    is_flag=True,
    help="Let PyTorch unpickle the file so that a whole saved module can be run. THIS RUNS ANY CODE IN THE FILE.",
)
def audit_command(
    source: str,
    output: Path | None,
    json_path: Path | None,
    fail_on: str | None,
    quiet: bool,
    only: str | None,
    **options: Any,
) -> None:
    """Audit SOURCE and write one HTML report.

    SOURCE is a file or folder (.pt, .pth, .ckpt, .bin, .safetensors, .onnx, .npz, .pt2, TorchScript, Hugging Face
    folders), timm:NAME, torchvision:NAME, hf:ORG/NAME, or package.module:factory.
    """
    from critaudit.sources import load

    output = output or Path(f"critaudit-{stem_of(source)}.html")
    check_writable(output, json_path)
    check_gates()
    # Opened before the analyzers are imported: what cannot be audited is said at once.
    loading = {name: options.pop(name) for name in ("arch", "random_weights", "trust")}
    view = load(source, activation=options["activation"], seed=options["seed"], **loading)
    from critaudit.auditing import audit

    with progress_bar(quiet) as progress:
        report = audit(view, only=only.split(",") if only is not None else None, progress=progress, **options)
    finish(report, output, json_path, fail_on, quiet)


def finish(
    report: Report,
    output: Path,
    json_path: Path | None,
    fail_on: str | None,
    quiet: bool,
    *,
    images: Sequence[Path] = (),
) -> None:
    """Write the report's files, summarise it, and exit with the status that its content asks for.

    `images` were written before; they are named with the others.
    """
    from critaudit.gates import gated, read_configuration

    ctx = click.get_current_context()
    demands = read_configuration(ctx.meta.get("critaudit--config"))
    fail_on = fail_on or demands.fail_on
    try:
        report = gated(report, demands.thresholds)
    finally:  # a threshold that makes no sense loses no result
        written = write(report, output, json_path)
    written += _write_for_machines(report, ctx.meta.get("critaudit--sarif"), ctx.meta.get("critaudit--junit"), fail_on)
    written += images
    if quiet:
        for path in written:
            click.echo(str(path))
    else:
        from rich.console import Console

        from critaudit.report.terminal import render

        render(report, Console(), written=tuple(written))
    if report.coverage.problems:
        ctx.exit(EXIT_PARTIAL)
    if fail_on is not None:
        from critaudit.report import SEVERITIES

        bar = SEVERITIES.index(fail_on)
        if any(SEVERITIES.index(finding.severity) >= bar for finding in report.findings):
            ctx.exit(EXIT_FINDINGS)


def check_gates() -> None:
    """Raise UsageError, before the work, where the configuration makes no sense or SARIF or JUnit cannot be written."""
    from critaudit.gates import read_configuration

    meta = click.get_current_context().meta
    check_writable(meta.get("critaudit--sarif"), meta.get("critaudit--junit"))
    read_configuration(meta.get("critaudit--config"))


def _write_for_machines(report: Report, sarif: Path | None, junit: Path | None, fail_on: str | None) -> list[Path]:
    from critaudit.report.junit import to_junit
    from critaudit.report.sarif import to_sarif

    written = []
    if sarif is not None:
        written.append(to_sarif(report, sarif))
    if junit is not None:
        written.append(to_junit(report, junit, fail_on=fail_on or "problem"))  # type: ignore[arg-type]
    return written


def check_writable(*paths: Path | None) -> None:
    """Raise UsageError where a file could not be written in the end: better before the work than after it."""
    from critaudit.errors import UsageError

    for path in paths:
        if path is None:
            continue
        if path.name == "-":
            raise UsageError("a report is written to a file; give a name instead of -, such as /dev/stdout")
        if path.is_dir():
            raise UsageError(f"{path}: this is a folder; give the name of a file in it")
        folder = path.parent
        if not folder.is_dir():
            raise UsageError(f"{path}: there is no folder {folder}; make it, or choose another place with -o or --json")
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise UsageError(f"{path}: this place cannot be written; choose another with -o or --json")


def write(report: Report, output: Path, json_path: Path | None) -> list[Path]:
    """Write JSON where asked for, then HTML; what cannot go to its place goes to a temporary one, which is told."""
    from critaudit.errors import CritauditError

    written = []
    for path, save in ((json_path, report.to_json), (output, report.to_html)):
        if path is None:
            continue
        try:
            save(path)
            written.append(path)
        except CritauditError as error:
            refuge = Path(tempfile.mkdtemp(prefix="critaudit-")) / path.name
            save(refuge)
            click.echo(f"critaudit: {error}; it was saved as {refuge} instead", err=True)
            written.append(refuge)
    return written


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on the terminal, nothing where standard error is none."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield update


def stem_of(source: str) -> str:
    """A file name from what the user typed: `timm:resnet18` → `timm-resnet18`, `runs/a/model.pt` → `model`."""
    path = Path(source)
    name = path.resolve().name if path.exists() and path.is_dir() else path.stem if path.exists() else source
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")[:80] or "model"
