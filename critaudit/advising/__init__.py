"""`critaudit.advise`: what to start a training from, and which weight decay to use."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from critaudit.advising.advice import Advice
from critaudit.advising.reporting import Decay, Parts, Start, report_of
from critaudit.advising.settings import Wanted, setting_for_trials
from critaudit.advising.subject import Subject, course_of, find_subject, network_of
from critaudit.errors import CritauditError, SourceError, UsageError

if TYPE_CHECKING:
    from critaudit.advice.initial.passes import Loss
    from critaudit.analyzers.base import Progress

__all__ = ["Advice", "advise"]

_PARTS = {"init": "initialisation", "weight-decay": "weight decay"}
STEPS = 40


def advise(
    source: object,
    *,
    optimizer: object = None,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    dataset_size: int | None = None,
    batch_size: int | None = None,
    inputs: Any = None,
    targets: Any = None,
    loss: Loss | None = None,
    activation: str | None = None,
    arch: str | None = None,
    steps: int = STEPS,
    only: str | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Advice:
    """Advise on the initialisation of a network and on the weight decay of its training.

    `source` is an nn.Module, `timm:NAME` or `torchvision:NAME` (untrained, nothing is downloaded), a factory, a
    checkpoint, a folder or list of checkpoints, a Monitor or its log, or a Course. Initialisation is weighed wherever a
    network can be run (of a checkpoint: its architecture with fresh weights); weight decay wherever the source tells of
    a training: see `critaudit.advice.initialisation` and `critaudit.advice.weight_decay`, which do the work.

    `optimizer` is a name of torch.optim, a live optimizer or an OptimizerSetting; `lr`, `momentum` and `weight_decay`
    count before what it says, and that before what a checkpoint says. `inputs` (an array, samples first, or a path) and
    `targets` (classes as whole numbers, else values; an array or an .npy file) make trials those of the user's task;
    `loss` is for these. `steps` is the length of a trial training. `only` is "init" or "weight-decay".

    What one part cannot do, the report says, and the other part stays. Raises UsageError where options do not fit and
    SourceError where nothing can be advised.

    >>> advice = critaudit.advise(model, optimizer="AdamW", lr=1e-3)     # doctest: +SKIP
    >>> advice.apply_(model); print(advice.snippet)                      # doctest: +SKIP
    """
    started = time.perf_counter()
    only = _part(only)
    if steps < 8:
        raise UsageError(f"steps is {steps}; a trial training needs at least 8")
    for name, size in (("dataset_size", dataset_size), ("batch_size", batch_size)):
        if size is not None and size < 1:
            raise UsageError(f"{name} is {size}; a whole number from 1 is expected")
    if activation is not None:
        from critaudit.theory.activations import named_activation

        named_activation(activation)
    wanted = Wanted(optimizer, lr, momentum, weight_decay)
    subject = find_subject(source, arch=arch, activation=activation, optimizer=optimizer, seed=seed)
    parts = Parts()
    if only != "init":
        sizes = {"dataset_size": dataset_size, "batch_size": batch_size, "activation": activation, "arch": arch}
        parts = _with_decay(parts, subject, wanted, sizes)
    if only != "weight-decay":
        trials = {"inputs": inputs, "targets": targets, "loss": loss, "activation": activation, "steps": steps}
        parts = _with_start(
            parts, subject, wanted, trials, batch_size=batch_size, device=device, seed=seed, told=progress
        )
    if parts.start is None and parts.decay is None:
        raise _nothing(subject, parts)
    settings = {
        "optimizer": _named(optimizer),
        "lr": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "dataset_size": dataset_size,
        "batch_size": batch_size,
        "activation": activation,
        "steps": steps,
        "only": only,
    }
    report = report_of(subject, parts, settings=settings, seed=seed, device=_device(parts, device), started=started)
    return Advice(
        report,
        None if parts.start is None else parts.start.advice,
        None if parts.decay is None else parts.decay.advice,
    )


def _part(only: str | None) -> str | None:
    if only is None:
        return None
    named = only.replace("_", "-")
    if named not in _PARTS:
        raise UsageError(f"only = {only} was given; init or weight-decay is expected")
    return named


def _with_start(
    parts: Parts,
    subject: Subject,
    wanted: Wanted,
    trials: dict[str, Any],
    *,
    batch_size: int | None,
    device: str,
    seed: int,
    told: Progress | None,
) -> Parts:
    """The parts with advice on initialisation, or why there is none."""
    part = _PARTS["init"]
    if subject.no_network:
        return replace(parts, missing={**parts.missing, part: subject.no_network})
    try:
        start = _start(parts, subject, wanted, trials, batch_size=batch_size, device=device, seed=seed, told=told)
    except CritauditError as error:
        return replace(parts, broken={**parts.broken, part: error})
    return replace(parts, start=start)


def _start(
    parts: Parts,
    subject: Subject,
    wanted: Wanted,
    trials: dict[str, Any],
    *,
    batch_size: int | None,
    device: str,
    seed: int,
    told: Progress | None,
) -> Start:
    from critaudit.advice import initialisation
    from critaudit.advising.samples import feeds, targets_of
    from critaudit.advising.sizing import WORK, fitting

    if trials["inputs"] is None and trials["targets"] is not None:
        raise UsageError("targets were given without inputs; give the inputs that they belong to")
    known = None if parts.decay is None else parts.decay.advice.batch_size
    setting, assumed = setting_for_trials(wanted, None if subject.fresh else subject.path)
    module, usual, renewed = network_of(subject, device=device, seed=seed)
    on_a_gpu = any(one.device.type == "cuda" for one in module.parameters())
    size = fitting(
        feeds(module, usual, trials["inputs"], seed=seed),
        batch_size=batch_size or known,
        steps=trials["steps"],
        most=100.0 * WORK if on_a_gpu else WORK,
    )
    arguments = size.feed.arguments(module, batch_size=size.batch_size, seed=seed)
    advice = initialisation(
        module,
        arguments,
        targets_of(trials["targets"], module),
        loss=trials["loss"],
        optimizer=setting,
        batch_size=size.batch_size,
        activation=trials["activation"],
        steps=size.steps,
        seed=seed,
        curvature=size.sharpness,
        progress=told,
    )
    kind = size.feed.kind
    drawn = () if kind is None else (f"no inputs were given; random ones: {kind.method.partition(':')[0]}",)
    return Start(advice, module, (*assumed, *renewed, *drawn, *size.notes, *advice.assumed))


def _with_decay(parts: Parts, subject: Subject, wanted: Wanted, sizes: dict[str, Any]) -> Parts:
    """The parts with advice on weight decay, or why there is none."""
    part = _PARTS["weight-decay"]
    if subject.no_training:
        return replace(parts, missing={**parts.missing, part: subject.no_training})
    try:
        found = _decay(subject, wanted, sizes)
    except CritauditError as error:
        return replace(parts, broken={**parts.broken, part: error})
    if isinstance(found, str):
        return replace(parts, missing={**parts.missing, part: found})
    return replace(parts, decay=found)


def _decay(subject: Subject, wanted: Wanted, sizes: dict[str, Any]) -> Decay | str:
    from critaudit.advice import weight_decay

    optimizer = wanted.optimizer
    course = course_of(subject, {**sizes, "optimizer": optimizer})
    if not any(layer.settings for layer in course.layers) and wanted.lr is not None:
        setting, _ = setting_for_trials(wanted, None)
        course = course_of(subject, {**sizes, "optimizer": setting})
    if not any(layer.settings for layer in course.layers):
        return "the optimizer's settings are not in it; give its name and learning rate, or a checkpoint with its state"
    return Decay(weight_decay(course, activation=sizes["activation"]), course)


def _nothing(subject: Subject, parts: Parts) -> CritauditError:
    """Nothing came out: what broke, or all reasons in one line."""
    if parts.broken:
        return next(iter(parts.broken.values()))
    reasons = [f"{part}: {reason.rstrip('.')}" for part, reason in parts.missing.items()]
    return SourceError(f"{subject.name}: nothing can be advised on: {'; '.join(reasons)}")


def _named(optimizer: object) -> str | None:
    if optimizer is None or isinstance(optimizer, str):
        return optimizer
    return str(getattr(optimizer, "name", type(optimizer).__name__))


def _device(parts: Parts, asked: str) -> str:
    if parts.start is None:
        return "cpu" if asked == "auto" else asked
    return next((str(one.device) for one in parts.start.module.parameters()), "cpu")
