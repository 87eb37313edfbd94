"""What a network is tried on: the user's inputs and targets, or random inputs and the answers of a random teacher."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from critaudit.advice.initial.passes import Loss, experimental, output_of
from critaudit.advice.initial.trials import Task
from critaudit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

SAMPLES = 512


def task_for(
    module: nn.Module,
    inputs: Any,
    targets: Any,
    loss: Loss | None,
    *,
    batch_size: int | None,
    seed: int,
) -> Task:
    """The task from what the user gave.

    Without `inputs`, calibrated Gaussian samples of the kind that the network takes. Without `targets`, a teacher
    answers: classes by the largest of as many random linear functions of the input as there are outputs (several
    outputs), or one such function (a single one). Without `loss`, cross-entropy for integer targets and mean square
    error for others. Raises UsageError where the network cannot be run on the inputs, or targets do not fit.
    """
    arguments = _arguments(module, inputs, seed)
    output = _run(module, arguments)
    if targets is None:
        if loss is not None:
            raise UsageError("a loss was given without targets; give both, or neither")
        targets, what = _teacher(arguments[0], output, seed), "the answers of a random linear teacher to these inputs"
    else:
        import torch

        targets, what = torch.as_tensor(targets), "the targets given"
        if len(targets) != len(arguments[0]):
            raise UsageError(f"{len(targets)} targets were given for {len(arguments[0])} inputs; one each is expected")
    size = min(batch_size or 128, len(arguments[0]))
    return Task(arguments, targets, loss or _usual_loss(targets), what, size)


def _usual_loss(targets: torch.Tensor) -> Loss:
    import torch

    if targets.is_floating_point():
        return lambda found, truth: torch.nn.functional.mse_loss(output_of(found).reshape(truth.shape), truth)

    def cross_entropy(found: Any, truth: torch.Tensor) -> torch.Tensor:
        output = output_of(found)
        return torch.nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), truth.reshape(-1))

    return cross_entropy


def _arguments(module: nn.Module, inputs: Any, seed: int) -> tuple[Any, ...]:
    import torch

    place = next((value.device for value in module.parameters()), torch.device("cpu"))
    if inputs is None:
        from critaudit.dynamics.calibrated import sample_kinds
        from critaudit.sources.live.reader import preprocessing_of

        kinds = sample_kinds(module, preprocessing_of(module))
        for kind in kinds:
            count = max(32, min(SAMPLES, 2**21 // max(math.prod(kind.shape), 1)))
            batch = torch.cat([torch.from_numpy(values) for values in kind.draw(count, seed)]).to(place)
            try:
                _run(module, (batch[:2],))
            except UsageError:
                continue
            return (batch,)
        raise UsageError(f"what {type(module).__name__} takes as input is not known; give inputs")
    if isinstance(inputs, (tuple, list)):
        return tuple(part.to(place) if isinstance(part, torch.Tensor) else part for part in inputs)
    return (torch.as_tensor(inputs).to(place),)


def _run(module: nn.Module, arguments: tuple[Any, ...]) -> torch.Tensor:
    import torch

    try:
        with torch.no_grad():
            return output_of(experimental(module)(*arguments))
    except Exception as error:  # a forward pass is foreign code
        text = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{type(module).__name__} does not run on the inputs ({type(error).__name__}: {text}); give inputs as its "
            "forward takes them"
        ) from error


def _teacher(inputs: torch.Tensor, output: torch.Tensor, seed: int) -> torch.Tensor:
    import torch

    generator = torch.Generator().manual_seed(seed + 1)
    if inputs.is_floating_point():
        flat = inputs.flatten(1).float()
        flat = (flat - flat.mean(0)) / flat.std().clamp_min(1e-12)
    else:  # token ids: random vectors for them
        table = torch.randn(4096, 32, generator=generator).to(inputs.device)
        flat = table[inputs.flatten(1).long() % 4096].flatten(1)
    answers = output.shape[1:]
    if not answers:
        return (flat @ torch.randn(flat.shape[1], generator=generator).to(flat)) / math.sqrt(flat.shape[1])
    per_sample = math.prod(answers[:-1])
    classes = answers[-1]
    # As many independent teachers as a sample has answers (positions of a sequence), but not more than can be held.
    weights = torch.randn(flat.shape[1], min(per_sample, 64) * classes, generator=generator).to(flat)
    drawn = (flat @ weights / math.sqrt(flat.shape[1])).view(len(flat), -1, classes)
    drawn = drawn[:, torch.arange(per_sample) % drawn.shape[1]].view(len(flat), *answers)
    return drawn.argmax(-1) if classes > 1 else drawn
