"""Small networks of every kind that an initialisation may meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critaudit.dynamics.hooks import strength_of
from critaudit.init import Critical
from critaudit.init.branches import branches_of
from critaudit.init.modes import calm, unwrapped
from critaudit.init.tracing import trace


def batch(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def chain(depth: int, activation: Callable[[], nn.Module] = nn.Tanh, width: int = 48) -> nn.Sequential:
    """`depth` hidden layers of 48 on inputs of 20, and a readout of 5."""
    layers: list[nn.Module] = []
    for place in range(depth):
        layers += [nn.Linear(width if place else 20, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 5))


class Block(nn.Module):
    """act(skip(x) + norm(conv(act(norm(conv(x)))))); the projection is computed before or after the branch."""

    def __init__(self, into: int, out: int, norm: Callable[[int], nn.Module], *, skip_last: bool) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(into, out, 3, padding=1), norm(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, padding=1), norm(out)
        self.skip: nn.Module = nn.Conv2d(into, out, 1) if into != out else nn.Identity()
        self.skip_last = skip_last

    def forward(self, x: Tensor) -> Tensor:
        skip = None if self.skip_last else self.skip(x)
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)), inplace=True)))
        y += self.skip(x) if skip is None else skip
        return F.relu(y)


class Residual(nn.Module):
    """A stem, five blocks of 8 and 16 channels, a head."""

    def __init__(self, norm: Callable[[int], nn.Module] = lambda _: nn.Identity(), *, skip_last: bool = False) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), norm(8)
        sizes = ((8, 8), (8, 8), (8, 16), (16, 16), (16, 16))
        self.blocks = nn.Sequential(*(Block(*size, norm, skip_last=skip_last) for size in sizes))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


class Attending(nn.Module):
    """A transformer layer around `nn.MultiheadAttention`, normalised before or after its branches."""

    def __init__(self, width: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, dropout=0.1, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def attend(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]

    def feed(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            x = x + self.attend(self.norm1(x))
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + self.attend(x))
        return self.norm2(x + self.feed(x))


class Language(nn.Module):
    """Token ids to logits of tokens; the readout may be the embedding's table."""

    def __init__(self, *, first: bool = True, tied: bool = False, depth: int = 3, width: int = 32) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(50, width), nn.Embedding(16, width)
        self.layers = nn.Sequential(*(Attending(width, first=first) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 50, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        flat = ids.view(-1, ids.shape[-1])
        x = self.tokens(flat) + self.positions(torch.arange(flat.shape[1]))
        return self.head(self.norm(self.layers(x)))


class Scaled(nn.Module):
    """Residual layers with layer scales: x + gamma·f(x)."""

    def __init__(self, start: float = 1e-6, depth: int = 4, width: int = 24) -> None:
        super().__init__()
        self.into = nn.Linear(20, width)
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.gamma = nn.ParameterList(nn.Parameter(torch.full((width,), start)) for _ in range(depth))
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        for first, second, gamma in zip(self.first, self.second, self.gamma, strict=True):
            x = x + gamma * second(F.gelu(first(x)))
        return self.head(x)


class Squeeze(nn.Module):
    """Convolutions with squeeze-and-excitation gates in residual blocks."""

    def __init__(self, depth: int = 3, channels: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
        self.down = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in range(depth))
        self.up = nn.ModuleList(nn.Conv2d(4, channels, 1) for _ in range(depth))
        self.head = nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for conv, down, up in zip(self.convs, self.down, self.up, strict=True):
            y = conv(x)
            x = F.relu(x + y * torch.sigmoid(up(F.relu(down(y.mean((2, 3), keepdim=True))))))
        return self.head(x.mean((2, 3)))


class UNet(nn.Module):
    """Down and up again with joined skips."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge, self.out = nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = F.relu(self.down1(x))
        two = F.relu(self.down2(one))
        return self.out(F.relu(self.merge(torch.cat([one, F.relu(self.up(two))], 1))))


class Pair(nn.Module):
    """Two arguments, a mapping out."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(20, 32), nn.Linear(10, 32)
        self.hidden, self.out, self.value = nn.Linear(64, 32), nn.Linear(32, 5), nn.Linear(32, 1)

    def forward(self, a: Tensor, b: Tensor, scale: float = 1.0) -> Mapping[str, Tensor]:
        x = torch.tanh(self.hidden(torch.cat([torch.tanh(self.left(a)), torch.tanh(self.right(b))], -1)))
        return {"logits": self.out(x) * scale, "value": self.value(x)}


def strengths(module: nn.Module, *inputs: object) -> dict[str, float]:
    """‖x‖/√n behind the first use of each weight and scale of a normalisation, by hooks of its own kind: one forward
    pass under the conditions of an initialisation."""
    with torch.no_grad(), calm(module):
        wiring = trace(unwrapped(module), inputs)
    found: dict[str, float] = {}
    for node in wiring.nodes:
        if node.kind in ("weight", "norm") and node.parameters:
            found.setdefault(node.parameters[0], node.strength)
    return found


def hooked(module: nn.Module, *inputs: object) -> dict[str, float]:
    """The same by forward hooks on modules, which know nothing of the wiring."""
    found: dict[str, float] = {}

    def note(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_part: nn.Module, _arguments: object, output: Tensor) -> None:
            found.setdefault(f"{name}.weight", strength_of(output))

        return hook

    handles = [
        part.register_forward_hook(note(name))
        for name, part in module.named_modules()
        if getattr(part, "weight", None) is not None
    ]
    with torch.no_grad(), calm(module):
        module(*inputs)
    for handle in handles:
        handle.remove()
    return found


def stream_growth(module: nn.Module, *inputs: object) -> float:
    """ln of the factor by which the mean square of all residual sums grows beyond their streams, as a product."""
    with torch.no_grad(), calm(module):
        wiring = trace(module, inputs)
    total = torch.zeros((), dtype=torch.float64)
    for branch in branches_of(wiring):
        total += 2 * torch.log(torch.tensor(wiring.nodes[branch.sum].strength / wiring.nodes[branch.stream].strength))
    return float(total)


def reasons(found: Critical) -> dict[str, str]:
    return {layer.name: layer.reason for layer in found.layers if layer.reason}


def roles(found: Critical) -> dict[str, str]:
    return {layer.name: layer.role for layer in found.layers}
