"""Spectra as the user sees them: noise is called noise, structure is found, and nothing hangs on scale or threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import critaudit
from critaudit.analyzers.base import LayerInput, Measurements, Settings
from critaudit.analyzers.spectral_structure import STRUCTURE_IDS
from critaudit.analyzers.spectrum import SPECTRUM
from critaudit.laws.nulls import stable_sample
from critaudit.measurement import Measurement
from critaudit.model import WeightMatrix
from critaudit.report.record import Finding, Layer

Array = NDArray[np.generic]
RANDOM = "indistinguishable from random"
HEAVY = "heavy-tailed entries, no correlations"
TRAINED = "correlated (trained) structure"


def layer_of(array: Array, name: str = "w") -> LayerInput:
    """A layer as the audit would give it, from a matrix or a stack."""
    blocks = (array if array.ndim == 3 else array[np.newaxis]).copy()  # the spectrum spends its layer
    groups, rows, columns = blocks.shape
    matrix = WeightMatrix(
        name, "linear", array.shape, blocks.dtype.name, groups, rows, columns, (), None, name, None, lambda: blocks
    )
    return LayerInput(matrix, blocks, bool(np.isfinite(blocks).all()), None)


def measure(array: Array, name: str = "w", seed: int = 0) -> Measurements:
    assert SPECTRUM.layer is not None
    return SPECTRUM.layer(layer_of(array, name), Settings(seed=seed))


def verdict(array: Array) -> object:
    return measure(array)["spectrum.verdict"].value


def number(measurements: Measurements, name: str) -> float:
    found = measurements[f"spectrum.{name}"].number
    assert found is not None, measurements[f"spectrum.{name}"].reason
    return found


def gaussian(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def model(verdicts: list[tuple[str, float]]) -> list[Layer]:
    return [
        Layer(
            f"layer{k}",
            "linear",
            (64, 64),
            {
                "spectrum.verdict": Measurement("measured", word),
                "spectrum.shuffled_p": Measurement("measured", p),
            },
        )
        for k, (word, p) in enumerate(verdicts)
    ]


@pytest.mark.parametrize("shape", [(16, 16), (100, 100), (64, 576), (8, 12, 40)])
def test_given_gaussian_matrices_when_judged_then_hardly_one_is_called_trained(shape: tuple[int, ...]) -> None:
    verdicts = [verdict(gaussian(seed, *shape)) for seed in range(20)]
    # Structure is claimed at 1 %: five of twenty have a probability of 1e-6.
    assert verdicts.count(TRAINED) <= 4
    assert verdicts.count(RANDOM) >= 12


@pytest.mark.parametrize("seed", range(3))
def test_given_heavy_tailed_noise_when_judged_then_its_entries_are_heavy_and_it_is_not_trained(seed: int) -> None:
    matrix = stable_sample(1.2, 0.0, (512, 512), np.random.default_rng(seed)).astype(np.float32)
    found = measure(matrix)
    assert found["spectrum.verdict"].value == HEAVY
    assert number(found, "null_p") < 1e-6  # the Gaussian null alone would have been fooled
    assert number(found, "shuffled_p") > 0.05
    assert number(found, "stable_p") > 0.05
    assert number(found, "traps") > 20
    # i.i.d. stable entries: density exponent 1 + α/2 of the eigenvalues (Qu22).
    assert number(found, "exponent") == pytest.approx(1.6, abs=0.25)


@pytest.mark.parametrize("law", ["uniform", "laplace", "t", "sparse", "binary"])
def test_given_independent_entries_of_any_law_when_judged_then_nothing_is_called_trained(law: str) -> None:
    rng = np.random.default_rng(5)
    draw = {
        "uniform": lambda: rng.uniform(-1, 1, (96, 128)),
        "laplace": lambda: rng.laplace(size=(96, 128)),
        "t": lambda: rng.standard_t(3, (96, 128)),
        "sparse": lambda: rng.standard_normal((96, 128)) * (rng.random((96, 128)) < 0.1),
        "binary": lambda: np.sign(rng.standard_normal((96, 128))),
    }[law]
    verdicts = [verdict(draw().astype(np.float32)) for _ in range(12)]
    assert verdicts.count(TRAINED) <= 3
    if law in ("uniform", "binary"):
        assert HEAVY not in verdicts


def test_given_planted_structure_when_judged_then_it_is_found_even_among_heavy_tails() -> None:
    rng = np.random.default_rng(6)
    noise = gaussian(6, 200, 300)
    spike = np.outer(rng.standard_normal(200), rng.standard_normal(300))
    spiked = measure((noise + 0.2 * spike).astype(np.float32))
    assert spiked["spectrum.verdict"].value == TRAINED
    assert (number(spiked, "mp_spikes"), number(spiked, "correlated_directions")) == (1, 1)
    assert number(spiked, "traps") == 0
    assert number(spiked, "mp_softrank") < 0.6
    assert number(spiked, "shuffled_distance") > 0.05
    assert verdict((noise + 0.3 * np.roll(noise, 1, axis=0)).astype(np.float32)) == TRAINED
    assert verdict((noise * np.exp(0.5 * rng.standard_normal((200, 1)))).astype(np.float32)) == TRAINED
    heavy = stable_sample(1.5, 0.0, (200, 300), rng)
    assert verdict((heavy + 0.3 * spike).astype(np.float32)) == TRAINED


def test_given_an_orthogonal_matrix_when_judged_then_it_is_more_even_than_noise_and_not_trained() -> None:
    found = measure(np.linalg.qr(gaussian(7, 100, 100))[0])
    assert found["spectrum.verdict"].value == "more even than random"
    assert found["spectrum.exponent"].status == "undetermined"
    assert "equal" in (found["spectrum.exponent"].reason or "")


@given(st.integers(0, 50), st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=6, derandomize=True)
def test_given_another_scale_when_measured_then_only_what_is_defined_by_scale_changes(seed: int, factor: float) -> None:
    matrix = gaussian(seed, 60, 80) * np.linspace(0.2, 1.0, 60, dtype=np.float32)[:, None]
    one, other = measure(matrix), measure(matrix * np.float32(factor))
    assert one["spectrum.verdict"].value == other["spectrum.verdict"].value
    for name in ("exponent", "mp_softrank", "shuffled_distance", "mp_spikes", "traps", "correlated_directions"):
        assert number(other, name) == pytest.approx(number(one, name), rel=2e-3), name
    for name in ("null_p", "shuffled_p"):
        assert math.log(number(other, name)) == pytest.approx(math.log(number(one, name)), rel=1e-2, abs=1e-2)
    decades = 2 * math.log10(factor)
    assert number(other, "log_norm") == pytest.approx(number(one, "log_norm") + decades, abs=1e-5)
    # WeightWatcher's alpha_weighted is the exponent times log₁₀ λ_max.
    expected = number(other, "exponent") * number(other, "log_spectral_norm")
    assert number(other, "alpha_weighted") == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.integers(0, 50))
@settings(deadline=None, max_examples=6, derandomize=True)
def test_given_a_transpose_or_a_permutation_when_measured_then_nulls_and_tails_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = stable_sample(1.8, 0.0, (50, 90), rng).astype(np.float32)
    one = measure(matrix)
    turned = measure(np.ascontiguousarray(matrix.T))
    mixed = measure(matrix[rng.permutation(50)][:, rng.permutation(90)])
    for other in (turned, mixed):
        assert other["spectrum.verdict"].value == one["spectrum.verdict"].value
        for name in ("exponent", "null_p", "stable_p", "shuffled_p", "mp_softrank", "mp_spikes"):
            assert number(other, name) == pytest.approx(number(one, name), rel=1e-3), name


def test_given_the_same_seed_when_audited_with_any_number_of_threads_then_nothing_changes() -> None:
    import torch

    tensors = {f"w{k}.weight": torch.from_numpy(gaussian(k, 40 + 8 * k, 60)) for k in range(6)}
    reports = [critaudit.audit(tensors, only=["spectrum"], jobs=jobs) for jobs in (1, 4)]
    assert reports[0].layer_records == reports[1].layer_records
    assert reports[0].model == reports[1].model
    assert reports[0].findings == reports[1].findings


def test_given_another_seed_when_shuffled_then_another_shuffle_is_drawn_whatever_the_name() -> None:
    matrix = gaussian(3, 40, 40)
    distances = [
        number(measure(matrix, *given), "shuffled_distance") for given in (("a", 0), ("a", 0), ("b", 0), ("a", 1))
    ]
    assert distances[0] == distances[1]
    assert distances[2] == distances[0]
    assert distances[3] != distances[0]


def test_given_light_or_heavy_tails_when_measured_then_the_method_says_noise_or_shuffle() -> None:
    light, heavy = measure(gaussian(1, 100, 100)), measure(np.random.default_rng(1).laplace(size=(100, 100)))
    for name in ("shuffled_distance", "traps"):
        assert "Gaussian noise of this size and norm" in (light[f"spectrum.{name}"].method or "")
        assert "one shuffle of the entries" in (heavy[f"spectrum.{name}"].method or "")
    assert number(measure(gaussian(1, 100, 100), seed=1), "shuffled_distance") != number(light, "shuffled_distance")
    # The same in the transposed layout, as for every matrix of this shape.
    turned = measure(np.ascontiguousarray(gaussian(1, 100, 140).T))
    assert number(turned, "shuffled_distance") == pytest.approx(
        number(measure(gaussian(1, 100, 140)), "shuffled_distance"), rel=1e-3
    )


def test_given_matrices_too_small_for_a_verdict_when_measured_then_they_say_so() -> None:
    tiny = measure(gaussian(1, 5, 5))["spectrum.verdict"]
    assert tiny.status == "undetermined"
    assert "too small" in (tiny.reason or "")
    row = measure(gaussian(1, 1, 500))["spectrum.verdict"]
    assert row.status == "not_applicable"
    assert "one singular value" in (row.reason or "")
    assert measure(np.zeros((30, 30), np.float32))["spectrum.verdict"].status == "not_applicable"
    constant = measure(np.full((30, 30), 2, np.float32))["spectrum.verdict"]
    assert (constant.status, constant.reason) == ("not_applicable", "every entry is 2")
    broken = measure(np.full((30, 30), np.nan, np.float32))
    assert {broken[f"spectrum.{name}"].status for name in STRUCTURE_IDS} == {"undetermined"}


def test_given_depthwise_filters_when_measured_then_they_are_judged_together() -> None:
    noise = gaussian(2, 128, 1, 25)
    found = measure(noise)
    assert found["spectrum.verdict"].value == RANDOM
    assert "one filter per row" in (found["spectrum.verdict"].method or "")
    smooth = noise + 2 * np.exp(-(np.linspace(-2, 2, 25, dtype=np.float32) ** 2))
    assert verdict(smooth) == TRAINED


def test_given_many_layers_when_summarised_then_false_discoveries_are_controlled() -> None:
    assert SPECTRUM.summary is not None
    # 0.004 passes for one layer by itself, not as the best of forty.
    alone = SPECTRUM.summary(model([(TRAINED, 0.004)] + [(RANDOM, 0.5)] * 39))["spectrum.trained_layers"]
    assert (alone.value, alone.n) == (0, 40)
    many = SPECTRUM.summary(model([(TRAINED, 1e-9)] * 10 + [(RANDOM, 0.5)] * 30))["spectrum.trained_layers"]
    assert (many.value, many.n) == (10, 40)
    assert SPECTRUM.summary([])["spectrum.trained_layers"].status == "undetermined"


@pytest.mark.parametrize(("trained", "random", "severity"), [(0, 4, "warning"), (5, 2, "info"), (0, 1, "info")])
def test_given_random_layers_when_found_then_the_owner_is_told_how_many(
    trained: int, random: int, severity: str
) -> None:
    assert SPECTRUM.find is not None
    layers = model([(TRAINED, 1e-9)] * trained + [(RANDOM, 0.5)] * random)
    found: list[Finding] = [item for item in SPECTRUM.find(layers, {}) if item.rule == "spectrum.random"]
    assert [item.severity for item in found] == [severity]
    assert f"{random} of {trained + random} layers" in found[0].text
    assert ("untrained" in found[0].text) == (severity == "warning")
    assert not list(SPECTRUM.find(model([(TRAINED, 1e-9)] * 3), {}))


def test_given_a_convolution_when_measured_then_its_singular_values_as_an_operator_stand_beside_the_matrix() -> None:
    kernel = gaussian(3, 12, 8, 3, 3)
    matrix = WeightMatrix(
        "c", "conv", kernel.shape, "float32", 1, 12, 72, (3, 3), None, "c", None, lambda: kernel.reshape(1, 12, 72)
    )
    assert SPECTRUM.layer is not None
    found = SPECTRUM.layer(LayerInput(matrix, kernel.reshape(1, 12, 72).copy(), True, None), Settings())
    exact = np.linalg.svd(np.fft.fft2(kernel, (16, 16)).transpose(2, 3, 0, 1), compute_uv=False)
    for share in (5, 25, 50, 75, 95):
        assert number(found, f"operator_q{share:02}") == pytest.approx(np.quantile(exact, share / 100), rel=1e-3)
    assert number(found, "operator_mean_log") == pytest.approx(np.log(exact).mean(), abs=1e-5)
    assert number(found, "operator_condition") == pytest.approx(exact.max() / exact.min(), rel=1e-3)
    assert "16×16" in found["spectrum.operator_q50"].method
    assert found["spectrum.operator_q50"].n == 8 * 256


def test_given_a_dense_matrix_when_measured_then_the_operator_is_the_matrix_and_says_so() -> None:
    found = measure(gaussian(4, 20, 30))
    for name in ("norm", "q05", "q50", "mean_log", "condition"):
        assert found[f"spectrum.operator_{name}"].status == "not_applicable"
