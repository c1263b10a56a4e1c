"""Residual k-means and the tree of items in code order; the text tokenizer."""

from __future__ import annotations

import numpy as np

from training import text, tokenizer


def clustered(count: int = 400, dim: int = 8) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, dim)) * 3
    return (centres[rng.integers(8, size=count)] + rng.normal(size=(count, dim))).astype(np.float32)


def test_each_level_reconstructs_better_than_the_one_before() -> None:
    points = clustered()
    books = tokenizer.fit(points, (8, 8, 8), 20, seed=0)
    codes = tokenizer.encode(points, books)
    errors = [((points - tokenizer.reconstruct(codes, books[:level])) ** 2).mean() for level in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] < 0.5 * points.var(axis=0).mean(), "eight clusters are there to be found"


def test_same_seed_gives_the_same_codes() -> None:
    points = clustered()
    first, second = (tokenizer.encode(points, tokenizer.fit(points, (8, 8), 20, seed=5)) for _ in range(2))
    assert np.array_equal(first, second)


def test_fewer_points_than_codes_still_give_a_codebook() -> None:
    points = clustered(5)
    books = tokenizer.fit(points, (8, 8), 5, seed=0)
    assert books[0].shape == (8, 8)
    assert tokenizer.encode(points, books)[:, 0].max() < 5


def test_prefixes_are_ranges_in_code_order() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (60, 2)).astype(np.uint8)
    tree = tokenizer.tree(codes, (4, 4))
    for first in range(4):
        inside = tree.order[tree.offsets[0][first] : tree.offsets[0][first + 1]]
        assert sorted(inside) == np.flatnonzero(codes[:, 0] == first).tolist()
        for second in range(4):
            leaf = first * 4 + second
            inside = tree.order[tree.offsets[1][leaf] : tree.offsets[1][leaf + 1]]
            assert inside.tolist() == np.flatnonzero((codes == [first, second]).all(1)).tolist()
    assert tree.leaf_sizes.sum() == 60


def test_tokens_are_cut_padded_and_case_blind() -> None:
    trained = text.train_tokenizer(["Apple pie \n apple", "apple Pie 12"] * 5, 300)
    matrix = text.token_matrix(trained, ["apple pie", "APPLE PIE", "", "apple " * 50], 6)
    assert matrix[0].tolist() == matrix[1].tolist()
    assert (matrix[2] == 0).all()
    assert (matrix[3] > 0).sum() == 6


def test_unknown_characters_have_an_id_of_their_own() -> None:
    trained = text.train_tokenizer(["apple pie"] * 5, 300)
    assert text.token_matrix(trained, ["鍋"], 4)[0, 0] == 1
