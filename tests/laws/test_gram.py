"""What a Gram matrix tells without its eigenvalues is what its eigenvalues say."""

from __future__ import annotations

import numpy as np
import pytest

from critaudit.laws.gram import Gram, eigenvalues, gram_matrix


def _matrices() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    spike = 3.0 * np.outer(rng.standard_normal(300), rng.standard_normal(200))
    return {
        "noise": rng.standard_normal((300, 300)),
        "wide": rng.standard_normal((150, 2000)),
        "small": rng.standard_normal((20, 30)),
        "one row": rng.standard_normal((1, 30)),
        "spike": rng.standard_normal((300, 200)) + spike,
        "heavy": rng.standard_cauchy((200, 400)),
        "orthogonal": np.linalg.qr(rng.standard_normal((300, 300)))[0],
        "two equal largest": np.linalg.qr(rng.standard_normal((200, 200)))[0] * np.r_[3.0, 3.0, np.ones(198)],
        "rank 5": rng.standard_normal((300, 5)) @ rng.standard_normal((5, 400)),
        "graded": np.linalg.qr(rng.standard_normal((200, 200)))[0] * np.geomspace(1.0, 1e-4, 200),
    }


@pytest.mark.parametrize("name", list(_matrices()))
def test_given_any_matrix_then_largest_and_sums_are_those_of_its_eigenvalues(name: str) -> None:
    matrix = _matrices()[name].astype(np.float32)
    gram = Gram(gram_matrix(matrix, 1.0, np.float32))
    exact = np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2
    assert gram.largest() == pytest.approx(exact[0], rel=3e-6)
    assert gram.total == pytest.approx(exact.sum(), rel=1e-6)
    assert gram.squares == pytest.approx(np.sum(exact**2), rel=1e-6)
    np.testing.assert_allclose(gram.eigenvalues(), exact, atol=2e-6 * exact[0] * np.sqrt(exact.size))
    # Once they are known, the largest is the first of them.
    assert gram.largest() == gram.eigenvalues()[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_given_columns_in_any_layout_then_the_eigenvalues_are_those_of_the_matrix(dtype: type) -> None:
    matrix = np.random.default_rng(1).standard_normal((200, 90))
    exact = np.linalg.svd(matrix, compute_uv=False) ** 2
    for view in (matrix, matrix.T, np.asfortranarray(matrix), np.repeat(matrix, 2, axis=0)[::2]):
        found = eigenvalues(gram_matrix(view.astype(np.float32, order="K"), 2.0, dtype))
        np.testing.assert_allclose(found, 4.0 * exact, atol=4e-5 * exact[0])
