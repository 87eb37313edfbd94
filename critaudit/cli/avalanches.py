"""`critaudit avalanches`: avalanches of random networks, simulated and judged beside null models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from critaudit.cli.audit import check_gates, check_writable, finish, output_options, progress_bar


@click.command("avalanches")
@output_options
@click.option("--width", type=click.IntRange(1), default=100, show_default=True, help="Neurons per layer, N.")
@click.option("--depth", type=click.IntRange(2), default=1000, show_default=True, help="Layers, the longest duration.")
@click.option(
    "--sigma-w", type=float, help="√(N · variance of the weights).  [default: the edge of chaos at this width]"
)
@click.option("--sigma-b", type=float, default=0.0, show_default=True, help="Standard deviation of the biases.")
@click.option("--activation", default="tanh", show_default=True, help="The nonlinearity: tanh, relu, erf, gelu, …")
@click.option(
    "--alpha", type=float, default=2.0, show_default=True, help="Stable exponent of the weights; 2: Gaussian."
)
@click.option(
    "--strength", type=float, default=0.01, show_default=True, help="Strength of the inputs, and the threshold."
)
@click.option(
    "--networks", type=click.IntRange(1), default=200, show_default=True, help="Networks, the clusters of errors."
)
@click.option("--inputs", type=click.IntRange(1), default=2500, show_default=True, help="Inputs per network.")
@click.option(
    "--ensemble",
    type=click.Choice(["fresh", "quenched", "recurrent"]),
    default="fresh",
    show_default=True,
    help="Weights drawn for each input; for each network; for each network and shared by its layers.",
)
@click.option("--widths", help="More widths, by commas; exponents are extrapolated from these and --width.")
@click.option("--map", "mapped", is_flag=True, help="Map mean sizes and strengths over σ_w and σ_b beside theory.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N for quenched networks.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Threads.  [default: one per core]")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
def avalanches_command(
    output: Path | None,
    json_path: Path | None,
    fail_on: str | None,
    quiet: bool,
    widths: str | None,
    mapped: bool,
    **options: Any,
) -> None:
    """Simulate avalanches of signals in random networks and write one HTML report.

    A signal of a given strength enters; the avalanche lasts for as many layers as it stays at or above that strength.
    Sizes, durations and their exponents are judged beside linear networks and surrogate noise of the same size, run
    with the same settings: power laws that these show as well are no evidence of criticality.
    """
    output = output or Path("critaudit-avalanches.html")
    check_writable(output, json_path)
    check_gates()
    several = _numbers(widths)
    from critaudit.auditing.ensembles import Plan
    from critaudit.auditing.simulation import avalanche_report

    with progress_bar(quiet) as progress:
        report = avalanche_report(Plan(**options), widths=several, mapped=mapped, progress=progress)
    finish(report, output, json_path, fail_on, quiet)


def _numbers(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of whole numbers; give for instance 50,100,200,400") from None
