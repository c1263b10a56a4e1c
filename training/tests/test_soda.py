"""SODA's loss against a plain double loop in float64, closed-form answers, finite differences and planted defects."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training.joint import soda

DIRECTIONS = ("forward", "reverse", "symmetric")
OVER_LEVELS = ("mean", "sum")
NEGATIVES = ("average", "average-with-self", "item-average", "sample", "log-mean")
ALL_CASES = list(itertools.product(DIRECTIONS, OVER_LEVELS, NEGATIVES))
SIZES = (5, 4)
SWITCHES = ("direction", "over_levels", "negative")
# small arrays, many functions: compiling is what takes the time here
jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)
fast_terms = jit(soda.soda_terms, static_argnames=SWITCHES)
fast_levels = jit(soda.level_distributions)
fast_slopes = jit(jax.value_and_grad(soda.soda_loss, argnums=(0, 1)))


def losses_of(cases: list[tuple[str, str, str]], *parts) -> jax.Array:
    """(cases,) losses of one batch; compiled together they share what they have in common."""
    return jnp.stack(
        [soda.soda_loss(*parts, direction=d, over_levels=o, negative=n, key=jax.random.key(1)) for d, o, n in cases]
    )


every_loss = jit(functools.partial(losses_of, ALL_CASES))


def fast_loss(*parts, direction: str = "forward", over_levels: str = "mean", negative: str = "average") -> jax.Array:
    return every_loss(*parts)[ALL_CASES.index((direction, over_levels, negative))]


def kl(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum(x * (math.log(x) - math.log(y)) for x, y in zip(a, b, strict=True) if x > 0))


def apart(a: np.ndarray, b: np.ndarray, direction: str) -> float:
    return {"forward": kl(a, b), "reverse": kl(b, a), "symmetric": kl(a, b) + kl(b, a)}[direction]


def in_a_loop(target, user, owner, weight, *, direction="forward", over_levels="mean", negative="average") -> float:
    """The definition, one pair of rows at a time."""
    target, user = ([np.asarray(p, np.float64) for p in part] for part in (target, user))
    total = mass = 0.0
    for row in range(len(owner)):
        others = [j for j in range(len(owner)) if weight[j] > 0 and owner[j] != owner[row]]
        if negative == "average-with-self":
            others = [j for j in range(len(owner)) if weight[j] > 0]
        if not others or not weight[row] > 0:
            continue
        share = np.array([weight[j] for j in others]) / sum(weight[j] for j in others)
        difference = 0.0
        for t, u in zip(target, user, strict=True):
            if negative == "log-mean":
                against = np.exp(sum(s * np.log(u[j]) for s, j in zip(share, others, strict=True)))
                against /= against.sum()
            else:
                rows = t if negative == "item-average" else u
                against = sum(s * rows[j] for s, j in zip(share, others, strict=True))
            difference += apart(t[row], u[row], direction) - apart(t[row], against, direction)
        difference /= len(target) if over_levels == "mean" else 1
        total += weight[row] * math.log1p(math.exp(difference))
        mass += weight[row]
    return total / mass if mass else 0.0


def batch(seed: int, rows: int = 12, users: int = 4, sharp: float = 2.0) -> tuple:
    """Random distributions, owners with ids far beyond the batch, and weights of which about a quarter is 0."""
    rng = np.random.default_rng(seed)
    draw = [
        [jnp.asarray(np.exp(x) / np.exp(x).sum(1, keepdims=True), jnp.float32) for x in part]
        for part in [[sharp * rng.normal(size=(rows, k)) for k in SIZES] for _ in range(2)]
    ]
    owner = rng.integers(0, users, rows) * 1_000_003 + 17
    weight = np.where(rng.random(rows) < 0.25, 0, rng.uniform(0.2, 2, rows)).astype(np.float32)
    return draw[0], draw[1], owner, weight


def agrees_with_the_loop(loss: Callable[..., jax.Array], seeds: range, **switches: str) -> bool:
    return all(
        math.isclose(float(loss(*batch(seed), **switches)), in_a_loop(*batch(seed), **switches), rel_tol=1e-5)
        for seed in seeds
    )


def test_a_user_at_the_target_against_a_uniform_negative_has_less_than_log_two() -> None:
    peaked = jnp.array([[0.7, 0.1, 0.1, 0.1]])
    uniform = jnp.full((3, 4), 0.25)
    user = [jnp.concatenate([peaked, uniform])]
    target = [jnp.tile(peaked, (4, 1))]
    positive, negative, _ = fast_terms(target, user, np.arange(4), np.ones(4))
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.1))
    assert float(positive[0]) == pytest.approx(0, abs=1e-6)
    assert float(negative[0]) == pytest.approx(math.log(4) - entropy, abs=1e-6)
    assert float(jax.nn.softplus(positive - negative)[0]) < math.log(2) - 0.1


def test_users_that_are_all_alike_have_exactly_log_two() -> None:
    target, user, owner, weight = batch(3)
    alike = [jnp.tile(p[:1], (len(owner), 1)) for p in user]
    for (_, _, negative), loss in zip(ALL_CASES, every_loss(target, alike, owner, weight), strict=True):
        if negative != "item-average":
            assert float(loss) == pytest.approx(math.log(2), abs=1e-6)


def test_users_at_their_targets_do_better_than_users_at_each_others() -> None:
    target = [jnp.full((4, 4), 0.02) + 0.92 * jnp.eye(4)]
    right, wrong = (
        float(jax.nn.softplus(positive - negative).mean())
        for user in (target, [jnp.roll(target[0], 1, axis=0)])
        for positive, negative, _ in [fast_terms(target, user, np.arange(4), np.ones(4))]
    )
    assert right < 0.2 < math.log(2) < 1 < wrong


@pytest.mark.parametrize("seed", range(6))
def test_losses_equal_their_definition_computed_in_a_loop(seed: int) -> None:
    for (direction, over_levels, negative), loss in zip(ALL_CASES, every_loss(*batch(seed)), strict=True):
        if negative != "sample":
            expected = in_a_loop(*batch(seed), direction=direction, over_levels=over_levels, negative=negative)
            assert float(loss) == pytest.approx(expected, rel=1e-5), (direction, over_levels, negative)


def test_the_loop_finds_an_average_that_holds_the_user_itself() -> None:
    planted = functools.partial(fast_loss, negative="average-with-self")
    assert agrees_with_the_loop(fast_loss, range(6))
    assert not agrees_with_the_loop(planted, range(1))


def test_the_loop_finds_an_average_that_leaves_out_the_row_but_not_the_users_other_rows() -> None:
    def planted(target, user, owner, weight):
        return fast_loss(target, user, np.arange(len(owner)), weight)

    assert not agrees_with_the_loop(planted, range(1))


def test_the_loop_finds_a_loss_with_the_wrong_sign() -> None:
    def planted(*parts):
        positive, negative, counted = fast_terms(*parts)
        return (counted * jax.nn.softplus(negative - positive)).sum() / counted.sum()

    assert not agrees_with_the_loop(planted, range(1))


def test_the_average_keeps_codes_that_others_hardly_use() -> None:
    """One user has nearly all the mass of a code: total minus own would lose the others' part of it in rounding."""
    rare = jnp.array([1e-11, 0.5, 0.5])
    user = [jnp.stack([jnp.array([1.0, 1e-9, 1e-9]), rare, rare])]
    owner, weight = np.arange(3), np.ones(3, np.float32)
    _, negative, _ = fast_terms(user, user, owner, weight)
    assert float(negative[0]) == pytest.approx(kl(np.asarray(user[0][0], np.float64), np.array([1e-11, 0.5, 0.5])))


def test_a_sampled_negative_is_a_row_of_another_user_and_every_such_row_is_equally_likely() -> None:
    owner, weight = np.array([5, 9, 5, 7, 9, 7, 3]), np.array([1, 1, 1, 1, 0, 1, 1.0])
    draw = jit(jax.vmap(soda._sampled_other, in_axes=(0, None, None)))
    group = np.unique(owner, return_inverse=True)[1]
    draws = np.asarray(draw(jax.random.split(jax.random.key(4), 4000), group, weight > 0))
    for row in range(len(owner)):
        allowed = np.flatnonzero((owner != owner[row]) & (weight > 0))
        found, count = np.unique(draws[:, row], return_counts=True)
        assert np.array_equal(found, allowed)
        assert np.allclose(count / 4000, 1 / len(allowed), atol=0.04)


def test_a_sampled_negative_changes_with_the_key_alone_and_needs_one() -> None:
    parts = batch(0)
    seeded = jit(functools.partial(soda.soda_loss, negative="sample"))
    losses = [float(seeded(*parts, key=jax.random.key(k))) for k in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    with pytest.raises(ValueError, match="key"):
        jax.eval_shape(functools.partial(soda.soda_loss, negative="sample"), *parts)


def test_the_normalised_log_mean_is_nearer_than_its_members_are_on_average() -> None:
    """KL(a || geometric mean) = mean KL(a || b_j) + log Z, with Z at most 1."""
    target, user, owner, _ = batch(8)
    weight = np.ones(len(owner), np.float32)
    _, negative, _ = fast_terms(target, user, owner, weight, negative="log-mean")
    for row in range(len(owner)):
        rows = [j for j in range(len(owner)) if owner[j] != owner[row]]
        mean = np.mean(
            [
                np.mean([kl(np.asarray(t[row]), np.asarray(u[j])) for j in rows])
                for t, u in zip(target, user, strict=True)
            ]
        )
        assert float(negative[row]) < mean


GRADIENT_CASES = [
    (direction, OVER_LEVELS[place % 2], negative)
    for place, (direction, negative) in enumerate(itertools.product(DIRECTIONS, NEGATIVES))
]


@pytest.fixture(scope="module")
def slopes() -> tuple[np.ndarray, np.ndarray]:
    """Slopes (3 directions, cases) by reverse differentiation and by central differences in float64, through softmax and
    residuals to items, users and codebooks."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(11)
        owner, weight = np.array([1, 2, 2, 3, 1, 4]), np.array([1, 0.5, 1, 1, 0, 2])
        point = [rng.normal(size=(n, 3)) for n in (6, 6, *SIZES)]  # item latents, user latents, two codebooks

        @jit
        @jax.value_and_grad
        def loss(at: list[jax.Array], chosen: jax.Array) -> jax.Array:
            sides = [soda.level_distributions(latent, at[2:], [0.9, 0.6]) for latent in at[:2]]
            return losses_of(GRADIENT_CASES, *sides, owner, weight) @ chosen

        cases = np.eye(len(GRADIENT_CASES))
        gradients = [loss(point, case)[1] for case in cases]
        derived, measured = [], []
        for _ in range(3):
            way = [rng.normal(size=x.shape) for x in point]
            ahead, behind = (
                np.array([loss([x + e * v for x, v in zip(point, way, strict=True)], case)[0] for case in cases])
                for e in (1e-5, -1e-5)
            )
            measured.append((ahead - behind) / 2e-5)
            derived.append(
                [sum(float((g * v).sum()) for g, v in zip(gradient, way, strict=True)) for gradient in gradients]
            )
        return np.array(derived), np.array(measured)


@pytest.mark.parametrize("case", GRADIENT_CASES, ids="-".join)
def test_gradients_are_those_of_finite_differences(case: tuple[str, str, str], slopes) -> None:
    derived, measured = (part[:, GRADIENT_CASES.index(case)] for part in slopes)
    assert derived == pytest.approx(measured, rel=1e-5, abs=1e-8)
    assert (np.abs(derived) > 1e-4).all()


@jit
def controls(target, user, weight) -> tuple[jax.Array, ...]:
    return (
        soda.kl_loss(target, user, weight),
        soda.soft_label_loss(user, target, weight),
        soda.latent_mse(target[0], user[0], weight),
    )


@pytest.mark.parametrize("seed", range(3))
def test_padding_rows_change_nothing_whatever_they_hold(seed: int) -> None:
    target, user, owner, weight = batch(seed)
    padding = weight == 0
    assert padding.any()
    expected, plain = every_loss(target, user, owner, weight), controls(target, user, weight)
    fixed = np.array([negative != "sample" for _, _, negative in ALL_CASES])
    for rubbish, stranger in ((0.0, owner[0]), (1e30, -1), (math.nan, 10**9)):
        spoilt = [[jnp.where(padding[:, None], rubbish, p) for p in part] for part in (target, user)]
        found = every_loss(*spoilt, np.where(padding, stranger, owner), weight)
        assert np.asarray(found)[fixed] == pytest.approx(np.asarray(expected)[fixed], rel=1e-6)
        assert np.array(controls(*spoilt, weight)) == pytest.approx(np.array(plain), rel=1e-6)


def test_more_padding_makes_no_difference() -> None:
    target, user, owner, weight = batch(1)
    longer = [[jnp.pad(p, ((0, 9), (0, 0))) for p in part] for part in (target, user)]
    positive, negative, counted = fast_terms(*longer, np.pad(owner, (0, 9)), np.pad(weight, (0, 9)))
    assert counted.tolist() == [*weight.tolist(), *[0.0] * 9]
    found = np.average(jax.nn.softplus(positive - negative), weights=counted)
    assert float(found) == pytest.approx(float(fast_loss(target, user, owner, weight)), rel=1e-6)


def test_padding_rows_get_no_gradient() -> None:
    target, user, owner, weight = batch(1)
    _, (to_target, to_user) = fast_slopes(target, user, owner, weight)
    for part in (*to_target, *to_user):
        assert (np.abs(np.asarray(part)).sum(1) > 0).tolist() == (weight > 0).tolist()


def test_rows_are_free_to_change_places_and_users_their_ids() -> None:
    target, user, owner, weight = batch(5)
    order = np.random.default_rng(0).permutation(len(owner))
    expected = float(fast_loss(target, user, owner, weight))
    moved = [[p[order] for p in part] for part in (target, user)]
    assert float(fast_loss(*moved, -owner[order], weight[order])) == pytest.approx(expected, rel=1e-6)


def test_a_batch_without_a_second_user_has_no_loss_and_no_gradient() -> None:
    target, user, owner, weight = batch(2)
    one = np.full(len(owner), 4)
    for case in ((one, weight), (owner, np.zeros_like(weight))):
        loss, gradient = fast_slopes(target, user, *case)
        assert float(loss) == 0
        assert all((np.asarray(g) == 0).all() for g in jax.tree.leaves(gradient))


def test_distributions_of_zeros_and_ones_give_finite_losses_and_gradients() -> None:
    hard = [jnp.eye(5), jnp.eye(5)]
    missed = [jnp.roll(p, 1, axis=0) for p in hard]
    cases = [("symmetric", "mean", negative) for negative in ("average", "item-average", "log-mean")]

    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def total(target, user):
        return losses_of(cases, target, user, np.arange(5), np.ones(5)).sum()

    loss, gradient = jit(total)(hard, missed)
    assert math.isfinite(loss)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_the_target_gets_gradient_unless_the_caller_stops_it() -> None:
    target, user, owner, weight = batch(6)

    @jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def stopped(target, user):
        return soda.soda_loss([jax.lax.stop_gradient(p) for p in target], user, owner, weight)

    to_target, to_user = stopped(target, user)
    _, (free_target, free_user) = fast_slopes(target, user, owner, weight)
    assert all((np.asarray(g) == 0).all() for g in to_target)
    assert all(np.abs(np.asarray(g)).sum() > 0 for g in free_target)
    for one, other in zip(to_user, free_user, strict=True):
        assert np.allclose(one, other, atol=1e-7)
        assert np.abs(np.asarray(one)).sum() > 0


def test_descent_moves_each_user_to_its_own_target() -> None:
    rng = np.random.default_rng(9)
    books = [jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)]
    item, start = (jnp.asarray(rng.normal(size=(12, 4)), jnp.float32) for _ in range(2))
    target, owner, weight = fast_levels(item, books, [1.0]), np.arange(12), np.ones(12)

    @jit
    def step(state):
        def loss(at):
            return soda.soda_loss(target, soda.level_distributions(at, books, [1.0]), owner, weight)

        return state - 2.0 * jax.grad(loss)(state)

    end = start
    for _ in range(150):
        end = step(end)
    before, after = (fast_terms(target, fast_levels(at, books, [1.0]), owner, weight)[:2] for at in (start, end))
    assert float(after[0].mean()) < 0.3 * float(before[0].mean())
    assert float((after[1] > after[0]).mean()) > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_level_distributions_are_softmaxes_of_minus_the_distance_along_the_soft_residual(seed: int) -> None:
    rng = np.random.default_rng(seed)
    latent, books = rng.normal(size=(5, 3)), [rng.normal(size=(k, 3)) for k in (6, 4, 7)]
    found = fast_levels(latent.astype(np.float32), [b.astype(np.float32) for b in books], [0.7, 0.5, 0.3])
    for row in range(5):
        residual = latent[row]
        for book, tau, p in zip(books, (0.7, 0.5, 0.3), found, strict=True):
            grown = np.exp(-((residual - book) ** 2).sum(1) / tau)
            expected = grown / grown.sum()
            assert np.asarray(p[row]) == pytest.approx(expected, abs=1e-5)
            residual = residual - expected @ book


def test_the_nearest_code_is_the_likeliest_one() -> None:
    rng = np.random.default_rng(2)
    latent, book = rng.normal(size=(50, 3)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)
    distance = ((latent[:, None] - book) ** 2).sum(-1)
    assert np.array_equal(np.asarray(fast_levels(latent, [book], [0.5])[0]).argmax(1), distance.argmin(1))
    planted = fast_levels(latent, [book], [-0.5])[0]  # positive distances as logits
    assert not np.array_equal(np.asarray(planted).argmax(1), distance.argmin(1))


def test_small_temperatures_follow_the_hard_codes_and_stay_finite() -> None:
    rng = np.random.default_rng(3)
    latent, books = (
        rng.normal(size=(40, 3)).astype(np.float32),
        [rng.normal(size=(6, 3)).astype(np.float32) for _ in "12"],
    )
    codes, residual = [], latent
    for book in books:
        codes.append(((residual[:, None] - book) ** 2).sum(-1).argmin(1))
        residual = residual - book[codes[-1]]
    soft = fast_levels(latent, books, [1e-6, 1e-6])
    assert all(np.array_equal(np.asarray(p).argmax(1), code) for p, code in zip(soft, codes, strict=True))
    assert all(np.isfinite(p).all() and np.allclose(p.sum(1), 1) for p in soft)
    taught = fast_levels(latent, books, [0.5, 1e-6], np.stack(codes, 1))
    assert np.array_equal(np.asarray(taught[1]).argmax(1), codes[1])


def test_teacher_forcing_makes_the_second_level_independent_of_the_users_own_first_code() -> None:
    books = [jnp.array([[4.0, 0], [-4, 0]]), jnp.array([[0.5, 0.5], [0.5, -0.5]])]
    latent, codes = jnp.array([[-3.5, 0.5]]), jnp.array([[0, 0]])
    own = fast_levels(latent, books, [1.0, 1.0])
    taught = fast_levels(latent, books, [1.0, 1.0], codes)
    assert np.allclose(own[0], taught[0])
    residual = np.array([-7.5, 0.5])
    d = ((residual - np.asarray(books[1])) ** 2).sum(1)
    assert np.asarray(taught[1][0]) == pytest.approx(np.exp(-d) / np.exp(-d).sum(), abs=1e-5)
    with pytest.raises(ValueError, match="tau"):
        soda.level_distributions(latent, books, [1.0])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_plain_alignment_is_the_weighted_divergence_and_zero_at_the_target(direction: str) -> None:
    target, user, _, weight = batch(7)
    for over_levels in ("mean", "sum"):
        rows = [
            sum(
                apart(np.asarray(t[i], np.float64), np.asarray(u[i], np.float64), direction)
                for t, u in zip(target, user, strict=True)
            )
            / (2 if over_levels == "mean" else 1)
            for i in range(len(weight))
        ]
        expected = np.average(rows, weights=weight)
        assert float(soda.kl_loss(target, user, weight, direction, over_levels)) == pytest.approx(expected, rel=1e-5)
    assert float(soda.kl_loss(target, target, weight, direction)) == pytest.approx(0, abs=1e-6)


def test_soft_labels_cost_their_entropy_when_met_and_hard_labels_are_plain_cross_entropy() -> None:
    target, user, _, weight = batch(4)
    entropy = -sum(np.average((np.asarray(t) * np.log(t)).sum(1), weights=weight) for t in target) / 2
    met = float(soda.soft_label_loss([jnp.log(t) + 3 for t in target], target, weight))
    assert met == pytest.approx(entropy, rel=1e-5)
    assert float(soda.soft_label_loss([jnp.log(u) for u in user], target, weight)) > met
    picked = [
        np.log(np.take_along_axis(np.asarray(u), np.asarray(t).argmax(1)[:, None], 1))[:, 0]
        for t, u in zip(target, user, strict=True)
    ]
    hard = float(soda.soft_label_loss([jnp.log(u) for u in user], soda.one_hot(target), weight))
    assert hard == pytest.approx(-np.average(np.mean(picked, 0), weights=weight), rel=1e-5)


def test_one_hot_keeps_the_best_code_and_passes_no_gradient() -> None:
    p = jnp.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    assert soda.one_hot([p])[0].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert (np.asarray(jax.grad(lambda x: (soda.one_hot([x])[0] * 3).sum())(p)) == 0).all()


def test_latent_distance_is_the_mean_square_over_width_and_rows() -> None:
    a, b = jnp.array([[1.0, 2], [0, 0], [5, 5]]), jnp.array([[0.0, 0], [0, 0], [9, 9]])
    assert float(soda.latent_mse(a, b, jnp.array([1.0, 1, 0]))) == pytest.approx(1.25)


def test_every_cycle_begins_with_the_tokenizer_until_it_is_frozen() -> None:
    phases = [soda.phase_of(epoch, 3, 7) for epoch in range(12)]
    assert [epoch for epoch, phase in enumerate(phases) if phase == "tokenizer"] == [0, 3, 6]
    assert {soda.phase_of(epoch, 2, 0) for epoch in range(6)} == {"recommender"}
    for epoch, cycle in ((0, 1), (-1, 2)):
        with pytest.raises(ValueError, match="must be at least"):
            soda.phase_of(epoch, cycle, 4)


def test_unknown_switches_are_refused() -> None:
    parts = batch(0)
    for switch in ({"direction": "sideways"}, {"over_levels": "max"}, {"negative": "none"}):
        with pytest.raises(ValueError, match=next(iter(switch))):
            jax.eval_shape(functools.partial(soda.soda_loss, **switch), *parts)
