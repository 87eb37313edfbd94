"""Names are taken apart and read as people mean them."""

from __future__ import annotations

import doctest

import pytest

from critaudit.structure import names


def test_the_documented_examples_hold() -> None:
    assert doctest.testmod(names).failed == 0


@pytest.mark.parametrize(
    ("name", "parent", "owner", "role", "outer"),
    [
        ("weight", "", "", "weight", ""),
        ("fc.weight", "fc.", "fc", "weight", ""),
        ("a.b.c", "a.b.", "b", "c", "a."),
        ("Dense_0/kernel", "Dense_0/", "Dense_0", "kernel", ""),
        ("a..b", "a..", "", "b", ""),
    ],
)
def test_place(name: str, parent: str, owner: str, role: str, outer: str) -> None:
    where = names.place(name)
    assert (where.parent, where.owner, where.role, where.outer) == (parent, owner, role, outer)


@pytest.mark.parametrize(
    "module", ["BatchNorm2d", "LayerNorm", "T5LayerNorm", "LlamaRMSNorm", "BatchNormAct2d", "GroupNorm"]
)
def test_normalisation_classes(module: str) -> None:
    assert names.is_norm_module(module)


@pytest.mark.parametrize("module", ["NormedLinear", "Linear", "PreNormBlock", "Conv2d", "NormMlpHead"])
def test_classes_that_are_no_normalisation(module: str) -> None:
    assert not names.is_norm_module(module)
