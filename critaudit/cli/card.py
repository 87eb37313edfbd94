"""`critaudit card SOURCE`: the audit as a section of a model card."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("card")
@click.argument("source")
@click.option(
    "--into", type=click.Path(path_type=Path), help="Put the section into this README.md, or replace it there."
)
@click.option("--only", help="Analyzers to run, by commas.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
def card_command(source: str, into: Path | None, only: str | None, seed: int) -> None:
    """Write a model card's section on SOURCE: a model, or a report (.json) on it.

    The section is printed as Markdown. With --into it is put into the card, between two marks, and replaced there when
    the command is run again; the rest of the card, YAML head included, stays as it is.
    """
    from critaudit.report import Report, card

    path = Path(source)
    if path.suffix == ".json" and path.is_file():
        report = Report.load(path)
    else:
        from critaudit.auditing import audit

        report = audit(source, only=only.split(",") if only is not None else None, seed=seed)
    click.echo(card.section(report) if into is None else str(card.into(report, into)))
