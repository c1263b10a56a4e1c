"""UniGRec's two collaborative distillations on the causal backbone, from a frozen teacher's item vectors.

Tokenizer side: user and target item, both projected into the tokenizer's latent space, should have the same code
distributions. Recommender side: the hidden state, projected into the teacher's space, should point to the next item.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from training.joint.soda import divergence, level_distributions
from training.model import Params, dense


def _mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    return (weight * values).sum() / jnp.maximum(weight.sum(), 1e-9)


def tokenizer_side(
    adapters: Params, pooled: jax.Array, item: jax.Array, books: list[jax.Array], tau: jax.Array, weight: jax.Array
) -> jax.Array:
    """Sum over levels of KL in both directions; pooled (B, dim) history, item (B, teacher's width), weight (B,)."""
    user = level_distributions(dense(pooled, adapters["pool"]), books, list(tau))
    target = level_distributions(dense(item, adapters["teacher"]), books, list(tau))
    return _mean(divergence(target, user, "symmetric", "sum"), weight)


def released_tokenizer_side(
    adapters: Params, pooled: jax.Array, item: jax.Array, books: list[jax.Array], weight: jax.Array
) -> jax.Array:
    """The released code's form, for one row of the ablation: logits are positive squared distances without temperature, so
    that the farthest code is the most probable."""
    return _mean(
        divergence(
            _farthest(dense(item, adapters["teacher"]), books),
            _farthest(dense(pooled, adapters["pool"]), books),
            "symmetric",
            "sum",
        ),
        weight,
    )


def _farthest(latent: jax.Array, books: list[jax.Array]) -> list[jax.Array]:
    levels = []
    for book in books:
        p = jax.nn.softmax((book**2).sum(-1) - 2 * latent @ book.T, axis=-1)
        levels.append(p)
        latent = latent - p @ book
    return levels


def contrast_mask(owner: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """(B, B) bool: which columns are candidates of a row. Its own; no padding; no other position of the same user, and no
    position with the same target, which would be a false negative."""
    own = jnp.eye(owner.shape[0], dtype=bool)
    other = (owner[:, None] != owner) & (target[:, None] != target) & (weight > 0)
    return own | other


def recommender_side(
    adapters: Params,
    hidden: jax.Array,
    item: jax.Array,
    owner: jax.Array,
    target: jax.Array,
    log_share: jax.Array,
    weight: jax.Array,
    temperature: float,
) -> jax.Array:
    """InfoNCE over cosines in both directions, mean of the two. `hidden` (B, dim), `item` (B, teacher's width) the
    teacher's vectors of the `target` rows. `log_share` (B,): log of a target's share of training, taken from the logits
    of the columns, because in-batch negatives come as often as they are popular."""
    user = dense(hidden, adapters["hidden"])
    user = user / jnp.maximum(jnp.linalg.norm(user, axis=-1, keepdims=True), 1e-6)
    item = item / jnp.maximum(jnp.linalg.norm(item, axis=-1, keepdims=True), 1e-6)
    logits = user @ item.T / temperature
    mask = contrast_mask(owner, target, weight)

    def cross_entropy(logits: jax.Array) -> jax.Array:
        kept = jnp.where(mask, logits, -1e9)
        return _mean(jax.nn.logsumexp(kept, -1) - jnp.diagonal(kept), weight)

    return 0.5 * (cross_entropy(logits - log_share) + cross_entropy(logits.T))
