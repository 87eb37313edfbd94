"""`critaudit advise SOURCE`: the initialisation and the weight decay to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from critaudit.cli.audit import check_gates, check_writable, finish, output_options, progress_bar, stem_of


@click.command("advise")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@output_options
@click.option("--optimizer", help="A name of torch.optim: SGD, Adam, AdamW, …  [default: as the source says, else SGD]")
@click.option("--lr", type=float, help="Learning rate.")
@click.option("--momentum", type=float, help="Momentum of SGD.")
@click.option("--weight-decay", type=float, help="Weight decay of the trials, as PyTorch takes it.")
@click.option("--dataset-size", type=click.IntRange(1), help="Number of training samples: turns steps into epochs.")
@click.option("--batch-size", type=click.IntRange(1), help="Samples per optimizer step.")
@click.option("--inputs", type=click.Path(), help="Samples to try on: .npy, .npz, images.  [default: random ones]")
@click.option("--targets", type=click.Path(), help="Their targets, .npy: whole numbers are classes.")
@click.option("--activation", help="The nonlinearity between layers that form a chain: tanh, relu, gelu, …")
@click.option("--arch", help="The architecture, where names and shapes do not tell: timm:NAME or torchvision:NAME.")
@click.option("--steps", type=click.IntRange(8), default=40, show_default=True, help="Optimizer steps of a trial.")
@click.option("--only", type=click.Choice(["init", "weight-decay"]), help="One of the two.  [default: both]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of all randomness.")
def advise_command(
    sources: tuple[str, ...],
    output: Path | None,
    json_path: Path | None,
    fail_on: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Advise on the initialisation of a network and the weight decay of its training.

    SOURCE is timm:NAME or torchvision:NAME (untrained), package.module:factory, a checkpoint, several of one training
    or a folder of them, or a Monitor's log. Initialisations are tried on a copy of the network, weight decay is read
    from what the training left behind. The code to copy is printed at the end.
    """
    output = output or Path(f"critaudit-advice-{stem_of(sources[0])}.html")
    check_writable(output, json_path)
    check_gates()
    from critaudit.advising import advise

    source = sources[0] if len(sources) == 1 else list(sources)
    with progress_bar(quiet) as progress:
        advice = advise(source, progress=progress, **options)
    finish(advice.report, output, json_path, fail_on, quiet)
