"""What the edge computes, in NumPy and JAX: int8 weights, beams over codes, exact scores inside the best leaves.

The reference for `parity.json` and for the served rows of the evaluation. Weights are stored as int8 with a float32 scale
a column (item vectors: a row) and are turned back to float32 before any arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training.config import Serve
from training.data import Case
from training.decoder import level_logits
from training.model import Params
from training.product_quantiser import ProductVectors
from training.tokenizer import Tree
from training.trunk import hidden_states

KEEP_FLOAT = ("pos", "g", "b")  # positions, norms and biases stay float32


@dataclass(frozen=True)
class Served:
    """A model as it is served: float32 arrays, already dequantised for the int8 artefact."""

    backbone: Params
    decoder: list[Params]
    text: Params
    books: list[np.ndarray]
    vectors: np.ndarray  # (items, dim)
    codes: np.ndarray  # (items, levels) uint8
    tree: Tree
    heads: int
    length: int
    product: ProductVectors | None = None  # where `vectors` are those of it


def quantise(w: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8: (int8 like w, float32 scales over the other axis); w is about int8 * scale."""
    largest = np.abs(w).max(axis=axis, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.clip(np.rint(w / scale), -127, 127).astype(np.int8), scale.squeeze(axis)


def dequantise(values: np.ndarray, scale: np.ndarray, axis: int = 0) -> np.ndarray:
    return values.astype(np.float32) * np.expand_dims(scale, axis)


def as_stored(tree: Any, int8: bool) -> Any:
    """Every 2-D weight as the artefact holds it, back in float32; positions, norms and biases as they are."""

    def leaf(path: tuple[Any, ...], value: Any) -> np.ndarray:
        array = np.asarray(value, np.float32)
        name = getattr(path[-1], "key", None)
        if not int8 or array.ndim != 2 or name in KEEP_FLOAT:
            return array
        return dequantise(*quantise(array))

    return jax.tree_util.tree_map_with_path(leaf, tree)


def served_model(
    params: Params,
    decoder: list[Params],
    books: list[np.ndarray],
    vectors: np.ndarray,
    codes: np.ndarray,
    tree: Tree,
    heads: int,
    length: int,
    int8: bool,
    product: ProductVectors | None = None,
) -> Served:
    """With `int8`, everything as the artefact stores it; its item vectors are product-quantised where `product` is given."""
    stored = dequantise(*quantise(vectors, 1), 1) if int8 else vectors
    if product is not None:
        stored = product.vectors
    backbone = {k: v for k, v in params.items() if k not in ("item", "text")}
    return Served(
        as_stored(backbone, int8),
        as_stored(decoder, int8),
        as_stored(params["text"], int8),
        [as_stored({"w": book}, int8)["w"] for book in books],
        stored,
        codes,
        tree,
        heads,
        length,
        product,
    )


def _log_softmax(lifted: np.ndarray) -> np.ndarray:
    top = np.maximum(lifted.max(-1, keepdims=True), -1e30)
    return lifted - (top + np.log(np.exp(lifted - top).sum(-1, keepdims=True) + 1e-38))


def _lift(logits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return _log_softmax(logits + np.log(counts))


_logits = jax.jit(level_logits)


@dataclass(frozen=True)
class Decoded:
    """Candidates of one case, unordered: rows, log-probabilities and h.v."""

    rows: np.ndarray
    log_probability: np.ndarray
    dot: np.ndarray

    def ranked(self, alpha: float) -> np.ndarray:
        score = alpha * self.log_probability + (1 - alpha) * self.dot
        return self.rows[np.lexsort((self.rows, -score))]


def _members(tree: Tree, leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the items of some leaves, one leaf after another, and the place of each one's leaf in `leaves`."""
    start, size = tree.offsets[-1][leaves], tree.leaf_sizes[leaves]
    shift = np.repeat(start - (np.cumsum(size) - size), size)
    return tree.order[np.arange(size.sum()) + shift], np.repeat(np.arange(len(leaves)), size)


def decode(model: Served, h: np.ndarray, serve: Serve, seen: list[np.ndarray] | None) -> list[Decoded]:
    """Beams and leaves for a block of hidden states (cases, dim); `seen` rows are no longer alive for their case."""
    tree, levels = model.tree, model.tree.levels
    cases = len(h)
    which = np.arange(cases)[:, None, None]
    alive: list[np.ndarray] = []
    for level in range(len(levels)):
        counts = np.repeat(np.diff(tree.offsets[level])[None].astype(np.float32), cases, axis=0)
        if seen is not None:
            for case, rows in enumerate(seen):
                np.subtract.at(counts[case], tree.prefix[level][rows], 1)
        alive.append(counts)
    logp = _lift(np.asarray(_logits(model.decoder[0], jnp.asarray(h), None)), alive[0])  # (cases, K_1)
    number = np.broadcast_to(np.arange(levels[0]), logp.shape)
    for level in range(1, len(levels)):
        keep = min(serve.beams[level - 1], logp.shape[1])
        best = np.argsort(-logp, axis=1, kind="stable")[:, :keep]
        number, logp = np.take_along_axis(number, best, 1), np.take_along_axis(logp, best, 1)
        parts, rest = [], number
        for size in reversed(levels[:level]):
            parts.append(rest % size)
            rest = rest // size
        prefix = np.stack(parts[::-1], -1).astype(np.int32)  # (cases, beams, level)
        hidden = np.broadcast_to(h[:, None], (cases, keep, h.shape[1]))
        logits = np.asarray(_logits(model.decoder[level], hidden, prefix))
        children = number[:, :, None] * levels[level] + np.arange(levels[level])
        step = _lift(logits, alive[level][which, children])
        dead = ~np.isfinite(logp)
        step[dead] = -np.inf
        logp = (np.where(dead, 0, logp)[:, :, None] + step).reshape(cases, -1)
        number = children.reshape(cases, -1)
    best = np.argsort(-logp, axis=1, kind="stable")[:, : serve.leaves]
    number, logp = np.take_along_axis(number, best, 1), np.take_along_axis(logp, best, 1)
    dots = h @ model.vectors.T
    results = []
    dead_rows = np.zeros(len(model.vectors), bool)
    for case in range(cases):
        live = np.isfinite(logp[case])
        members, owner = _members(tree, number[case][live])
        if seen is not None and len(seen[case]):
            dead_rows[seen[case]] = True
            kept = ~dead_rows[members]
            members, owner = members[kept], owner[kept]
            dead_rows[seen[case]] = False
        inside = dots[case, members]
        first = np.searchsorted(owner, np.arange(live.sum()))  # every live leaf has a live item
        top = np.maximum.reduceat(inside, first)
        norm = top + np.log(np.add.reduceat(np.exp(inside - top[owner]), first))
        results.append(Decoded(members, logp[case][live][owner] + inside - norm[owner], inside))
    return results


def decode_cases(model: Served, cases: list[Case], serve: Serve, masked: bool) -> list[Decoded]:
    """All cases in blocks, from their histories."""
    h = hidden_states(model.backbone, jnp.asarray(model.vectors), cases, model.heads, model.length)
    results: list[Decoded] = []
    block = max(16, min(256, 2**24 // int(np.prod(model.tree.levels))))
    for start in range(0, len(cases), block):
        part = cases[start : start + block]
        states = h[start : start + block]
        missing = block - len(part)
        seen = [case.seen for case in part] if masked else None
        if missing:  # keep the shapes, so nothing compiles again
            states = np.pad(states, ((0, missing), (0, 0)))
            seen = None if seen is None else seen + [np.zeros(0, np.int64)] * missing
        results += decode(model, states, serve, seen)[: len(part)]
    return results


def rank_in(decoded: list[Decoded], cases: list[Case], alpha: float) -> np.ndarray:
    """0-based rank of each target among the candidates; -1 where it is not one of them."""
    ranks = np.full(len(cases), -1, np.int64)
    for index, (candidates, case) in enumerate(zip(decoded, cases, strict=True)):
        own = np.flatnonzero(candidates.rows == case.target)
        if len(own):
            score = alpha * candidates.log_probability + (1 - alpha) * candidates.dot
            better = score > score[own[0]]
            better |= (score == score[own[0]]) & (candidates.rows < case.target)
            ranks[index] = int(better.sum())
    return ranks


def overlap_with_exact(model: Served, decoded: list[Decoded], h: np.ndarray, alpha: float, k: int = 10) -> float:
    """Mean share of the exact top k by h.v that is in the served top k."""
    exact = np.argsort(-(h @ model.vectors.T), axis=1, kind="stable")[:, :k]
    shares = [len(np.intersect1d(d.ranked(alpha)[:k], row)) / k for d, row in zip(decoded, exact, strict=True)]
    return float(np.mean(shares))
