"""Surroundings in which a network's derivatives exist twice over, and what they concern is a network at rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def differentiable(module: nn.Module | None = None) -> Iterator[None]:
    """Gradients on; attention, convolutions and normalisation in forms that can be differentiated twice, in full width.

    Forward passes and derivatives belong inside the with statement; global switches are put back at its end. On CUDA
    convolutions do not round to TF32, and a `module` with recurrent layers does without cuDNN, which does not
    differentiate them in eval mode.
    """
    import torch
    from torch import nn
    from torch.backends import cudnn, mha
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from critaudit.dynamics.jacobian.linear_maps import LinearMaps

    recurrent = module is not None and any(isinstance(layer, nn.RNNBase) for layer in module.modules())
    was_fast = mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(LinearMaps())
        stack.callback(mha.set_fastpath_enabled, was_fast)
        mha.set_fastpath_enabled(False)
        if torch.cuda.is_available():
            enabled = cudnn.enabled and not recurrent
            flags = cudnn.flags(enabled=enabled, benchmark=False, deterministic=True, allow_tf32=False)
            stack.enter_context(flags)
        yield


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Parameters are constants inside; each gets its `requires_grad` back at the end."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
