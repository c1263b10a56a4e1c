"""Residual k-means on trained item vectors: an item's codes are the nearest codeword, level by level, of what is left.

Because the vectors are those of the item head, h.v is nearly the sum over levels of h.e, and the decoder has little to
learn. A level's codes are shared by all prefixes. `Tree` keeps items in code order, where a prefix is a range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest centre (squared distance) of every point; ties go to the smaller index."""
    return np.argmin((centres**2).sum(1) - 2 * points @ centres.T, axis=1)


def k_means(points: np.ndarray, count: int, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """Centres (count, dim): k-means++ seeds, Lloyd steps; an empty cluster restarts at the point farthest from its own."""
    centres = np.empty((count, points.shape[1]), np.float32)
    centres[0] = points[rng.integers(len(points))]
    distance = ((points - centres[0]) ** 2).sum(1)
    for index in range(1, count):
        total = distance.sum()
        chance = distance / total if total > 0 else None
        centres[index] = points[rng.choice(len(points), p=chance)]
        distance = np.minimum(distance, ((points - centres[index]) ** 2).sum(1))
    own = None
    for _ in range(iterations):
        previous, own = own, nearest(points, centres)
        if previous is not None and np.array_equal(previous, own):
            break
        sizes = np.bincount(own, minlength=count)
        sums = np.zeros((count, points.shape[1]))
        np.add.at(sums, own, points)
        centres = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
        empty = np.flatnonzero(sizes == 0)
        if len(empty):
            far = np.argsort(-((points - centres[own]) ** 2).sum(1), kind="stable")[: len(empty)]
            centres[empty[: len(far)]] = points[far]
    return centres


def encode(vectors: np.ndarray, books: list[np.ndarray]) -> np.ndarray:
    """Codes (items, levels) of item vectors: the residual's nearest codeword at each level."""
    residual = vectors.astype(np.float32)
    codes = []
    for book in books:
        code = nearest(residual, book)
        residual = residual - book[code]
        codes.append(code)
    return np.stack(codes, axis=1).astype(np.uint8)


def fit(
    vectors: np.ndarray, levels: tuple[int, ...], iterations: int, seed: int, restarts: int = 3
) -> list[np.ndarray]:
    """Codebooks, one (codes, dim) a level; of a few restarts a level keeps the one with the smallest error."""
    residual = vectors.astype(np.float32)
    books = []
    for level, count in enumerate(levels):
        best, best_error = None, np.inf
        for restart in range(restarts):
            centres = k_means(
                residual, min(count, len(residual)), iterations, np.random.default_rng([seed, level, restart])
            )
            error = float(((residual - centres[nearest(residual, centres)]) ** 2).sum())
            if error < best_error:
                best, best_error = centres, error
        assert best is not None
        missing = count - len(best)
        best = np.pad(best, ((0, missing), (0, 0)), mode="edge")  # copies lose every tie, so they stay unused
        books.append(best)
        residual = residual - best[nearest(residual, best)]
    return books


def reconstruct(codes: np.ndarray, books: list[np.ndarray]) -> np.ndarray:
    return sum(book[codes[:, level]] for level, book in enumerate(books))  # type: ignore[return-value]


@dataclass(frozen=True)
class Tree:
    """Items in code order. `order` (items,) rows by (codes, row); `offsets[l]` (prefixes of l + 1 codes + 1,) the range
    of each prefix in that order; `prefix[l]` (items,) each row's prefix number c_1 K_2 .. K_{l+1} + .. + c_{l+1}."""

    levels: tuple[int, ...]
    order: np.ndarray
    offsets: list[np.ndarray]
    prefix: list[np.ndarray]

    @property
    def leaf_sizes(self) -> np.ndarray:
        return np.diff(self.offsets[-1])


def tree(codes: np.ndarray, levels: tuple[int, ...]) -> Tree:
    prefix, number = [], np.zeros(len(codes), np.int64)
    for level, count in enumerate(levels):
        number = number * count + codes[:, level]
        prefix.append(number)
    order = np.argsort(number, kind="stable")
    offsets, total = [], 1
    for level, count in enumerate(levels):
        total *= count
        offsets.append(np.searchsorted(prefix[level][order], np.arange(total + 1)))
    return Tree(levels, order, offsets, prefix)
