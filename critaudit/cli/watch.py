"""`critaudit watch DIR`: checkpoints audited as they appear."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from critaudit.surveying.records import Outcome


@click.command("watch")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder for the results.  [default: critaudit-watch-DIR]"
)
@click.option(
    "--interval", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="Seconds between looks."
)
@click.option("--idle", type=click.FloatRange(0), help="End when nothing new came for so many seconds.")
@click.option("--once", is_flag=True, help="Audit what is there and end.")
@click.option("--only", help="Analyzers to run, by commas, or all.")
@click.option("--activation", help="The nonlinearity of models that are chains of layers.")
@click.option("--inputs", type=click.Path(), help="Samples to run the networks on.")
@click.option("--samples", type=click.IntRange(1, 65536), default=16, show_default=True, help="Random inputs a model.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of all randomness.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    default=3600.0,
    show_default=True,
    help="Seconds a checkpoint.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only where the page is.")
def watch_command(
    folder: Path,
    output: Path | None,
    interval: float,
    idle: float | None,
    once: bool,
    only: str | None,
    activation: str | None,
    inputs: str | None,
    samples: int,
    seed: int,
    device: str,
    time_limit: float,
    quiet: bool,
) -> None:
    """Audit the checkpoints in DIR as they appear, and keep a page on the training's way.

    Files that are still being written wait until they are whole. Ctrl-C ends the watch; what was audited stays, and
    the next watch goes on from there.
    """
    from critaudit.analyzers import select
    from critaudit.surveying.records import Audit, Limits
    from critaudit.watching import watch

    named = None if only is None else tuple(analyzer.id for analyzer in select(only.split(",")))
    place = output or Path(f"critaudit-watch-{folder.resolve().name}")

    def told(path: Path, outcome: Outcome | None, page: Path) -> None:
        if quiet:
            return
        if outcome is None:
            click.echo(f"{path.name}: audited before")
        elif outcome.report is None:
            click.echo(f"{path.name}: {outcome.kind}: {outcome.reason}", err=True)
        else:
            click.echo(f"{path.name}: audited in {outcome.seconds:.1f} s → {page}")

    try:
        watch(
            folder,
            output=place,
            interval=interval if not once else min(interval, 1.0),
            idle=0.0 if once else idle,
            audit=Audit(named, activation, inputs, False, seed, samples, device),
            limits=Limits(time_limit),
            told=told,
        )
    except KeyboardInterrupt:
        if not quiet:
            click.echo("ended; run the same command to go on", err=True)
    if (place / "trajectory.html").exists():
        click.echo(str(place / "trajectory.html"))
