"""Parameter groups of an optimizer, split so that every followed matrix has one of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from critaudit.training.followed import Live, follow
from critaudit.training.optimizers import plain_optimizer

if TYPE_CHECKING:
    import torch
    from torch import nn


def split_groups(
    optimizer: torch.optim.Optimizer, model: nn.Module, *, schedulers: Iterable[object] = ()
) -> dict[str, int]:
    """Give every weight matrix of `model` a parameter group of its own, with the settings of the one that it was in.

    What is no weight matrix (biases, normalisation, embeddings) stays where it is. The optimizer's state, the learning
    rates and `initial_lr` stay as they are, so that the next step is the same as without the split. Learning-rate
    schedulers keep lists by group: those made before the split must be given, those made after it need nothing.
    Checkpoints of the optimizer from before the split do not fit it any more: split first, then load those from after.
    Returns the index of the group of each matrix by its name; several matrices in one parameter share its group.

    Raises UsageError for what is no optimizer, or no network.
    """
    plain = plain_optimizer(optimizer)
    return split(plain, follow(model).matrices, schedulers)


def split(
    optimizer: torch.optim.Optimizer, matrices: Iterable[Live], schedulers: Iterable[object] = ()
) -> dict[str, int]:
    """`split_groups` for matrices that were found already."""
    followed: dict[int, list[str]] = {}
    for one in matrices:
        if one.weight is not None:
            followed.setdefault(id(one.weight), []).append(one.followed.name)
    origins: list[int] = []
    groups = optimizer.param_groups
    for place, group in enumerate(list(groups)):
        own = [one for one in group["params"] if id(one) in followed]
        if len(group["params"]) == 1 or not own:
            continue
        rest = [one for one in group["params"] if id(one) not in followed]
        alone, kept = (own, rest) if rest else (own[1:], own[:1])
        group["params"] = kept
        for one in alone:
            groups.append({**{key: value for key, value in group.items() if key != "params"}, "params": [one]})
            origins.append(place)
    for scheduler in _all_schedulers(schedulers):
        _lengthen(scheduler, len(groups) - len(origins), origins)
    places = {id(one): place for place, group in enumerate(groups) for one in group["params"]}
    return {name: places[key] for key, names in followed.items() if key in places for name in names}


def _all_schedulers(schedulers: Iterable[object]) -> Iterator[object]:
    """Also those inside a chain or a sequence of schedulers."""
    for scheduler in schedulers:
        yield scheduler
        yield from _all_schedulers(getattr(scheduler, "_schedulers", ()))


def _lengthen(scheduler: object, before: int, origins: list[int]) -> None:
    """Continue every list that the scheduler keeps by group with the entries of the groups that were split."""
    lists: dict[str, list[Any]] = {
        name: value for name, value in vars(scheduler).items() if isinstance(value, list) and len(value) == before
    }
    for name, value in lists.items():
        if name != "_schedulers":
            value.extend(value[place] for place in origins)
