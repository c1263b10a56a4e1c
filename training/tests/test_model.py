"""The backbone sees no future, padding changes nothing, and text carries items that lost their learned vector."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import model
from training.batches import Batcher, windows


@pytest.fixture(scope="module")
def backbone() -> model.Params:
    return model.init_backbone(jax.random.key(0), dim=16, layers=2, length=8)


def test_the_future_does_not_change_the_past(backbone: model.Params) -> None:
    x = jax.random.normal(jax.random.key(1), (1, 8, 16))
    changed = x.at[0, 5:].set(9.0)
    before, after = model.encode(backbone, x, 2), model.encode(backbone, changed, 2)
    assert np.array_equal(before[0, :5], after[0, :5])
    assert not np.allclose(before[0, 5], after[0, 5])


def test_padding_on_the_right_does_not_reach_real_positions(backbone: model.Params) -> None:
    x = jax.random.normal(jax.random.key(2), (1, 8, 16))
    short = model.encode(backbone, x[:, :3], 2)
    assert np.allclose(model.encode(backbone, x, 2)[:, :3], short, atol=1e-5)


def test_text_vector_is_the_mean_of_the_real_tokens() -> None:
    table = jnp.arange(12.0).reshape(6, 2)
    vectors = model.text_vectors(table, jnp.array([[3, 5, 0], [0, 0, 0]]))
    assert vectors.tolist() == [[8.0, 9.0], [0.0, 0.0]]


def test_dropping_learned_vectors_leaves_the_text_part() -> None:
    params = {"item": jnp.ones((50, 4)), "text": model.init_text(jax.random.key(0), 10, 4, 8, 4)}
    tokens = jnp.ones((50, 2), jnp.int32)
    text = model.text_to_item(params["text"], model.text_vectors(params["text"]["table"], tokens))
    dropped = model.item_vectors(params, tokens, jax.random.key(1), 0.5) - text
    rows = np.asarray(dropped)
    assert set(np.round(rows, 4).flatten()) == {0.0, 1.0}
    assert (np.ptp(rows, axis=1) < 1e-4).all(), "an item loses its learned vector as a whole"


def test_loss_equals_cross_entropy_written_out() -> None:
    rng = np.random.default_rng(0)
    hidden, vectors = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(9, 4)).astype(np.float32)
    target, weight = np.array([0, 3, 8, 2, 2]), np.array([1, 1, 0, 1, 1], np.float32)
    logits = hidden @ vectors.T
    expected = -(weight * (logits - np.log(np.exp(logits).sum(1, keepdims=True)))[np.arange(5), target]).sum()
    assert float(model.softmax_loss(hidden, vectors, target, weight)) == pytest.approx(expected, rel=1e-5)


def test_windows_give_every_target_exactly_once() -> None:
    cut = windows([np.arange(23), np.arange(2), np.arange(1)], 5)
    targets = sorted(int(t) for w in cut for t in w[1:])
    assert targets == sorted([*range(1, 23), 1])
    assert max(map(len, cut)) == 6


def test_batches_hold_every_target_once_and_repeat_for_a_seed() -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 99, rng.integers(2, 20)) for _ in range(200)]
    batcher = Batcher(sequences, 10, 64, seed=3, buckets=(4,))
    pairs = sorted(
        (int(b.items.reshape(-1)[p]), int(t))
        for b in batcher.epoch(0)
        for p, t, w in zip(b.place, b.target, b.weight, strict=True)
        if w
    )
    expected = sorted((int(a), int(b)) for s in sequences for a, b in pairwise(s))
    assert pairs == expected
    again = [b.target for b in Batcher(sequences, 10, 64, seed=3, buckets=(4,)).epoch(1)]
    assert all(np.array_equal(a.target, b) for a, b in zip(batcher.epoch(1), again, strict=True))


def test_the_swept_loss_and_its_gradients_are_those_of_the_plain_formula() -> None:
    keys = jax.random.split(jax.random.key(3), 4)
    positions = model.BLOCK + 37  # two blocks, the last one padded
    hidden = 3 * jax.random.normal(keys[0], (positions, 8))
    vectors = jax.random.normal(keys[1], (50, 8))
    target = jax.random.randint(keys[2], (positions,), 0, 50)
    weight = jax.random.bernoulli(keys[3], 0.8, (positions,)).astype(jnp.float32)

    def plain(hidden: jax.Array, vectors: jax.Array) -> jax.Array:
        own = (hidden * vectors[target]).sum(-1)
        return (weight * (jax.nn.logsumexp(hidden @ vectors.T, axis=-1) - own)).sum()

    swept = lambda h, v: 0.5 * model.softmax_loss(h, v, target, weight)  # noqa: E731
    value, gradients = jax.value_and_grad(swept, (0, 1))(hidden, vectors)
    expected, wanted = jax.value_and_grad(lambda h, v: 0.5 * plain(h, v), (0, 1))(hidden, vectors)
    assert np.allclose(value, expected, rtol=1e-5)
    for got, want in zip(gradients, wanted, strict=True):
        assert np.allclose(got, want, rtol=1e-4, atol=1e-4)
