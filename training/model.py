"""The edge backbone: one vector an item, a causal transformer, and the item head h.v on its last hidden state.

Item vector v = learned vector + network(text vector); the text vector is the masked mean of a token table that is
trained with everything else. Parameters are nested dictionaries of float32 arrays; functions are pure.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, Any]
EPSILON = 1e-5  # of every layer norm, here and in the exported graphs


def normal(key: jax.Array, shape: tuple[int, ...], scale: float) -> jax.Array:
    return scale * jax.random.normal(key, shape, jnp.float32)


def _dense(key: jax.Array, wide: int, narrow: int, gain: float = 1.0) -> Params:
    return {"w": normal(key, (wide, narrow), gain / wide**0.5), "b": jnp.zeros(narrow, jnp.float32)}


def _norm(dim: int) -> Params:
    return {"g": jnp.ones(dim, jnp.float32), "b": jnp.zeros(dim, jnp.float32)}


def init_backbone(key: jax.Array, dim: int, layers: int, length: int) -> Params:
    keys = iter(jax.random.split(key, 1 + 4 * layers))
    return {
        "pos": normal(next(keys), (length, dim), 0.02),
        "norm_in": _norm(dim),
        "layers": [
            {
                "norm1": _norm(dim),
                "qkv": _dense(next(keys), dim, 3 * dim),
                "out": _dense(next(keys), dim, dim),
                "norm2": _norm(dim),
                "up": _dense(next(keys), dim, 4 * dim),
                "down": _dense(next(keys), 4 * dim, dim),
            }
            for _ in range(layers)
        ],
        "norm_out": _norm(dim),
    }


def init_text(key: jax.Array, vocabulary: int, text_dim: int, hidden: int, dim: int) -> Params:
    keys = jax.random.split(key, 3)
    return {
        "table": normal(keys[0], (vocabulary, text_dim), 0.1),
        "norm": _norm(text_dim),
        "up": _dense(keys[1], text_dim, hidden),
        "down": _dense(keys[2], hidden, dim, 0.05),
    }


def layer_norm(x: jax.Array, p: Params) -> jax.Array:
    mean = x.mean(-1, keepdims=True)
    centred = x - mean
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * p["g"] + p["b"]


def dense(x: jax.Array, p: Params) -> jax.Array:
    return x @ p["w"] + p["b"]


def gelu(x: jax.Array) -> jax.Array:
    """The exact (erf) form, which is what the exported graph's Gelu computes."""
    return jax.nn.gelu(x, approximate=False)


def dropout(key: jax.Array | None, x: jax.Array, rate: float) -> jax.Array:
    """Rates are rounded to 1/256: one random byte an element is four times cheaper than a random float."""
    threshold = round(rate * 256)
    if key is None or threshold == 0:
        return x
    keep = jax.random.bits(key, x.shape, jnp.uint8) >= threshold
    return jnp.where(keep, x * (256 / (256 - threshold)), 0.0)


def attention(x: jax.Array, qkv: Params, heads: int, key: jax.Array | None, rate: float) -> jax.Array:
    """Causal self-attention, (batch, length, dim) -> (batch, length, dim), without the output projection."""
    batch, length, dim = x.shape
    q, k, v = jnp.split(dense(x, qkv), 3, axis=-1)
    shape = (batch, length, heads, dim // heads)
    q, k, v = q.reshape(shape), k.reshape(shape), v.reshape(shape)
    scores = jnp.einsum("blhd,bmhd->bhlm", q, k) * (dim // heads) ** -0.5  # (batch, heads, length, length)
    causal = jnp.tril(jnp.ones((length, length), bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e9), axis=-1)
    return jnp.einsum("bhlm,bmhd->blhd", dropout(key, weights, rate), v).reshape(batch, length, dim)


def encode(p: Params, x: jax.Array, heads: int, key: jax.Array | None = None, rate: float = 0.0) -> jax.Array:
    """Item vectors (batch, length, dim), oldest first, padded on the right -> hidden states of every position.

    Positions count from the oldest item, and attention is causal, so padding on the right never reaches a real position.
    """
    length, dim = x.shape[1], x.shape[2]
    keys = iter(jax.random.split(key, 1 + 4 * len(p["layers"]))) if key is not None else iter(lambda: None, 0)
    x = layer_norm(x * dim**0.5 + p["pos"][:length], p["norm_in"])
    x = dropout(next(keys), x, rate)
    for layer in p["layers"]:
        mixed = attention(layer_norm(x, layer["norm1"]), layer["qkv"], heads, next(keys), rate)
        x = x + dropout(next(keys), dense(mixed, layer["out"]), rate)
        hidden = dropout(next(keys), gelu(dense(layer_norm(x, layer["norm2"]), layer["up"])), rate)
        x = x + dropout(next(keys), dense(hidden, layer["down"]), rate)
    return layer_norm(x, p["norm_out"])


def text_vectors(table: jax.Array, tokens: jax.Array) -> jax.Array:
    """Masked mean of token vectors: ids (items, width), 0 = padding -> (items, text_dim). One gather a column of ids: a
    sum over (items, width, text_dim) at once is ten times slower on CPU."""

    def add(total: jax.Array, column: jax.Array) -> tuple[jax.Array, None]:
        return total + table[column] * (column > 0)[:, None], None

    zero = jnp.zeros((tokens.shape[0], table.shape[1]), jnp.float32)
    total, _ = jax.lax.scan(add, zero, tokens.T)
    return total / jnp.maximum((tokens > 0).sum(1), 1)[:, None]


def text_to_item(p: Params, text: jax.Array) -> jax.Array:
    """Text vectors (n, text_dim) -> the part of the item vectors that text gives (n, dim)."""
    return dense(gelu(dense(layer_norm(text, p["norm"]), p["up"])), p["down"])


def item_vectors(
    params: Params, tokens: jax.Array | None, key: jax.Array | None = None, drop: float = 0.0
) -> jax.Array:
    """All item vectors (items, dim). With a key, each item loses its learned vector with probability `drop`.

    `tokens` are ids (items, width), or frozen text vectors (items, text_dim) where the parameters hold no token table."""
    learned = params["item"]
    if tokens is None:
        return learned
    if key is not None and drop > 0:
        learned = learned * jax.random.bernoulli(key, 1 - drop, (learned.shape[0], 1))
    table = params["text"].get("table")
    return learned + text_to_item(params["text"], tokens if table is None else text_vectors(table, tokens))


BLOCK = 448  # positions whose logits over all items fit the cache together


def softmax_pass(hidden: jax.Array, vectors: jax.Array, target: jax.Array, weight: jax.Array) -> tuple[jax.Array, Any]:
    """The loss and its gradients in one sweep over blocks of positions: logits live for one block, once."""
    positions, dim = hidden.shape
    blocks = -(-positions // BLOCK)
    block = -(-positions // blocks)
    spare = blocks * block - positions

    def sweep(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        states, share = part
        logits = states @ vectors.T
        top = logits.max(-1, keepdims=True)
        grown = jnp.exp(logits - top)
        norm = grown.sum(-1, keepdims=True)
        weighted = grown * (share[:, None] / norm)
        return total + weighted.T @ states, (jnp.log(norm[:, 0]) + top[:, 0], weighted @ vectors)

    parts = (
        jnp.pad(hidden, ((0, spare), (0, 0))).reshape(blocks, block, dim),
        jnp.pad(weight, (0, spare)).reshape(blocks, block),
    )
    to_vectors, (norms, to_hidden) = jax.lax.scan(sweep, jnp.zeros_like(vectors), parts)
    own = vectors[target]
    loss = (weight * (norms.reshape(-1)[:positions] - (hidden * own).sum(-1))).sum()
    to_hidden = to_hidden.reshape(-1, dim)[:positions] - weight[:, None] * own
    return loss, (to_hidden, to_vectors.at[target].add(-weight[:, None] * hidden))


def softmax_backward(made: tuple[jax.Array, jax.Array], scale: jax.Array) -> tuple[jax.Array | None, ...]:
    """Gradients for the operands of `softmax_loss` from those that `softmax_pass` made."""
    return scale * made[0], scale * made[1], None, jnp.zeros(made[0].shape[0])


@jax.custom_vjp
def softmax_loss(hidden: jax.Array, vectors: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """Sum over positions of weight * -log softmax(h.V)[target]; hidden (positions, dim), vectors (items, dim). Gradients
    reach `hidden` and `vectors`; they are made in the forward sweep (a quarter less time on CPU than autodiff's)."""
    return softmax_pass(hidden, vectors, target, weight)[0]


softmax_loss.defvjp(softmax_pass, softmax_backward)


def to_numpy(params: Params) -> Params:
    return jax.tree.map(lambda leaf: np.asarray(leaf), params)
