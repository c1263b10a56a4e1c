"""Ranking metrics against answers that others computed, and against small cases that are plain by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.metrics import gains, hits, list_metrics, paired_bootstrap, summary, target_ranks

FIXTURE = json.loads((Path(__file__).parent / "ranking-metrics.json").read_text())


@pytest.mark.parametrize("name", ["precision", "recall", "ndcg", "map"])
def test_list_metrics_equal_the_published_answers(name: str) -> None:
    relevant: dict[int, set[int]] = {}
    for user, item in FIXTURE["relevant"]:
        relevant.setdefault(user, set()).add(item)
    ranked: dict[int, list[int]] = {}
    for user, item, _ in sorted(FIXTURE["predicted"], key=lambda row: -row[2]):
        ranked.setdefault(user, []).append(item)
    assert list_metrics(relevant, ranked, FIXTURE["k"])[name] == pytest.approx(
        FIXTURE["expected"][name], rel=1e-4, abs=1e-5
    )


def test_rank_metrics_are_those_of_lists_with_one_relevant_item() -> None:
    ranks = np.array([0, 3, 9, 10, -1])
    lists = {user: [100 + i if i != rank else 7 for i in range(20)] for user, rank in enumerate(ranks)}
    general = list_metrics({user: {7} for user in lists}, lists, 10)
    assert hits(ranks, 10).mean() == pytest.approx(general["recall"])
    assert gains(ranks, 10).mean() == pytest.approx(general["ndcg"])
    assert summary(ranks)["recall5"] == pytest.approx(0.4)


def test_a_target_that_was_not_returned_counts_as_a_miss() -> None:
    assert hits(np.array([-1]), 10)[0] == 0
    assert gains(np.array([-1]), 10)[0] == 0


def test_rank_counts_better_scores_and_gives_ties_to_the_smaller_row() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.1]])
    assert target_ranks(scores, np.array([2])).tolist() == [2]
    assert target_ranks(scores, np.array([0])).tolist() == [1]


def test_masked_items_leave_the_ranking() -> None:
    scores = np.array([[0.5, 0.9, 0.4, 0.1]])
    assert target_ranks(scores, np.array([2]), [np.array([1])]).tolist() == [1]
    assert target_ranks(scores, np.array([1]), [np.array([1])]).tolist() == [-1]


def test_bootstrap_resamples_users_not_cases() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(20), 50)
    difference = np.repeat(rng.normal(size=20), 50)  # all of a user's cases say the same: only 20 independent values
    _, low, high = paired_bootstrap(difference, np.zeros(1000), users)
    _, low_cases, high_cases = paired_bootstrap(difference, np.zeros(1000), np.arange(1000))
    assert high - low > 4 * (high_cases - low_cases)
