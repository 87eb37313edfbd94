"""`critaudit phase`: the phase diagrams of theory, as a report and as an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from critaudit.cli.audit import check_writable, finish, output_options, progress_bar

_DIAGRAMS = ("alpha-g", "sigma", "spin-glass")


@click.command("phase")
@output_options
@click.option(
    "--diagram",
    "diagrams",
    type=click.Choice(_DIAGRAMS),
    multiple=True,
    help="Which diagram; may be given several times.  [default: all that the activation has]",
)
@click.option("--activation", default="tanh", show_default=True, help="tanh, erf, gelu, leaky_relu(0.1), …")
@click.option(
    "--power", type=click.IntRange(1, 20), default=1, show_default=True, help="L of the average f₁ = sgn(ln r)|ln r|^L."
)
@click.option(
    "--r0", type=float, default=0.01, show_default=True, help="Cut of the average's radii: region edges move with it."
)
@click.option(
    "--definition",
    type=click.Choice(["cutoff", "fixed_point"]),
    default="cutoff",
    show_default=True,
    help="Of the ordered line: the Jacobian's characteristic radius is 1, or q* = 0.01. Both are drawn.",
)
@click.option(
    "--points", type=click.IntRange(8, 400), default=48, show_default=True, help="Resolution of maps and lines."
)
@click.option("--png", "image", type=click.Path(path_type=Path), help="Draw an image too: .png, .svg or .pdf.")
def phase_command(
    output: Path | None,
    json_path: Path | None,
    fail_on: str | None,
    quiet: bool,
    diagrams: tuple[str, ...],
    image: Path | None,
    **options: Any,
) -> None:
    """Draw the phase diagrams of wide random networks: no model is needed.

    \b
    alpha-g     tail and scale of the weights: ordered, extended critical, chaotic (Qu et al. 2022)
    sigma       scales of weights and biases: edge of chaos, Widom line, susceptibility (Ghavasieh et al. 2025)
    spin-glass  mean and spread of the couplings of tanh layers (Zhang et al. 2021)
    """
    from critaudit.report.image import check_image_path, save_image

    output = output or Path("critaudit-phase.html")
    check_writable(output, json_path, image)
    if image is not None:
        check_image_path(image)
    from critaudit.auditing.phase import phase_report

    with progress_bar(quiet) as progress:
        report = phase_report(diagrams or None, progress=progress, **options)  # type: ignore[arg-type]
    if image is not None:
        save_image(report, image, [name for name in report.figures if name.startswith("phase_")])
    finish(report, output, json_path, fail_on, quiet, images=() if image is None else (image,))
