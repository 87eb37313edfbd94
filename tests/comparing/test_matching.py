"""Layers find their partners by name, by place where only names changed, and never by guesswork."""

from __future__ import annotations

from dataclasses import dataclass

from critaudit.comparing.matching import match


@dataclass(frozen=True)
class Named:
    name: str
    shape: tuple[int, ...]


def layers(*pairs: tuple[str, tuple[int, ...]]) -> list[Named]:
    return [Named(name, shape) for name, shape in pairs]


def test_equal_names_and_shapes_match_whatever_the_order():
    a = layers(("x", (2, 3)), ("y", (4, 3)))
    found = match(a, a[::-1])
    assert found.pairs == ((0, 1, "name"), (1, 0, "name"))
    assert not found.removed
    assert not found.added


def test_a_common_first_part_of_the_names_does_not_count():
    a = layers(("encoder.a", (2, 3)), ("encoder.b", (2, 3)))
    b = layers(("model.encoder.a", (2, 3)), ("model.encoder.b", (2, 3)))
    assert match(a, b).pairs == ((0, 0, "name"), (1, 1, "name"))


def test_numbers_at_the_front_of_names_are_kept():
    a = layers(("0.weight", (2, 3)), ("0.bias_weight", (2, 3)))
    b = layers(("1.weight", (2, 3)), ("1.bias_weight", (2, 3)))
    assert all(how == "order" for _, _, how in match(a, b).pairs)


def test_renamed_layers_match_by_order_where_their_number_agrees():
    a = layers(("p", (2, 3)), ("q", (2, 3)), ("r", (5, 5)))
    b = layers(("s", (2, 3)), ("t", (2, 3)), ("r", (5, 5)))
    assert match(a, b).pairs == ((0, 0, "order"), (1, 1, "order"), (2, 2, "name"))


def test_renamed_layers_stay_alone_where_their_number_differs():
    a = layers(("p", (2, 3)), ("q", (2, 3)))
    b = layers(("s", (2, 3)))
    found = match(a, b)
    assert not found.pairs
    assert found.removed == (0, 1)
    assert found.added == (0,)


def test_one_name_with_two_shapes_is_reshaped_not_removed_and_added():
    found = match(layers(("body", (2, 2)), ("head", (10, 4))), layers(("body", (2, 2)), ("head", (5, 4))))
    assert found.reshaped == ((1, 1),)
    assert not found.removed
    assert not found.added


def test_a_name_that_occurs_twice_matches_each_once():
    a = layers(("x", (2, 3)), ("x", (2, 3)))
    assert match(a, a).pairs == ((0, 0, "name"), (1, 1, "name"))
