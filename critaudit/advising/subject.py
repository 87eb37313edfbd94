"""What there is to advise on: the network to start from, and what a training left behind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critaudit.advice.decaying.gathering import gather, is_module
from critaudit.errors import CritauditError, SourceError, UsageError
from critaudit.logs import is_log
from critaudit.model import ModelView
from critaudit.sources import load
from critaudit.text import printable

if TYPE_CHECKING:
    from torch import nn

    from critaudit.advice.course import Course
    from critaudit.contents import Preprocessing


_NO_TRAINING = "this source tells of no training; give checkpoints or a Monitor's log"
# Hubs whose architectures can be had without a download.
_UNTRAINED = ("timm:", "torchvision:")


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A source as advice sees it.

    `view` is the model (the last checkpoint's), None for a log or a course. `module` is the live network where the
    source is one. `training` is what `advice.decaying.gathering.gather` takes, None where the source tells of no
    training; `no_training` and `no_network` then say why in one line. `fresh` says that the source's weights are those
    that a training would start from.
    """

    name: str
    view: ModelView | None
    module: nn.Module | None = None
    training: object = None
    fresh: bool = True
    no_training: str = ""
    no_network: str = ""

    @property
    def path(self) -> Path | None:
        """The file or folder, where the source is one."""
        return None if self.view is None else self.view.source.path


def find_subject(source: object, *, arch: str | None, activation: str | None, optimizer: object, seed: int) -> Subject:
    """Open the source. Raises SourceError where it cannot be read and UsageError where options do not fit."""
    if is_module(source):
        return _live(source, arch=arch, activation=activation, optimizer=optimizer)
    if (hasattr(source, "layers") and hasattr(source, "steps_per_epoch")) or hasattr(source, "course"):
        name = printable(str(getattr(source, "source", "") or type(source).__name__), limit=80)
        return Subject(name, None, training=source, no_network="the network that was trained is not looked at here")
    if isinstance(source, (str, os.PathLike)):
        return _named(source, arch=arch, activation=activation, seed=seed)
    if isinstance(source, Sequence) and source:
        return _checkpoints([Path(one) for one in source], arch=arch, activation=activation)
    return _of_view(load(source, arch=arch, activation=activation), fresh=True)  # type: ignore[arg-type]


def course_of(subject: Subject, options: Mapping[str, Any]) -> Course:
    """The course of the training that the subject tells of. Raises CritauditError."""
    return gather(subject.training, **options)


def _named(source: str | os.PathLike[str], *, arch: str | None, activation: str | None, seed: int) -> Subject:
    text = os.fspath(source)
    if isinstance(source, str) and text.startswith(_UNTRAINED):
        view = load(text, arch=arch, activation=activation, random_weights=True, seed=seed)
        return _of_view(view, fresh=True)
    path = Path(text)
    if path.is_file() and is_log(path):
        said = "a log holds no network; give the model as well to have its initialisation weighed"
        return Subject(printable(path.name), None, training=path, no_network=said)
    if path.suffix == ".jsonl" and path.is_file():
        raise UsageError(
            f"{path}: its first line is no header of a Monitor's log; give a log, checkpoints or a network"
        )
    if path.is_dir():
        from critaudit.advice.decaying.checkpoints import checkpoints_in

        return _checkpoints(checkpoints_in(path), arch=arch, activation=activation, name=path.resolve().name)
    view = load(text, arch=arch, activation=activation)
    own_code = view.source.path is None and not text.startswith("hf:")
    return _of_view(view, fresh=own_code, training=view.source.path)


def _checkpoints(paths: Sequence[Path], *, arch: str | None, activation: str | None, name: str = "") -> Subject:
    """Several moments of one training; the network is that of one of them."""
    try:
        view = load(paths[-1], arch=arch, activation=activation)
    except SourceError:
        if len(paths) == 1:
            raise
        return Subject(
            name or paths[-1].name, None, training=list(paths), no_network="the last checkpoint is unreadable"
        )
    shown = view.source.name if len(paths) == 1 else printable(name or f"{len(paths)} checkpoints")
    return _of_view(view, fresh=False, training=list(paths) if len(paths) > 1 else paths[0], name=shown)


def _of_view(view: ModelView, *, fresh: bool, training: object = None, name: str = "") -> Subject:
    detail = view.architecture.detail.split("; to run them")[0]
    remedy = (
        "name the nonlinearity between its layers with --activation"
        if view.architecture.how == "chain"
        else "name the architecture with --arch, or give critaudit.advise() the module"
    )
    return Subject(
        name or view.source.name,
        view,
        training=training,
        fresh=fresh,
        no_training="" if training is not None else _NO_TRAINING,
        no_network="" if view.runnable is not None else f"no network to run: {detail}; {remedy}",
    )


def _live(module: nn.Module, *, arch: str | None, activation: str | None, optimizer: object) -> Subject:
    from critaudit.sources.live.reader import unwrapped

    live = hasattr(optimizer, "param_groups")
    said = "a network alone says nothing of its training; give its live optimizer, checkpoints or a Monitor's log"
    return Subject(
        printable(type(unwrapped(module)).__name__, limit=80),
        load(module, arch=arch, activation=activation),
        module=unwrapped(module),
        training=module if live else None,
        no_training="" if live else said,
    )


def network_of(subject: Subject, *, device: str, seed: int) -> tuple[nn.Module, Preprocessing | None, tuple[str, ...]]:
    """A network on its device at the weights that a training would start from, its usual input, and what was assumed.

    A checkpoint's own weights are trained ones: its architecture is given fresh weights, those of its library where it
    is known, else those that PyTorch's layers take by default. Raises SourceError where it cannot be built.
    """
    from critaudit.dynamics.running import device_of

    place = device_of(device) if device != "auto" or subject.module is None else None
    if subject.module is not None:
        from critaudit.sources.live.reader import preprocessing_of

        if place is None or all(one.device == place for one in subject.module.parameters()):
            return subject.module, preprocessing_of(subject.module), ()
        import copy

        return copy.deepcopy(subject.module).to(place), preprocessing_of(subject.module), ()
    view = subject.view
    if view is None or view.runnable is None:
        raise SourceError(subject.no_network or "there is no network to run")
    module = view.runnable.build()
    assumed: tuple[str, ...] = ()
    if not subject.fresh:
        assumed = (_renewed(module, view, seed),)
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return module if place is None else module.to(place), view.runnable.input, assumed


def _renewed(module: nn.Module, view: ModelView, seed: int) -> str:
    """Fresh weights in place of trained ones; says whose."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
    name = view.architecture.name or ""
    if name.startswith(_UNTRAINED):
        try:
            library = load(name, random_weights=True, seed=seed).runnable
            fresh = {} if library is None else dict(library.build().state_dict())
        except CritauditError:
            fresh = {}
        own = module.state_dict()
        taken = {key: value for key, value in fresh.items() if key in own and own[key].shape == value.shape}
        if taken:
            module.load_state_dict({**own, **taken})
            return f"the weights before are {name}'s own initialisation, not the checkpoint's trained ones"
    return "the weights before are those that PyTorch's layers start with, not the checkpoint's trained ones"
