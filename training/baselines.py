"""Popularity and item-kNN, tuned on validation, with ranks in the full ranking of all items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data import DAY, Case, Split
from training.metrics import gains, target_ranks

BLOCK = 256
LONGEST = 200  # of a user's items that count towards co-occurrence


@dataclass(frozen=True)
class Ranked:
    unmasked: np.ndarray
    masked: np.ndarray
    choice: str


def _ranks(cases: list[Case], score_block) -> tuple[np.ndarray, np.ndarray]:
    unmasked, masked = [], []
    for start in range(0, len(cases), BLOCK):
        part = cases[start : start + BLOCK]
        scores = score_block(part)
        target = np.array([case.target for case in part])
        unmasked.append(target_ranks(scores, target))
        masked.append(target_ranks(scores, target, [case.seen for case in part]))
    return np.concatenate(unmasked), np.concatenate(masked)


def _sample(cases: list[Case], count: int = 3000) -> list[Case]:
    return cases[:: max(1, len(cases) // count)]


def _quality(ranks: tuple[np.ndarray, np.ndarray], repeats: bool) -> float:
    return float(gains(ranks[0] if repeats else ranks[1], 10).mean())


def popularity(split: Split, items: int, ordered_only: bool, repeats: bool) -> Ranked:
    """Counts of training events, over all time or the last days, whichever is best on validation."""
    rows, times = np.concatenate(split.train), np.concatenate(split.train_times)
    spans = (None,) if ordered_only else (None, 90, 30, 14, 7)
    best = (-1.0, np.zeros(items), "")
    for days in spans:
        kept = rows if days is None else rows[times >= times.max() - days * DAY]
        counts = np.bincount(kept, minlength=items).astype(np.float32)
        quality = _quality(
            _ranks(_sample(split.validation), lambda part, c=counts: np.tile(c, (len(part), 1))), repeats
        )
        if quality > best[0]:
            best = (quality, counts, "all time" if days is None else f"last {days} days")
    ranks = _ranks(split.test, lambda part: np.tile(best[1], (len(part), 1)))
    return Ranked(*ranks, best[2])


def _pair_counts(split: Split, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Users who have both (items, items), and users who have each (items,)."""
    pairs = np.zeros((items, items), np.float32)
    single = np.zeros(items, np.float32)
    for sequence in split.train:
        distinct = np.unique(sequence[-LONGEST:])
        single[distinct] += 1
        pairs[np.ix_(distinct, distinct)] += 1
    np.fill_diagonal(pairs, 0)
    return pairs, single


def item_knn(split: Split, items: int, repeats: bool) -> Ranked:
    """Cosine of co-occurrence, shrunk for rare pairs; an item's weight in the history falls with its distance from the end."""
    pairs, single = _pair_counts(split, items)
    norm = 1 / np.sqrt(np.maximum(single, 1))
    best = (-1.0, 0.0, 0.0)

    def scorer(similarity: np.ndarray, decay: float):
        def score(part: list[Case]) -> np.ndarray:
            scores = np.zeros((len(part), items), np.float32)
            for row, case in enumerate(part):
                recent = case.history[::-1][:20]
                weights = decay ** np.arange(len(recent), dtype=np.float32)
                scores[row] = weights @ similarity[recent]
            return scores

        return score

    for shrink in (0.0, 2.0, 10.0):
        similarity = pairs * norm[:, None] * norm[None] * (pairs / (pairs + shrink + 1e-9))
        for decay in (0.3, 0.5, 0.7, 0.85, 1.0):
            quality = _quality(_ranks(_sample(split.validation), scorer(similarity, decay)), repeats)
            if quality > best[0]:
                best = (quality, shrink, decay)
    _, shrink, decay = best
    similarity = pairs * norm[:, None] * norm[None] * (pairs / (pairs + shrink + 1e-9))
    return Ranked(*_ranks(split.test, scorer(similarity, decay)), f"shrink {shrink:g}, decay {decay:g} a place")
