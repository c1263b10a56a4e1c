"""A temperature that makes the draws of an exploring request as sure as the outcomes allow.

`scoring.temperature` of the manifest divides the scores when a list is drawn: the first item comes with probability
softmax(score / temperature) over the candidates. The order without exploration does not look at it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from training.data import Case
from training.metrics import paired_bootstrap
from training.serving import Decoded

CANDIDATES = 20  # a list's default length
BOUNDS = (0.05, 20.0)
GOLDEN = (5**0.5 - 1) / 2


def negative_log_likelihood(scores: np.ndarray, target: np.ndarray, temperature: float) -> np.ndarray:
    """(cases,) -log softmax(scores / temperature)[target] for scores (cases, candidates), -inf where there is none."""
    scaled = scores / temperature
    top = scaled.max(1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.exp(scaled - top).sum(1))
    return normaliser - np.take_along_axis(scaled, target[:, None], 1)[:, 0]


def fit_temperature(scores: np.ndarray, target: np.ndarray) -> float:
    """The temperature of the smallest mean negative log-likelihood within BOUNDS. It is convex in 1 / temperature, so
    golden sections of the logarithm find it."""
    low, high = np.log(BOUNDS)

    def cost(at: float) -> float:
        return float(negative_log_likelihood(scores, target, float(np.exp(at))).mean())

    inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    costs = [cost(at) for at in inner]
    while high - low > 1e-4:
        if costs[0] <= costs[1]:
            high, inner[1], costs[1] = inner[1], inner[0], costs[0]
            inner[0] = high - GOLDEN * (high - low)
            costs[0] = cost(inner[0])
        else:
            low, inner[0], costs[0] = inner[0], inner[1], costs[1]
            inner[1] = low + GOLDEN * (high - low)
            costs[1] = cost(inner[1])
    return float(np.exp((low + high) / 2))


def choose_temperature(decoded: list[Decoded], cases: list[Case], alpha: float) -> dict[str, Any]:
    """`temperature` for the manifest: the fitted one where it beats 1 on these (validation) cases by an interval over users
    that excludes 0, else 1. Cases whose target is not among the first candidates say nothing about it."""
    rows, targets, users = [], [], []
    for found, case in zip(decoded, cases, strict=True):
        score = alpha * found.log_probability + (1 - alpha) * found.dot
        order = np.lexsort((found.rows, -score))[:CANDIDATES]
        own = np.flatnonzero(found.rows[order] == case.target)
        if len(own):
            rows.append(np.pad(score[order], (0, CANDIDATES - len(order)), constant_values=-np.inf))
            targets.append(int(own[0]))
            users.append(case.user)
    if len(rows) < 2:
        return {"temperature": 1.0, "temperatureCases": len(rows)}
    scores, target = np.array(rows), np.array(targets)
    fitted = round(fit_temperature(scores, target), 2)
    before = negative_log_likelihood(scores, target, 1.0)
    after = negative_log_likelihood(scores, target, fitted)
    gain, low, high = paired_bootstrap(before, after, np.array(users))
    return {
        "temperature": fitted if low > 0 else 1.0,
        "temperatureFitted": fitted,
        "temperatureCases": len(rows),
        "nllAtOne": round(float(before.mean()), 4),
        "nllFitted": round(float(after.mean()), 4),
        "nllGain": [round(v, 4) for v in (gain, low, high)],
    }
