"""The causal backbone on codes: one token an item, the depth decoder over three levels, and the adapters of distillation.

Input token of an item = sum over levels of p_l^T O_l, plus, behind switches, a learned vector and a projection of the
content vector. With a one-hot p_l the product is the row of O_l that a look-up gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from training import decoder, model
from training.joint.config import Joint
from training.model import Params, normal
from training.tokenizer import tree


def init(key: jax.Array, settings: Joint, items: int, content: int, teacher: int) -> Params:
    """`backbone`, `tokens` (one (codes, dim) a level), `decoder`, `adapters`; `item` and `text` where switched on."""
    keys = jax.random.split(key, 12)
    tokenizer, dim = settings.tokenizer, settings.dim
    rng = np.random.default_rng(int(jax.random.randint(keys[0], (), 0, 2**31 - 1)))
    books = [rng.normal(0, 0.02, (tokenizer.codes, dim)).astype(np.float32) for _ in range(tokenizer.levels)]
    p: Params = {
        "backbone": model.init_backbone(keys[1], dim, settings.layers, settings.length),
        "tokens": [normal(k, (tokenizer.codes, dim), 0.02) for k in jax.random.split(keys[2], tokenizer.levels)],
        "decoder": decoder.init(keys[3], books, settings.decoder_hidden, settings.decoder_rank),
        "adapters": {
            "pool": _dense(keys[4], dim, tokenizer.latent),  # history -> latent
            "teacher": _dense(keys[5], teacher, tokenizer.latent),  # teacher's item vector -> latent
            "hidden": _dense(keys[6], dim, teacher),  # hidden state -> teacher's space
            "user_up": _dense(keys[7], dim, 2 * tokenizer.latent),  # history -> latent, SODA's two layers
            "user_down": _dense(keys[8], 2 * tokenizer.latent, tokenizer.latent),
        },
    }
    if settings.learned_vectors or settings.item_head:
        p["item"] = normal(keys[9], (items, dim), 0.02)
    if settings.text_input:
        p["text"] = {"w": normal(keys[10], (content, dim), 0.02 * content**-0.5), "b": jnp.zeros(dim, jnp.float32)}
    return p


def _dense(key: jax.Array, wide: int, narrow: int) -> Params:
    return {"w": normal(key, (wide, narrow), wide**-0.5), "b": jnp.zeros(narrow, jnp.float32)}


def soft_tokens(tables: list[jax.Array], levels: list[jax.Array]) -> jax.Array:
    """(n, dim) from code distributions (n, codes)."""
    return sum(p @ table for p, table in zip(levels, tables, strict=True))  # type: ignore[return-value]


def hard_tokens(tables: list[jax.Array], codes: jax.Array) -> jax.Array:
    """(.., dim) from codes (.., levels)."""
    return sum(table[codes[..., level]] for level, table in enumerate(tables))  # type: ignore[return-value]


def extra_tokens(p: Params, settings: Joint, rows: jax.Array, content: jax.Array) -> jax.Array | float:
    """What the switches add to the tokens of item `rows` (n,) with content vectors (n, content)."""
    extra: jax.Array | float = 0.0
    if settings.learned_vectors:
        extra = extra + p["item"][rows]
    if settings.text_input:
        extra = extra + model.dense(content, p["text"])
    return extra


@dataclass(frozen=True)
class Counts:
    """Live items below every prefix: float32 (prefixes of l codes, codes) at level l, as the depth decoder reads them."""

    levels: list[np.ndarray]


def counts_of(codes: np.ndarray, size: int) -> Counts:
    offsets = tree(codes, (size,) * codes.shape[1]).offsets
    return Counts([np.diff(o).astype(np.float32).reshape(-1, size) for o in offsets])


def level_log_probabilities(
    sets: list[Params], h: jax.Array, codes: jax.Array, counts: list[jax.Array]
) -> list[jax.Array]:
    """log p (n, codes) a level, under the target's own prefix: h (n, dim), codes (n, levels)."""
    size, prefix, result = counts[0].shape[-1], jnp.zeros(h.shape[0], jnp.int32), []
    for level, p in enumerate(sets):
        logits = decoder.level_logits(p, h, codes[:, :level] if level else None)
        result.append(decoder.masked_log_softmax(logits, counts[level][prefix]))
        prefix = prefix * size + codes[:, level]
    return result


def code_loss(
    sets: list[Params], h: jax.Array, codes: jax.Array, counts: list[jax.Array], weight: jax.Array
) -> jax.Array:
    """Sum over positions of weight * -log p(codes of the next item)."""
    levels = level_log_probabilities(sets, h, codes, counts)
    chosen = [jnp.take_along_axis(lp, codes[:, l, None], 1)[:, 0] for l, lp in enumerate(levels)]  # noqa: E741
    return -(weight * sum(chosen)).sum()


def dropout(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """At the backbone's input and output only. Four rates' bytes come from one random word: drawing bytes one by one costs
    fifteen times as much on CPU, a fifth of a whole step when every layer does it."""
    threshold = round(rate * 256)
    if threshold == 0:
        return x
    words = jax.random.bits(key, (*x.shape[:-1], x.shape[-1] // 4), jnp.uint32)
    keep = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(x.shape) >= threshold
    return jnp.where(keep, x * (256 / (256 - threshold)), 0.0)


def cumulative_mean(states: jax.Array, valid: jax.Array) -> jax.Array:
    """(rows, length, dim): mean of the hidden states up to and with each position, padding (boolean False) left out. Of
    position t nothing later enters, so it cannot tell the item that comes next."""
    kept = jnp.where(valid[..., None], states, 0.0)
    return jnp.cumsum(kept, 1) / jnp.maximum(jnp.cumsum(valid, 1), 1)[..., None]


def released_mean(states: jax.Array, valid: jax.Array) -> jax.Array:
    """The pooling of the released code, for one row of the ablation: `~` on an integer mask indexes rows, so the batch's
    last two rows are zeroed and padding counts. The future stays out, as in the released code's prefix samples."""
    zeroed = states.at[-2:].set(0.0)
    padding = jnp.where(valid[..., None], 0.0, zeroed).sum(1, keepdims=True)
    kept = jnp.cumsum(jnp.where(valid[..., None], zeroed, 0.0), 1)
    spare = (~valid).sum(1, keepdims=True)
    return (kept + padding) / (jnp.cumsum(valid, 1) + spare)[..., None]
