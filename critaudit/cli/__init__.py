"""The command line: `critaudit SOURCE` audits, everything else is a command. Heavy imports wait until needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from critaudit import __version__
from critaudit.cli.advise import advise_command
from critaudit.cli.audit import audit_command
from critaudit.cli.avalanches import avalanches_command
from critaudit.cli.card import card_command
from critaudit.cli.compare import compare_command
from critaudit.cli.demo import demo_command
from critaudit.cli.phase import phase_command
from critaudit.cli.render import render_command
from critaudit.cli.survey import survey_command
from critaudit.cli.watch import watch_command
from critaudit.errors import CritauditError
from critaudit.text import printable

_EXIT_STATUS = """\b
Exit status:
  0   audited
  2   the command line cannot be understood
  3   the source could not be audited
  4   audited in part: something in the source could not be read
  10  audited, with findings at or above --fail-on
"""


class _AuditByDefault(click.Group):
    """A group in which a first argument that is no command is a source to audit."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            args = ["audit", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_AuditByDefault,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_STATUS,
    invoke_without_command=True,
)
@click.version_option(__version__, message="critaudit %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Audit a PyTorch model with the physics of criticality.

    \b
    critaudit model.pt              audit a file or folder: weights, spectra, edge of chaos
    critaudit timm:resnet18         audit a pretrained model by its hub name
    critaudit advise timm:resnet18  initialisation and weight decay to train with
    critaudit compare a.pt b.pt     what changed: fine-tunes, checkpoints, quantised copies
    critaudit watch runs/a          audit checkpoints as they appear
    critaudit survey zoo/           audit every model in a folder, resumable
    critaudit avalanches            simulate avalanches in random networks, beside null models
    critaudit phase                 draw the phase diagrams that theory predicts
    critaudit demo                  audit the small trained network that ships with critaudit

    `critaudit SOURCE` is short for `critaudit audit SOURCE`; its options are listed by `critaudit audit --help`.
    Code inside a file is never run.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


cli.add_command(advise_command)
cli.add_command(audit_command)
cli.add_command(avalanches_command)
cli.add_command(card_command)
cli.add_command(compare_command)
cli.add_command(demo_command)
cli.add_command(phase_command)
cli.add_command(render_command)
cli.add_command(survey_command)
cli.add_command(watch_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the status documented in `critaudit --help`."""
    try:
        status = cli.main(args=arguments, prog_name="critaudit", standalone_mode=False)
    except CritauditError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; try {context.command_path} --help" if context is not None else ""
        _fail(f"{error.format_message().rstrip('.')}{hint}", error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if os.environ.get("CRITAUDIT_DEBUG"):
            raise
        _fail(
            f"a defect in critaudit: {type(error).__name__}: {error} (CRITAUDIT_DEBUG=1 shows where; please report it)",
            1,
        )
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"critaudit: {printable(message, limit=700)}", err=True)
    sys.exit(status)
