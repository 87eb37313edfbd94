"""Building networks by name: fast, quiet, without side effects, and strict about what fills them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.errors import SourceError, UnavailableError
from critaudit.sources.recognition.instantiate import build_network, drop_classifier, load_weights
from tests.sources.networks import reference, references


@pytest.mark.parametrize(
    ("library", "name"), [("timm", "test_convnext"), ("timm", "test_vit"), ("torchvision", "swin_t")]
)
def test_truncated_initialisations_end_and_stay_in_bounds(library: str, name: str) -> None:
    # GIVEN networks whose constructors draw until every value lies within bounds
    before = torch.random.get_rng_state()
    # WHEN they are built THEN that ends, values are finite, and the global random state is what it was
    network = build_network(library, name)
    assert all(bool(value.isfinite().all()) for value in network.parameters())
    assert not network.training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_classes_and_device_are_those_asked_for() -> None:
    network = build_network("timm", "test_resnet", classes=3, device="meta")
    assert network.get_parameter("fc.weight").shape[0] == 3
    assert network.get_parameter("fc.weight").is_meta


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_an_unknown_name_is_a_one_line_error(library: str) -> None:
    with pytest.raises(UnavailableError, match=f"{library}:nothing is not in the installed"):
        build_network(library, "nothing")


def test_weights_are_copied_in_any_stored_type() -> None:
    # GIVEN a half-precision, double and strided source for a float32 network
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("tracked")}
    tensors = references(state)
    rng = np.random.default_rng(0)
    tensors["0.weight"] = reference(rng.standard_normal((2, 3)).astype(np.float16), "half")
    tensors["0.bias"] = reference(rng.standard_normal(2), "double")
    # WHEN it is filled THEN it holds these values
    load_weights(network, tensors, optional=frozenset())
    for name in state:
        expected = tensors[name].read().astype(np.float32)
        np.testing.assert_array_equal(network.state_dict()[name].numpy(), expected)


def test_a_missing_tensor_is_an_error_unless_optional() -> None:
    network = nn.Linear(3, 2)
    tensors = {"weight": reference(np.zeros((2, 3), dtype=np.float32), "w")}
    with pytest.raises(SourceError, match="the network needs bias, which the source does not have"):
        load_weights(network, tensors, optional=frozenset())
    load_weights(network, tensors, optional=frozenset({"bias"}))


def test_dropping_the_classifier_leaves_its_input() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    x = torch.ones(1, 3)
    expected = network[0](x)
    drop_classifier(network, ("1.weight", "1.bias"))
    assert torch.equal(network(x), expected)
