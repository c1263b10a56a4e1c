"""UniGRec's tokenizer (arXiv 2601.17438): content -> latent -> soft residual quantisation -> content again.

    p_l(k) = softmax_k(-||r_{l-1} - e_l^k||^2 / tau_l),  q_l = sum_k p_l(k) e_l^k,  r_l = r_{l-1} - q_l

No commitment or codebook loss: everything is differentiable. `hardness` 1 puts the nearest code's one-hot vector in the
place of p_l in the forward pass and leaves the gradient that of p_l. An item's codes are those of the hard path.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from training import optimiser, tokenizer
from training.joint.config import Tokenizer
from training.model import Params, gelu, normal

SMALLEST_GAP = 1e-4  # of a codebook with doubled codes


def _dense(key: jax.Array, wide: int, narrow: int) -> Params:
    return {"w": normal(key, (wide, narrow), wide**-0.5), "b": jnp.zeros(narrow, jnp.float32)}


def _mlp(x: jax.Array, p: Params) -> jax.Array:
    return gelu(x @ p["up"]["w"] + p["up"]["b"]) @ p["down"]["w"] + p["down"]["b"]


def init(key: jax.Array, content: np.ndarray, settings: Tokenizer, seed: int) -> Params:
    """`encoder`, `decoder` (two layers each) and `books`, one (codes, latent) a level, on the scale of the first latents."""
    keys = jax.random.split(key, 4 + settings.levels)
    wide, hidden, latent = content.shape[1], settings.hidden, settings.latent
    p: Params = {
        "encoder": {"up": _dense(keys[0], wide, hidden), "down": _dense(keys[1], hidden, latent)},
        "decoder": {"up": _dense(keys[2], latent, hidden), "down": _dense(keys[3], hidden, wide)},
    }
    z = np.asarray(latents(p, jnp.asarray(content)))
    if settings.start == "k-means":
        books = tokenizer.fit(z, (settings.codes,) * settings.levels, 50, seed, restarts=1)
        return {**p, "books": [jnp.asarray(book) for book in books]}
    scale = float(z.std())
    return {
        **p,
        "books": [normal(key, (settings.codes, latent), scale * 0.5**level) for level, key in enumerate(keys[4:])],
    }


def latents(p: Params, content: jax.Array) -> jax.Array:
    return _mlp(content, p["encoder"])


def restore(p: Params, quantised: jax.Array) -> jax.Array:
    return _mlp(quantised, p["decoder"])


def nearness(residual: jax.Array, book: jax.Array) -> jax.Array:
    """(n, codes): -||r - e||^2 up to ||r||^2, which a row's codes share."""
    return 2 * residual @ book.T - (book**2).sum(-1)


def quantise(
    latent: jax.Array, books: list[jax.Array], tau: jax.Array, hardness: jax.Array | float = 0.0
) -> tuple[list[jax.Array], jax.Array]:
    """p_l (n, codes) a level and sum of q_l (n, latent); tau (levels,) in squared distance."""
    residual, levels = latent, []
    for level, book in enumerate(books):
        near = nearness(residual, book)
        p = jax.nn.softmax(near / tau[level], axis=-1)
        nearest = jax.nn.one_hot(near.argmax(-1), book.shape[0])
        p = p + jax.lax.stop_gradient(hardness * (nearest - p))
        residual = residual - p @ book
        levels.append(p)
    return levels, latent - residual


def hard_codes(latent: jax.Array, books: list[jax.Array]) -> jax.Array:
    """int32 (n, levels): the nearest code of what the codes before it leave."""
    codes = []
    for book in books:
        code = nearness(latent, book).argmax(-1)
        latent = latent - book[code]
        codes.append(code)
    return jnp.stack(codes, -1).astype(jnp.int32)


def temperatures(latent: jax.Array, books: list[jax.Array]) -> jax.Array:
    """(levels,): median over items of second nearest - nearest squared distance, on the hard path. No gradient."""
    gaps = []
    for book in books:
        near = nearness(latent, book)
        best, _ = jax.lax.top_k(near, 2)
        gaps.append(jnp.median(best[:, 0] - best[:, 1]))
        latent = latent - book[near.argmax(-1)]
    return jax.lax.stop_gradient(jnp.maximum(jnp.stack(gaps), SMALLEST_GAP))


def uniformity(levels: list[jax.Array]) -> jax.Array:
    """sum_l sum_k pbar_l(k) log pbar_l(k) over the rows' mean: -log K a level when all codes are used alike."""
    means = [p.mean(0) for p in levels]
    return sum((m * jnp.log(m + 1e-10)).sum() for m in means)  # type: ignore[return-value]


def annealed(progress: float, t_start: float, t_end: float, hard_share: float, on: bool) -> tuple[float, float]:
    """(relative temperature, hardness) at a share of the steps: linear down to `t_end` when the hard part begins."""
    if not on:
        return t_start, 0.0
    soft = 1 - hard_share
    if progress >= soft:
        return t_end, 1.0
    return t_start + (t_end - t_start) * progress / soft, 0.0


def loss(
    p: Params, content: jax.Array, relative: jax.Array, hardness: jax.Array, weight: float
) -> tuple[jax.Array, jax.Array]:
    """L_recon + weight * L_CU over rows that were drawn uniformly from the catalogue; and L_recon alone."""
    z = latents(p, content)
    levels, q = quantise(z, p["books"], relative * temperatures(z, p["books"]), hardness)
    error = ((restore(p, q) - content) ** 2).mean()
    return (error + weight * uniformity(levels) if weight else error), error


def pretrain(content: np.ndarray, settings: Tokenizer, seed: int) -> tuple[Params, float]:
    """Stage 1, from nothing: the tokenizer and its last mean reconstruction error."""
    p = init(jax.random.fold_in(jax.random.key(seed), 11), content, settings, seed)
    state = optimiser.init_state(p, average=False)
    size = min(settings.batch, len(content))
    rng = np.random.default_rng([seed, 11])

    def step(
        state: Params, rows: jax.Array, relative: jax.Array, hardness: jax.Array, rate: jax.Array
    ) -> tuple[Params, jax.Array]:
        (_, error), gradient = jax.value_and_grad(loss, has_aux=True)(
            state["params"], rows, relative, hardness, settings.uniformity
        )
        return optimiser.update(state, gradient, rate, 0.0, weight_decay=1e-4), error

    jitted = jax.jit(step, donate_argnums=0)
    errors = []
    for number in range(settings.steps):
        progress = number / settings.steps
        relative, hardness = annealed(
            progress, settings.t_start, settings.t_end, settings.hard_share, settings.annealed
        )
        rate = settings.learning_rate * min(1.0, 20 * progress + 0.05) * (1 - 0.95 * progress)
        rows = content[rng.choice(len(content), size, replace=False)]
        state, error = jitted(state, rows, relative, hardness, rate)
        errors.append(error)
    return state["params"], float(jnp.stack(errors[-20:]).mean())
