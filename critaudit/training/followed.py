"""Which weight matrices of a network in training are followed, and where their numbers lie."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from critaudit.errors import UsageError
from critaudit.model import LedgerEntry, ModelView, WeightMatrix
from critaudit.text import printable

if TYPE_CHECKING:
    import torch
    from torch import nn

_NORM = re.compile(r"(Batch|Layer|Group|Instance|RMS|LocalResponse|SyncBatch)\w*Norm")
_BLOCKS = ("TransformerEncoderLayer", "TransformerDecoderLayer")  # their norms stand behind the residual sum
EMBEDDING = "an embedding looks rows up; no signal is multiplied, so it is not followed"


@dataclass(frozen=True, slots=True)
class Followed:
    """One weight matrix that is followed, as the log's first line has it.

    `tensor` is the parameter that holds it; `part` = (axis, start, length) says which of it where several matrices are
    packed in one. `module` is the path of the module whose output stands behind the matrix, None where there is none.
    `normalised` says that a normalisation layer comes right behind it, so that the scale of its weights does not act.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    fan_in: int
    groups: int
    rows: int
    columns: int
    activation: str | None
    tensor: str
    module: str | None
    part: tuple[int, int, int] | None = None
    normalised: bool = False

    @property
    def is_square(self) -> bool:
        """Whether this is a dense matrix with as many outputs as inputs: what Zhang21's plane is about."""
        return self.kind in ("linear", "attention") and self.groups == 1 and self.rows == self.columns

    @property
    def acts(self) -> bool:
        """Whether the scale of its weights moves the layer to and from an edge: a nonlinearity and no normalisation."""
        known = self.activation is not None and self.activation != "identity"
        return known and self.kind != "recurrent" and not self.normalised


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """A followed matrix with the objects that it is read from.

    `weight` is the parameter that the optimizer trains, None where that is none of the network's own. It is the matrix
    itself (`plain`) except under weight norm, pruning and the like, where the matrix is made of it and others.
    """

    followed: Followed
    weight: nn.Parameter | None
    plain: bool
    bias: nn.Parameter | None
    matrix: WeightMatrix = field(repr=False)

    def values(self) -> torch.Tensor:
        """The present weights in the shape that they are stored in, without a copy where they are one parameter."""
        import torch

        if self.weight is None or not self.plain:  # put together from its tensors, away from the network
            return torch.from_numpy(self.matrix.read().copy())
        found = self.weight.detach()
        part = self.followed.part
        return found if part is None else found.narrow(*part)

    def blocks(self) -> torch.Tensor | None:
        """The weights as (groups, rows, columns), up to a transposition; None where they are not laid out so."""
        values, it = self.values(), self.followed
        if values.ndim >= 2 and values.shape[0] == it.groups * it.rows:
            return values.reshape(it.groups, it.rows, it.columns)
        if values.ndim == 2:  # stored as inputs × outputs
            return values.reshape(1, *values.shape)
        if it.kind == "transposed_conv":
            kernel = values.shape[2:].numel()
            apart = values.reshape(it.groups, it.columns // kernel, it.rows, kernel)
            return apart.transpose(1, 2).reshape(it.groups, it.rows, it.columns)
        return values if values.ndim == 3 and not self.plain else None


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The network in training: itself without its wrappers, its followed matrices, and what became of every tensor."""

    module: nn.Module
    name: str
    matrices: tuple[Live, ...]
    ledger: tuple[LedgerEntry, ...]
    compiled: bool

    @property
    def parameters(self) -> int:
        """Trainable parameters, tied ones counted once."""
        return sum(entry.parameters for entry in self.ledger)


def follow(model: nn.Module, *, activation: str | None = None) -> Network:
    """Find the weight matrices of `model` (also inside DataParallel, DistributedDataParallel and torch.compile).

    `activation` names the nonlinearity behind layers whose declaration does not tell. Nothing is read, and nothing of
    the module is changed. Raises UsageError where there is nothing to follow.
    """
    from critaudit.sources import load
    from critaudit.sources.live.reader import unwrapped
    from critaudit.theory.activations import named_activation

    if activation is not None:
        named_activation(activation)  # an unknown name ends here, in one line
    inner = unwrapped(model)
    view = load(inner, activation=activation)
    matrices = tuple(_live(inner, view))
    if not matrices:
        lost = next((entry.reason for entry in view.ledger if entry.status == "lost"), None)
        what = f"none can be read ({lost})" if lost else "it has none beside embeddings, biases and normalisation"
        raise UsageError(f"{type(inner).__name__}: no weight matrix to follow; {what}")
    return Network(inner, printable(type(inner).__name__, limit=80), matrices, tuple(_ledger(view)), is_compiled(model))


def is_compiled(model: nn.Module) -> bool:
    """Whether torch.compile made one program of the whole network or of a part: then its layers do not run as such."""
    return any(
        type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


def _ledger(view: ModelView) -> Iterator[LedgerEntry]:
    from dataclasses import replace

    embeddings = {matrix.tensor for matrix in view.matrices if matrix.kind == "embedding"}
    for entry in view.ledger:
        is_embedding = entry.name in embeddings and entry.status == "analysed"
        yield replace(entry, status="skipped", reason=EMBEDDING) if is_embedding else entry


def _live(module: nn.Module, view: ModelView) -> Iterator[Live]:
    parameters = {printable(name): value for name, value in module.named_parameters(remove_duplicate=False)}
    owners = _owners(module)
    norms = _before_a_norm(module)
    by_tensor: dict[str, list[WeightMatrix]] = {}
    for matrix in view.matrices:
        by_tensor.setdefault(matrix.tensor, []).append(matrix)
    for tensor, matrices in by_tensor.items():
        weight = parameters.get(tensor)
        # Matrices that are a parameter's own elements go by its name; one that is made of several has the layer's.
        plain = weight is not None and all(matrix.name.startswith(tensor) for matrix in matrices)
        parts = _parts(weight, matrices) if weight is not None and plain else [None] * len(matrices)
        module_path = owners.get(tensor)
        for matrix, part in zip(matrices, parts, strict=True):
            if matrix.kind == "embedding":
                continue
            bias = parameters.get(tensor.removesuffix("weight") + "bias") if tensor.endswith("weight") else None
            if bias is not None and tuple(bias.shape) != (matrix.groups * matrix.rows,):
                bias = None
            followed = Followed(
                name=matrix.name,
                kind=matrix.kind,
                shape=matrix.shape,
                fan_in=matrix.fan_in,
                groups=matrix.groups,
                rows=matrix.rows,
                columns=matrix.columns,
                activation=matrix.activation,
                tensor=tensor,
                module=module_path,
                part=part,
                normalised=module_path in norms,
            )
            yield Live(followed, weight, plain, bias, matrix)


def _parts(weight: nn.Parameter, matrices: Sequence[WeightMatrix]) -> Iterable[tuple[int, int, int] | None]:
    """Where each matrix lies in its tensor: together they hold each element once, in order, along one axis."""
    if len(matrices) == 1:
        return [None] * len(matrices)
    whole = tuple(weight.shape)
    differing = {axis for matrix in matrices for axis, n in enumerate(matrix.shape) if n != whole[axis]}
    axis = min(differing, default=0)
    parts, start = [], 0
    for matrix in matrices:
        parts.append((axis, start, matrix.shape[axis]))
        start += matrix.shape[axis]
    return parts


def _owners(module: nn.Module) -> dict[str, str]:
    """By tensor, the path of the module whose output comes from it."""
    from critaudit.dynamics.hooks import own_tensors, tensors_of, weight_layers

    named = {path: tensors_of(path, layer) for path, layer in weight_layers(module)}
    # A projection that attention applies by itself never runs as a module: its attention speaks for it.
    silent = [path for path in named if path.endswith("out_proj") and _is_attention(module, path.rpartition(".")[0])]
    for path in silent:
        del named[path]
    return {printable(name): path for path, names in own_tensors(named).items() for name in names}


def _is_attention(module: nn.Module, path: str) -> bool:
    from torch import nn

    return isinstance(module.get_submodule(path), nn.MultiheadAttention)


def _before_a_norm(module: nn.Module) -> set[str]:
    """Paths of the modules after which, in the order of definition, a normalisation comes at once."""
    found = set()
    for path, block in module.named_modules():
        if type(block).__name__ in _BLOCKS:
            continue
        children: Mapping[str, nn.Module] = dict(block.named_children())
        names = list(children)
        for name, following in itertools.pairwise(names):
            if _NORM.match(type(children[following]).__name__):
                found.add(f"{path}.{name}" if path else name)
    return found
