"""The depth decoder: from a hidden state to p(c1), p(c2 | c1) ..; trained on cached hidden states, the trunk frozen.

Logit of code k under a prefix = h.e_k + log n(prefix, k) + network(h, prefix)_k, the network's output starting at zero;
n counts the live items below. The teacher is q = t softmax(h.V) + (1 - t) one-hot(target): with items in code order the
mass of a prefix is a difference of cumulative sums.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training import optimiser
from training.config import Decoder
from training.distributed import ALONE, Alone
from training.model import Params, dense, gelu
from training.tokenizer import Tree

TARGET_PATH, DRAWN_PATHS = 0.3, (0.35, 0.35)  # weights of the target's path and of two paths drawn from q
BLOCK = 128  # of the blocked cumulative sum


def init(key: jax.Array, books: list[np.ndarray], hidden: int, rank: int) -> list[Params]:
    """One parameter set a level. Level 1 is part of the encoder's graph; level l > 1 is a step's graph.

    Codebooks are shared by all prefixes, so a leaf's mean differs from its codewords' sum: `fine` corrects that with a
    vector of `rank` numbers for every (last code, code), met by a projection of h."""
    sets = []
    for level, book in enumerate(books):
        count, dim = book.shape
        keys = iter(jax.random.split(jax.random.fold_in(key, level), 5 + level))
        p: Params = {
            "code": jnp.asarray(book.T),  # (dim, codes)
            "in": {"w": jax.random.normal(next(keys), (dim, hidden)) / dim**0.5, "b": jnp.zeros(hidden)},
            "out": {"w": jnp.zeros((hidden, count)), "b": jnp.zeros(count)},
        }
        if level:
            p["prefix"] = [0.5 * jax.random.normal(next(keys), (book.shape[0], hidden)) for book in books[:level]]
            p["mid"] = {"w": jax.random.normal(next(keys), (hidden, hidden)) / hidden**0.5, "b": jnp.zeros(hidden)}
            p["own"] = jnp.zeros((books[level - 1].shape[0], count))  # a bias of its own for every (last code, code)
            p["project"] = jax.random.normal(next(keys), (dim, rank)) / dim**0.5
            p["fine"] = jnp.zeros((books[level - 1].shape[0], count * rank))
        sets.append(p)
    return sets


def level_logits(p: Params, h: jax.Array, prefix: jax.Array | None) -> jax.Array:
    """Logits without log counts: h (.., dim), prefix (.., level - 1) int -> (.., codes). Level 1 has no prefix."""
    z = dense(h, p["in"])
    if prefix is None:
        z = gelu(z)
        return h @ p["code"] + dense(z, p["out"])
    for place, table in enumerate(p["prefix"]):
        z = z + table[prefix[..., place]]
    z = gelu(z)
    z = z + gelu(dense(z, p["mid"]))
    last = prefix[..., -1]
    narrow = h @ p["project"]  # (.., rank)
    fine = p["fine"][last].reshape(*last.shape, -1, narrow.shape[-1])  # (.., codes, rank)
    fitted = (fine * narrow[..., None, :]).sum(-1)
    return h @ p["code"] + dense(z, p["out"]) + p["own"][last] + fitted


def masked_log_softmax(logits: jax.Array, counts: jax.Array) -> jax.Array:
    """log softmax of logits + log counts; -1e9 where nothing lives below."""
    alive = counts > 0
    lifted = jnp.where(alive, logits + jnp.log(jnp.maximum(counts, 1)), -1e9)
    return jnp.where(alive, lifted - jax.nn.logsumexp(lifted, axis=-1, keepdims=True), -1e9)


def cumulative(mass: jax.Array) -> jax.Array:
    """(batch, n) -> (batch, n + 1) sums of the first 0..n; two triangular products, which CPUs do far faster than a scan."""
    batch, n = mass.shape
    blocks = -(-n // BLOCK)
    padded = jnp.pad(mass, ((0, 0), (0, blocks * BLOCK - n))).reshape(batch, blocks, BLOCK)
    inner = padded @ jnp.triu(jnp.ones((BLOCK, BLOCK)))
    before = inner[:, :, -1] @ jnp.triu(jnp.ones((blocks, blocks)), 1)
    sums = (inner + before[:, :, None]).reshape(batch, -1)[:, :n]
    return jnp.pad(sums, ((0, 0), (1, 0)))


def make_loss(tree: Tree, teacher: float, noise: float = 0.0) -> Callable[..., jax.Array]:
    """loss(decoder, vectors in code order, key, h, target places in code order) -> mean KL-like cross-entropy."""
    offsets = [jnp.asarray(o.astype(np.int32)) for o in tree.offsets]
    levels = tree.levels

    def children(sums: jax.Array, level: int, prefix: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mass and count of every child of `prefix` (batch,): (batch, codes of the level)."""
        edges = offsets[level][prefix[:, None] * levels[level] + jnp.arange(levels[level] + 1)]
        return jnp.maximum(jnp.diff(jnp.take_along_axis(sums, edges, axis=1)), 0.0), jnp.diff(edges)

    def node_loss(p: Params, h: jax.Array, codes: jax.Array | None, mass: jax.Array, count: jax.Array) -> jax.Array:
        target = mass / jnp.maximum(mass.sum(-1, keepdims=True), 1e-12)
        logp = masked_log_softmax(level_logits(p, h, codes), count)
        entropy = (target * jnp.log(jnp.maximum(target, 1e-12))).sum(-1)
        return (entropy - jnp.where(count > 0, target * logp, 0.0).sum(-1)).mean()

    def loss(decoder: list[Params], ordered: jax.Array, key: jax.Array, h: jax.Array, place: jax.Array) -> jax.Array:
        if noise:
            h = h + noise * h.std(0) * jax.random.normal(jax.random.fold_in(key, 0), h.shape)
        q = teacher * jax.nn.softmax(h @ ordered.T, axis=-1)
        q = q.at[jnp.arange(h.shape[0]), place].add(1 - teacher)
        sums = jax.lax.stop_gradient(cumulative(q))
        root = jnp.zeros(h.shape[0], jnp.int32)
        mass, count = children(sums, 0, root)
        total = node_loss(decoder[0], h, None, mass, count)
        for path, weight in enumerate((TARGET_PATH, *DRAWN_PATHS)):
            prefix, codes = root, jnp.zeros((h.shape[0], 0), jnp.int32)
            node_mass = mass
            for level in range(1, len(levels)):
                if path == 0:
                    edges = offsets[level - 1][
                        prefix[:, None] * levels[level - 1] + jnp.arange(1, levels[level - 1] + 1)
                    ]
                    chosen = (edges <= place[:, None]).sum(-1)
                else:
                    draw = jax.random.fold_in(jax.random.fold_in(key, path), level)
                    chosen = jax.random.categorical(draw, jnp.log(jnp.maximum(node_mass, 1e-30)))
                prefix = prefix * levels[level - 1] + chosen.astype(jnp.int32)
                codes = jnp.concatenate([codes, chosen[:, None].astype(jnp.int32)], axis=1)
                node_mass, count = children(sums, level, prefix)
                total = total + weight * node_loss(decoder[level], h, codes, node_mass, count)
        return total

    return loss


def train(
    *,
    hidden: np.ndarray,
    target: np.ndarray,
    vectors: np.ndarray,
    tree: Tree,
    books: list[np.ndarray],
    settings: Decoder,
    seed: int,
    checkpoint: Path,
    log: Callable[[str], None],
    validate: Callable[[list[Params]], str],
    share: Alone = ALONE,
) -> tuple[list[Params], dict[str, Any]]:
    """Averaged decoder weights from cached hidden states (positions, dim) and next items; resumes from `checkpoint`."""
    key = jax.random.fold_in(jax.random.key(seed), 77)
    state = optimiser.init_state(init(key, books, settings.hidden, settings.rank))
    record: dict[str, Any] = {"epochs": [], "seconds": 0.0}
    if share.first and checkpoint.exists():
        state, record = optimiser.load(checkpoint, state)
    state, done = share.from_first(state, len(record["epochs"]))
    place_of = np.empty(len(tree.order), np.int32)
    place_of[tree.order] = np.arange(len(tree.order), dtype=np.int32)
    ordered = share.everywhere(jnp.asarray(vectors[tree.order]))
    loss = make_loss(tree, settings.teacher, settings.noise)
    steps = settings.epochs * (len(hidden) // min(settings.batch, len(hidden)))

    def step(
        state: dict[str, Any], ordered: jax.Array, key: jax.Array, h: jax.Array, place: jax.Array
    ) -> tuple[Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(state["params"], ordered, key, h, place)
        rate = settings.learning_rate * (0.02 + 0.98 * 0.5 * (1 + jnp.cos(jnp.pi * state["step"] / steps)))
        return optimiser.update(state, gradient, rate, settings.average), value

    jitted = share.jit(step)
    batch = min(settings.batch, len(hidden))
    share.divides("decoder.batch", batch)
    for epoch in range(done, settings.epochs):
        began = time.monotonic()
        order = np.random.default_rng([seed, 77, epoch]).permutation(len(hidden))
        epoch_key = jax.random.fold_in(key, epoch)
        losses = []
        for number in range(len(hidden) // batch):
            chosen = order[number * batch : (number + 1) * batch]
            h, place = share.batch((hidden[chosen], place_of[target[chosen]]))
            state, value = jitted(state, ordered, jax.random.fold_in(epoch_key, number), h, place)
            losses.append(share.finished(value))
        mean, seconds = float(jnp.stack(losses).mean()), time.monotonic() - began
        if not share.first:
            continue
        record["epochs"].append({"loss": round(mean, 5), "seconds": round(seconds, 1)})
        record["seconds"] += seconds
        optimiser.save(checkpoint, state, record)
        validated = validate(share.local(state["average"]))
        log(f"epoch {epoch + 1}/{settings.epochs} divergence {mean:.4f} {seconds:.1f} s, {validated}")
    return share.local(state["average"]), record
