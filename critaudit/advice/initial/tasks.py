"""What a network is tried on: the user's inputs and targets, or random inputs and the answers of a random teacher."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from critaudit.advice.initial.passes import Loss, output_of
from critaudit.advice.initial.trials import Task
from critaudit.errors import UsageError
from critaudit.init.arguments import arguments_of, does_not_run, place_of
from critaudit.init.modes import calm, check_real, unwrapped

if TYPE_CHECKING:
    import torch
    from torch import nn

SAMPLES = 512
_BATCH = 128
_IGNORED = -100  # torch's label for what does not count


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
    answers: random linear functions of the input, one for each output. Outputs of up to three axes with several on the
    last are taken for classes, of which the largest is the answer; others get the values themselves.
    Without `loss`: cross-entropy for whole-number targets (classes on the last axis of the output, or on the second
    where that is what fits; of a single output the logistic loss), and the mean square error for others.
    Raises UsageError where the network cannot be run on the inputs, or targets do not fit.
    """
    import torch

    module = unwrapped(module)
    check_real(module)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size = {batch_size} was given; a number of samples from 1 is expected")
    arguments = arguments_of(module, inputs, samples=SAMPLES, seed=seed)
    if not arguments or not isinstance(arguments[0], torch.Tensor) or arguments[0].ndim == 0 or not len(arguments[0]):
        raise UsageError("the first input is no tensor of samples; give one with the samples along its first axis")
    size = min(batch_size or _BATCH, len(arguments[0]))
    some = Task(arguments, None, _usual_loss, "", size).first()[0]
    output = _answer(module, some)
    stand_in = targets is None
    if stand_in:
        if loss is not None:
            raise UsageError("a loss was given without targets; give both, or neither")
        if output.ndim == 0 or len(output) != size:
            raise UsageError(
                f"outputs of shape {tuple(output.shape)} for {size} samples do not have them on the first axis; "
                "give targets and a loss"
            )
        targets, what = _teacher(arguments[0], output, seed), "the answers of a random linear teacher to these inputs"
    else:
        targets, what = _fitting(module, targets, arguments[0], output, usual=loss is None), "the targets given"
    return Task(arguments, targets, loss or _usual_loss, what, size, stand_in)


def _fitting(module: nn.Module, targets: Any, inputs: torch.Tensor, output: torch.Tensor, *, usual: bool) -> Any:
    """The user's targets as a tensor on the module's device, checked against the outputs if the usual loss is taken."""
    import torch

    try:
        targets = torch.as_tensor(targets).to(place_of(module))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"targets of type {type(targets).__name__} make no tensor: {error}") from error
    if targets.ndim == 0 or len(targets) != len(inputs):
        count = len(targets) if targets.ndim else "a single"
        raise UsageError(f"{count} targets were given for {len(inputs)} inputs; one each is expected")
    if not usual:
        return targets
    if targets.is_floating_point():
        if targets.shape[1:].numel() != output.shape[1:].numel():
            raise UsageError(
                f"targets of shape {tuple(targets.shape)} do not fit outputs of shape {tuple(output.shape)}; "
                "give a loss that takes both"
            )
        return targets.to(output.dtype)
    targets = targets.long()
    axis = _class_axis(output, targets)
    counted = targets[targets != _IGNORED]
    classes = 2 if axis is None else output.shape[axis]
    low, high = (int(counted.min()), int(counted.max())) if counted.numel() else (0, 0)
    if not 0 <= low <= high < classes:
        raise UsageError(
            f"targets from {low} to {high} were given for {classes} classes; "
            f"whole numbers from 0 to {classes - 1} are expected"
        )
    return targets


def _usual_loss(found: Any, truth: torch.Tensor) -> torch.Tensor:
    """Mean square error for numbers, cross-entropy for classes, the logistic loss for a single output."""
    from torch.nn import functional

    output = output_of(found)
    if truth.is_floating_point():
        return functional.mse_loss(output.reshape(truth.shape), truth)
    axis = _class_axis(output, truth)
    if axis is None:
        return functional.binary_cross_entropy_with_logits(output.reshape(truth.shape), truth.to(output.dtype))
    output = output.movedim(axis, -1)
    return functional.cross_entropy(output.reshape(-1, output.shape[-1]), truth.reshape(-1))


def _class_axis(output: torch.Tensor, truth: torch.Tensor) -> int | None:
    """The axis of the classes: the last one, else the second; None for one output per target."""
    answers = truth.shape[1:]
    if output.shape[1:].numel() == answers.numel():
        return None
    if output.ndim > 2 and output.shape[2:] == answers and output.shape[1:-1] != answers:
        return 1
    if output.ndim > 1 and output.shape[1:-1].numel() == answers.numel():
        return -1
    raise UsageError(
        f"whole-number targets of shape {tuple(truth.shape)} do not fit outputs of shape {tuple(output.shape)}: one "
        "per row of classes is expected; give a loss that takes both"
    )


def _answer(module: nn.Module, arguments: tuple[Any, ...]) -> torch.Tensor:
    import torch

    try:
        with torch.no_grad(), calm(module):
            return output_of(module(*arguments))
    except Exception as error:  # a forward pass is foreign code
        raise does_not_run(module, error) from error


def _teacher(inputs: torch.Tensor, output: torch.Tensor, seed: int) -> torch.Tensor:
    import torch

    generator = torch.Generator().manual_seed(seed + 1)
    if inputs.is_floating_point():
        flat = inputs.flatten(1).float() if inputs.ndim > 1 else inputs[:, None].float()
        flat = (flat - flat.mean(0)) / flat.std(correction=0).clamp_min(1e-12)
    else:  # token ids: random vectors for them
        table = torch.randn(4096, 32, generator=generator).to(inputs.device)
        flat = table[inputs.reshape(len(inputs), -1).long() % 4096].flatten(1)
    answers = output.shape[1:]
    if not answers:
        drawn = flat @ torch.randn(flat.shape[1], generator=generator).to(flat) / math.sqrt(flat.shape[1])
        return drawn.to(output.dtype)
    per_sample = math.prod(answers[:-1])
    classes = answers[-1]
    # As many independent teachers as a sample has answers (positions of a sequence), but not more than can be held.
    held = max(1, min(per_sample, 64, 2**26 // max(flat.shape[1] * classes, 1)))
    weights = torch.randn(flat.shape[1], held * classes, generator=generator).to(flat)
    drawn = (flat @ weights / math.sqrt(flat.shape[1])).view(len(flat), -1, classes)
    drawn = drawn[:, torch.arange(per_sample) % drawn.shape[1]].view(len(flat), *answers)
    return drawn.argmax(-1) if classes > 1 and len(answers) < 3 else drawn.to(output.dtype)
