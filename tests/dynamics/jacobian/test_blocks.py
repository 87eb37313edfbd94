"""The rule for blocks finds what a physicist would call the blocks, in networks of many makes."""

from __future__ import annotations

import timm
import torch
import torchvision
from torch import nn

from critaudit.dynamics.jacobian import find_blocks
from tests.dynamics.jacobian.networks import Residual, mlp_branch

IMAGE = torch.zeros(1, 3, 32, 32)


def _timm(name: str, sample: torch.Tensor = IMAGE, **options: object) -> tuple[bool, tuple[str, ...]]:
    with torch.no_grad():
        found = find_blocks(timm.create_model(name, **options).eval(), sample)
    return found.are_modules, found.paths


def test_given_a_resnet_then_its_residual_blocks_are_blocks_not_its_stages() -> None:
    are_modules, paths = _timm("resnet10t")
    assert are_modules
    assert paths == ("layer1.0", "layer2.0", "layer3.0", "layer4.0")


def test_given_a_vision_transformer_then_its_layers_are_blocks_not_their_attention() -> None:
    assert _timm("test_vit", torch.zeros(1, 3, 160, 160)) == (True, tuple(f"blocks.{k}" for k in range(6)))


def test_given_inverted_residuals_in_nested_containers_then_each_is_a_block() -> None:
    assert _timm("test_efficientnet") == (True, tuple(f"blocks.{stage}.0" for stage in range(1, 5)))


def test_given_squeeze_and_excitation_inside_the_blocks_then_it_is_no_block() -> None:
    with torch.no_grad():
        found = find_blocks(torchvision.models.mobilenet_v3_small().eval(), IMAGE)
    assert found.paths == tuple(f"features.{k}" for k in range(1, 12))


def test_given_stages_whose_blocks_are_attributes_then_they_are_found_by_class() -> None:
    are_modules, paths = _timm("regnetx_002")
    assert are_modules
    assert paths[:3] == ("s1.b1", "s2.b1", "s3.b1")


def test_given_hierarchical_attention_then_blocks_are_found_inside_the_stages() -> None:
    are_modules, paths = _timm("convnext_atto")
    assert are_modules
    assert paths[0] == "stages.0.blocks.0"
    assert len(paths) == 12


def test_given_a_chain_of_layers_then_segments_run_from_layer_to_layer() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    found = find_blocks(network, torch.zeros(1, 4))
    assert (found.are_modules, found.paths) == (False, ("0", "2", "4"))


def test_given_a_single_layer_then_it_is_the_only_segment() -> None:
    found = find_blocks(nn.Linear(3, 2), torch.zeros(1, 3))
    assert (found.are_modules, found.paths) == (False, ("",))


def test_given_a_wrapper_around_a_chain_then_its_layers_are_the_units() -> None:
    wrapped = nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))))
    assert find_blocks(wrapped, IMAGE).paths == ("0.0.0", "0.0.2")


def test_given_token_ids_then_the_embedding_is_no_block_and_the_layers_are() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network = nn.Sequential(nn.Embedding(9, 8), nn.TransformerEncoder(layer, 3), nn.Linear(8, 9)).eval()
    found = find_blocks(network, torch.zeros(1, 5, dtype=torch.int64))
    assert (found.are_modules, found.paths) == (True, ("1.layers.0", "1.layers.1", "1.layers.2"))


class _Shared(nn.Module):
    """One block run four times, as in ALBERT."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.block = Residual(mlp_branch(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for _ in range(4):
            x = self.block(x)
        return x


def test_given_a_shared_block_then_it_is_found_by_its_calls() -> None:
    found = find_blocks(_Shared(), torch.zeros(1, 4))
    assert (found.are_modules, found.paths) == (True, ("block",))


class _Decoder(nn.Module):
    """Two attentions of one class side by side within each layer must not pass for blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.cross, self.out = mlp_branch(4), mlp_branch(4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x + self.own(x) + self.cross(x))  # type: ignore[no-any-return]


def test_given_layers_with_twin_parts_then_the_layers_are_the_blocks() -> None:
    found = find_blocks(nn.Sequential(_Decoder(), _Decoder()), torch.zeros(1, 4))
    assert found.paths == ("0", "1")


def test_given_the_search_then_the_network_is_left_without_hooks() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    find_blocks(network, torch.zeros(1, 2))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
