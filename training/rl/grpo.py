"""Group-relative policy optimisation (GRPO, arXiv 2402.03300): advantages inside a group, the clipped objective, exact divergences.

The same loop serves every method that learns from groups of draws: what differs is the policy and the reward.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

CLIP_LOW, CLIP_HIGH = (
    0.2,
    0.28,
)  # asymmetric: rare draws that turn out well may grow faster than good ones are taken back


def advantages(rewards: jax.Array, floor: jax.Array | float = 1e-6) -> jax.Array:
    """(..., K) rewards of a group's draws -> (r - mean) / max(std, floor); 0 for a group without variance.

    `floor` keeps groups whose rewards hardly differ from shouting as loudly as the others: a tenth of the standard deviation
    of all rewards is a good one.
    """
    centred = rewards - rewards.mean(axis=-1, keepdims=True)
    deviation = jnp.sqrt((centred**2).mean(axis=-1, keepdims=True))
    return centred / jnp.maximum(deviation, floor)


def objective(
    log_new: jax.Array, log_old: jax.Array, advantage: jax.Array, low: float = CLIP_LOW, high: float = CLIP_HIGH
) -> jax.Array:
    """min(ratio A, clip(ratio, 1 - low, 1 + high) A) of each draw; to be maximised."""
    ratio = jnp.exp(log_new - log_old)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - low, 1.0 + high) * advantage)


def silent_groups(rewards: jax.Array, least: float) -> jax.Array:
    """(..., K) -> whether a group's rewards differ by less than a standard deviation of `least`: it teaches nothing."""
    return rewards.std(axis=-1) < least


def divergence(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """Exact KL(p || q) in nats over the last axis, both as log-probabilities."""
    return (jnp.exp(log_p) * (log_p - log_q)).sum(axis=-1)
