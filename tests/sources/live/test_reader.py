"""Live modules and state dicts: the same numbers, exact hints, and a user's module that nothing touches."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.errors import NotAModelError, SourceError, UsageError
from critaudit.sources.live.hints import activation_of
from critaudit.sources.live.reader import hints_of, read_live


class Block(nn.Module):
    """A residual block in timm's style."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 8, 3, groups=2, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.act1 = nn.SiLU()
        self.conv2 = nn.Conv2d(8, 4, 1)
        self.bn2 = nn.BatchNorm2d(4)


class Ambiguous(nn.Module):
    """Two layers before one nonlinearity: which of them it follows, the declaration does not say."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.act = nn.ReLU()


class Subclass(nn.Conv2d):
    """What timm's Conv2dSame is to PyTorch."""


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(approximate="tanh")),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            hidden=nn.Linear(4, 6),
            drop=nn.Dropout(),
            act=nn.Tanh(),
            head=nn.Linear(6, 3),
        )
    )


def test_given_a_module_then_every_tensor_has_the_modules_numbers_and_hints() -> None:
    module = net()
    contents = read_live(module)
    state = module.state_dict()
    assert list(contents.tensors) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(contents.tensors[name].read(), tensor.numpy())
    assert contents.hints["stem.0.weight"].module == "Conv2d"
    assert contents.hints["stem.0.weight"].activation == "gelu_tanh"
    assert contents.hints["hidden.weight"].activation == "tanh"
    assert contents.hints["head.weight"].activation is None
    assert contents.hints["stem.1.running_mean"].buffer
    assert not contents.hints["stem.1.weight"].buffer


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Block(), {"conv1.weight": "silu", "conv2.weight": None}),
        (Ambiguous(), {"first.weight": None, "second.weight": None}),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()), {"0.weight": "identity", "1.weight": "relu"}),
        (
            nn.TransformerEncoderLayer(4, 2, 8, activation="gelu"),
            {"linear1.weight": "gelu", "linear2.weight": "identity"},
        ),
        (nn.RNN(2, 3, nonlinearity="relu"), {"weight_hh_l0": "relu"}),
        (nn.LSTM(2, 3), {"weight_hh_l0": "tanh"}),
    ],
)
def test_given_a_block_then_only_certain_nonlinearities_are_reported(
    block: nn.Module, expected: dict[str, str | None]
) -> None:
    hints = hints_of(block)
    assert {name: hints[name].activation for name in expected} == expected


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "convnext_tiny", "vit_b_16"])
def test_given_a_torchvision_model_then_reported_activations_are_those_that_a_trace_sees(name: str) -> None:
    """Oracle: torch.fx. Each hint must name the first nonlinearity in the traced graph after its layer."""
    import torchvision

    with torch.device("meta"):
        module = torchvision.models.get_model(name, weights=None)
    hints = hints_of(module)
    traced = traced_activations(module)
    reported = {path: hints[f"{path}.weight"].activation for path in traced if hints[f"{path}.weight"].activation}
    assert len(reported) > len(traced) // 4
    assert all(traced[path] in (None, activation) for path, activation in reported.items())


def traced_activations(module: nn.Module) -> dict[str, str | None]:
    graph = torch.fx.symbolic_trace(module).graph
    modules = dict(module.named_modules())
    found: dict[str, str | None] = {}
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], (nn.Conv2d, nn.Linear)):
            continue
        found[node.target] = None
        step = node
        while len(step.users) == 1:
            step = next(iter(step.users))
            layer = modules.get(step.target) if step.op == "call_module" else None
            if layer is None or isinstance(layer, (nn.Conv2d, nn.Linear)):
                break
            if activation_of(layer) is not None:
                found[node.target] = activation_of(layer)
                break
    return found


def test_given_subclasses_and_groups_then_pytorchs_own_class_is_named() -> None:
    hints = hints_of(nn.ModuleDict({"same": Subclass(4, 4, 3, groups=4), "attention": nn.MultiheadAttention(4, 2)}))
    assert (hints["same.weight"].module, hints["same.weight"].groups) == ("Conv2d", 4)
    assert hints["attention.in_proj_weight"].module == "MultiheadAttention"
    assert hints["attention.out_proj.weight"].module == "Linear"


def test_given_parametrised_weights_then_they_belong_to_the_layer_that_they_parametrise() -> None:
    hints = hints_of(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 4, 3, groups=2)), nn.ReLU()))
    hint = hints["0.parametrizations.weight.original1"]
    assert (hint.module, hint.groups, hint.role, hint.activation) == (
        "Conv1d",
        2,
        "parametrizations.weight.original1",
        "relu",
    )


def test_given_a_training_module_then_reading_and_building_leave_no_trace_in_it() -> None:
    module = net().train()
    module(torch.randn(2, 1, 8, 8)).sum().backward()
    calls = []
    module.hidden.register_forward_hook(lambda *_: calls.append(1))
    gradients = {name: parameter.grad.clone() for name, parameter in module.named_parameters()}
    state, random_state = copy.deepcopy(module.state_dict()), torch.random.get_rng_state()
    contents = read_live(module)
    assert contents.runnable is not None
    built = contents.runnable.build()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(1.0)
        built(torch.zeros(1, 1, 8, 8))
    assert module.training
    assert not built.training
    assert not calls
    assert torch.equal(random_state, torch.random.get_rng_state())
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter.grad, gradients[name])
        assert parameter.requires_grad
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_given_half_precision_then_numbers_are_exact_and_the_built_network_runs_in_float32(dtype: torch.dtype) -> None:
    module = net().to(dtype)
    contents = read_live(module)
    np.testing.assert_array_equal(
        contents.tensors["hidden.weight"].read().astype(np.float32), module.hidden.weight.detach().float().numpy()
    )
    assert contents.runnable is not None
    built = contents.runnable.build()
    assert built(torch.zeros(1, 1, 8, 8)).dtype == torch.float32
    assert module.hidden.weight.dtype == dtype


def test_given_tied_weights_and_views_then_ties_share_a_key_and_views_read_right() -> None:
    module = nn.ModuleDict({"embed": nn.Embedding(5, 4), "out": nn.Linear(4, 5, bias=False)})
    module["out"].weight = module["embed"].weight
    contents = read_live(module)
    assert contents.tensors["embed.weight"].key == contents.tensors["out.weight"].key
    base = torch.arange(24.0).reshape(4, 6)
    views = {
        "t": base.t(),
        "slice": base[1:3, 2:5],
        "column": base[:, 1],
        "one": base[3, 3],
        "expanded": base[:1].expand(3, 6),
    }
    found = read_live(views)
    for name, view in views.items():
        np.testing.assert_array_equal(found.tensors[name].read(), view.numpy())
    assert found.tensors["t"].storage.key == found.tensors["slice"].storage.key


def test_given_a_view_then_only_the_bytes_asked_for_are_copied() -> None:
    base = torch.zeros(1000, 100)
    storage = read_live({"row": base[500]}).tensors["row"].storage
    assert len(storage.read(0, 8)) == 8
    with pytest.raises(SourceError):
        storage.read(0, storage.nbytes + 1)


@pytest.mark.parametrize(
    ("array", "lost"),
    [
        (np.arange(6.0).reshape(2, 3), None),
        (np.asfortranarray(np.arange(6.0).reshape(2, 3)), None),
        (np.arange(12.0).reshape(3, 4)[::2, ::-1], None),
        (np.arange(6.0).reshape(2, 3).astype(">f4"), None),
        (np.array([1, None], dtype=object), True),
        (np.array(["a"]), False),
    ],
)
def test_given_numpy_arrays_then_they_read_back_or_say_why_not(array: np.ndarray, lost: bool | None) -> None:
    contents = read_live({"good": np.ones(2), "w": array})
    if lost is None:
        np.testing.assert_array_equal(contents.tensors["w"].read(), array)
    else:
        assert [item.lost for item in contents.left_out] == [lost]


def test_given_quantised_tensors_and_layers_then_they_read_as_the_numbers_they_stand_for() -> None:
    values = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = {
            "tensor": torch.quantize_per_tensor(values, 0.05, 3, torch.quint8),
            "channel": torch.quantize_per_channel(values, torch.rand(4) + 0.01, torch.arange(4), 0, torch.qint8),
        }
        layer = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), {nn.Linear})
        contents = read_live(layer)
        expected = layer[0].weight().dequantize().numpy()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(read_live(tensors).tensors[name].read(), tensor.dequantize().numpy(), rtol=1e-6)
    np.testing.assert_allclose(contents.tensors["0.weight"].read(), expected, rtol=1e-6)
    assert contents.hints["0.weight"].module == "Linear"
    assert contents.hints["0.weight"].activation == "relu"


def test_given_tensors_without_values_then_they_are_lost_with_a_reason() -> None:
    with torch.device("meta"):
        meta = nn.Linear(2, 3)
    contents = read_live(meta)
    assert not contents.tensors
    assert contents.runnable is None
    assert all("meta" in item.reason for item in contents.left_out)
    lazy = read_live(nn.LazyLinear(3))
    assert all("lazy" in item.reason for item in lazy.left_out if item.name == "weight")
    sparse = read_live({"s": torch.eye(3).to_sparse(), "w": torch.ones(2)})
    assert "sparse" in sparse.problems[0]


def test_given_a_checkpoint_dictionary_then_it_is_sorted_like_one_in_a_file() -> None:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint: dict[str, object] = {"epoch": 7, "model": module, "optimizer": optimizer.state_dict()}
    checkpoint["itself"] = checkpoint
    contents = read_live(checkpoint)
    assert list(contents.tensors) == ["weight", "bias"]
    assert contents.metadata["epoch"] == 7
    assert {item.reason for item in contents.left_out} == {"optimizer state"}
    assert list(read_live({"module.weight": torch.ones(2, 2)}).tensors) == ["weight"]


def test_given_wrappers_then_the_network_inside_is_read() -> None:
    assert list(read_live(nn.DataParallel(nn.Linear(2, 2))).tensors) == ["weight", "bias"]


def test_given_a_first_linear_layer_then_its_width_is_the_input() -> None:
    contents = read_live(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    assert contents.runnable is not None
    assert contents.runnable.input is not None
    assert contents.runnable.input.shape == (784,)


def test_given_something_else_then_one_line_says_what_is_expected() -> None:
    with pytest.raises(UsageError, match="list"):
        read_live([1, 2])
    with pytest.raises(UsageError, match="this is an int;"):
        read_live(3)
    with pytest.raises(NotAModelError):
        read_live(nn.ReLU())
    with pytest.raises(NotAModelError):
        read_live({"epoch": 3})


def test_given_a_module_that_cannot_be_copied_then_building_says_so_in_one_line() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: object) -> object:
            raise ValueError("two\nlines")

    contents = read_live(Stubborn(2, 2))
    assert contents.runnable is not None
    with pytest.raises(SourceError, match="cannot be copied") as error:
        contents.runnable.build()
    assert "\n" not in str(error.value)


def test_given_weight_norm_by_hooks_then_the_built_network_computes_the_same() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = nn.utils.weight_norm(nn.Linear(3, 2))
        module(torch.ones(1, 3))
        contents = read_live(module)
        assert contents.runnable is not None
        built = contents.runnable.build()
    assert torch.allclose(built(torch.ones(1, 3)), module(torch.ones(1, 3)))
