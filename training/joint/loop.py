"""The three stages of one run: tokenizer alone, tokenizer and recommender together (or in turn), recommender alone.

The loss is L_rec + reconstruction + the distillations + SODA, each where its switch is on. `L_rec` reaches the tokenizer
through the soft tokens of the history; the codes to predict are hard and are derived anew as the tokenizer moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training import model, optimiser
from training.decoder import level_logits
from training.joint import codes as tokenizer
from training.joint import distil, recommender, soda
from training.joint.batches import JointBatcher, Rows
from training.joint.config import Joint
from training.joint.world import World
from training.model import Params

Knobs = dict[str, Any]  # numbers that change from step to step or from row to row: no new compilation
Tables = dict[str, Any]  # arrays over items and codes, the same for a while


@dataclass(frozen=True)
class Trained:
    """`codes_before` are those of stage 1. `tau` (levels,) temperatures and `hardness` of the last joint step."""

    tokenizer: Params
    recommender: Params
    codes_before: np.ndarray
    codes: np.ndarray
    tau: np.ndarray
    base: np.ndarray
    hardness: float
    seconds: float
    losses: list[dict[str, float]]


def user_latent(adapters: Params, pooled: jax.Array) -> jax.Array:
    """SODA's network from the pooled history (B, dim) to a latent (B, z)."""
    return model.dense(model.gelu(model.dense(pooled, adapters["user_up"])), adapters["user_down"])


def losses(
    settings: Joint, groups: Params, rows: Rows, tables: Tables, knobs: Knobs, key: jax.Array, finishing: bool = False
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted sum of all parts, and the parts. `finishing`: hard ids and L_rec alone."""
    in_key, out_key, pick_key, soda_key = jax.random.split(key, 4)
    made, rec = groups["tokenizer"], groups["recommender"]
    if not settings.joint:
        made = jax.lax.stop_gradient(made)
    soft = settings.soft_ids and not finishing
    content = tables["content"][rows.unique]
    latent = tokenizer.latents(made, content)
    if soft:
        levels, quantised = tokenizer.quantise(latent, made["books"], knobs["tau"], knobs["hardness"])
        token = recommender.soft_tokens(rec["tokens"], levels)
    else:
        token = recommender.hard_tokens(rec["tokens"], tables["codes"][rows.unique])
    token = token + recommender.extra_tokens(rec, settings, rows.unique, content)
    history = recommender.dropout(in_key, token[rows.inputs], settings.dropout)
    states = recommender.dropout(out_key, model.encode(rec["backbone"], history, settings.heads), settings.dropout)
    flat = states.reshape(-1, settings.dim)[rows.place]
    goal_codes = tables["codes"][rows.goal]
    parts = {
        "rec": recommender.code_loss(rec["decoder"], flat, goal_codes, tables["counts"], rows.weight)
        / settings.targets_per_step
    }
    if settings.item_head:
        vectors = recommender.hard_tokens(rec["tokens"], tables["codes"]) + rec["item"]
        parts["head"] = model.softmax_loss(flat, vectors, rows.goal, rows.weight) / settings.targets_per_step
    if soft and settings.joint:
        error = ((tokenizer.restore(made, quantised) - content) ** 2).mean(-1)
        parts["reconstruction"] = (rows.unique_weight * error).sum() / rows.unique_weight.sum()
    beside = settings.tokenizer_distillation or settings.recommender_distillation or settings.soda.kind != "none"
    if beside and not finishing:
        parts |= _at_some_positions(settings, made, rec, states, latent, rows, tables, knobs, pick_key, soda_key)
    weights = {"rec": 1.0, "head": 1.0, **knobs["weights"]}
    return sum(weights[name] * value for name, value in parts.items()), parts  # type: ignore[return-value]


def _at_some_positions(
    settings: Joint,
    made: Params,
    rec: Params,
    states: jax.Array,
    latent: jax.Array,
    rows: Rows,
    tables: Tables,
    knobs: Knobs,
    pick_key: jax.Array,
    soda_key: jax.Array,
) -> dict[str, jax.Array]:
    """Both distillations and SODA at a few random positions of every sequence."""
    valid = jnp.asarray(rows.valid)
    count = valid.sum(1)
    draws = jax.random.uniform(pick_key, (len(count), settings.positions))
    at = jnp.floor(draws * count[:, None]).astype(jnp.int32).reshape(-1)
    which = jnp.repeat(jnp.arange(len(count)), settings.positions)
    owner = jnp.asarray(rows.owner)[which]
    weight = (count > 0).astype(jnp.float32)[which]
    place = jnp.asarray(rows.targets)[which, at]  # into the distinct items
    goal = jnp.asarray(rows.unique)[place]
    hidden = states[which, at]
    pool = recommender.released_mean if settings.released_defects else recommender.cumulative_mean
    pooled = pool(states, valid)[which, at]
    adapters = jax.lax.stop_gradient(rec["adapters"]) if settings.released_defects else rec["adapters"]
    teacher = tables["teacher"][goal]
    parts = {}
    if settings.tokenizer_distillation:
        if settings.released_defects:
            apart = distil.released_tokenizer_side(adapters, pooled, teacher, made["books"], weight)
        else:
            apart = distil.tokenizer_side(adapters, pooled, teacher, made["books"], knobs["distil_tau"], weight)
        parts["tokenizer_distillation"] = apart
    if settings.recommender_distillation:
        parts["recommender_distillation"] = distil.recommender_side(
            adapters,
            hidden,
            teacher,
            owner,
            goal,
            jnp.log(tables["share"][goal]),
            weight,
            settings.contrast_temperature,
        )
    if settings.soda.kind != "none":
        parts["soda"] = _soda(
            settings, made, rec, hidden, pooled, latent[place], goal, owner, weight, tables, knobs, soda_key
        )
    return parts


def _soda(
    settings: Joint,
    made: Params,
    rec: Params,
    hidden: jax.Array,
    pooled: jax.Array,
    latent: jax.Array,
    goal: jax.Array,
    owner: jax.Array,
    weight: jax.Array,
    tables: Tables,
    knobs: Knobs,
    key: jax.Array,
) -> jax.Array:
    plan = settings.soda
    codes = tables["codes"][goal]
    forced = codes if plan.path == "teacher-forced" or plan.kind == "soft-label" else None
    target = soda.level_distributions(latent, made["books"], list(knobs["soda_tau"]), forced)
    target = [_gate(p, knobs["target_open"]) for p in target]
    if plan.target == "one-hot":
        target = soda.one_hot(target)
    if plan.kind == "soft-label":
        prefix, logits, kept = jnp.zeros(len(goal), jnp.int32), [], []
        for level, p in enumerate(rec["decoder"]):
            counts = tables["counts"][level][prefix]
            alive = counts > 0
            raw = level_logits(p, hidden, codes[:, :level] if level else None)
            logits.append(jnp.where(alive, raw + jnp.log(jnp.maximum(counts, 1)), -1e9))
            mass = jnp.where(alive, target[level], 0.0)
            kept.append(mass / jnp.maximum(mass.sum(-1, keepdims=True), 1e-9))
            prefix = prefix * counts.shape[-1] + codes[:, level]
        return soda.soft_label_loss(logits, kept, weight)
    own = user_latent(rec["adapters"], pooled)
    if plan.kind == "mse":
        return soda.latent_mse(_gate(latent, knobs["target_open"]), own, weight)
    user = soda.level_distributions(own, made["books"], list(knobs["soda_tau"]), forced)
    if plan.kind == "kl":
        return soda.kl_loss(target, user, weight, plan.direction, plan.over_levels)
    return soda.soda_loss(
        target,
        user,
        owner,
        weight,
        direction=plan.direction,
        over_levels=plan.over_levels,
        negative=plan.negative,
        key=key,
    )


def _gate(x: jax.Array, open_: jax.Array) -> jax.Array:
    """The value itself; its gradient times 0 or 1."""
    return open_ * x + (1 - open_) * jax.lax.stop_gradient(x)


def make_step(settings: Joint, finishing: bool) -> Callable[..., Any]:
    """One jitted step: (states of both parts, rows, tables, knobs, key) -> (states, loss parts)."""
    trains_tokenizer = settings.joint and not finishing

    def step(
        states: Params, rows: Rows, tables: Tables, knobs: Knobs, key: jax.Array
    ) -> tuple[Params, dict[str, jax.Array]]:
        groups = {name: state["params"] for name, state in states.items()}
        if trains_tokenizer:
            (_, parts), gradient = jax.value_and_grad(
                lambda g: losses(settings, g, rows, tables, knobs, key), has_aux=True
            )(groups)
        else:

            def of_recommender(rec: Params) -> tuple[jax.Array, dict[str, jax.Array]]:
                return losses(settings, {**groups, "recommender": rec}, rows, tables, knobs, key, finishing)

            (_, parts), rec = jax.value_and_grad(of_recommender, has_aux=True)(groups["recommender"])
            gradient = {"recommender": rec}
        moved = dict(states)
        for name in gradient:
            new = optimiser.update(states[name], gradient[name], knobs["rates"][name], settings.average)
            moves = knobs["rates"][name] > 0
            moved[name] = jax.tree.map(lambda a, b: jnp.where(moves, a, b), new, states[name])
        return moved, parts

    return jax.jit(step, donate_argnums=0)


_encode_items = jax.jit(lambda made, content: tokenizer.hard_codes(tokenizer.latents(made, content), made["books"]))
_base = jax.jit(lambda made, content: tokenizer.temperatures(tokenizer.latents(made, content), made["books"]))


def run(
    world: World, settings: Joint, seed: int, made: Params, log: Callable[[str], None] = lambda line: None
) -> Trained:
    """Stages 2 and 3 from a pre-trained tokenizer. The same (settings, seed, data) give the same result."""
    began = time.monotonic()
    size = settings.tokenizer.codes
    root = jax.random.fold_in(jax.random.key(seed), 23)
    init_key, step_key = jax.random.split(root)
    rec = recommender.init(init_key, settings, world.items, world.content.shape[1], world.teacher.shape[1])
    states = {"tokenizer": optimiser.init_state(made, average=False), "recommender": optimiser.init_state(rec)}
    states = jax.tree.map(jnp.array, states)  # buffers of its own: a step gives its inputs away
    batcher = JointBatcher(
        world.split.train, settings.length, settings.targets_per_step, seed, settings.buckets, world.items
    )
    content = jnp.asarray(world.content)
    tables: Tables = {
        "content": content, "teacher": jnp.asarray(world.teacher), "share": jnp.asarray(world.share),
    }  # fmt: skip

    def refresh() -> np.ndarray:
        found = np.asarray(_encode_items(states["tokenizer"]["params"], content))
        tables["codes"] = jnp.asarray(found)
        tables["counts"] = [jnp.asarray(c) for c in recommender.counts_of(found, size).levels]
        tables["base"] = np.asarray(_base(states["tokenizer"]["params"], content))
        return found

    before = refresh()
    joint_epochs = settings.epochs - settings.finish_epochs
    together, alone = make_step(settings, False), make_step(settings, True)
    history: list[dict[str, float]] = []
    relative, hardness, number = settings.t_start, 0.0, 0
    for epoch in range(settings.epochs):
        finishing = epoch >= joint_epochs
        phase = "both"
        if settings.soda.cycle and not finishing:
            phase = soda.phase_of(epoch, settings.soda.cycle, round(settings.soda.freeze_share * settings.epochs))
        if settings.joint and epoch <= joint_epochs:
            refresh()
        batches = list(batcher.rows(epoch))
        totals: dict[str, jax.Array] = {}
        for index, rows in enumerate(batches):
            progress = (epoch + index / len(batches)) / settings.epochs
            if not finishing:
                share = (epoch + index / len(batches)) / joint_epochs
                relative, hardness = tokenizer.annealed(
                    share, settings.t_start, settings.t_end, settings.hard_share, settings.annealed
                )
            rate = (
                settings.learning_rate
                * min(1.0, progress / 0.03 + 0.02)
                * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * progress)))
            )
            trains = settings.joint and not finishing and phase != "recommender"
            knobs: Knobs = {
                "tau": relative * tables["base"],
                "distil_tau": tables["base"],
                "soda_tau": settings.soda.t * tables["base"],
                "hardness": hardness,
                "target_open": float(progress >= settings.soda.still_share),
                "rates": {
                    "recommender": rate * (phase != "tokenizer"),
                    "tokenizer": rate * settings.tokenizer_rate * trains,
                },
                "weights": {
                    "reconstruction": settings.reconstruction,
                    "tokenizer_distillation": settings.tokenizer_distillation,
                    "recommender_distillation": settings.recommender_distillation,
                    "soda": settings.soda.weight,
                },
            }
            knobs = jax.tree.map(lambda value: np.asarray(value, np.float32), knobs)
            if settings.refresh_steps and trains and index and index % settings.refresh_steps == 0:
                refresh()
            states, parts = (alone if finishing else together)(
                states,
                rows,
                {k: v for k, v in tables.items() if k != "base"},
                knobs,
                jax.random.fold_in(step_key, number),
            )
            number += 1
            for name, value in parts.items():
                totals[name] = totals.get(name, 0.0) + value
        full = len(batches) * settings.targets_per_step / batcher.total  # steps are not filled to the last place
        means = {
            name: round(float(total) / len(batches) * (full if name in ("rec", "head") else 1.0), 5)
            for name, total in totals.items()
        }
        history.append(means)
        log(f"epoch {epoch + 1}/{settings.epochs} {means} {time.monotonic() - began:.1f} s")
    base = tables["base"]
    codes = refresh() if settings.joint and not settings.finish_epochs else np.asarray(tables["codes"])
    return Trained(
        states["tokenizer"]["params"],
        states["recommender"]["average"],
        before,
        codes,
        np.asarray(relative * base),
        np.asarray(base),
        hardness,
        time.monotonic() - began,
        history,
    )
