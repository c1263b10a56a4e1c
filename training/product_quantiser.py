"""Product quantisation of item vectors (Jégou, Douze, Schmid 2011, "Product quantization for nearest neighbor search").

What the codewords of an item's own codes leave of its vector is cut into subspaces, each with 256 centroids of its own, so
an item costs a byte a subspace. The codes are stored anyway: quantising the residual in place of the vector is for free.
A rotation before the cut (Ge et al. 2013) was tried with eigenvalue allocation and left out: on Beauty's vectors the error
rose by 3 %, since residuals spread over all directions nearly alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.tokenizer import k_means, nearest

CENTROIDS = 256
BLOCK = 65_536  # vectors at a time; k-means looks at as many at most


@dataclass(frozen=True)
class ProductVectors:
    """Item vectors as an artefact of dtype pq holds them. Codewords and centroids are int8 with a float32 scale a codeword and
    a scale a subspace, which costs nothing in the error that counts: what is quantised is what the stored codewords leave."""

    codewords: np.ndarray  # (sum of levels, dim) int8; zeros where the vectors themselves were quantised
    codeword_scales: np.ndarray  # (sum of levels,)
    centroids: np.ndarray  # (subspaces, 256, dim / subspaces) int8
    centroid_scales: np.ndarray  # (subspaces,)
    words: np.ndarray  # (items, levels) each item's codewords
    values: np.ndarray  # (items, subspaces) uint8

    @property
    def vectors(self) -> np.ndarray:
        """(items, dim) float32, as the Worker reads them."""
        base = _sum_of_words(self.codewords, self.codeword_scales, self.words)
        return base + decode(self.values, _real(self.centroids, self.centroid_scales))

    def files(self) -> dict[str, bytes]:
        """pq.bin and centroids.bin of the artefact."""
        scales = [self.codeword_scales.astype("<f4"), self.centroid_scales.astype("<f4")]
        parts = [self.codewords, self.centroids, *scales]
        return {
            "pq.bin": self.values.astype(np.uint8).tobytes(),
            "centroids.bin": b"".join(part.tobytes() for part in parts),
        }


def _whole(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8, and a float32 scale for each entry of the first axis."""
    largest = np.abs(values).reshape(len(values), -1).max(1)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8), scale


def _real(whole: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return whole.astype(np.float32) * scale.reshape(-1, *[1] * (whole.ndim - 1))


def _sum_of_words(codewords: np.ndarray, scales: np.ndarray, words: np.ndarray) -> np.ndarray:
    return _real(codewords, scales)[words].sum(axis=1)


def fit_centroids(points: np.ndarray, subspaces: int, iterations: int, seed: int) -> np.ndarray:
    """(subspaces, 256, dim / subspaces) by k-means in each subspace; of many points a sample."""
    rng = np.random.default_rng([seed, subspaces])
    if len(points) > BLOCK:
        points = points[np.sort(rng.choice(len(points), BLOCK, replace=False))]
    centroids = []
    for part in np.split(points, subspaces, axis=1):
        own = k_means(np.ascontiguousarray(part), min(CENTROIDS, len(part)), iterations, rng)
        # copies of the last one lose every tie, so they stay unused
        centroids.append(np.pad(own, ((0, CENTROIDS - len(own)), (0, 0)), mode="edge"))
    return np.stack(centroids)


def encode(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """(points, subspaces) uint8: the nearest of the float32 centroids in each subspace, the first of equals."""
    values = np.empty((len(points), len(centroids)), np.uint8)
    for start in range(0, len(points), BLOCK):
        parts = np.split(points[start : start + BLOCK], len(centroids), axis=1)
        for subspace, part in enumerate(parts):
            values[start : start + BLOCK, subspace] = nearest(part, centroids[subspace])
    return values


def decode(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """(points, dim): the chosen float32 centroids beside each other."""
    return np.concatenate([own[values[:, subspace]] for subspace, own in enumerate(centroids)], axis=1)


def quantise(
    vectors: np.ndarray, codes: np.ndarray, books: list[np.ndarray], subspaces: int, seed: int, iterations: int = 20
) -> ProductVectors:
    """Fits and encodes; `books` of zeros quantise the vectors themselves."""
    if vectors.shape[1] % subspaces:
        raise ValueError(f"{subspaces} subspaces do not divide {vectors.shape[1]} dimensions")
    codewords, codeword_scales = _whole(np.concatenate(books))
    words = codes + np.cumsum([0] + [len(book) for book in books[:-1]])
    residual = vectors.astype(np.float32) - _sum_of_words(codewords, codeword_scales, words)
    centroids, scales = _whole(fit_centroids(residual, subspaces, iterations, seed))
    values = encode(residual, _real(centroids, scales))
    return ProductVectors(codewords, codeword_scales, centroids, scales, words, values)
