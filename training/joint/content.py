"""Frozen content vectors of items that need no outside model: TF-IDF over the catalogue's own byte pairs, truncated SVD."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import svds

from training.text import token_matrix, train_tokenizer

VOCABULARY, WIDTH = 4000, 96  # byte pairs; tokens of a text that count
RARITY = (
    2  # power of the inverse document frequency: on Larder the ten nearest share a cuisine at .86, with power 1 at .68
)


def content_vectors(texts: list[str], dim: int) -> np.ndarray:
    """float32 (items, dim), columns by falling singular value, centred; the mean square over all entries is 1.

    Columns keep their relative scale: whitened ones would let the noise of the last weigh as much as the first topics."""
    tokens = token_matrix(train_tokenizer(texts, VOCABULARY), texts, WIDTH)
    rows, columns = np.nonzero(tokens)
    counts = csr_matrix((np.ones(len(rows)), (rows, tokens[rows, columns])), shape=(len(texts), int(tokens.max()) + 1))
    counts.sum_duplicates()
    found = np.asarray((counts > 0).sum(0)).ravel()
    counts.data = 1 + np.log(counts.data)
    weighted = counts @ diags((np.log((1 + len(texts)) / (1 + found)) + 1) ** RARITY)
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    weighted = diags(1 / np.maximum(lengths, 1e-12)) @ weighted
    kept = min(dim, min(weighted.shape) - 1)
    left, values, right = svds(weighted.tocsr(), k=kept, v0=np.ones(min(weighted.shape)))
    order = np.argsort(-values)
    signs = np.sign(right[order][np.arange(kept), np.abs(right[order]).argmax(1)])  # a component's sign is arbitrary
    vectors = left[:, order] * values[order] * signs
    vectors -= vectors.mean(0)
    vectors /= max(np.sqrt((vectors**2).mean()), 1e-12)
    return np.pad(vectors, ((0, 0), (0, dim - kept))).astype(np.float32)
