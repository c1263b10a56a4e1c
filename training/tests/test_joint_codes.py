"""The soft tokenizer: sign, limit, annealing, uniformity, and what its gradient reaches."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import decoder
from training.config import Serve
from training.joint import codes, diagnostics, distil, recommender
from training.joint.config import Tokenizer
from training.joint.decoding import rank
from training.serving import Served, decode
from training.tests.joint_world import SMALL, small_world
from training.tokenizer import tree


@pytest.fixture(scope="module")
def made() -> dict:
    return codes.pretrain(small_world().content, SMALL.tokenizer, 0)[0]


def latents(made: dict) -> jax.Array:
    return codes.latents(made, jnp.asarray(small_world().content))


def nearest_is_most_probable(levels: list[jax.Array], latent: jax.Array, book: jax.Array) -> bool:
    distance = ((np.asarray(latent)[:, None] - np.asarray(book)) ** 2).sum(-1)
    return bool((distance.argmin(1) == np.asarray(levels[0]).argmax(1)).all())


def test_the_nearest_code_is_the_most_probable_and_the_released_sign_is_caught(made: dict) -> None:
    latent, books = latents(made), made["books"]
    levels, _ = codes.quantise(latent, books, codes.temperatures(latent, books))
    assert nearest_is_most_probable(levels, latent, books[0])
    assert not nearest_is_most_probable(distil._farthest(latent, books), latent, books[0])


def test_hard_forward_passes_select_rows_and_quantise_like_the_hard_codes(made: dict) -> None:
    latent, books = latents(made), made["books"]
    found = codes.hard_codes(latent, books)
    levels, quantised = codes.quantise(latent, books, codes.temperatures(latent, books), 1.0)
    tables = [jax.random.normal(jax.random.key(level), (8, 16)) for level in range(3)]
    assert np.abs(recommender.soft_tokens(tables, levels) - recommender.hard_tokens(tables, found)).max() < 1e-6
    assert np.allclose(quantised, sum(book[found[:, level]] for level, book in enumerate(books)), atol=1e-5)


def test_one_hot_probabilities_equal_a_look_up() -> None:
    tables = [jax.random.normal(jax.random.key(level), (8, 16)) for level in range(3)]
    chosen = jnp.asarray(np.random.default_rng(0).integers(0, 8, (40, 3)))
    one_hot = [jax.nn.one_hot(chosen[:, level], 8) for level in range(3)]
    gap = jnp.abs(recommender.soft_tokens(tables, one_hot) - recommender.hard_tokens(tables, chosen)).max()
    assert gap < 1e-6


def test_the_gradient_of_the_hard_forward_pass_is_that_of_the_probabilities(made: dict) -> None:
    latent, books = latents(made), made["books"]
    tau, pull = codes.temperatures(latent, books), jax.random.normal(jax.random.key(1), (60, 8))

    def of(hardness: float) -> np.ndarray:
        return np.asarray(jax.grad(lambda z: (codes.quantise(z, books[:1], tau, hardness)[0][0] * pull).sum())(latent))

    assert np.abs(of(1.0)).max() > 0
    assert np.allclose(of(1.0), of(0.0), atol=1e-6)


def test_a_lower_temperature_sharpens_at_any_scale_of_the_codebook(made: dict) -> None:
    latent, books = latents(made), made["books"]
    base = codes.temperatures(latent, books)
    sharp = [diagnostics.sharpness(codes.quantise(latent, books, t * base)[0]) for t in (2.0, 0.3, 0.01)]
    assert all(a < b < c for a, b, c in zip(*sharp, strict=True))
    wide, wider = 10 * latent, [10 * book for book in books]
    scaled = codes.quantise(wide, wider, 0.3 * codes.temperatures(wide, wider))[0]
    assert np.allclose(diagnostics.sharpness(scaled), sharp[1], atol=1e-3)


def test_annealing_goes_down_then_hard_and_a_fixed_temperature_stays() -> None:
    steps = [codes.annealed(share, 2.0, 0.3, 0.4, True) for share in (0.0, 0.3, 0.59, 0.6, 1.0)]
    assert steps[0] == (2.0, 0.0)
    assert steps[1] == pytest.approx((1.15, 0.0))
    assert steps[2][1] == 0.0
    assert steps[3] == steps[4] == (0.3, 1.0)
    assert codes.annealed(0.9, 2.0, 0.3, 0.4, False) == (2.0, 0.0)


def test_annealing_leaves_less_between_soft_and_hard_reconstruction_than_a_fixed_temperature() -> None:
    content = small_world().content

    def gap(settings: Tokenizer) -> float:
        made, _ = codes.pretrain(content, settings, 0)
        z = codes.latents(made, jnp.asarray(content))
        base = codes.temperatures(z, made["books"])
        relative, _ = codes.annealed(1.0, settings.t_start, settings.t_end, settings.hard_share, settings.annealed)
        soft = codes.restore(made, codes.quantise(z, made["books"], relative * base)[1])
        hard = codes.restore(made, codes.quantise(z, made["books"], base, 1.0)[1])
        return float(((hard - content) ** 2).mean() - ((soft - content) ** 2).mean())

    settings = replace(SMALL.tokenizer, steps=200)
    assert gap(settings) < 0.5 * gap(replace(settings, annealed=False))


def test_uniformity_spreads_a_collapsed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    content = small_world().content
    start = codes.init(jax.random.key(0), content, SMALL.tokenizer, 0)
    z = codes.latents(start, jnp.asarray(content))
    aside = z.mean(0) + 6 * z.std() / 8**0.5 + 0.3 * z.std() * jax.random.normal(jax.random.key(2), (8, 8))
    collapsed = {**start, "books": [aside, *start["books"][1:]]}  # to all items one code or two are the nearest
    monkeypatch.setattr(codes, "init", lambda *_: jax.tree.map(jnp.array, collapsed))

    def trained(weight: float) -> tuple[float, float]:
        made, _ = codes.pretrain(content, replace(SMALL.tokenizer, uniformity=weight), 0)
        found = np.asarray(codes.hard_codes(codes.latents(made, jnp.asarray(content)), made["books"]))
        return diagnostics.code_entropy(found)[0], diagnostics.collision_rate(found)

    plain, spread = trained(0.0), trained(1.0)
    assert spread[0] > plain[0] + 1
    assert spread[1] < plain[1] - 0.2


def test_uniformity_is_least_at_equal_use() -> None:
    even = [jnp.full((4, 8), 1 / 8)]
    skewed = [jax.nn.softmax(jnp.arange(8.0) * jnp.ones((4, 1)))]
    assert codes.uniformity(even) == pytest.approx(-np.log(8), abs=1e-5)
    assert codes.uniformity(skewed) > codes.uniformity(even)


def test_k_means_starts_with_more_even_codes_than_a_random_start() -> None:
    content = small_world().content

    def entropy(start: str) -> float:
        made = codes.init(jax.random.key(0), content, replace(SMALL.tokenizer, start=start), 0)
        z = codes.latents(made, jnp.asarray(content))
        return diagnostics.code_entropy(np.asarray(codes.hard_codes(z, made["books"])))[0]

    assert entropy("k-means") > entropy("random")


@pytest.mark.parametrize("masked", [False, True])
def test_decoding_in_blocks_ranks_as_the_serving_reference_does(masked: bool) -> None:
    rng = np.random.default_rng(0)
    size, items, dim, cases = 6, 200, 8, 40
    found = rng.integers(0, size, (items, 3))
    sets = decoder.init(jax.random.key(0), [rng.normal(size=(size, dim)).astype(np.float32) for _ in range(3)], 8, 2)
    h, vectors = (rng.normal(size=(count, dim)).astype(np.float32) for count in (cases, items))
    seen = [rng.choice(items, 5, replace=False) for _ in range(cases)] if masked else None
    target = rng.integers(0, items, cases)
    served = Served({}, sets, {}, [], vectors, found.astype(np.uint8), tree(found, (size,) * 3), 2, 8)
    expected = [one.ranked(1.0) for one in decode(served, h, Serve("beam", (5, 5), 20, (1.0,), 0), seen)]
    ranks, shown = rank(sets, found, size, h, target, seen, np.zeros(items), vectors, 5, 20)
    assert [row[row >= 0].tolist() for row in shown] == [rows[:10].tolist() for rows in expected]
    places = [np.flatnonzero(rows == wanted).tolist() or [-1] for rows, wanted in zip(expected, target, strict=True)]
    assert ranks.tolist() == [place[0] for place in places]
