"""A network to experiment on: a copy of the user's module that shares nothing with it that running could change."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from critaudit.errors import SourceError

if TYPE_CHECKING:
    import torch
    from torch import nn

_HOOK_TABLES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
)


def runnable_copy(module: nn.Module) -> nn.Module:
    """A deep copy in eval mode on the CPU, half-precision weights widened to float32, without gradients.

    The user's own hooks are left off the copy: running it must not reach back into their objects. Hooks that PyTorch
    installed (weight and spectral norm) stay, for the network would be another one without them. `module` itself, its
    training flags, gradients and the random state are untouched. Raises SourceError where the module cannot be copied.
    """
    import torch

    memo: dict[int, Any] = {}
    for layer in module.modules():
        for tensor in (*layer._parameters.values(), *layer._buffers.values(), *vars(layer).values()):
            if isinstance(tensor, torch.Tensor) and id(tensor) not in memo:
                memo[id(tensor)] = _plain_copy(tensor)
        for table in _HOOK_TABLES:
            hooks = vars(layer).get(table)
            if hooks:
                memo[id(hooks)] = OrderedDict(
                    (key, copy.copy(hook)) for key, hook in hooks.items() if _torchs_own(hook)
                )
    try:
        with torch.no_grad():
            duplicate = copy.deepcopy(module, memo)
        for parameter in duplicate.parameters():  # module.requires_grad_ does not exist on TorchScript modules
            parameter.requires_grad_(False)
        return duplicate.eval().cpu()
    except Exception as error:  # the user's classes may run any code while they are copied
        raise SourceError(
            f"{type(module).__name__}: the network cannot be copied to be run ({type(error).__name__}: {error}); "
            "its weights can still be audited as a state dict"
        ) from None


def _plain_copy(tensor: torch.Tensor) -> torch.Tensor:
    """The same values on the CPU in memory of their own, in the same class (Parameter, Buffer or Tensor)."""
    import torch

    plain = tensor.detach()
    if plain.device.type != "meta" and plain.layout == torch.strided:
        plain = plain.to(
            "cpu", torch.float32 if plain.dtype in (torch.float16, torch.bfloat16) else plain.dtype, copy=True
        )
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(plain, requires_grad=False)
    return plain


def _torchs_own(hook: Callable[..., object]) -> bool:
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return home.startswith("torch.nn.utils.")
