"""A network made ready to run: built, on its device, in eval mode, with samples to feed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from critaudit.contents import InputArray, Runnable
from critaudit.dynamics.calibrated import SampleKind, sample_kinds, takes_tokens
from critaudit.dynamics.hooks import undisturbed
from critaudit.errors import CritauditError, UsageError
from critaudit.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn


class CannotRunError(Exception):
    """The network cannot be built or fed, or its forward pass failed; the message is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class Running:
    """A network in eval mode on its device, and how it is fed.

    `tensor_names` maps the module's parameter names to the source's tensor names. `method` says in words what the
    samples are. `count` is the number of samples asked for; `samples` gives them one at a time.
    """

    module: nn.Module
    place: torch.device
    tensor_names: Mapping[str, str]
    method: str
    count: int
    seed: int
    _given: NDArray[Any] | None
    _kind: SampleKind | None

    @property
    def is_token_input(self) -> bool:
        """Whether samples are token ids, which have no derivative."""
        return takes_tokens(self.module)

    def samples(self, *, seed: int | None = None, count: int | None = None) -> Iterator[torch.Tensor]:
        """Tensors of shape (1, *sample) on the device: the given inputs, or random ones of the network's kind.

        Another `seed` or `count` than those asked for concerns random inputs; given ones are given.
        """
        if self._given is not None:
            for index in range(len(self._given)):
                yield _tensor(self._given[index : index + 1], self.place)
        elif self._kind is not None:
            for values in self._kind.draw(self.count if count is None else count, self.seed if seed is None else seed):
                yield _tensor(values, self.place)


@contextmanager
def running(
    runnable: Runnable,
    *,
    inputs: InputArray | None = None,
    samples: int = 16,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[Running]:
    """Build the network and feed it with `inputs` (batch first), or with `samples` random ones of the kind it takes.

    Inside, gradients are off (`torch.enable_grad` turns them on), randomness is seeded and warnings are silent; at the
    end all random states and the modes of the module are as they were. Raises CannotRunError where the network cannot
    be built or fed, and for whatever its forward passes raise in the body of the with statement; UsageError for a
    device, inputs or a number of samples that cannot be used.
    """
    place = device_of(device)
    if samples < 1:
        raise UsageError(f"samples is {samples}; at least one is expected")
    if inputs is not None and (inputs.ndim < 2 or len(inputs) == 0):
        raise UsageError(f"inputs have shape {inputs.shape}; an array of samples, batch first, is expected")
    with undisturbed(place, seed):
        module = _built(runnable)
        modes = [(layer, layer.training) for layer in module.modules()]
        try:
            module.to(place).eval()
            yield _fed(module, runnable, place, inputs, samples, seed)
        except (CritauditError, CannotRunError):
            raise
        except Exception as error:  # A forward pass is foreign code: it may raise anything, and none of it is ours.
            raise CannotRunError(f"the forward pass failed: {brief(error)}") from error
        finally:
            for layer, mode in modes:
                layer.training = mode


def _built(runnable: Runnable) -> nn.Module:
    try:
        return runnable.build()
    except CritauditError as error:
        raise CannotRunError(str(error)) from error
    except (RuntimeError, ValueError, TypeError, AttributeError, ImportError, MemoryError, KeyError) as error:
        raise CannotRunError(f"the network could not be built: {brief(error)}") from error


def _fed(
    module: nn.Module,
    runnable: Runnable,
    place: torch.device,
    inputs: InputArray | None,
    samples: int,
    seed: int,
) -> Running:
    names = runnable.tensor_names
    if inputs is not None:
        given = inputs[:samples].astype(np.int64 if takes_tokens(module) else np.float32)
        return Running(
            module,
            place,
            names,
            f"{len(given)} given input{'s' if len(given) > 1 else ''}",
            len(given),
            seed,
            given,
            None,
        )
    kind = _working_kind(module, runnable, place, seed)
    return Running(module, place, names, kind.method, samples, seed, None, kind)


def _working_kind(module: nn.Module, runnable: Runnable, place: torch.device, seed: int) -> SampleKind:
    """The first kind of input with which the network runs; a known kind is not tried out."""
    kinds = sample_kinds(module, runnable.input)
    if not kinds:
        raise CannotRunError("what the network takes as input is not known; give inputs")
    if len(kinds) == 1:
        return kinds[0]
    first_failure = ""
    for kind in kinds:
        try:
            module(_tensor(next(kind.draw(1, seed)), place))
        except Exception as error:  # Foreign code, as in running: trying sizes means that most of them raise.
            first_failure = first_failure or brief(error)
        else:
            return kind
    raise CannotRunError(f"no usual input size fits the network ({first_failure}); give inputs")


def device_of(device: str) -> torch.device:
    """The device, checked. Raises UsageError where it is unknown or not there."""
    import torch

    name = device
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device {device!r} cannot be used: {brief(error)}; cpu always works") from None
    return place


def brief(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return printable(f"{type(error).__name__}: {text}" if text else type(error).__name__, limit=240)


def _tensor(batch: NDArray[Any], place: torch.device) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(batch)).to(place)
