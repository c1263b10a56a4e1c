"""Ranking figures from 0-based ranks, and paired bootstrap intervals over users."""

from __future__ import annotations

import numpy as np


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """1.0 where the target is among the first k; -1 means that the target was not returned."""
    return ((ranks >= 0) & (ranks < k)).astype(np.float64)


def gains(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 / log2(rank + 2) where the target is among the first k, else 0: NDCG of a list with one relevant item."""
    return np.where((ranks >= 0) & (ranks < k), 1.0 / np.log2(np.maximum(ranks, 0) + 2.0), 0.0)


def summary(ranks: np.ndarray) -> dict[str, float]:
    """Recall and NDCG at 5 and 10."""
    return {
        "recall5": float(hits(ranks, 5).mean()),
        "ndcg5": float(gains(ranks, 5).mean()),
        "recall10": float(hits(ranks, 10).mean()),
        "ndcg10": float(gains(ranks, 10).mean()),
    }


def list_metrics(relevant: dict[int, set[int]], ranked: dict[int, list[int]], k: int) -> dict[str, float]:
    """Precision, recall, NDCG and MAP at k for lists with any number of relevant items; mean over users in both tables."""
    rows = []
    for user in sorted(relevant.keys() & ranked.keys()):
        truth, top = relevant[user], ranked[user][:k]
        hit = np.array([item in truth for item in top], dtype=float)
        places = np.arange(len(top))
        ideal = (1.0 / np.log2(np.arange(min(len(truth), k)) + 2.0)).sum()
        precision_at_hit = hit * np.cumsum(hit) / (places + 1)
        rows.append(
            (
                hit.sum() / k,
                hit.sum() / len(truth),
                (hit / np.log2(places + 2.0)).sum() / ideal,
                precision_at_hit.sum() / min(len(truth), k),
            )
        )
    return dict(zip(("precision", "recall", "ndcg", "map"), map(float, np.mean(rows, axis=0)), strict=True))


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, users: np.ndarray, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of first - second over cases, with a 95 % interval from resampling users (all cases of a user together)."""
    _, row = np.unique(users, return_inverse=True)
    count = row.max() + 1
    total = np.bincount(row, first - second, count)
    size = np.bincount(row, minlength=count)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        picked = rng.integers(0, count, count)
        means[draw] = total[picked].sum() / size[picked].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return float((first - second).mean()), float(low), float(high)


def target_ranks(scores: np.ndarray, target: np.ndarray, masked: list[np.ndarray] | None = None) -> np.ndarray:
    """0-based rank of each target in the full ranking of scores (cases, items); ties go to the smaller row. With `masked`,
    those rows leave the ranking; a target among them is ranked as not returned (-1)."""
    ranks = np.empty(len(target), np.int64)
    for case, wanted in enumerate(target):
        row = scores[case]
        own = row[wanted]
        better = row > own
        better[:wanted] |= row[:wanted] == own
        if masked is not None:
            better[masked[case]] = False
        ranks[case] = -1 if masked is not None and wanted in masked[case] else int(better.sum())
    return ranks
