"""Scores of training samples under a proxy policy, the greedy choice, and the order of what was chosen.

Each part is a switch of `Plan`. `released` is the authors' code as it is, `robust` what we recommend: their Gaussian sits where no reward
lies (mean .055, centre .5) and is nearly 0 for 94 % of their samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

FOLD = 64
FOLD_SEED = 42


@dataclass(frozen=True)
class Plan:
    """What decides the choice. Switching all parts off leaves a random choice in random order."""

    count: int
    learnability: Literal["robust", "released"] | None = "robust"
    representativeness: bool = True
    diversity: bool = True
    hard_reject: bool = True
    curriculum: Literal["saw-tooth", "ramp"] | None = "saw-tooth"
    alpha: float = 1.0  # weight of learnability beside representativeness
    least_deviation: float = 0.01  # of rewards inside a group: below, it gives no advantage worth the name
    centre: float | None = None  # of the Gaussian, in place of the variant's own
    seed: int = 0


@dataclass(frozen=True)
class Samples:
    """What a proxy policy tells of N samples. `rewards` (N, K) of K draws each, `gradients` and `curvature` (N, P): the policy
    gradient and its Hessian-vector product on some layer, `embeddings` (N, D) of users."""

    rewards: np.ndarray
    gradients: np.ndarray
    curvature: np.ndarray | None
    embeddings: np.ndarray


def scaled(values: np.ndarray) -> np.ndarray:
    """To [0, 1]; all 1 where they are equal."""
    low, high = values.min(), values.max()
    return np.ones_like(values, dtype=np.float64) if high == low else (values - low) / (high - low)


def learnability(
    rewards: np.ndarray, variant: Literal["robust", "released"] = "robust", centre: float | None = None
) -> np.ndarray:
    """(N, K) rewards -> (N) in [0, 1]: a Gaussian of the mean reward, highest for what is neither known nor hopeless."""
    means = rewards.mean(axis=1)
    if variant == "released":
        middle, width = 0.5, rewards.std()
    else:
        low, high = np.quantile(rewards, [0.05, 0.95])
        middle, width = (low + high) / 2, (high - low) / 4
    middle = middle if centre is None else centre
    return scaled(np.exp(-((means - middle) ** 2) / (2 * max(width, 1e-9) ** 2)))


def representativeness(samples: Samples, reference: np.ndarray | None = None) -> np.ndarray:
    """(N) in [0, 1]: how far a sample's curvature-corrected gradient points where training on everything goes.

    `reference` (P) is that direction where it is known; otherwise the mean stands for it.
    """
    vectors = samples.gradients if samples.curvature is None else samples.curvature
    towards = vectors.mean(axis=0) if reference is None else reference
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(towards)
    cosine = np.divide(vectors @ towards, norms, out=np.zeros(len(vectors)), where=norms > 0)
    return scaled((cosine + 1) / 2)


def greedy(scores: np.ndarray, embeddings: np.ndarray, count: int, diversity: bool = True) -> np.ndarray:
    """(count) indices, the best first; each next one weighs its score by its distance to what was chosen before.

    The distance is the smallest cosine distance to a chosen sample, min-max scaled over those that are left. O(count N D).
    """
    count = min(count, len(scores))
    if not diversity:
        return np.argsort(-scores, kind="stable")[:count]
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    left = np.ones(len(scores), bool)
    nearest = np.full(len(scores), np.inf)
    chosen = [int(np.argmax(scores))]
    while len(chosen) < count:
        left[chosen[-1]] = False
        nearest = np.minimum(nearest, 1 - unit @ unit[chosen[-1]])
        open_places = np.flatnonzero(left)
        chosen.append(int(open_places[np.argmax(scaled(nearest[open_places]) * scores[open_places])]))
    return np.array(chosen)


def ordered(chosen: np.ndarray, rewards: np.ndarray, curriculum: str | None, seed: int = FOLD_SEED) -> np.ndarray:
    """The chosen samples in the order of training. Saw-tooth: folds of 64 drawn at random, each from easy to hard; ramp: all
    from easy to hard; None: at random."""
    shuffled = np.random.default_rng(seed).permutation(chosen)
    if curriculum is None:
        return shuffled
    means = rewards.mean(axis=1)
    folds = [shuffled] if curriculum == "ramp" else np.array_split(shuffled, max(1, round(len(shuffled) / FOLD)))
    return np.concatenate([fold[np.argsort(-means[fold], kind="stable")] for fold in folds])


@dataclass(frozen=True)
class Selection:
    """Indices in the order of training, and what the choice was like."""

    order: np.ndarray
    report: dict[str, float | int]


def select(samples: Samples, plan: Plan, reference: np.ndarray | None = None) -> Selection:
    """Chooses `plan.count` samples, fewer where hard rejection leaves fewer. The report travels with the training job."""
    deviations = samples.rewards.std(axis=1)
    silent = deviations < plan.least_deviation
    pool = np.flatnonzero(~silent) if plan.hard_reject else np.arange(len(deviations))
    part = Samples(
        samples.rewards[pool],
        samples.gradients[pool],
        None if samples.curvature is None else samples.curvature[pool],
        samples.embeddings[pool],
    )
    draw = np.random.default_rng(plan.seed)
    scores = np.zeros(len(pool))
    if plan.learnability is not None:
        scores += plan.alpha * learnability(part.rewards, plan.learnability, plan.centre)
    if plan.representativeness:
        scores += representativeness(part, reference)
    if plan.learnability is None and not plan.representativeness:
        scores = np.ones(len(pool)) if plan.diversity else draw.random(len(pool))
    chosen = pool[greedy(scores, part.embeddings, plan.count, plan.diversity)]
    report = {
        "pool": len(deviations),
        "rejected": int(silent.sum()) if plan.hard_reject else 0,
        "chosen": len(chosen),
        "silentShareOfPool": round(float(silent.mean()), 4),
        "silentShareOfChosen": round(float(silent[chosen].mean()), 4),
        "meanRewardOfPool": round(float(samples.rewards.mean()), 4),
        "meanRewardOfChosen": round(float(samples.rewards[chosen].mean()), 4),
        "deviationOfPool": round(float(deviations.mean()), 4),
        "deviationOfChosen": round(float(deviations[chosen].mean()), 4),
    }
    return Selection(ordered(chosen, samples.rewards, plan.curriculum), report)


def by_gradient(gradients: np.ndarray, count: int) -> np.ndarray:
    """GraNd (arXiv 2107.07075): the largest gradients first."""
    return np.argsort(-np.linalg.norm(gradients, axis=1), kind="stable")[:count]


def by_error(errors: np.ndarray, count: int) -> np.ndarray:
    """EL2N (the same paper): the largest error norms |p - one-hot| first. `errors` (N)."""
    return np.argsort(-errors, kind="stable")[:count]


def by_clusters(embeddings: np.ndarray, count: int, seed: int = 0, iterations: int = 10) -> np.ndarray:
    """K-means with `count` clusters: of each the sample nearest to its mean."""
    draw = np.random.default_rng(seed)
    centres = embeddings[draw.choice(len(embeddings), count, replace=False)].astype(np.float64)
    for _ in range(iterations):
        nearest = _distances(embeddings, centres).argmin(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, embeddings)
        sizes = np.bincount(nearest, minlength=count)[:, None]
        centres = np.where(sizes > 0, sums / np.maximum(sizes, 1), centres)
    distance = _distances(embeddings, centres)
    chosen: list[int] = []
    taken = np.zeros(len(embeddings), bool)
    for cluster in range(count):
        order = np.where(taken, np.inf, distance[:, cluster])
        chosen.append(int(order.argmin()))
        taken[chosen[-1]] = True
    return np.array(chosen)


def _distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)[None]
