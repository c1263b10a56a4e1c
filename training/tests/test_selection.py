"""MiniRec's scores and choice, on numbers made by hand and on the small world."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training.rl import grpo
from training.selection import scores, testbed
from training.selection.scores import Plan, Samples


def test_advantages_are_centred_and_a_silent_group_has_none():
    rewards = jnp.array([[0.0, 1.0, 0.0, 1.0], [0.3, 0.3, 0.3, 0.3]])
    got = np.asarray(grpo.advantages(rewards))
    np.testing.assert_allclose(got[0], [-1, 1, -1, 1], rtol=1e-6)
    np.testing.assert_array_equal(got[1], 0)
    np.testing.assert_array_equal(np.asarray(grpo.silent_groups(rewards, 0.01)), [False, True])


def test_advantages_of_a_group_that_hardly_differs_do_not_shout():
    rewards = jnp.array([[0.500, 0.501, 0.500, 0.501]])
    assert float(jnp.abs(grpo.advantages(rewards)).max()) == pytest.approx(1, rel=1e-2)
    assert float(jnp.abs(grpo.advantages(rewards, floor=0.05)).max()) < 0.02


def test_objective_is_clipped_on_the_side_that_would_gain():
    old = jnp.zeros(4)
    new = jnp.log(jnp.array([1.5, 1.5, 0.5, 0.5]))
    advantage = jnp.array([1.0, -1.0, 1.0, -1.0])
    np.testing.assert_allclose(grpo.objective(new, old, advantage), [1.28, -1.5, 0.5, -0.8], rtol=1e-6)


def test_divergence_is_exact():
    p, q = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.9, 0.1]))
    assert float(grpo.divergence(p, q)) == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1), rel=1e-6)
    assert float(grpo.divergence(p, p)) == 0


def test_learnability_is_highest_in_the_middle_of_the_rewards_there_are():
    means = np.linspace(0, 0.2, 41)
    rewards = means[:, None] + np.array([-0.001, 0.001])
    robust = scores.learnability(rewards)
    assert abs(means[robust.argmax()] - 0.1) < 0.01
    assert scores.learnability(rewards, "released").argmax() == 40  # its centre, .5, lies beyond all of them
    assert scores.learnability(rewards, centre=0.0).argmax() == 0
    assert robust.min() == 0
    assert robust.max() == 1


def test_representativeness_is_the_direction_of_the_others():
    gradients = np.array([[1.0, 0.1], [1.0, -0.1], [0.9, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    got = scores.representativeness(Samples(np.zeros((5, 2)), gradients, None, np.zeros((5, 2))))
    assert got[3] == 0
    assert got[2] == 1
    assert 0 < got[4] < 1
    towards = scores.representativeness(
        Samples(np.zeros((5, 2)), gradients, None, np.zeros((5, 2))), reference=np.array([-1.0, 0.0])
    )
    assert towards.argmax() == 3


def test_greedy_spreads_only_where_it_is_told_to():
    embeddings = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    worth = np.array([1.0, 0.9, 0.5])
    assert list(scores.greedy(worth, embeddings, 2)) == [0, 2]
    assert list(scores.greedy(worth, embeddings, 2, diversity=False)) == [0, 1]
    assert sorted(scores.greedy(worth, embeddings, 9)) == [0, 1, 2]


def test_order_is_a_saw_tooth_a_ramp_or_chance():
    rewards = np.random.default_rng(0).random((200, 4))
    chosen = np.arange(192)
    means = rewards.mean(axis=1)
    saw = scores.ordered(chosen, rewards, "saw-tooth")
    for fold in range(3):
        assert np.all(np.diff(means[saw[64 * fold : 64 * (fold + 1)]]) <= 0)
    assert not np.all(np.diff(means[saw]) <= 0)
    assert np.all(np.diff(means[scores.ordered(chosen, rewards, "ramp")]) <= 0)
    by_chance = scores.ordered(chosen, rewards, None)
    for order in (saw, by_chance):
        assert sorted(order) == list(chosen)
    np.testing.assert_array_equal(by_chance, scores.ordered(chosen, rewards, None))


@pytest.fixture(scope="module")
def examined():
    world = testbed.make_world(0, prompts=1500)
    policy = testbed.warm_start(world, testbed.init_policy(world, 0), 0, steps=40)
    return world, policy, testbed.examine(world, policy, 0)[0]


def test_gradients_and_curvature_are_those_of_the_objective(examined):
    world, policy, samples = examined
    rows = jnp.arange(3)
    prompts, targets, items = map(jnp.asarray, (world.prompts, world.targets, world.items))
    states, rewards = testbed.rollouts(policy, prompts, targets, items, jax.random.key(0), 8)
    floor = 0.1 * rewards.std()
    for row in rows:
        x, drawn = prompts[row][None], states[row][None]
        advantage = grpo.advantages(rewards[row][None], floor)
        old = testbed.log_density(policy, x, drawn)

        def total(out, x=x, drawn=drawn, advantage=advantage, old=old):
            ratio = jnp.exp(testbed.log_density(policy | {"out": out}, x, drawn) - old)
            return (ratio * advantage).sum()

        gradient = jax.grad(total)(policy["out"])
        # of outputs' shape (HIDDEN, DIM); the samples hold (DIM, HIDDEN)
        np.testing.assert_allclose(samples.gradients[row].reshape(16, 64), gradient.T, rtol=2e-3, atol=2e-3)
        bent = jax.jvp(jax.grad(total), (policy["out"],), (gradient,))[1]
        np.testing.assert_allclose(
            samples.curvature[row].reshape(16, 64), bent.T, rtol=2e-2, atol=0.02 * np.abs(bent).max()
        )


def test_choice_leaves_out_what_teaches_nothing(examined):
    world, _, samples = examined
    silent = samples.rewards.std(axis=1) < 0.01
    chosen = scores.select(samples, Plan(150))
    assert chosen.report["silentShareOfPool"] == pytest.approx(silent.mean(), abs=1e-3)
    assert silent.mean() > 0.3
    assert chosen.report["silentShareOfChosen"] == 0
    hopeless = world.strata == testbed.STRATA.index("hopeless")
    assert hopeless[chosen.order].mean() < hopeless.mean() / 2
    kept = scores.select(
        samples, Plan(150, hard_reject=False, learnability=None, representativeness=False, diversity=False)
    )
    assert silent[kept.order].mean() > 0.2  # chance, with every part off


def test_every_part_changes_the_choice(examined):
    samples = examined[2]
    whole = scores.select(samples, Plan(150))
    for off in (
        Plan(150, learnability=None),
        Plan(150, learnability="released"),
        Plan(150, representativeness=False),
        Plan(150, diversity=False),
        Plan(150, hard_reject=False),
    ):
        assert set(scores.select(samples, off).order) != set(whole.order)
    ramp = scores.select(samples, Plan(150, curriculum="ramp"))
    assert set(ramp.order) == set(whole.order)
    assert list(ramp.order) != list(whole.order)


def test_baselines_choose_what_they_say():
    gradients = np.array([[1.0, 0], [3.0, 0], [2.0, 0]])
    assert list(scores.by_gradient(gradients, 2)) == [1, 2]
    assert list(scores.by_error(np.array([0.1, 0.9, 0.5]), 2)) == [1, 2]
    points = (
        np.concatenate([np.zeros((20, 2)), np.ones((20, 2)) * 5]) + np.random.default_rng(0).normal(size=(40, 2)) * 0.01
    )
    assert sorted(index // 20 for index in scores.by_clusters(points, 2, seed=1)) == [0, 1]
