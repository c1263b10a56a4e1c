"""Ranks and diagnostics of a trained run, always with hard codes unless the gap to soft ones is what is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training import model
from training.data import Case
from training.joint import codes as tokenizer
from training.joint import diagnostics, recommender, soda
from training.joint.config import Joint
from training.joint.decoding import SHOWN, rank
from training.joint.loop import Trained, user_latent
from training.joint.world import World
from training.metrics import summary
from training.trunk import hidden_states, padded

GAP_CASES = 2000  # about; those that the gap between soft and hard identifiers is measured on


def item_tokens(trained: Trained, world: World, settings: Joint, soft: bool = False) -> jax.Array:
    """Input tokens (items, dim) from hard codes, or from the code probabilities of the last joint step."""
    rec, content = trained.recommender, jnp.asarray(world.content)
    if soft:
        latent = tokenizer.latents(trained.tokenizer, content)
        levels, _ = tokenizer.quantise(latent, trained.tokenizer["books"], jnp.asarray(trained.tau), trained.hardness)
        token = recommender.soft_tokens(rec["tokens"], levels)
    else:
        token = recommender.hard_tokens(rec["tokens"], jnp.asarray(trained.codes))
    return token + recommender.extra_tokens(rec, settings, jnp.arange(world.items), content)


def latest(cases: list[Case], length: int) -> list[Case]:
    """The cases with histories of at most `length` items."""
    return [replace(case, history=case.history[-length:]) for case in cases]


def ranked_items(
    trained: Trained, world: World, settings: Joint, cases: list[Case], soft: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each case's target (-1: not among the candidates) and its first ten items (cases, 10), -1 where fewer."""
    rec, cases = trained.recommender, latest(cases, settings.length)
    inputs = item_tokens(trained, world, settings, soft)
    vectors = None
    if settings.item_head:
        vectors = np.asarray(recommender.hard_tokens(rec["tokens"], jnp.asarray(trained.codes)) + rec["item"])
    return rank(
        rec["decoder"],
        trained.codes,
        settings.tokenizer.codes,
        hidden_states(rec["backbone"], inputs, cases, settings.heads, settings.length),
        np.array([case.target for case in cases]),
        [case.seen for case in cases] if world.masked else None,
        np.log(world.share),
        vectors,
        settings.beams,
        settings.leaves,
    )


@jax.jit
def _pooled(states: jax.Array, last: jax.Array) -> jax.Array:
    valid = jnp.arange(states.shape[1]) <= last[:, None]
    return jnp.take_along_axis(recommender.cumulative_mean(states, valid), last[:, None, None], 1)[:, 0]


def pooled_histories(trained: Trained, world: World, settings: Joint, cases: list[Case]) -> np.ndarray:
    """(cases, dim): mean hidden state of each history."""
    inputs, parts, block, cases = item_tokens(trained, world, settings), [], 512, latest(cases, settings.length)
    encode = jax.jit(lambda backbone, x: model.encode(backbone, x, settings.heads))
    for start in range(0, len(cases), block):
        part = cases[start : start + block]
        items, last = padded(part, settings.length)
        missing = block - len(part)
        states = encode(trained.recommender["backbone"], inputs[np.pad(items, ((0, missing), (0, 0)))])
        parts.append(np.asarray(_pooled(states, np.pad(last, (0, missing))))[: len(part)])
    return np.concatenate(parts)


def margins(trained: Trained, world: World, settings: Joint) -> dict[str, dict[str, float]]:
    """KL of users' code distributions to their targets' and to the average user, on test cases. `probe`: the user's latent
    is a ridge regression on validation cases, the same for every row of the table; `own`: SODA's trained network."""
    cases, fitted = world.split.test, world.split.validation
    pooled = pooled_histories(trained, world, settings, cases)
    train = pooled_histories(trained, world, settings, fitted)
    z = np.asarray(tokenizer.latents(trained.tokenizer, jnp.asarray(world.content)))
    centre, scale = train.mean(0), train.std(0) + 1e-6
    design = np.pad((train - centre) / scale, ((0, 0), (0, 1)), constant_values=1.0)
    wanted = z[[case.target for case in fitted]]
    solution = np.linalg.solve(design.T @ design + 10 * np.eye(design.shape[1]), design.T @ wanted)
    probe = np.pad((pooled - centre) / scale, ((0, 0), (0, 1)), constant_values=1.0) @ solution
    latents = {"probe": probe.astype(np.float32)}
    if settings.soda.kind in ("soda", "kl", "mse"):
        latents["own"] = np.asarray(user_latent(trained.recommender["adapters"], jnp.asarray(pooled)))
    books, tau = trained.tokenizer["books"], list(settings.soda.t * trained.base)
    target_rows = np.array([case.target for case in cases])
    owner = jnp.asarray([case.user for case in cases])
    forced = jnp.asarray(trained.codes[target_rows]) if settings.soda.path == "teacher-forced" else None
    target = soda.level_distributions(jnp.asarray(z[target_rows]), books, tau, forced)
    return {
        name: diagnostics.margin_statistics(
            target, soda.level_distributions(jnp.asarray(v), books, tau, forced), owner, jnp.ones(len(cases))
        )
        for name, v in latents.items()
    }


def evaluate(trained: Trained, world: World, settings: Joint) -> dict[str, Any]:
    """`validation` and `test` ranks with hard codes, and the diagnostics of the proof tables."""
    result: dict[str, Any] = {}
    test = world.split.test
    for name, cases in (("validation", world.split.validation), ("test", test)):
        ranks, shown = ranked_items(trained, world, settings, cases)
        result[name] = {"ranks": ranks.tolist(), "summary": summary(ranks)}
    changes = diagnostics.code_changes(trained.codes_before, trained.codes)
    found: dict[str, Any] = {
        "entropyBits": diagnostics.code_entropy(trained.codes),
        "collisionRate": diagnostics.collision_rate(trained.codes),
        "codesChanged": changes["per_level"],
        "atMostOneLevelChanged": changes["at_most_one"],
        "nearMissSimilarity": diagnostics.near_miss_similarity(
            shown, np.array([case.target for case in test]), world.content, SHOWN
        ),
        "margins": margins(trained, world, settings),
    }
    if settings.soft_ids:
        every = slice(None, None, max(1, len(test) // GAP_CASES))
        soft, _ = ranked_items(trained, world, settings, test[every], soft=True)
        users = np.array([case.user for case in test[every]])
        found["softHardGap"] = diagnostics.soft_hard_gap(soft, np.array(result["test"]["ranks"])[every], users)
        levels, _ = tokenizer.quantise(
            tokenizer.latents(trained.tokenizer, jnp.asarray(world.content)),
            trained.tokenizer["books"],
            jnp.asarray(trained.tau),
        )
        found["sharpness"] = diagnostics.sharpness(levels)
    result["diagnostics"] = found
    return result
