"""What to look at while tokenizer and recommender learn together: use of the codes, how far they move, how well users'
code distributions meet their targets', what the wrong answers look like, and what hardening the identifiers costs.

Code tables are int arrays (items, levels), one codebook order throughout; figures are floats, ready for a JSON record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from training.joint import soda
from training.metrics import hits, paired_bootstrap

_terms = jax.jit(soda.soda_terms, static_argnames=("direction", "over_levels", "negative"))


def code_entropy(codes: np.ndarray) -> list[float]:
    """Entropy of code use over items, in bits, a level: 0 when all items share a code, log2 K when K codes are used
    alike (UniGRec, arXiv 2601.17438, prints this figure)."""
    bits = []
    for column in codes.T:
        share = np.unique(column, return_counts=True)[1] / len(column)
        bits.append(float(abs((share * np.log2(share)).sum())))
    return bits


def collision_rate(codes: np.ndarray) -> float:
    """Share of items that have all codes in common with some other item."""
    _, inverse, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    return float((sizes[inverse.reshape(-1)] > 1).mean())


def code_changes(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """`per_level`: share of items whose code changed at each level; `at_most_one`: share with one level changed or none.
    Raises ValueError when the tables differ in shape."""
    if before.shape != after.shape:
        raise ValueError(f"code tables of shapes {before.shape} and {after.shape}")
    changed = before != after
    return {
        "per_level": [float(share) for share in changed.mean(0)],
        "at_most_one": float((changed.sum(1) <= 1).mean()),
    }


def margin_statistics(
    target: soda.Distributions,
    user: soda.Distributions,
    owner: np.ndarray,
    weight: np.ndarray,
    *,
    direction: soda.Direction = "forward",
    over_levels: soda.OverLevels = "mean",
    negative: soda.Negative = "average",
    key: jax.Array | None = None,
) -> dict[str, float]:
    """SODA's two divergences over held-out users, weighted; switches as in `soda.soda_loss`.

    `positive`, `negative`: mean nats to the own and to the contrasting distribution; `share_won`: rows with negative above
    positive; `share_at_floor`: rows where the user gives the target's best code no more than soda.FLOOR at some level, so
    that it has no gradient there. All NaN when no row has another user to contrast with."""
    positive, contrast, counted = (
        np.asarray(part, np.float64)
        for part in _terms(
            target, user, owner, weight, direction=direction, over_levels=over_levels, negative=negative, key=key
        )
    )
    at_floor = np.zeros(len(counted), bool)
    for wanted, given in zip(target, user, strict=True):
        best = np.asarray(wanted).argmax(-1)
        at_floor |= np.asarray(given)[np.arange(len(best)), best] <= soda.FLOOR
    figures = {
        "positive": positive,
        "negative": contrast,
        "share_won": contrast > positive,
        "share_at_floor": at_floor,
    }
    total = counted.sum()
    return {name: float((counted * values).sum() / total) if total > 0 else np.nan for name, values in figures.items()}


def sharpness(distributions: Sequence[np.ndarray | jax.Array]) -> list[float]:
    """Mean probability of the best code a level: 1/K_l when tau is far too high, 1 when soft identifiers are hard ones."""
    return [float(np.asarray(p, np.float64).max(-1).mean()) for p in distributions]


def near_misses(ranked: np.ndarray, target: np.ndarray, content: np.ndarray, k: int = 10) -> np.ndarray:
    """(cases,) mean cosine between the target's content vector and those of the wrong items among the first k.

    `ranked` (cases, at least k) item rows, -1 where a list is short; `target` (cases,); `content` (items, width), where a
    zero vector has cosine 0. NaN for a case without wrong items."""
    length = np.linalg.norm(content, axis=1, keepdims=True)
    unit = content / np.where(length > 0, length, 1)
    shown = ranked[:, :k]
    wrong = (shown >= 0) & (shown != target[:, None])
    cosine = np.einsum("ckd,cd->ck", unit[np.maximum(shown, 0)], unit[target])
    count = wrong.sum(1)
    return np.where(count > 0, (cosine * wrong).sum(1) / np.maximum(count, 1), np.nan)


def near_miss_similarity(ranked: np.ndarray, target: np.ndarray, content: np.ndarray, k: int = 10) -> float:
    """Mean of `near_misses` over the cases that have wrong items; NaN when none has."""
    per_case = near_misses(ranked, target, content, k)
    kept = per_case[~np.isnan(per_case)]
    return float(kept.mean()) if len(kept) else np.nan


def soft_hard_gap(soft_ranks: np.ndarray, hard_ranks: np.ndarray, users: np.ndarray, k: int = 10) -> dict[str, float]:
    """Recall@k with soft identifiers in the history less that with hard ones, on the same cases, with the 95 % interval of
    a paired bootstrap over users; about 0 when annealing has closed the gap. Ranks are 0-based, -1 = not returned."""
    soft, hard = hits(soft_ranks, k), hits(hard_ranks, k)
    gap, low, high = paired_bootstrap(soft, hard, users)
    return {"soft": float(soft.mean()), "hard": float(hard.mean()), "gap": gap, "low": low, "high": high}
