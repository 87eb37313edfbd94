"""Building timm's and torchvision's networks by name, without pretrained weights, and filling them from a source."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from critaudit.errors import SourceError, UnavailableError
from critaudit.tensors import TensorRef
from critaudit.text import printable

if TYPE_CHECKING:
    from torch import nn

# PyTorch counts training batches for BatchNorm's momentum; nothing that a network computes in eval mode depends on it.
COUNTER = "num_batches_tracked"
# torchvision starts these with a slow SciPy-like initialisation unless told not to.
_SLOW_START = frozenset({"googlenet", "inception_v3"})
_BLOCK = 4096


def build_network(library: str, name: str, *, classes: int | None = None, device: str = "cpu") -> nn.Module:
    """A network of `library` ("timm" or "torchvision") in eval mode, to be filled with weights; nothing is downloaded.

    `classes` is the number of classes (None: the library's default; 0: timm's features only). The random
    initialisation is not a proper one (it would take seconds), and the caller's random state is left alone.
    Raises UnavailableError where the library does not know `name`.
    """
    import torch

    maker = {"timm": _timm_maker, "torchvision": _torchvision_maker}[library](name, classes)
    with _quiet_start(), torch.device(device):
        return maker().eval()


def _timm_maker(name: str, classes: int | None) -> Callable[[], nn.Module]:
    import timm

    if not timm.is_model(name):
        raise UnavailableError(f"timm:{name} is not in the installed timm {timm.__version__}; another version has it")
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    return lambda: timm.create_model(name, pretrained=False, **options)


def _torchvision_maker(name: str, classes: int | None) -> Callable[[], nn.Module]:
    try:
        from torchvision import models
    except RuntimeError as error:
        raise UnavailableError(
            f"torchvision cannot be imported ({error}); install the release made for this torch"
        ) from None
    try:
        builder = models.get_model_builder(name)
    except ValueError:
        raise UnavailableError(
            f"torchvision:{name} is not in the installed torchvision; another version has it"
        ) from None
    options: dict[str, Any] = {"weights": None}
    if classes is not None:
        options["num_classes"] = classes
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None
    if name in _SLOW_START:
        options["init_weights"] = False
    return lambda: builder(**options)


def drop_classifier(network: nn.Module, tensors: Iterator[str] | tuple[str, ...]) -> None:
    """Replace the layers that own `tensors` by the identity, so that the network gives its features."""
    from torch import nn

    for path in dict.fromkeys(name.rpartition(".")[0] for name in tensors):
        network.set_submodule(path, nn.Identity())


def load_weights(network: nn.Module, tensors: Mapping[str, TensorRef], *, optional: frozenset[str]) -> None:
    """Copy `tensors`, by the network's own names, into `network`, one at a time.

    Every parameter and buffer must be there in its shape, except batch counters and `optional` buffers that the
    constructor makes. Raises SourceError where one is missing or differs.
    """
    import torch

    with torch.no_grad():
        for name, target in network.state_dict(keep_vars=True).items():
            reference = tensors.get(name)
            if reference is None:
                if name.endswith(COUNTER) or name in optional:
                    continue
                raise SourceError(f"the network needs {name}, which the source does not have")
            if tuple(target.shape) != reference.shape:
                raise SourceError(
                    f"{name}: the network wants shape {tuple(target.shape)}, the source has {reference.shape}"
                )
            array = np.require(reference.read(), requirements=["W"])
            target.copy_(torch.from_numpy(array))


@contextmanager
def _quiet_start() -> Iterator[None]:
    """No warnings, hardly any random numbers drawn, and the global random state put back."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    aten = torch.ops.aten
    drawing = {aten.uniform_.default, aten.normal_.default}

    class Tiled(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Large tensors get one random block over and over: drawing them takes seconds, and all is overwritten later.

        The block is truly random, because initialisations with rejection (truncated normal) draw until all fits.
        """

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            options = kwargs or {}
            if func in drawing and args[0].is_contiguous() and args[0].numel() > 2 * _BLOCK and not args[0].is_meta:
                flat = args[0].view(-1)
                block = func(flat.new_empty(_BLOCK), *args[1:], **options)
                whole = len(flat) - len(flat) % _BLOCK
                flat[:whole].view(-1, _BLOCK).copy_(block)
                flat[whole:].copy_(block[: len(flat) - whole])
                return args[0]
            return args[0] if func is aten.erfinv_.default else func(*args, **options)

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), Tiled():  # type: ignore[no-untyped-call]
        warnings.simplefilter("ignore")
        yield


def described(error: Exception) -> str:
    """A library's exception in one printable line."""
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())}", limit=240)
