"""The T5-style network: pre-norm blocks with root-mean-square norms, no biases, ReLU, relative position bias, tied output.

Raffel et al., "Exploring the limits of transfer learning" (2020). Two departures: attention is scaled by the root of the
head's width, and each decoder position has a softmax over its own level's tokens alone (the papers allow no others when
they decode). Parameters are nested dictionaries of float32 arrays; functions are pure.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training.model import Params, normal

EPSILON = 1e-6  # of every norm, here and in the exported graphs
BUCKETS = 32
FARTHEST = 128  # distances from here on share the last bucket
START = 0  # token that pads a history and opens the decoder's sequence


def relative_bucket(length: int, both_ways: bool) -> np.ndarray:
    """Bucket (length, length) of key place minus query place: exact for small distances, logarithmic beyond (T5)."""
    distance = np.arange(length)[None] - np.arange(length)[:, None]
    if both_ways:
        count, base = BUCKETS // 2, np.where(distance > 0, BUCKETS // 2, 0)
        distance = np.abs(distance)
    else:
        count, base, distance = BUCKETS, 0, np.maximum(-distance, 0)
    exact = count // 2
    far = exact + np.log(np.maximum(distance, 1) / exact) / np.log(FARTHEST / exact) * (count - exact)
    return base + np.where(distance < exact, distance, np.minimum(far.astype(int), count - 1))


def init(key: jax.Array, sizes: tuple[int, ...], dim: int, layers: int, heads: int, widen: int) -> Params:
    """`sizes` are the tokens of each level; token 0 is START, the levels' blocks follow one another."""
    keys = iter(jax.random.split(key, 3 + 12 * layers))

    def matrix(wide: int, narrow: int) -> jax.Array:
        return normal(next(keys), (wide, narrow), wide**-0.5)

    def block(cross: bool) -> Params:
        made: Params = {"norm1": jnp.ones(dim), "qkv": matrix(dim, 3 * dim), "out": matrix(dim, dim)}
        if cross:
            made |= {"norm_cross": jnp.ones(dim), "query": matrix(dim, dim), "key_value": matrix(dim, 2 * dim)}
            made |= {"out_cross": matrix(dim, dim)}
        return made | {"norm2": jnp.ones(dim), "up": matrix(dim, widen * dim), "down": matrix(widen * dim, dim)}

    def stack(cross: bool) -> Params:
        bias = normal(next(keys), (BUCKETS, heads), dim**-0.5)
        return {"bias": bias, "layers": [block(cross) for _ in range(layers)], "norm": jnp.ones(dim)}

    return {"embed": normal(next(keys), (1 + sum(sizes), dim), 1.0), "encoder": stack(False), "decoder": stack(True)}


def dropout(key: jax.Array | None, x: jax.Array, rate: float) -> jax.Array:
    """Rates are rounded to 1/256. An element's byte is its index hashed with two random words (the finaliser of
    MurmurHash3): on CPU a training step takes 0.7 of the time that it takes with bytes from the generator itself."""
    threshold = round(rate * 256)
    if key is None or threshold == 0:
        return x
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    mixed = (jax.lax.iota(jnp.uint32, x.size).reshape(x.shape) ^ first) * jnp.uint32(0x9E3779B1)
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13) ^ second) * jnp.uint32(0xC2B2AE35)
    return jnp.where((mixed >> 24) >= threshold, x * (256 / (256 - threshold)), 0.0)


def rms_norm(x: jax.Array, gain: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + EPSILON) * gain


def _attend(
    q: jax.Array, k: jax.Array, v: jax.Array, heads: int, bias: jax.Array, key: jax.Array | None, rate: float
) -> jax.Array:
    """q (batch, n, dim), k and v (batch, m, dim), bias broadcast to (batch, heads, n, m) -> (batch, n, dim)."""
    split = lambda x: x.reshape(*x.shape[:2], heads, -1)  # noqa: E731
    scores = jnp.einsum("bnhd,bmhd->bhnm", split(q), split(k)) * (q.shape[-1] // heads) ** -0.5
    weights = dropout(key, jax.nn.softmax(scores + bias, axis=-1), rate)
    return jnp.einsum("bhnm,bmhd->bnhd", weights, split(v)).reshape(q.shape)


def _key_stream(key: jax.Array | None, count: int) -> Any:
    return iter(jax.random.split(key, count)) if key is not None else iter(lambda: None, 0)


def _feed_forward(x: jax.Array, layer: Params, keys: Any, rate: float) -> jax.Array:
    hidden = dropout(next(keys), jax.nn.relu(rms_norm(x, layer["norm2"]) @ layer["up"]), rate)
    return x + dropout(next(keys), hidden @ layer["down"], rate)


def _mask_bias(real: jax.Array) -> jax.Array:
    """Boolean (batch, m) -> (batch, 1, 1, m) added to scores."""
    return jnp.where(real, 0.0, -1e9)[:, None, None, :]


def encode(
    params: Params, tokens: jax.Array, real: jax.Array, heads: int, key: jax.Array | None = None, rate: float = 0.0
) -> jax.Array:
    """Token ids (batch, length), boolean mask of real tokens -> states (batch, length, dim); attention is both ways."""
    p = params["encoder"]
    keys = _key_stream(key, 2 + 4 * len(p["layers"]))
    length = tokens.shape[1]
    bias = p["bias"][relative_bucket(length, True)].transpose(2, 0, 1)[None] + _mask_bias(real)
    x = dropout(next(keys), params["embed"][tokens], rate)
    for layer in p["layers"]:
        q, k, v = jnp.split(rms_norm(x, layer["norm1"]) @ layer["qkv"], 3, axis=-1)
        mixed = _attend(q, k, v, heads, bias, next(keys), rate)
        x = x + dropout(next(keys), mixed @ layer["out"], rate)
        x = _feed_forward(x, layer, keys, rate)
    return dropout(next(keys), rms_norm(x, p["norm"]), rate)


def memory(params: Params, states: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Keys and values (batch, length, dim) of the encoder's states for every decoder layer: made once a history."""
    return [tuple(jnp.split(states @ layer["key_value"], 2, axis=-1)) for layer in params["decoder"]["layers"]]


def decode(
    params: Params,
    kept: list[tuple[jax.Array, jax.Array]],
    real: jax.Array,
    prefix: jax.Array,
    heads: int,
    key: jax.Array | None = None,
    rate: float = 0.0,
) -> jax.Array:
    """Prefixes (batch, beams, length) of token ids that begin with START, over `memory` of the same histories -> states
    (batch, beams, length, dim) of every position. Self-attention is causal; cross-attention has no position bias."""
    p = params["decoder"]
    keys = _key_stream(key, 2 + 6 * len(p["layers"]))
    batch, beams, length = prefix.shape
    dim = params["embed"].shape[1]
    causal = np.where(np.tril(np.ones((length, length), bool)), 0.0, -1e9).astype(np.float32)
    bias = p["bias"][relative_bucket(length, False)].transpose(2, 0, 1)[None] + causal
    seen = _mask_bias(real)
    x = dropout(next(keys), params["embed"][prefix.reshape(batch * beams, length)], rate)
    for layer, (k_seen, v_seen) in zip(p["layers"], kept, strict=True):
        q, k, v = jnp.split(rms_norm(x, layer["norm1"]) @ layer["qkv"], 3, axis=-1)
        mixed = _attend(q, k, v, heads, bias, next(keys), rate)
        x = x + dropout(next(keys), mixed @ layer["out"], rate)
        # every beam of a history asks the same keys: beams and positions are one row of queries
        q = (rms_norm(x, layer["norm_cross"]) @ layer["query"]).reshape(batch, beams * length, dim)
        mixed = _attend(q, k_seen, v_seen, heads, seen, next(keys), rate).reshape(x.shape)
        x = x + dropout(next(keys), mixed @ layer["out_cross"], rate)
        x = _feed_forward(x, layer, keys, rate)
    x = dropout(next(keys), rms_norm(x, p["norm"]), rate)
    return x.reshape(batch, beams, length, dim)


def level_logits(params: Params, states: jax.Array, level: int, sizes: tuple[int, ...]) -> jax.Array:
    """States (.., dim) at position `level` -> logits (.., sizes[level]) over that level's own tokens."""
    first = 1 + sum(sizes[:level])
    return states @ params["embed"][first : first + sizes[level]].T * states.shape[-1] ** -0.5


def loss(
    params: Params,
    batch: tuple[jax.Array, ...],
    sizes: tuple[int, ...],
    heads: int,
    key: jax.Array | None = None,
    rate: float = 0.0,
) -> jax.Array:
    """Mean over sequences of the cross-entropy summed over the target's tokens, all decoder positions at once.

    `batch`: tokens (batch, length), real (batch, length), target tokens (batch, levels), weight (batch,)."""
    tokens, real, target, weight = batch
    first, second = (None, None) if key is None else jax.random.split(key)
    states = encode(params, tokens, real, heads, first, rate)
    shifted = jnp.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=START)
    states = decode(params, memory(params, states), real, shifted[:, None], heads, second, rate)[:, 0]
    total = jnp.zeros(len(target))
    for level in range(len(sizes)):
        logits = level_logits(params, states[:, level], level, sizes)
        own = target[:, level] - 1 - sum(sizes[:level])
        total += jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, own[:, None], 1)[:, 0]
    return (total * weight).sum() / weight.sum()
