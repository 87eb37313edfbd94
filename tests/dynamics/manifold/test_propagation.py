"""Circles through networks: exact in linear ones, Poole's mean field in random ones, and any layout of a layer."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import Preprocessing, Runnable
from critaudit.dynamics.manifold import Propagation, great_circle, passing, propagate_circle
from critaudit.dynamics.manifold import gram as gram_module
from critaudit.dynamics.manifold.gram import GramSum
from critaudit.dynamics.running import CannotRunError
from critaudit.errors import UsageError
from critaudit.theory.circle import circle_through_layers


def _runnable(network: nn.Module, shape: tuple[int, ...] | None = None, prefix: str = "") -> Runnable:
    wants = Preprocessing(shape) if shape is not None else None
    return Runnable(lambda: network.eval(), wants, {name: prefix + name for name in network.state_dict()})


class _Counted(nn.Module):
    """A network that counts its forward passes and their largest batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.batches: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(x))
        return self.network(x)


def _reference(network: nn.Module, path: str, inputs: np.ndarray, points: int) -> np.ndarray:
    """What the module at `path` gives at every point of the circle through two inputs, one after the other."""
    circle = great_circle(*(torch.from_numpy(one[None]) for one in inputs))
    found: list[np.ndarray] = []
    with torch.no_grad():
        layer = dict(network.named_modules())[path]
        handle = layer.register_forward_hook(
            lambda _m, _a, output: found.append(
                (output[0] if isinstance(output, tuple) else output).double().numpy().ravel()
            )
        )
        for point in circle.points(points):
            network(point[None])
        handle.remove()
    return np.stack(found)


def _same(found: Propagation, name: str, expected: np.ndarray) -> None:
    """The layer's numbers are those of these points."""
    (layer,) = (layer for layer in found.layers if layer.name == name)
    (circle,) = layer.circles
    centred = expected - expected.mean(axis=0)
    steps = np.linalg.norm(np.roll(expected, -1, axis=0) - expected, axis=1)
    shares = np.linalg.svd(centred, compute_uv=False) ** 2
    assert circle.size == expected.shape[1]
    assert circle.strength == pytest.approx(np.sqrt(np.square(expected).mean()), rel=1e-5)
    assert circle.variance == pytest.approx(centred.var(axis=0).mean(), rel=1e-4)
    assert circle.cv == pytest.approx(steps.std() / steps.mean(), rel=1e-3, abs=1e-5)
    assert circle.participation == pytest.approx(shares.sum() ** 2 / (shares**2).sum(), rel=1e-4)


def test_a_great_circle_passes_through_both_directions_at_constant_norm() -> None:
    one, two = torch.randn(1, 3, 4), torch.randn(1, 3, 4) + 0.5
    circle = great_circle(one, two)
    points = circle.points(12).double().reshape(12, -1)
    assert circle.radius == pytest.approx(math.sqrt((float(one.square().sum()) + float(two.square().sum())) / 2))
    assert torch.allclose(points.norm(dim=1), torch.full((12,), circle.radius, dtype=torch.float64))
    assert torch.allclose(points[0] / circle.radius, (one / one.norm()).reshape(-1).double(), atol=1e-6)
    # the second input's direction is in the plane of the circle
    direction = (two / two.norm()).reshape(-1).double()
    inside = sum((direction @ axis.reshape(-1)) ** 2 for axis in (circle.first, circle.second))
    assert float(inside) == pytest.approx(1.0)


@pytest.mark.parametrize(("one", "two", "words"), [(1, 2, "parallel"), (0, 1, "zero"), (math.inf, 1, "not finite")])
def test_two_inputs_without_a_plane_are_no_circle(one: float, two: float, words: str) -> None:
    with pytest.raises(CannotRunError, match=words):
        great_circle(torch.full((1, 4), float(one)), torch.full((1, 4), float(two)))


def test_gram_matrices_add_up_over_pieces_calls_and_complex_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_module, "_PIECE", 40)
    real, whole = torch.randn(8, 31) + 3, torch.randn(8, 5, dtype=torch.complex64)
    gram = GramSum()
    gram.add(real)
    gram.add(whole)
    flat = np.concatenate([real.double().numpy(), torch.view_as_real(whole).reshape(8, -1).double().numpy()], axis=1)
    centred = flat - flat.mean(axis=0)
    curve = gram.curve()
    assert np.allclose(curve.gram, centred @ centred.T, rtol=1e-12)
    assert curve.mean_square == pytest.approx(np.square(flat).mean())
    assert curve.size == 41


def test_through_a_linear_network_a_circle_stays_an_ellipse_with_exact_components() -> None:
    # GIVEN a linear network and two inputs
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 30, bias=False), nn.Linear(30, 10, bias=False))
    inputs = np.random.default_rng(1).standard_normal((2, 20)).astype(np.float32)
    # WHEN a circle passes
    found = propagate_circle(_runnable(network, prefix="net."), inputs=inputs, points=64)
    # THEN the axes of the ellipse are the singular values of W restricted to the circle's plane
    circle = great_circle(*(torch.from_numpy(one[None]) for one in inputs))
    plane = torch.cat([circle.first, circle.second]).numpy()
    product = np.eye(20)
    for layer, weight in zip(found.layers, network.parameters(), strict=True):
        product = weight.detach().double().numpy() @ product
        a, b = np.linalg.svd(product @ plane.T, compute_uv=False)
        (geometry,) = layer.circles
        assert geometry.variance_shares[:2] == pytest.approx((a**2 / (a**2 + b**2), b**2 / (a**2 + b**2)), rel=1e-5)
        assert geometry.participation == pytest.approx((a**2 + b**2) ** 2 / (a**4 + b**4), rel=1e-5)
        assert geometry.turns == pytest.approx(1.0, abs=1e-3)
        _same(found, layer.name, _reference(network, layer.name.split(".")[1], inputs, 64))
    assert [layer.name for layer in found.layers] == ["net.0.weight", "net.1.weight"]
    assert (found.points, found.circles, found.reason) == (64, 1, None)


@pytest.mark.parametrize("sigma_w", [0.9, 1.5, 2.5])
def test_through_random_tanh_networks_length_and_curvature_follow_pooles_mean_field(sigma_w: float) -> None:
    # GIVEN a random tanh network of width 500 and the theory of infinite width
    torch.manual_seed(3)
    layers = [nn.Linear(500, 500, bias=False) for _ in range(6)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=sigma_w / math.sqrt(500))
    network = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))
    found = propagate_circle(_runnable(network), points=128, circles=4, seed=2)
    assert found.radius is not None
    theory = circle_through_layers(sigma_w, 0.0, "tanh", layers=6, strength=found.radius)
    # THEN every layer agrees within what a finite width leaves: 1/√N per layer, for 4 circles through one network
    for depth, (layer, expected) in enumerate(zip(found.layers, theory, strict=True), start=1):
        error = 1.5 * depth / math.sqrt(500)
        length = np.mean([circle.length for circle in layer.circles])
        curvature = np.mean([circle.curvature for circle in layer.circles])
        strength = np.mean([circle.strength for circle in layer.circles])
        assert length == pytest.approx(2 * math.pi * math.sqrt(expected.stretch), rel=error)
        assert curvature == pytest.approx(expected.relative_curvature, rel=error)
        assert strength == pytest.approx(math.sqrt(expected.q), rel=error)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.two = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.two(torch.relu(self.norm(self.one(x)))))


def _resnet() -> nn.Module:
    stem, head = nn.Conv2d(3, 6, 3, stride=2), nn.Linear(6, 5)
    return nn.Sequential(stem, _Residual(6), _Residual(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def _vit() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=16, patch_size=8, embed_dim=12, depth=2, num_heads=2, num_classes=3)


@pytest.mark.parametrize(
    ("make", "shape", "path"),
    [
        (_resnet, (3, 12, 12), "1.two"),
        (_vit, (3, 16, 16), "blocks.1.mlp.fc2"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)), (3, 2, 2), "3"),
        (lambda: nn.Sequential(nn.GRU(4, 6, batch_first=True)), (16, 4), "0"),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8), "linear2"),
        (lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Conv1d(3, 2, 3)), (2, 20), "2"),
    ],
)
def test_mlp_resnet_vit_and_recurrence_give_what_their_points_give_one_by_one(
    make: object, shape: tuple[int, ...], path: str
) -> None:
    torch.manual_seed(0)
    network = _Counted(make()).eval()  # type: ignore[operator]
    inputs = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    found = propagate_circle(_runnable(network), inputs=inputs, points=16)
    assert found.reason is None
    # all points passed together, after three passes alone: for the blocks, the sizes, and a comparison
    assert network.batches == [1, 1, 1, 16]
    name = next(layer.name for layer in found.layers if layer.name.startswith(f"network.{path}"))
    _same(found, name, _reference(network, f"network.{path}", inputs, 16))
    assert all(layer.reason is None and len(layer.circles) == 1 for layer in found.layers)


def test_repeated_blocks_are_measured_where_they_end() -> None:
    torch.manual_seed(0)
    network = _resnet().eval()
    inputs = np.random.default_rng(0).standard_normal((2, 3, 12, 12)).astype(np.float32)
    found = propagate_circle(_runnable(network, prefix="net."), inputs=inputs, points=16)
    assert [(block.name, block.tensors, block.module) for block in found.blocks] == [
        ("1", ("net.1.two.weight",), "_Residual"),
        ("2", ("net.2.two.weight",), "_Residual"),
    ]
    # a block is no layer, and what leaves it is what came in and its branch together
    assert [layer.name for layer in found.layers if layer.name.startswith("net.2.")] == [
        "net.2.one.weight",
        "net.2.two.weight",
    ]
    for block in found.blocks:
        as_layer = Propagation(layers=found.blocks)
        _same(as_layer, block.name, _reference(network, block.name, inputs, 16))
    assert propagate_circle(_runnable(nn.Linear(3, 2)), points=16).blocks == ()


class _Turned(nn.Module):
    """Layers that see the time first, and as many steps as there are points."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(3, 5)
        self.dense = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.recurrent(x.transpose(0, 1))
        return self.dense(states).transpose(0, 1)


def test_layers_with_the_batch_on_another_axis_are_read_the_right_way_round() -> None:
    torch.manual_seed(0)
    network = _Turned().eval()
    inputs = np.random.default_rng(0).standard_normal((2, 16, 3)).astype(np.float32)
    found = propagate_circle(_runnable(network), inputs=inputs, points=16)
    for name, path in (("recurrent.weight_ih_l0", "recurrent"), ("dense.weight", "dense")):
        _same(found, name, _reference(network, path, inputs, 16))


def test_a_network_that_mixes_its_samples_is_fed_one_by_one() -> None:
    # GIVEN a recurrent network that takes the axis of samples for time
    torch.manual_seed(0)
    network = _Counted(nn.Sequential(nn.GRU(3, 5), _First(), nn.Linear(5, 4))).eval()
    inputs = np.random.default_rng(0).standard_normal((2, 7, 3)).astype(np.float32)
    found = propagate_circle(_runnable(network), inputs=inputs, points=12)
    # THEN the batch is found out, and every point passes alone
    assert network.batches == [1, 1, 1, 12] + 12 * [1]
    _same(found, "network.2.weight", _reference(network, "network.2", inputs, 12))


class _First(nn.Module):
    def forward(self, x: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return x[0]


def test_a_network_that_takes_one_sample_at_a_time_is_fed_one_by_one() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(torch.tanh(self.one(x.reshape(6))))

    torch.manual_seed(0)
    network = Alone()
    inputs = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)
    found = propagate_circle(_runnable(network), inputs=inputs, points=16)
    assert found.reason is None
    _same(found, "two.weight", _reference(network, "two", inputs, 16))


class _Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(40, 8)
        self.words = nn.Embedding(50, 8)
        self.dense = nn.Linear(8, 6)

    def forward(self, ids: torch.Tensor) -> SimpleNamespace:
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1]))
        return SimpleNamespace(loss=None, logits=self.dense(torch.tanh(x)))


def test_for_token_ids_the_circle_is_in_the_space_of_embedded_sequences() -> None:
    # GIVEN a network of token ids
    torch.manual_seed(0)
    network = _Words()
    ids = np.array([[1, 2, 3, 4], [9, 8, 7, 6]], dtype=np.float32)
    found = propagate_circle(_runnable(network), inputs=ids, points=32)
    layers = {layer.name: layer for layer in found.layers}
    # THEN the embedding gives the circle through the two embedded sequences
    (circle,) = layers["words.weight"].circles
    assert (circle.cv, circle.participation) == pytest.approx((0.0, 2.0), abs=1e-4)
    rows = network.words.weight.detach()[torch.from_numpy(ids).long()]
    assert found.radius == pytest.approx(float(rows.square().mean().sqrt()), rel=1e-5)
    assert "embedded" in found.method
    # THEN positions do not depend on it, and the layer behind sees it
    assert layers["positions.weight"].reason == "the layer's output does not depend on the input"
    points = great_circle(rows[:1], rows[1:]).points(32)
    with torch.no_grad():
        expected = network.dense(torch.tanh(points + network.positions(torch.arange(4)))).double().flatten(1).numpy()
    _same(found, "dense.weight", expected)
    assert not network.words._forward_hooks


def test_calls_of_a_shared_layer_count_together() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.tanh(self.layer(x)))

    torch.manual_seed(0)
    network = Shared()
    inputs = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    found = propagate_circle(_runnable(network), inputs=inputs, points=16)
    outputs = _reference(network, "layer", inputs, 16).reshape(16, 8)
    assert found.layers[0].calls == 2
    _same(found, "layer.weight", outputs)


def test_a_signal_that_dies_out_or_overflows_has_a_reason_and_no_numbers() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        network[1].weight.fill_(0.0)
        network[2].weight.fill_(math.inf)
    dead, broken = propagate_circle(_runnable(network), points=16).layers[1:]
    assert dead.circles == broken.circles == ()
    assert dead.reason is not None
    assert "has become a point" in dead.reason
    assert broken.reason is not None
    assert "NaN or infinite" in broken.reason


def test_the_same_seed_gives_the_same_numbers_one_input_gets_a_partner() -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    one, two = (propagate_circle(_runnable(network), seed=4).layers[1].circles for _ in range(2))
    assert [geometry.cv for geometry in one] == [geometry.cv for geometry in two]
    assert len(one) == 4
    assert one[0].points == 256
    alone = propagate_circle(_runnable(network), inputs=np.ones((1, 6), dtype=np.float32))
    assert alone.circles == 1
    assert "a random direction" in alone.method


def test_the_size_of_a_network_decides_on_points_and_circles(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _runnable(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)))
    monkeypatch.setattr(passing, "_PRODUCTS", 10**8)
    assert (propagate_circle(network).points, propagate_circle(network).circles) == (64, 4)
    monkeypatch.setattr(passing, "_ENTRIES", 100)
    assert (propagate_circle(network).points, propagate_circle(network).circles) == (16, 1)
    assert propagate_circle(network, points=40).points == 40
    monkeypatch.setattr(passing, "_ENTRIES", 10)
    monkeypatch.setattr(passing, "_MOST_ENTRIES", 10)
    assert "does not fit into memory" in (propagate_circle(network).reason or "")


def test_what_cannot_be_run_gives_a_reason_and_impossible_requests_an_error() -> None:
    linear = nn.Linear(3, 2)
    parallel = np.ones((2, 3), dtype=np.float32)
    assert "parallel" in (propagate_circle(_runnable(linear), inputs=parallel).reason or "")
    assert "no weight layer" in (propagate_circle(_runnable(nn.ReLU(), (3,))).reason or "")
    with pytest.raises(UsageError, match="at least 8 points"):
        propagate_circle(_runnable(linear), points=7)
    with pytest.raises(UsageError, match="1 circle"):
        propagate_circle(_runnable(linear), circles=0)
