"""SODA: supervision by whole code distributions, contrasted with the average user of the batch in the manner of BPR.

Source: "Distribution-Level Contrastive Supervision for Generative Recommendation", arXiv 2603.00700, after its Figure 1;
the formulas are a reconstruction, hence a switch for each choice that the figure leaves open. For one position, level l
and residual r_{l-1} of a latent vector v:

    P_l(k | v) = softmax_k(-||r_{l-1} - e_l^k||^2 / tau_l)
    h^y_l = P_l(. | target item)      h^+_l = P_l(. | user)      h^-_l = weighted mean of h^+_l over other users' positions
    L = softplus(sum_l KL(h^y_l || h^+_l) - sum_l KL(h^y_l || h^-_l)),   averaged over positions by weight

Shapes: B positions (any number a user), L levels with K_l codes, latent width z. `weight` (B,) is 0 for padding: such
rows, whatever they hold, are in no average and get no gradient. A distribution is a list of (B, K_l), one array a level.
Where the target's distribution is to be a constant, the caller passes it through `jax.lax.stop_gradient`.

What to watch (the last two by `diagnostics`): the average of sharp distributions tends to the marginal of the codes, so
the loss falls quiet once a user is a few nats better than that marginal; KL to the average also grows when everything
gets sharp, so entropy and collisions of the codes need an eye; and below FLOOR a probability counts as FLOOR and has no
gradient, so tau should keep the distances of interest within some 69 tau of the smallest (`margin_statistics` reports
the share of rows beyond).

Plain alignment (`kl_loss`, `latent_mse`), soft labels on the code logits (`soft_label_loss`) and hard labels (`one_hot`)
are the controls of the same experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

Direction = Literal["forward", "reverse", "symmetric"]
OverLevels = Literal["mean", "sum"]
Negative = Literal["average", "average-with-self", "item-average", "sample", "log-mean"]
Phase = Literal["tokenizer", "recommender"]
Distributions = list[jax.Array]  # one (B, K_l) a level, rows sum to one

FLOOR = 1e-30  # smallest probability under a logarithm: -log is 69, and 1/FLOOR is still a float32


def level_distributions(
    latent: jax.Array,
    books: Sequence[jax.Array],
    tau: Sequence[float | jax.Array],
    teacher_codes: jax.Array | None = None,
) -> Distributions:
    """Code distributions of latent vectors (B, z) under codebooks (K_l, z), tau a level in squared distance.

    A level's residual is what the vector's own soft codeword leaves (UniGRec, arXiv 2601.17438, released code); with
    `teacher_codes` (B, L) it is what that codeword leaves: given the target's codes on both sides, deeper levels
    compare like with like even where the user's first code differs."""
    if len(books) != len(tau):
        raise ValueError(f"tau: {len(tau)} values for {len(books)} codebooks")
    residual, levels = latent, []
    for level, book in enumerate(books):
        # -d / tau without the ||r||^2 that all codes of a row share and softmax ignores
        book = jnp.asarray(book)
        p = jax.nn.softmax((2 * residual @ book.T - (book**2).sum(-1)) / tau[level], axis=-1)
        levels.append(p)
        residual = residual - (p @ book if teacher_codes is None else book[teacher_codes[:, level]])
    return levels


def _log(p: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(p, FLOOR))


def _kl(a: jax.Array, b: jax.Array) -> jax.Array:
    """KL(a || b) in nats along the last axis; 0 log 0 = 0, and log b is at least log FLOOR."""
    return (a * (_log(a) - _log(b))).sum(-1)


def divergence(target: Distributions, user: Distributions, direction: Direction, over_levels: OverLevels) -> jax.Array:
    """(B,) nats: `forward` KL(target || user), `reverse` KL(user || target), `symmetric` their sum."""
    if direction == "forward":
        parts = [_kl(a, b) for a, b in zip(target, user, strict=True)]
    elif direction == "reverse":
        parts = [_kl(b, a) for a, b in zip(target, user, strict=True)]
    elif direction == "symmetric":
        parts = [_kl(a, b) + _kl(b, a) for a, b in zip(target, user, strict=True)]
    else:
        raise ValueError(f"direction = {direction!r}, must be forward, reverse or symmetric")
    if over_levels not in ("mean", "sum"):
        raise ValueError(f"over_levels = {over_levels!r}, must be mean or sum")
    total = sum(parts[1:], parts[0])
    return total / len(parts) if over_levels == "mean" else total


def _without_padding(levels: Distributions, weight: jax.Array) -> Distributions:
    """Rows of weight 0 become uniform, so that not even a NaN in them reaches a sum."""
    return [jnp.where(weight[:, None] > 0, p, 1 / p.shape[-1]) for p in levels]


def _mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted mean of (B,); 0 where there is no weight at all."""
    total = weight.sum()
    return (weight * values).sum() / jnp.where(total > 0, total, 1)


def _of_others(rows: jax.Array, group: jax.Array) -> jax.Array:
    """Sum of the rows (B, n) of all other groups, for each row. Groups before plus groups after: total minus own would
    cancel just where a code belongs to one user, and there the logarithm asks for relative accuracy."""
    sums = jax.ops.segment_sum(rows, group, num_segments=len(rows))
    nothing = jnp.zeros_like(sums[:1])
    before = jnp.concatenate([nothing, jnp.cumsum(sums, 0)[:-1]])
    after = jnp.concatenate([jax.lax.cumsum(sums, 0, reverse=True)[1:], nothing])
    return (before + after)[group]


def _mean_of_others(levels: Distributions, group: jax.Array, weight: jax.Array) -> Distributions:
    mass = _of_others(weight[:, None], group)
    return [_of_others(weight[:, None] * p, group) / jnp.where(mass > 0, mass, 1) for p in levels]


def _sampled_other(key: jax.Array, group: jax.Array, alive: jax.Array) -> jax.Array:
    """(B,) a uniformly drawn row of another group among those alive. Sorted by group, a row's own group is one range, and
    a draw at or behind its start moves up by its size."""
    rows = len(group)
    order = jnp.argsort(jnp.where(alive, group, rows), stable=True)
    sizes = jax.ops.segment_sum(alive.astype(jnp.int32), group, num_segments=rows)
    start, own = (jnp.cumsum(sizes) - sizes)[group], sizes[group]
    draw = jax.random.randint(key, (rows,), 0, jnp.maximum(alive.sum() - own, 1))
    return order[draw + jnp.where(draw >= start, own, 0)]


def soda_terms(
    target: Distributions,
    user: Distributions,
    owner: jax.Array,
    weight: jax.Array,
    *,
    direction: Direction = "forward",
    over_levels: OverLevels = "mean",
    negative: Negative = "average",
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """KL of the positive (B,), KL of the negative (B,), and the weight (B,) with which each row counts: its own, or 0
    where the batch holds no other user to contrast with. Arguments as in `soda_loss`."""
    target, user = _without_padding(target, weight), _without_padding(user, weight)
    alive = weight > 0
    _, group = jnp.unique(owner, size=len(owner), return_inverse=True)  # ids of any size -> 0 .. B - 1
    group = group.reshape(-1)
    if negative == "average-with-self":
        total = jnp.where(alive.any(), weight.sum(), 1)
        against = [jnp.broadcast_to((weight @ p) / total, p.shape) for p in user]
    elif negative == "average":
        against = _mean_of_others(user, group, weight)
    elif negative == "item-average":
        against = _mean_of_others(target, group, weight)
    elif negative == "log-mean":
        against = [jax.nn.softmax(p, axis=-1) for p in _mean_of_others([_log(p) for p in user], group, weight)]
    elif negative == "sample":
        if key is None:
            raise ValueError("key: the sampled negative needs one")
        other = _sampled_other(key, group, alive)
        against = [p[other] for p in user]
    else:
        raise ValueError(f"negative = {negative!r}, is none of the known ones")
    counted = weight
    if negative != "average-with-self":
        others = _of_others(alive.astype(jnp.int32)[:, None], group)[:, 0]
        counted = jnp.where(others > 0, weight, 0)
    return (
        divergence(target, user, direction, over_levels),
        divergence(target, against, direction, over_levels),
        counted,
    )


def soda_loss(
    target: Distributions,
    user: Distributions,
    owner: jax.Array,
    weight: jax.Array,
    *,
    direction: Direction = "forward",
    over_levels: OverLevels = "mean",
    negative: Negative = "average",
    key: jax.Array | None = None,
) -> jax.Array:
    """Weighted mean of softplus(KL+ - KL-), in nats; log 2 where positive and negative are the same.

    `owner` (B,) int user ids: no position of the same user is in a row's negative. `negative`:
    `average`            mean of other users' distributions, by weight;
    `average-with-self`  the same mean over all rows, own ones included;
    `item-average`       mean of other users' target distributions. With a constant target it only sets the bar that the
                         positive has to clear;
    `sample`             one other row, uniform, drawn with `key`;
    `log-mean`           normalised geometric mean of other users' distributions.
    Gradients also reach the other users through their part in the negative. A row without other users is left out; a
    batch of such rows has loss 0. Raises ValueError for an unknown switch and for `sample` without a key."""
    positive, contrast, counted = soda_terms(
        target, user, owner, weight, direction=direction, over_levels=over_levels, negative=negative, key=key
    )
    return _mean(jax.nn.softplus(positive - contrast), counted)


def kl_loss(
    target: Distributions,
    user: Distributions,
    weight: jax.Array,
    direction: Direction = "symmetric",
    over_levels: OverLevels = "mean",
) -> jax.Array:
    """Weighted mean of the divergence alone: the sequence-item alignment of ETEGRec (arXiv 2409.05546), computed from
    distributions that favour the nearest code, where its released code favours the farthest."""
    apart = divergence(_without_padding(target, weight), _without_padding(user, weight), direction, over_levels)
    return _mean(apart, weight)


def soft_label_loss(code_logits: Distributions, target: Distributions, weight: jax.Array) -> jax.Array:
    """Cross-entropy of softmax(code_logits) (B, K_l) under the target's distributions: mean over levels, weighted mean
    over rows. Impossible codes have a large negative logit, not minus infinity."""
    labels = _without_padding(target, weight)
    logits = [jnp.where(weight[:, None] > 0, x, 0) for x in code_logits]
    parts = [-(q * jax.nn.log_softmax(x, axis=-1)).sum(-1) for q, x in zip(labels, logits, strict=True)]
    return _mean(sum(parts[1:], parts[0]) / len(parts), weight)


def latent_mse(target_latent: jax.Array, user_latent: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted mean over rows of the mean squared difference of latents (B, z)."""
    gap = jnp.where(weight[:, None] > 0, target_latent - user_latent, 0)
    return _mean((gap**2).mean(-1), weight)


def one_hot(target: Distributions) -> Distributions:
    """All mass on each row's most probable code (the smaller index in a tie); no gradient passes. The hard-label control."""
    return [jax.nn.one_hot(p.argmax(-1), p.shape[-1], dtype=p.dtype) for p in target]


def phase_of(epoch: int, cycle: int, freeze_after: int) -> Phase:
    """What epoch 0, 1, .. trains when tokenizer and recommender alternate (ETEGRec, arXiv 2409.05546): the first epoch of
    every `cycle` the tokenizer, the others the recommender, and from epoch `freeze_after` on the recommender alone.
    Raises ValueError for a cycle below 2, in which the recommender would never be trained, and for a negative epoch."""
    if cycle < 2:
        raise ValueError(f"cycle = {cycle}, must be at least 2")
    if epoch < 0:
        raise ValueError(f"epoch = {epoch}, must be at least 0")
    return "tokenizer" if epoch < freeze_after and epoch % cycle == 0 else "recommender"
