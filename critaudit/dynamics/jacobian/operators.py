"""The Jacobian of a piece of a network at an operating point, as a linear operator that is never written out.

The graph between two tensors is built once. Jᵀu is one backward pass through it; Jᵀu is itself linear in u, and
differentiating it by u gives Jv, at the price of one more backward pass and without running the network again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.hooks import first_signal
from critaudit.errors import CritauditError

if TYPE_CHECKING:
    import torch
    from scipy.sparse.linalg import LinearOperator
    from torch import nn

Array = NDArray[Any]

# Columns that are differentiated side by side, at most; and their elements in all.
_BATCH, _BATCH_ELEMENTS = 64, 20_000_000


class NotDifferentiableError(CritauditError):
    """The network's output has no derivative by the tensor in question, or an operation on the way has none."""


class JacobianOperator:
    """J = ∂y/∂x at the point where y was computed from x: shape (y.numel(), x.numel()), in row-major order of both.

    `x` and `y` are tensors on one autograd graph; paths from x to y count, all else is constant. Vectors are NumPy
    arrays of the operator's `dtype`. `function` maps x to y anew: it serves forward-mode differentiation where an
    operation on the way cannot be differentiated twice. Oracle: `torch.func.jacrev`.

    Every method raises NotDifferentiableError where an operation has no derivative. Keep calls inside
    `surroundings.differentiable`, in which the graph was made.
    """

    def __init__(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        *,
        function: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self._x, self._y, self._function = x, y, function
        self._transposed: tuple[torch.Tensor, torch.Tensor] | None = None
        self._is_forward_mode = False
        self._is_batched = True
        self._is_checked = False

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self._y.numel(), self._x.numel()

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type in which derivatives are computed: that of x."""
        import torch

        return np.dtype(np.float64 if self._x.dtype == torch.float64 else np.float32)

    @property
    def precision(self) -> float:
        """Relative rounding error of the network's own arithmetic (half precision keeps three digits)."""
        import torch

        return float(torch.finfo(self._x.dtype).eps)

    def matvec(self, v: Array) -> Array:
        """Jv for a vector of `shape[1]` numbers: how a small change of x shows in y."""
        tangent = self._tensor(v, self._x)
        return _array(self._push(tangent), self.dtype)

    def rmatvec(self, u: Array) -> Array:
        """Jᵀu for a vector of `shape[0]` numbers: the gradient of u·y by x."""
        return _array(self._pull(self._tensor(u, self._y)), self.dtype)

    def matmat(self, V: Array) -> Array:
        """JV for the columns of V, shape (inputs, k); shape (outputs, k)."""
        return self._columns(V, self._x, self._push_many, self.matvec)

    def rmatmat(self, U: Array) -> Array:
        """JᵀU for the columns of U, shape (outputs, k); shape (inputs, k)."""
        return self._columns(U, self._y, self._pull_many, self.rmatvec)

    def dense(self) -> Array:
        """J written out, from as many derivatives as its smaller side is long."""
        outputs, inputs = self.shape
        if outputs <= inputs:
            return np.ascontiguousarray(self.rmatmat(np.eye(outputs, dtype=self.dtype)).T)
        return self.matmat(np.eye(inputs, dtype=self.dtype))

    def linear_operator(self) -> LinearOperator:
        """The same operator in SciPy's form, for `scipy.sparse.linalg`."""
        from scipy.sparse.linalg import LinearOperator

        return LinearOperator(
            shape=self.shape,
            matvec=self.matvec,
            rmatvec=self.rmatvec,
            matmat=self.matmat,
            rmatmat=self.rmatmat,
            dtype=self.dtype,
        )

    def _tensor(self, values: Array, like: torch.Tensor) -> torch.Tensor:
        import torch

        plain = torch.from_numpy(np.ascontiguousarray(values, dtype=self.dtype))
        return plain.to(device=like.device, dtype=like.dtype).reshape(like.shape)

    def _pull(self, u: torch.Tensor) -> torch.Tensor:
        return _gradient(self._y, self._x, u)

    def _push(self, v: torch.Tensor) -> torch.Tensor:
        if not self._is_forward_mode:
            try:
                pulled, cotangent = self._linear_pullback()
                return self._checked(v, _gradient(pulled, cotangent, v))
            except NotDifferentiableError:
                if self._function is None:
                    raise
                self._is_forward_mode = True
        return self._checked(v, self._forward_mode(v))

    def _linear_pullback(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Jᵀu as a graph over u, made once, at a random u."""
        if self._transposed is None:
            cotangent = random_like(self._y).requires_grad_(True)
            self._transposed = _gradient(self._y, self._x, cotangent, create_graph=True), cotangent
        return self._transposed

    def _checked(self, v: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """`image`, after the first one has proved that ⟨u, Jv⟩ = ⟨Jᵀu, v⟩."""
        if not self._is_checked:
            pulled, cotangent = self._linear_pullback()
            check_adjoint([(cotangent, image)], pulled, v)
            self._is_checked = True
        return image

    def _forward_mode(self, v: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.autograd import forward_ad

        assert self._function is not None
        try:
            # The first use of forward mode compiles with a deprecated tool of PyTorch's own, which says so.
            with torch.no_grad(), forward_ad.dual_level(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = self._function(forward_ad.make_dual(self._x.detach(), v))  # type: ignore[no-untyped-call]
                tangent = forward_ad.unpack_dual(image).tangent  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise _no_derivative(error) from error
        return torch.zeros_like(self._y) if tangent is None else tangent

    def _columns(
        self,
        V: Array,
        like: torch.Tensor,
        many: Callable[[torch.Tensor], torch.Tensor],
        one: Callable[[Array], Array],
    ) -> Array:
        V = np.asarray(V, dtype=self.dtype)
        size = max(1, min(_BATCH, _BATCH_ELEMENTS // max(max(self.shape), 1)))
        found = []
        for start in range(0, V.shape[1], size):
            part = V[:, start : start + size]
            if self._is_batched and part.shape[1] > 1:
                try:
                    found.append(self._batch(part, like, many))
                    continue
                except NotDifferentiableError:
                    self._is_batched = False  # an operation that cannot be mapped over a batch
            found.extend(one(column)[:, None] for column in part.T)
        return np.concatenate(found, axis=1)

    def _batch(self, V: Array, like: torch.Tensor, many: Callable[[torch.Tensor], torch.Tensor]) -> Array:
        import torch

        plain = torch.from_numpy(np.ascontiguousarray(V.T))
        stack = plain.to(device=like.device, dtype=like.dtype).reshape(V.shape[1], *like.shape)
        return np.stack([_array(column, self.dtype) for column in many(stack)], axis=1)

    def _pull_many(self, stack: torch.Tensor) -> torch.Tensor:
        return _gradient(self._y, self._x, stack, batched=True)

    def _push_many(self, stack: torch.Tensor) -> torch.Tensor:
        if self._is_forward_mode:
            raise NotDifferentiableError("forward mode takes one tangent at a time")
        pulled, cotangent = self._linear_pullback()
        images = _gradient(pulled, cotangent, stack, batched=True)
        self._checked(stack[0], images[0])
        return images


def operator(module: nn.Module, x: torch.Tensor, *args: Any, **kwargs: Any) -> JacobianOperator:
    """The Jacobian of `module` at `x`: of its first floating-point output, by its first argument.

    Further arguments are constants. The module is used as it is: put it in eval mode first, and keep this call and the
    operator's use inside `surroundings.differentiable()`, or attention and depthwise convolutions are slow or refuse.
    Parameters keep their `requires_grad`; where it is off, derivatives cost less.

    Raises NotDifferentiableError where the output does not depend on x.

    >>> with differentiable():                                     # doctest: +SKIP
    ...     J = operator(block, x)
    ...     svds(J.linear_operator(), k=1)
    """
    import torch

    def function(values: torch.Tensor) -> torch.Tensor:
        # A copy, so that an operation in place finds no leaf.
        found = first_signal(module(values.clone(), *args, **kwargs))
        if found is None:
            raise NotDifferentiableError(f"{type(module).__name__} gave no floating-point tensor")
        return found

    with torch.enable_grad():
        start = x.detach().clone().requires_grad_(True)
        return JacobianOperator(start, function(start), function=function)


def random_like(values: torch.Tensor) -> torch.Tensor:
    """Standard normal numbers in the shape of `values`, always the same ones."""
    import torch

    drawn = torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(device=values.device, dtype=values.dtype)


def check_adjoint(
    images: list[tuple[torch.Tensor, torch.Tensor | None]], pulled: torch.Tensor, v: torch.Tensor
) -> None:
    """Raise NotDifferentiableError unless Σ⟨u, Jv⟩ = ⟨ΣJᵀu, v⟩ for the pairs (u, Jv) and `pulled` = ΣJᵀu.

    A hand-written derivative that cannot be differentiated drops out of the second derivative without a word (custom
    kernels do so); then the two sides differ.
    """
    import torch

    left = sum(_dot(u, image) for u, image in images if image is not None)
    right = _dot(pulled, v)
    sizes = [_dot(image, image) for _, image in images if image is not None] + [_dot(pulled, pulled)]
    tolerance = max(1e-3, 30.0 * float(torch.finfo(v.dtype).eps)) * math.sqrt(max(sizes))
    if not abs(left - right) <= tolerance:
        raise NotDifferentiableError("an operation on the way has a derivative that cannot be differentiated itself")


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.detach().double() * b.detach().double()).sum())


def _gradient(
    y: torch.Tensor, x: torch.Tensor, u: torch.Tensor, *, create_graph: bool = False, batched: bool = False
) -> torch.Tensor:
    """∂(u·y)/∂x, zero where y does not depend on x; the graph stays for the next call."""
    import torch

    shape = (len(u), *x.shape) if batched else x.shape
    if not y.requires_grad:
        return torch.zeros(shape, dtype=x.dtype, device=x.device)
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            # PyTorch says when a batch is mapped by a slow path; the numbers are the same.
            warnings.simplefilter("ignore")
            found = torch.autograd.grad(
                y, x, u, retain_graph=True, create_graph=create_graph, allow_unused=True, is_grads_batched=batched
            )[0]
    except RuntimeError as error:
        raise _no_derivative(error) from error
    return torch.zeros(shape, dtype=x.dtype, device=x.device) if found is None else found


def _no_derivative(error: RuntimeError) -> NotDifferentiableError:
    text = " ".join(str(error).split())[:200]
    return NotDifferentiableError(f"an operation cannot be differentiated as often as needed: {text}")


def _array(values: torch.Tensor, dtype: np.dtype[Any]) -> Array:
    found: Array = values.detach().reshape(-1).cpu().numpy() if _is_plain(values) else _widened(values)
    return found.astype(dtype, copy=False)


def _is_plain(values: torch.Tensor) -> bool:
    import torch

    return values.dtype in (torch.float32, torch.float64)


def _widened(values: torch.Tensor) -> Array:
    found: Array = values.detach().reshape(-1).float().cpu().numpy()
    return found
