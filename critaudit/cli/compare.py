"""`critaudit compare A B`: what changed from one model to another."""

from __future__ import annotations

from pathlib import Path

import click

from critaudit.cli.audit import check_gates, check_writable, finish, output_options


@click.command("compare")
@click.argument("a")
@click.argument("b")
@output_options
@click.option("--only", help="Analyzers to run on models, by commas.  [default: entries,spectrum,edge]")
@click.option("--activation", help="The nonlinearity of models that are chains of layers.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
def compare_command(
    a: str,
    b: str,
    output: Path | None,
    json_path: Path | None,
    fail_on: str | None,
    quiet: bool,
    only: str | None,
    activation: str | None,
    device: str,
    seed: int,
) -> None:
    """Compare model A with model B, layer by layer.

    A and B are sources as `critaudit SOURCE` takes them, or reports (.json) that it wrote. If B holds LoRA factors
    they are merged with A's weights. Fine-tuned copies, checkpoints of one training and quantised copies match by name.
    """
    output = output or Path("critaudit-comparison.html")
    check_writable(output, json_path)
    check_gates()
    from critaudit.comparing import compare

    named = only.split(",") if only is not None else None
    found = compare(a, b, only=named, activation=activation, device=device, seed=seed)
    finish(found.report, output, json_path, fail_on, quiet)
