"""Beams over three levels of hard codes for thousands of cases at once; what training.serving.decode computes, in blocks.

A leaf's probability is shared among its live items by weights of the items: their popularity, or exp(h.v) with the item
head. The user's earlier items are dead in every count where they leave the ranking.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from training.decoder import level_logits, masked_log_softmax
from training.joint.recommender import counts_of
from training.model import Params
from training.tokenizer import Tree, tree

BLOCK, SHOWN = 256, 10


@partial(jax.jit, static_argnums=(4, 5))
def _leaves(
    sets: list[Params], counts: list[jax.Array], h: jax.Array, seen: list[jax.Array], beams: int, leaves: int
) -> tuple[jax.Array, jax.Array]:
    """Numbers (cases, leaves) of the best leaves and their log-probabilities; seen[l] (cases, n) prefix numbers at level l
    of dead items, -1 for none."""
    cases, size = h.shape[0], counts[0].shape[-1]
    number, logp = jnp.zeros((cases, 1), jnp.int32), jnp.zeros((cases, 1))
    prefix = jnp.zeros((cases, 1, 0), jnp.int32)
    for level, p in enumerate(sets):
        wide = jnp.broadcast_to(h[:, None], (cases, number.shape[1], h.shape[1]))
        logits = level_logits(p, wide, prefix if level else None)
        dead = seen[level]
        below = (dead[:, None] // size == number[..., None]) & (dead[:, None] >= 0)  # (cases, beams, n)
        gone = jnp.einsum("cbn,cnk->cbk", below.astype(jnp.float32), jax.nn.one_hot(dead % size, size))
        step = masked_log_softmax(logits, counts[level][number] - gone)
        total = (logp[..., None] + step).reshape(cases, -1)
        kept = min(leaves if level + 1 == len(sets) else beams, total.shape[1])
        logp, at = jax.lax.top_k(total, kept)
        parent, code = at // size, (at % size).astype(jnp.int32)
        number = jnp.take_along_axis(number, parent, 1) * size + code
        prefix = jnp.concatenate([jnp.take_along_axis(prefix, parent[..., None], 1), code[..., None]], -1)
    return number, logp


def _members(structure: Tree, leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Items of some leaves (n,), one leaf after another, and the place of each one's leaf."""
    start, sizes = structure.offsets[-1][leaves], structure.leaf_sizes[leaves]
    place = np.repeat(np.arange(len(leaves)), sizes)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return structure.order[start[place] + within], place


def rank(
    sets: list[Params],
    codes: np.ndarray,
    size: int,
    h: np.ndarray,
    target: np.ndarray,
    seen: list[np.ndarray] | None,
    log_weight: np.ndarray,
    vectors: np.ndarray | None,
    beams: int,
    leaves: int,
) -> tuple[np.ndarray, np.ndarray]:
    """0-based rank of each case's target, -1 where it is no candidate, and the first ten items (cases, 10), -1 where fewer.

    h (cases, dim), codes (items, levels), `seen` dead rows a case, `log_weight` (items,) for the share inside a leaf, or
    item `vectors` (items, dim) of which h.v takes its place. Ties go to the smaller row."""
    structure = tree(codes, (size,) * codes.shape[1])
    counts = [jnp.asarray(c) for c in counts_of(codes, size).levels]
    ranks, shown = np.full(len(h), -1, np.int64), np.full((len(h), SHOWN), -1, np.int64)
    width = max((len(rows) for rows in seen), default=1) if seen else 1
    items = len(codes)
    for start in range(0, len(h), BLOCK):
        states, wanted = h[start : start + BLOCK], target[start : start + BLOCK]
        cases = len(states)
        dead = np.full((BLOCK, width), -1, np.int64)
        if seen:
            for case, rows in enumerate(seen[start : start + BLOCK]):
                dead[case, : len(rows)] = rows
        prefixes = [np.where(dead >= 0, p[dead], -1).astype(np.int32) for p in structure.prefix]
        number, logp = _leaves(sets, counts, np.pad(states, ((0, BLOCK - cases), (0, 0))), prefixes, beams, leaves)
        number, logp = np.asarray(number)[:cases].ravel(), np.asarray(logp)[:cases].ravel().astype(np.float64)
        rows, leaf = _members(structure, number)
        case = leaf // (len(number) // cases)
        alive = logp[leaf] > -1e8
        if seen:
            alive &= ~np.isin(
                case * items + rows, (np.arange(cases)[:, None] * items + dead[:cases])[dead[:cases] >= 0]
            )
        rows, leaf, case = rows[alive], leaf[alive], case[alive]
        inside = log_weight[rows] if vectors is None else (states[case] * vectors[rows]).sum(1)
        top = np.full(len(number), -np.inf)
        np.maximum.at(top, leaf, inside)
        norm = np.bincount(leaf, np.exp(inside - top[leaf]), len(number))
        score = logp[leaf] + inside - top[leaf] - np.log(norm[leaf])
        order = np.lexsort((rows, -score, case))
        sorted_case = case[order]
        place = np.arange(len(order)) - np.searchsorted(sorted_case, sorted_case)
        ranked = rows[order]
        hit = ranked == wanted[sorted_case]
        ranks[start + sorted_case[hit]] = place[hit]
        first = place < SHOWN
        shown[start + sorted_case[first], place[first]] = ranked[first]
    return ranks, shown
