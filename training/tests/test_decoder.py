"""The depth decoder is a distribution over items, its teacher is what it says, and masks reach every level."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import decoder, serving, tokenizer
from training.config import Serve
from training.train import Run

EVERYTHING = Serve(mode="beam", beams=(256,), leaves=4096, alphas=(1.0,), exact_below=0)


@pytest.fixture(scope="module")
def parts() -> tuple[np.ndarray, list[np.ndarray], tokenizer.Tree, np.ndarray]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(90, 8)).astype(np.float32)
    books = tokenizer.fit(vectors, (6, 5), 20, seed=0)
    codes = tokenizer.encode(vectors, books)
    return vectors, books, tokenizer.tree(codes, (6, 5)), codes


def test_cumulative_sums_are_cumulative_sums() -> None:
    mass = jax.random.uniform(jax.random.key(0), (3, 300))
    expected = np.concatenate([np.zeros((3, 1)), np.cumsum(np.asarray(mass, np.float64), 1)], 1)
    assert np.allclose(decoder.cumulative(mass), expected, rtol=1e-5, atol=1e-5)


def test_probabilities_of_all_items_sum_to_one(tiny_run: Run) -> None:
    model = tiny_run.served(int8=True)
    cases = tiny_run.split.test[:5]
    for found in serving.decode_cases(model, cases, EVERYTHING, masked=False):
        assert len(np.unique(found.rows)) == len(model.vectors)
        assert np.exp(found.log_probability).sum() == pytest.approx(1, abs=1e-4)


def test_masked_items_are_not_returned_and_the_rest_sums_to_one(tiny_run: Run) -> None:
    model = tiny_run.served(int8=True)
    cases = tiny_run.split.test[:5]
    for case, found in zip(cases, serving.decode_cases(model, cases, EVERYTHING, masked=True), strict=True):
        assert not np.isin(found.rows, case.seen).any()
        assert len(found.rows) == len(model.vectors) - len(case.seen)
        assert np.exp(found.log_probability).sum() == pytest.approx(1, abs=1e-4)


def test_alpha_one_orders_by_probability_and_alpha_zero_by_the_item_head(tiny_run: Run) -> None:
    model = tiny_run.served(int8=False)
    found = serving.decode_cases(model, tiny_run.split.test[:1], EVERYTHING, masked=False)[0]
    assert np.array_equal(found.ranked(1.0), found.rows[np.lexsort((found.rows, -found.log_probability))])
    assert np.array_equal(found.ranked(0.0), found.rows[np.lexsort((found.rows, -found.dot))])


def test_loss_is_zero_for_a_decoder_that_agrees_with_its_teacher(parts) -> None:
    """One item a code at level 1 makes h.e_k + log 1 the item logit itself, so the untrained decoder is already right."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(6, 4)).astype(np.float32) * 3
    books = [vectors, np.zeros((2, 4), np.float32)]
    tree = tokenizer.tree(np.stack([np.arange(6), np.zeros(6, int)], 1).astype(np.uint8), (6, 2))
    h = jnp.asarray(rng.normal(size=(7, 4)), jnp.float32)
    loss = decoder.make_loss(tree, teacher=1.0)
    weights = decoder.init(jax.random.key(0), books, 8, 2)
    assert float(
        loss(weights, jnp.asarray(vectors[tree.order]), jax.random.key(1), h, jnp.zeros(7, jnp.int32))
    ) == pytest.approx(0, abs=1e-5)


def test_training_target_without_teacher_is_the_next_item(parts) -> None:
    vectors, books, tree, codes = parts
    h = jnp.zeros((1, 8), jnp.float32)
    loss = decoder.make_loss(tree, teacher=0.0)
    weights = decoder.init(jax.random.key(0), books, 8, 2)
    place = 17
    row = tree.order[place]
    first = np.bincount(codes[:, 0], minlength=6)
    inside = np.bincount(codes[codes[:, 0] == codes[row, 0], 1], minlength=5)
    expected = -np.log(first[codes[row, 0]] / 90) - np.log(inside[codes[row, 1]] / inside.sum())
    given = loss(weights, jnp.asarray(vectors[tree.order]), jax.random.key(1), h, jnp.array([place], jnp.int32))
    assert float(given) == pytest.approx(expected, rel=1e-4)


def test_decoder_covers_the_exact_top_ten(tiny_run: Run) -> None:
    model = tiny_run.served(int8=True)
    cases = tiny_run.split.test[:200]
    h = serving.hidden_states(model.backbone, jnp.asarray(model.vectors), cases, model.heads, model.length)
    found = serving.decode_cases(model, cases, tiny_run.config.serve, masked=False)
    assert serving.overlap_with_exact(model, found, h, 0.0) > 0.85
