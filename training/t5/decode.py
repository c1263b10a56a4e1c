"""Constrained beam search over real items: dead codes never get probability, and a beam ends as exactly one item.

A prefix is a range of items in code order (`tokenizer.Tree`); one without a live item is dead. At each step a beam's
probability is a softmax over its live children, so the probabilities of a history's live items sum to one.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from training.data import Case
from training.model import Params
from training.t5 import model
from training.t5.prefixes import Tokens, history_tokens
from training.tokenizer import Tree

Cache = list[tuple[jax.Array, jax.Array]]


@partial(jax.jit, static_argnums=3)
def _remember(params: Params, ids: jax.Array, real: jax.Array, heads: int) -> Cache:
    return model.memory(params, model.encode(params, ids, real, heads))


@partial(jax.jit, static_argnums=(4, 5))
def _next(
    params: Params, kept: Cache, real: jax.Array, prefix: jax.Array, heads: int, sizes: tuple[int, ...]
) -> jax.Array:
    """Logits (cases, beams, sizes[level]) of the token after `prefix` (cases, beams, level + 1)."""
    level = prefix.shape[2] - 1
    return model.level_logits(params, model.decode(params, kept, real, prefix, heads)[:, :, -1], level, sizes)


def _log_softmax(logits: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Over the live entries of the last axis; -inf elsewhere, and everywhere where none is alive."""
    lifted = np.where(alive, logits, -np.inf)
    top = np.maximum(lifted.max(-1, keepdims=True), -1e30)
    return lifted - (top + np.log(np.exp(lifted - top).sum(-1, keepdims=True) + 1e-38))


def _alive_prefixes(tree: Tree, level: int, cases: int, seen: list[np.ndarray] | None) -> np.ndarray:
    """Boolean (cases, prefixes of level + 1 codes): whether an item is left below."""
    counts = np.repeat(np.diff(tree.offsets[level])[None], cases, axis=0)
    for case, rows in enumerate(seen or []):
        np.subtract.at(counts[case], tree.prefix[level][rows], 1)
    return counts > 0


def _alive_items(tree: Tree, leaves: np.ndarray, width: int, seen: list[np.ndarray] | None) -> np.ndarray:
    """Boolean (cases, beams, width): whether the leaf has a live item at that place."""
    alive = np.arange(width) < tree.leaf_sizes[leaves][..., None]
    if seen is not None:
        rows = _item_at(tree, leaves[..., None], np.arange(width))
        dead = np.zeros(len(tree.order), bool)
        for case, own in enumerate(seen):
            dead[own] = True
            alive[case] &= ~dead[rows[case]]
            dead[own] = False
    return alive


def _item_at(tree: Tree, leaves: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Row of the item at a place of a leaf; some row where there is none."""
    return tree.order[np.minimum(tree.offsets[-1][leaves] + place, len(tree.order) - 1)]


def search(
    params: Params,
    tokens: Tokens,
    tree: Tree,
    histories: list[np.ndarray],
    seen: list[np.ndarray] | None,
    *,
    heads: int,
    items: int,
    beams: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of items and their log-probabilities, best first, both (cases, at most `beams`); -inf marks an unused place.
    Items of `seen` are no longer alive for their case."""
    sizes, cases = tokens.sizes, len(histories)
    ids, real = history_tokens(tokens, histories, items)
    kept = _remember(params, ids, real, heads)
    prefix = np.full((cases, 1, 1), model.START, np.int32)
    number, logp = np.zeros((cases, 1), np.int64), np.zeros((cases, 1))
    for level, size in enumerate(sizes):
        logits = np.asarray(_next(params, kept, real, prefix, heads, sizes), np.float64)
        if level < len(tree.levels):
            children = number[:, :, None] * size + np.arange(size)
            alive = _alive_prefixes(tree, level, cases, seen)[np.arange(cases)[:, None, None], children]
        else:
            children = _item_at(tree, number[:, :, None], np.arange(size))
            alive = _alive_items(tree, number, size, seen)
        total = (logp[:, :, None] + _log_softmax(logits, alive)).reshape(cases, -1)
        best = np.argsort(-total, axis=1, kind="stable")[:, :beams]
        number = np.take_along_axis(children.reshape(cases, -1), best, 1)
        logp = np.take_along_axis(total, best, 1)
        parent = np.take_along_axis(prefix, (best // size)[:, :, None], 1)
        added = (best % size + tokens.firsts[level]).astype(np.int32)
        prefix = np.concatenate([parent, added[:, :, None]], axis=2)
    return number, logp


def target_ranks(
    params: Params,
    tokens: Tokens,
    tree: Tree,
    cases: list[Case],
    masked: bool,
    *,
    heads: int,
    items: int,
    beams: int,
    block: int = 128,
) -> np.ndarray:
    """0-based rank of each target among the beams; -1 where it is not one of them. Histories of similar length share a
    block, and blocks have few shapes."""
    ranks = np.full(len(cases), -1, np.int64)
    order = np.argsort([min(items, len(case.history)) for case in cases], kind="stable")
    for start in range(0, len(order), block):
        part = [cases[i] for i in order[start : start + block]]
        longest = min(items, max(len(case.history) for case in part))
        width = min(items, 1 << max(2, (longest - 1).bit_length()))
        full = part + [part[-1]] * (block - len(part))
        seen = [case.seen for case in full] if masked else None
        histories = [case.history for case in full]
        rows, logp = search(params, tokens, tree, histories, seen, heads=heads, items=width, beams=beams)
        found = (rows == np.array([case.target for case in full])[:, None]) & np.isfinite(logp)
        hit = found.any(1)[: len(part)]
        ranks[order[start : start + len(part)][hit]] = found.argmax(1)[: len(part)][hit]
    return ranks
