"""Diagnostics against answers that are plain by hand or known in closed form."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from training.joint import diagnostics

GRID = np.stack(np.meshgrid(np.arange(8), np.arange(4), indexing="ij"), -1).reshape(-1, 2)  # 32 items, 8 x 4 codes


def test_evenly_used_codes_have_full_entropy_and_no_collisions() -> None:
    assert diagnostics.code_entropy(GRID) == pytest.approx([3, 2])
    assert diagnostics.collision_rate(GRID) == 0


def test_a_collapsed_tokenizer_has_no_entropy_and_collides_everywhere() -> None:
    collapsed = np.full((20, 3), 7)
    assert diagnostics.code_entropy(collapsed) == [0, 0, 0]
    assert diagnostics.collision_rate(collapsed) == 1


def test_entropy_of_unequal_use_is_shannons_in_bits() -> None:
    assert diagnostics.code_entropy(np.array([[0], [0], [5], [9]])) == pytest.approx([1.5])


def test_only_items_with_all_codes_in_common_collide() -> None:
    codes = np.array([[0, 1], [0, 1], [0, 2], [1, 1], [3, 3]])
    assert diagnostics.collision_rate(codes) == pytest.approx(2 / 5)


@pytest.mark.parametrize("seed", range(5))
def test_collisions_are_those_of_a_count_over_pairs(seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 5, (40, 3))
    same = (codes[:, None] == codes[None]).all(-1)
    assert diagnostics.collision_rate(codes) == pytest.approx((same.sum(1) > 1).mean())


def test_changes_are_counted_per_level_and_per_item() -> None:
    before = np.zeros((4, 3), int)
    after = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]])
    changes = diagnostics.code_changes(before, after)
    assert changes == {"per_level": [0.75, 0.5, 0.25], "at_most_one": 0.5}
    assert diagnostics.code_changes(after, after) == {"per_level": [0, 0, 0], "at_most_one": 1}
    with pytest.raises(ValueError, match="shapes"):
        diagnostics.code_changes(before, after[:3])


def test_margin_is_won_by_users_at_their_targets_and_lost_by_users_at_each_others() -> None:
    """Four users, four codes, .97 on a code and .01 on the others; the mean of three other users has .33 on their codes."""
    target = [jnp.full((4, 4), 0.01) + 0.96 * jnp.eye(4)]
    owner, weight = np.arange(4), np.ones(4)
    right = diagnostics.margin_statistics(target, target, owner, weight)
    assert right["positive"] == pytest.approx(0, abs=1e-6)
    assert right["negative"] == pytest.approx(0.97 * math.log(97) + 0.03 * math.log(0.01 / 0.33), rel=1e-5)
    assert right["share_won"] == 1
    swapped = diagnostics.margin_statistics(target, [target[0][::-1]], owner, weight)
    assert swapped["positive"] > swapped["negative"]
    assert swapped["share_won"] == 0
    assert swapped["share_at_floor"] == 0


def test_margin_statistics_leave_out_rows_of_weight_zero_and_name_rows_at_the_floor() -> None:
    target = [jnp.eye(4)]
    user = [jnp.eye(4).at[1].set(jnp.eye(4)[0])]  # user 1 puts nothing on its target's code
    owner = np.arange(4)
    assert diagnostics.margin_statistics(target, user, owner, np.ones(4))["share_at_floor"] == 0.25
    assert diagnostics.margin_statistics(target, user, owner, np.ones(4))["share_won"] == 0.75
    rest = diagnostics.margin_statistics(target, user, owner, np.array([1.0, 0, 1, 1]))
    assert (rest["share_won"], rest["share_at_floor"]) == (1, 0)


def test_margin_statistics_of_a_single_user_are_not_numbers() -> None:
    alone = diagnostics.margin_statistics([jnp.eye(3)], [jnp.eye(3)], np.zeros(3, int), np.ones(3))
    assert all(math.isnan(value) for value in alone.values())


def test_sharpness_runs_from_one_over_the_codes_to_one() -> None:
    assert diagnostics.sharpness([np.full((3, 5), 0.2), np.eye(4)]) == pytest.approx([0.2, 1])


def test_near_misses_compare_only_wrong_items_of_the_first_k() -> None:
    content = np.array([[2.0, 0], [0, 1], [3, 3], [-1, 0], [0, 0]])
    ranked = np.array([[0, 2, 1, 3], [1, 4, 3, 0], [3, -1, -1, 0], [0, -1, -1, 1]])
    target = np.array([0, 1, 0, 0])
    found = diagnostics.near_misses(ranked, target, content, k=3)
    assert found[:3] == pytest.approx([math.sqrt(0.5) / 2, 0, -1])
    assert math.isnan(found[3])
    expected = (math.sqrt(0.5) / 2 - 1) / 3
    assert diagnostics.near_miss_similarity(ranked, target, content, k=3) == pytest.approx(expected)
    assert math.isnan(diagnostics.near_miss_similarity(ranked[3:], target[3:], content, k=3))


def test_lists_of_similar_items_score_higher_than_shuffled_ones() -> None:
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 6, 120)
    content = rng.normal(size=(6, 16))[topic] + 0.3 * rng.normal(size=(120, 16))
    target = rng.integers(0, 120, 30)
    ranked = np.argsort(-(content[target] @ content.T), axis=1)
    shuffled = rng.permuted(ranked, axis=1)
    graded = diagnostics.near_miss_similarity(ranked, target, content)
    assert graded > diagnostics.near_miss_similarity(shuffled, target, content) + 0.5


def test_soft_and_hard_identifiers_of_equal_ranks_have_no_gap_and_worse_hard_ranks_a_positive_one() -> None:
    rng = np.random.default_rng(1)
    soft, users = rng.integers(0, 30, 200), np.arange(200) // 2
    assert diagnostics.soft_hard_gap(soft, soft, users)["gap"] == 0
    worse = diagnostics.soft_hard_gap(soft, soft + 5, users)
    assert worse["gap"] == pytest.approx(worse["soft"] - worse["hard"])
    assert worse["low"] > 0
    unreturned = diagnostics.soft_hard_gap(soft, np.full(200, -1), users)
    assert unreturned["hard"] == 0
