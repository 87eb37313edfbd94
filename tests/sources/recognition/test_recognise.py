"""Recognition: whatever happened to a checkpoint's names, classes and buffers, the same network comes out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from critaudit.contents import Preprocessing
from critaudit.errors import SourceError, UsageError
from critaudit.sources.recognition.recognise import recognise
from tests.sources.networks import answer, random_network, reference, references

State = dict[str, torch.Tensor]


def _without_counters(state: State) -> State:
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def _under_prefix(state: State) -> State:
    return {f"model.backbone.{name}": value for name, value in state.items()}


def _renamed(state: State) -> State:
    return {f"node_{position}": value for position, value in enumerate(_without_counters(state).values())}


def _buffers_last(state: State) -> State:
    plain = _without_counters(state)
    buffers = {name: value for name, value in plain.items() if "running_" in name}
    ordered = [value for name, value in plain.items() if name not in buffers] + list(buffers.values())
    return {f"node_{position}": value for position, value in enumerate(ordered)}


def _norms_in_another_order(state: State) -> State:
    order = {"running_mean": 0, "running_var": 1, "bias": 2, "weight": 3}
    words = {"running_mean": "moving_mean", "running_var": "moving_variance", "weight": "gamma", "bias": "beta"}
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in _without_counters(state).items():
        layer, _, role = name.rpartition(".")
        layers.setdefault(layer, {})[role] = value
    found: State = {}
    for position, tensors in enumerate(layers.values()):
        norm = len(tensors) == 4
        for role in sorted(tensors, key=order.__getitem__) if norm else tensors:
            found[f"layer{position}/{words[role] if norm else role}"] = tensors[role]
    return found


@pytest.mark.parametrize(
    ("library", "name", "classes", "edit", "words"),
    [
        ("timm", "test_vit", None, dict, "all 80 tensors fit"),
        ("timm", "test_resnet", 5, dict, "with 5 classes instead of 1000"),
        ("timm", "test_byobnet", None, _without_counters, "tensors fit"),
        ("timm", "test_byobnet", 3, _under_prefix, "under the prefix model.backbone., with 3 classes"),
        ("timm", "test_resnet", None, _renamed, "same shapes, other names"),
        ("timm", "test_resnet", 12, _buffers_last, "same shapes, other names, with 12 classes"),
        ("timm", "test_byobnet", None, _norms_in_another_order, "same shapes, other names"),
        ("torchvision", "mobilenet_v3_small", 4, dict, "with 4 classes"),
    ],
)
def test_a_changed_state_dict_gives_the_same_network(
    library: str, name: str, classes: int | None, edit: Callable[[State], State], words: str
) -> None:
    # GIVEN a network's state dict, edited
    network = random_network(library, name, classes=classes)
    # WHEN it is recognised and built
    found = recognise(references(edit(network.state_dict())))
    # THEN it is that network, and computes what the original computes
    assert (found.architecture.name, found.architecture.how) == (f"{library}:{name}", "recognised")
    assert words in found.architecture.detail
    assert found.runnable is not None
    assert found.runnable.input is not None
    built = found.runnable.build()
    assert not built.training
    assert torch.equal(answer(built, found.runnable.input.shape), answer(network, found.runnable.input.shape))


def test_names_lead_back_to_the_source() -> None:
    # GIVEN a checkpoint under other names
    state = _renamed(random_network("timm", "test_resnet").state_dict())
    # WHEN it is recognised
    found = recognise(references(state))
    # THEN hints and the runnable speak of the source's names, and values arrive where they belong
    assert found.runnable is not None
    assert set(found.hints) == set(found.runnable.tensor_names.values()) == set(state)
    assert found.hints["node_0"].module == "Conv2d"
    assert sum(hint.buffer for hint in found.hints.values()) == 30
    built = found.runnable.build().state_dict()
    assert all(torch.equal(built[ours], state[theirs]) for ours, theirs in found.runnable.tensor_names.items())


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_missing_classifier_leaves_the_features(library: str) -> None:
    # GIVEN a state dict without its classifier, beside a head of somebody else's
    name = {"timm": "test_resnet", "torchvision": "mobilenet_v3_small"}[library]
    network = random_network(library, name)
    head = {"timm": "fc.", "torchvision": "classifier.3."}[library]
    state = {f"backbone.{key}": value for key, value in network.state_dict().items() if not key.startswith(head)}
    state["projection.weight"] = torch.zeros(4, 4)
    # WHEN it is recognised and built
    found = recognise(references(state))
    # THEN it is said, and the output is what the classifier would have seen
    assert "without its classifier; 1 more in the source do not belong to it" in found.architecture.detail
    assert found.runnable is not None
    seen: list[torch.Tensor] = []
    classifier = network.get_submodule(head.rstrip("."))
    classifier.register_forward_hook(lambda _module, args, _output: seen.append(args[0]))
    answer(network, (3, 96, 96))
    assert torch.equal(answer(found.runnable.build(), (3, 96, 96)), seen[0])


def test_networks_with_the_same_tensors_are_named() -> None:
    # GIVEN tensors that fit several networks, of which one computes the same and others something else
    state = random_network("timm", "resnet18").state_dict()
    # WHEN they are recognised
    detail = recognise(references(state)).architecture.detail
    # THEN the choice is fixed and the others are named
    assert recognise(references(state)).architecture.name == "torchvision:resnet18"
    assert "the same network is timm:resnet18" in detail
    assert "caveat: the tensors fit timm:resnetblur18 as well, which compute something else" in detail


def test_a_larger_network_is_not_taken_for_its_part() -> None:
    # GIVEN a network that contains a known one and goes on
    state = random_network("timm", "test_resnet").state_dict()
    state["layer1.7.conv1.weight"] = torch.zeros(3, 3, 3, 3)
    # WHEN it is recognised
    found = recognise(references(state))
    # THEN it is none, and the nearest one is named with the count of differences
    assert found.architecture.how == "none"
    assert found.runnable is None
    assert "closest: timm:test_resnet, 1 of 77 tensors differ" in found.architecture.detail


def test_another_shape_inside_is_not_accepted() -> None:
    # GIVEN one tensor of another shape
    state = random_network("timm", "test_resnet").state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(1, 2, 3, 4)
    # THEN it is not this network, whatever its names
    assert recognise(references(state)).architecture.how == "none"


@pytest.mark.parametrize("arch", ["test_resnet", "timm:test_resnet"])
def test_arch_overrides(arch: str) -> None:
    # GIVEN a state dict with strange tensors inside, and the user's word
    state = random_network("timm", "test_resnet").state_dict() | {"layer1.7.weight": torch.zeros(3, 3)}
    # WHEN it is recognised
    found = recognise(references(state), arch=arch)
    # THEN the user decides
    assert (found.architecture.name, found.architecture.how) == ("timm:test_resnet", "given")
    assert "1 more in the source do not belong to it" in found.architecture.detail


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("test_vit", "does not fit: 80 of 80 tensors differ; cls_token should be 1×1×64, the source has none"),
        ("timm:test_resnet9", "did you mean timm:test_resnet"),
        ("torchvision:", "no network is called that"),
        ("keras:resnet", "no network is called that"),
    ],
)
def test_an_arch_that_does_not_fit_is_a_one_line_error(arch: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        recognise(references(random_network("timm", "test_resnet").state_dict()), arch=arch)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_ported_efficientnets_are_prepared_as_their_package_documents_it() -> None:
    # GIVEN an EfficientNet under the names of EfficientNet-PyTorch
    state = random_network("timm", "tf_efficientnet_lite0").state_dict()
    words = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}

    def theirs(name: str) -> str:
        first, _, rest = name.partition(".")
        return f"{words[first]}.{rest}" if first in words else f"_blocks.{rest}".replace(".conv", "._conv")

    # WHEN it is recognised
    found = recognise(references({theirs(name): value for name, value in state.items()}))
    # THEN it is TensorFlow's variant, and images are normalised as for ImageNet without a crop
    assert found.architecture.name == "timm:tf_efficientnet_lite0"
    assert "timm:efficientnet_lite0 as well" in found.architecture.detail
    assert found.runnable is not None
    wanted = Preprocessing((3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 1.0)
    assert found.runnable.input == wanted


def test_a_source_that_loses_its_bytes_says_so_when_built() -> None:
    # GIVEN a recognised source in which one tensor has been exchanged since
    tensors = references(random_network("timm", "test_resnet").state_dict())
    found = recognise(tensors)
    tensors["conv1.0.weight"] = reference(np.zeros((2, 2), dtype=np.float32), "changed")
    # WHEN it is built THEN the misfit is an error of the source, in one line
    assert found.runnable is not None
    with pytest.raises(SourceError, match=r"conv1\.0\.weight: the network wants shape .* the source has \(2, 2\)"):
        found.runnable.build()


def test_building_leaves_the_random_state_alone() -> None:
    found = recognise(references(random_network("timm", "test_vit").state_dict()))
    assert found.runnable is not None
    before = torch.random.get_rng_state()
    found.runnable.build()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_recognising_imports_no_torch() -> None:
    # GIVEN tensors of a known network (ViT test model), a chain and an unknown source, as shapes only
    script = """
import sys
import numpy as np
from critaudit.sources.recognition.architectures import packaged_index
from critaudit.sources.recognition.recognise import recognise
from critaudit.tensors import MemoryStorage, TensorRef
def tensor(shape):
    return TensorRef(MemoryStorage(np.zeros(4 * int(np.prod(shape)), dtype=np.uint8), object()), "float32", shape)
index = packaged_index()
known = next(one for one in index.networks if one.name == "test_vit")
rows = zip(index.tensor_names(known.structure), index.tensor_shapes(known.structure))
print(recognise({name: tensor(shape) for name, shape in rows}).architecture.name)
print(recognise({"a.weight": tensor((5, 4)), "b.weight": tensor((3, 5))}, activation="tanh").architecture.how)
print(recognise({f"x{i}": tensor((i, 4, 2)) for i in range(30)}).architecture.how)
print(sorted({"torch", "timm", "torchvision", "scipy"} & set(sys.modules)))
"""
    # WHEN they are recognised in a fresh interpreter
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # THEN nothing heavy was imported
    assert done.stdout.split("\n")[:4] == ["timm:test_vit", "chain", "none", "[]"]
