"""A small world in which it is known what a sample can teach: MiniRec's proof table on a policy that trains in seconds.

A prompt is ten items by a user of a hidden type, and the type decides what can be known of the target: *trivial* (the item that all of
these types take, which the policy begins with), *learnable* (one item for all users of the type) or *hopeless* (drawn at random). The policy is a network whose output, with
Gaussian noise, is compared with all item vectors; a draw's reward is .95 NDCG@100 + .05 probability of the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training import optimiser
from training.rl import grpo
from training.selection.scores import Samples

ITEMS, DIM, HIDDEN, LENGTH = 1000, 16, 64, 10
CUT = 100  # of NDCG
NOISE = 0.4  # standard deviation of a draw's state
SHARPNESS = 8.0  # of the softmax whose probability is rewarded
BIAS = 3.0  # how firmly the policy begins with the favourite
STRATA = ("trivial", "learnable", "hopeless")


@dataclass(frozen=True)
class World:
    """(N, DIM) mean item vectors of prompts, (N) targets and strata (index into STRATA); (ITEMS, DIM) item vectors."""

    items: np.ndarray
    prompts: np.ndarray
    targets: np.ndarray
    strata: np.ndarray
    favourite: int

    def part(self, rows: np.ndarray) -> World:
        return World(self.items, self.prompts[rows], self.targets[rows], self.strata[rows], self.favourite)


def make_world(
    seed: int, prompts: int = 4000, types: int = 40, shares: tuple[float, float, float] = (0.2, 0.4, 0.4)
) -> World:
    draw = np.random.default_rng(seed)
    items = draw.normal(size=(ITEMS, DIM))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    favourite = 0
    taste = draw.integers(1, ITEMS, (types, 12))  # what a type's users have in their histories
    rule = draw.permutation(np.arange(1, ITEMS))[:types]  # what they take next
    kind = draw.integers(0, types, prompts)
    stratum = np.searchsorted(np.cumsum(shares) * types, np.arange(types), side="right")
    own = draw.random((prompts, LENGTH)) < 0.7
    histories = np.where(
        own, taste[kind[:, None], draw.integers(0, 12, (prompts, LENGTH))], draw.integers(0, ITEMS, (prompts, LENGTH))
    )
    strata = stratum[kind]
    targets = np.choose(strata, [np.full(prompts, favourite), rule[kind], draw.integers(1, ITEMS, prompts)])
    return World(items, items[histories].mean(axis=1), targets, strata, favourite)


def init_policy(world: World, seed: int) -> dict[str, Any]:
    """A policy that knows the favourite alone."""
    first, last = jax.random.split(jax.random.key(seed))
    return {
        "in": jax.random.normal(first, (DIM, HIDDEN)) * 1.5,
        "in_bias": jnp.zeros(HIDDEN),
        "out": jax.random.normal(last, (HIDDEN, DIM)) * 0.02,
        "out_bias": jnp.asarray(world.items[world.favourite]) * BIAS,
    }


def hidden(policy: dict[str, Any], prompts: jax.Array) -> jax.Array:
    return jnp.tanh(prompts @ policy["in"] * 2.0 + policy["in_bias"])


def state(policy: dict[str, Any], prompts: jax.Array) -> jax.Array:
    return hidden(policy, prompts) @ policy["out"] + policy["out_bias"]


def reward(states: jax.Array, targets: jax.Array, items: jax.Array) -> jax.Array:
    """(..., DIM) states, (...) targets -> (...): .95 NDCG@100 + .05 probability of the target."""
    scores = states @ items.T
    own = jnp.take_along_axis(scores, targets[..., None], axis=-1)
    rank = (scores > own).sum(axis=-1)
    gain = jnp.where(rank < CUT, 1 / jnp.log2(rank + 2.0), 0.0)
    probability = jnp.exp(SHARPNESS * own[..., 0] - jax.nn.logsumexp(SHARPNESS * scores, axis=-1))
    return 0.95 * gain + 0.05 * probability


def log_density(policy: dict[str, Any], prompts: jax.Array, states: jax.Array) -> jax.Array:
    """Of states (B, K, DIM) under the policy, up to a constant: (B, K)."""
    return -((states - state(policy, prompts)[:, None]) ** 2).sum(axis=-1) / (2 * NOISE**2)


@partial(jax.jit, static_argnames=("draws",))
def rollouts(
    policy: dict[str, Any], prompts: jax.Array, targets: jax.Array, items: jax.Array, key: jax.Array, draws: int
):
    """(B, K, DIM) states drawn and their (B, K) rewards."""
    noise = jax.random.normal(key, (len(prompts), draws, DIM)) * NOISE
    states = state(policy, prompts)[:, None] + noise
    return states, reward(states, jnp.broadcast_to(targets[:, None], states.shape[:2]), items)


def examine(world: World, policy: dict[str, Any], seed: int, draws: int = 8) -> tuple[Samples, np.ndarray]:
    """What the proxy policy tells of every sample, and (N) error norms for EL2N.

    Gradient and Hessian-vector product are those of the ratio objective on the last layer, in closed form: with e_k the noise of a draw
    over its variance, g = sum A_k e_k h', H g = sum A_k (e_k . sum A_j e_j) |h|^2 e_k h'.
    """
    prompts, targets, items = map(jnp.asarray, (world.prompts, world.targets, world.items))
    states, rewards = rollouts(policy, prompts, targets, items, jax.random.key(seed), draws)
    floor = 0.1 * rewards.std()
    advantage = grpo.advantages(rewards, floor)
    inside = hidden(policy, prompts)
    noise = (states - state(policy, prompts)[:, None]) / NOISE**2
    output = (advantage[..., None] * noise).sum(axis=1)
    bent = (advantage[..., None] * (noise @ output[..., None]) * noise).sum(axis=1) * (inside**2).sum(-1, keepdims=True)
    outer = jax.vmap(jnp.outer)
    scores = SHARPNESS * state(policy, prompts) @ items.T
    probabilities = jax.nn.softmax(scores, axis=-1)
    own = jnp.take_along_axis(probabilities, targets[:, None], axis=1)[:, 0]
    errors = jnp.sqrt((probabilities**2).sum(axis=1) - 2 * own + 1)
    flat = lambda tensor: np.asarray(tensor.reshape(len(tensor), -1))  # noqa: E731
    embeddings = np.asarray(inside)
    return Samples(np.asarray(rewards), flat(outer(output, inside)), flat(outer(bent, inside)), embeddings), np.asarray(
        errors
    )


@partial(jax.jit, static_argnames=("draws",))
def _train(policy, prompts, targets, items, batches, key, rate, draws):
    """A GRPO step for each row of `batches` (steps, B); gives the policy and the share of groups with a signal a step."""

    def one(carry, batch):
        state_, key = carry
        key, drawn = jax.random.split(key)
        current = state_["params"]
        x, y = prompts[batch], targets[batch]
        states, rewards = rollouts(current, x, y, items, drawn, draws)
        advantage = grpo.advantages(rewards, 0.1 * rewards.std())
        old = log_density(current, x, states)

        def loss(params):
            return -grpo.objective(log_density(params, x, states), old, advantage).mean()

        updated = optimiser.update(state_, jax.grad(loss)(current), rate, 0.0)
        return (updated, key), 1 - grpo.silent_groups(rewards, 0.01).mean()

    (final, _), signal = jax.lax.scan(one, (optimiser.init_state(policy, average=False), key), batches)
    return final["params"], signal


def train(
    world: World,
    policy: dict[str, Any],
    order: np.ndarray,
    steps: int,
    seed: int,
    batch: int = 64,
    rate: float = 3e-3,
    draws: int = 8,
) -> tuple[dict[str, Any], float]:
    """GRPO on samples in their order, from the beginning again when they are used up. @returns policy, share of groups with a signal"""
    rows = np.resize(order, steps * batch).reshape(steps, batch)
    arrays = map(jnp.asarray, (world.prompts, world.targets, world.items, rows))
    trained, signal = _train(policy, *arrays, jax.random.key(seed), rate, draws)
    return trained, float(signal.mean())


@partial(jax.jit, static_argnames=("steps", "batch"))
def _supervised(policy, prompts, targets, items, key, steps, batch):
    def one(state_, drawn):
        rows = jax.random.randint(drawn, (batch,), 0, len(prompts))

        def loss(params):
            scores = SHARPNESS * state(params, prompts[rows]) @ items.T
            own = jnp.take_along_axis(scores, targets[rows, None], axis=1)[:, 0]
            return (jax.nn.logsumexp(scores, axis=1) - own).mean()

        return optimiser.update(state_, jax.grad(loss)(state_["params"]), 3e-3, 0.0), None

    final, _ = jax.lax.scan(one, optimiser.init_state(policy, average=False), jax.random.split(key, steps))
    return final["params"]


def warm_start(world: World, policy: dict[str, Any], seed: int, steps: int, batch: int = 64) -> dict[str, Any]:
    """Next-item training that was stopped early: what reinforcement learning usually begins with."""
    arrays = map(jnp.asarray, (world.prompts, world.targets, world.items))
    return _supervised(policy, *arrays, jax.random.key(seed + 1000), steps, batch)


def mean_reward(world: World, policy: dict[str, Any]) -> float:
    """Of the policy without noise."""
    states = state(policy, jnp.asarray(world.prompts))
    return float(reward(states, jnp.asarray(world.targets), jnp.asarray(world.items)).mean())


def proxy(world: World, policy: dict[str, Any], seed: int, share: float = 0.05, steps: int = 30) -> dict[str, Any]:
    """A policy trained briefly on a small random part."""
    rows = np.random.default_rng(seed).choice(
        len(world.targets), max(64, int(share * len(world.targets))), replace=False
    )
    return train(world, policy, rows, steps, seed)[0]
