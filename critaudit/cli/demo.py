"""`critaudit demo`: the main job on a network that ships with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from critaudit.cli.audit import check_writable, finish, output_options, progress_bar


@click.command("demo")
@output_options
def demo_command(output: Path | None, json_path: Path | None, fail_on: str | None, quiet: bool, **_: Any) -> None:
    """Audit a small trained network: 196-196-196-10, tanh, 12 epochs of Fashion-MNIST."""
    from critaudit.auditing import audit
    from critaudit.demo import CHECKPOINTS

    output = output or Path("critaudit-demo.html")
    check_writable(output, json_path)
    with progress_bar(quiet) as progress:
        report = audit(CHECKPOINTS[-1], progress=progress)
    finish(report, output, json_path, fail_on, quiet)
