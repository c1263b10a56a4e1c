"""The training loop of the papers' backbone: AdamW with a warm-up epoch and a cosine, clipped, averaged, resumable."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training import optimiser
from training.metrics import summary
from training.model import Params
from training.t5 import model
from training.t5.prefixes import PrefixBatcher, Tokens
from training.t5.settings import Settings

Log = Callable[[str], None]
Validate = Callable[[Params], np.ndarray]


def planned_epochs(settings: Settings, minutes: float | None, first_epoch: float) -> int:
    """How many epochs of `first_epoch` processor seconds fit into `minutes` of this machine with nothing else on it."""
    if minutes is None:
        return settings.epochs
    cores = len(os.sched_getaffinity(0))
    return max(2, min(settings.epochs, int(minutes * 60 * cores / first_epoch)))


def rate_at(share: float, settings: Settings) -> float:
    """Learning rate after `share` of the epochs that follow the first: a cosine down to `last_rate` of the peak."""
    fall = 0.5 * (1 + np.cos(np.pi * min(1.0, share)))
    return settings.learning_rate * (settings.last_rate + (1 - settings.last_rate) * fall)


def clipped(gradient: Params, most: float) -> Params:
    """The gradient, shortened to a global norm of at most `most`."""
    norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
    return jax.tree.map(lambda leaf: leaf * jnp.minimum(1.0, most / (norm + 1e-12)), gradient)


def train(
    *,
    sequences: list[np.ndarray],
    tokens: Tokens,
    settings: Settings,
    minutes: float | None,
    seed: int,
    checkpoint: Path,
    log: Log,
    validate: Validate | None,
    as_it_is: bool = False,
) -> tuple[Params, dict[str, Any]]:
    """Averaged weights of the epoch with the best validation NDCG@10 (the last epoch without `validate`) and the record.

    Every (history, next item) of the sequences is one example, as in the papers. The number of epochs is planned from
    the processor time of the first, which is the warm-up; from then on the run is a function of (seed, epoch) alone, so a
    killed run goes on from `checkpoint` and ends where an uninterrupted one does. `as_it_is` trains no further epoch."""
    sizes = tokens.sizes
    begin, shuffle = jax.random.split(jax.random.key(seed))
    params = model.init(begin, sizes, settings.dim, settings.layers, settings.heads, settings.widen)
    state = {**optimiser.init_state(params), "best": jax.tree.map(jnp.array, params)}
    record: dict[str, Any] = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "planned": None,
        "epochs": [],
        "best": None,
        "seconds": 0.0,
        "processorSeconds": 0.0,
    }
    if checkpoint.exists():
        state, record = optimiser.load(checkpoint, state)
        log(f"goes on after epoch {len(record['epochs'])}")
    batcher = PrefixBatcher(
        sequences, tokens, settings.items, settings.buckets, settings.batch, settings.prefixes, seed
    )
    steps = sum(1 for _ in batcher.epoch(0))
    log(f"{record['parameters']:,} parameters, {len(batcher.owner):,} examples, {steps} steps an epoch")

    def update(
        state: dict[str, Any], key: jax.Array, rate: jax.Array, batch: tuple[jax.Array, ...]
    ) -> tuple[dict[str, Any], jax.Array]:
        loss, gradient = jax.value_and_grad(model.loss)(
            state["params"], batch, sizes, settings.heads, key, settings.dropout
        )
        gradient = clipped(gradient, settings.clip)
        moved = optimiser.update(state, gradient, rate, settings.average, settings.weight_decay)
        return {**moved, "best": state["best"]}, loss

    jitted = jax.jit(update, donate_argnums=0)
    while not as_it_is and (record["planned"] is None or len(record["epochs"]) < record["planned"]):
        epoch = len(record["epochs"])
        if record["best"] is not None and epoch - record["best"]["epoch"] >= settings.grace * settings.validate_every:
            log("ends early: validation has not risen for a while")
            break
        began, processor = time.monotonic(), time.process_time()
        epoch_key = jax.random.fold_in(shuffle, epoch)
        losses, weights = [], []
        for number, batch in enumerate(batcher.epoch(epoch)):
            done = number / steps
            if epoch == 0:
                rate = settings.learning_rate * (number + 1) / steps
            else:
                rate = rate_at((epoch - 1 + done) / (record["planned"] - 1), settings)
            state, loss = jitted(state, jax.random.fold_in(epoch_key, number), jnp.float32(rate), batch)
            losses.append(loss)
            weights.append(float(batch[3].sum()))
        mean = float(np.average(np.asarray(jnp.stack(losses)), weights=weights))
        spent = time.process_time() - processor
        if record["planned"] is None:
            record["planned"] = planned_epochs(settings, minutes, spent)
        entry: dict[str, Any] = {"loss": round(mean, 5), "seconds": round(time.monotonic() - began, 1)}
        entry["processorSeconds"] = round(spent, 1)
        line = f"epoch {epoch + 1}/{record['planned']} loss {mean:.4f}, {entry['seconds']} s, processor {spent:.0f} s"
        record["seconds"] += time.monotonic() - began
        record["processorSeconds"] += spent
        last = epoch + 1 == record["planned"]
        if validate is not None and ((epoch + 1) % settings.validate_every == 0 or last):
            entry["validation"] = summary(validate(state["average"]))
            reached = entry["validation"]["ndcg10"]
            line += f", validation R@10 {entry['validation']['recall10']:.4f} N@10 {reached:.4f}"
            if record["best"] is None or reached > record["best"]["ndcg10"]:
                record["best"] = {"epoch": epoch + 1, "ndcg10": reached}
                state = {**state, "best": jax.tree.map(jnp.array, state["average"])}
        record["epochs"].append(entry)
        optimiser.save(checkpoint, state, record)
        log(line)
    return state["average" if record["best"] is None else "best"], record
