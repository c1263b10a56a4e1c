"""Stages `trunk` and `sasrec`: one loop over full-softmax next-item batches; SASRec is the same loop without text."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training import model, optimiser
from training.batches import Batcher
from training.data import Case, Split
from training.distributed import ALONE, Alone
from training.metrics import summary, target_ranks

Log = Callable[[str], None]


def padded(cases: list[Case], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Histories (cases, length) padded with 0 on the right, and the place of each one's last item."""
    items = np.zeros((len(cases), length), np.int32)
    last = np.zeros(len(cases), np.int32)
    for row, case in enumerate(cases):
        items[row, : len(case.history)] = case.history
        last[row] = len(case.history) - 1
    return items, last


@partial(jax.jit, static_argnums=4)
def _last_states(
    backbone: model.Params, vectors: jax.Array, items: jax.Array, last: jax.Array, heads: int
) -> jax.Array:
    states = model.encode(backbone, vectors[items], heads)
    return jnp.take_along_axis(states, last[:, None, None], axis=1)[:, 0]


def hidden_states(params: model.Params, vectors: jax.Array, cases: list[Case], heads: int, length: int) -> np.ndarray:
    """h (cases, dim) of the last position, computed in blocks of similar length."""
    block = 512
    backbone = {name: params[name] for name in ("pos", "norm_in", "layers", "norm_out")}
    order = np.argsort([len(case.history) for case in cases], kind="stable")
    result = np.empty((len(cases), vectors.shape[1]), np.float32)

    for start in range(0, len(order), block):
        chosen = order[start : start + block]
        longest = len(cases[chosen[-1]].history)
        width = min(length, 1 << max(2, (longest - 1).bit_length()))  # few shapes, few compilations
        items, last = padded([cases[i] for i in chosen], width)
        missing = block - len(chosen)
        states = _last_states(
            backbone, vectors, np.pad(items, ((0, missing), (0, 0))), np.pad(last, (0, missing)), heads
        )
        result[chosen] = np.asarray(states)[: len(chosen)]
    return result


def ranks_of(hidden: np.ndarray, vectors: np.ndarray, cases: list[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the targets by h.v over all items: with everything in the ranking, and without the user's earlier items."""
    unmasked, masked = [], []
    for start in range(0, len(cases), 1024):
        part = cases[start : start + 1024]
        scores = hidden[start : start + 1024] @ vectors.T
        target = np.array([case.target for case in part])
        unmasked.append(target_ranks(scores, target))
        masked.append(target_ranks(scores, target, [case.seen for case in part]))
    return np.concatenate(unmasked), np.concatenate(masked)


def train(
    *,
    split: Split,
    items: int,
    tokens: np.ndarray | None,
    settings: Any,
    length: int,
    seed: int,
    checkpoint: Path,
    log: Log,
    epochs: int | None = None,
    share: Alone = ALONE,
) -> tuple[model.Params, dict[str, Any]]:
    """Averaged weights and the training record. Goes on from `checkpoint` when it exists; each epoch's order and dropout
    depend on (seed, epoch) only, so an interrupted run ends where an uninterrupted one does. With a `share` of several
    processes the first one's checkpoint and record count, and it alone validates and saves."""
    epochs = settings.epochs if epochs is None else epochs
    keys = jax.random.split(jax.random.key(seed), 4)
    params: model.Params = model.init_backbone(keys[0], settings.dim, settings.layers, length)
    params["item"] = model.normal(keys[1], (items, settings.dim), 0.02)
    if tokens is not None:
        frozen = np.issubdtype(tokens.dtype, np.floating)  # text vectors that something else made
        text_dim = tokens.shape[1] if frozen else settings.text_dim
        params["text"] = model.init_text(keys[2], settings.vocabulary, text_dim, settings.text_hidden, settings.dim)
        if frozen:
            del params["text"]["table"]
    state = optimiser.init_state(params)
    record: dict[str, Any] = {"epochs": [], "seconds": 0.0}
    if share.first and checkpoint.exists():
        state, record = optimiser.load(checkpoint, state)
        log(f"goes on after epoch {len(record['epochs'])} from {checkpoint.name}")
    state, done = share.from_first(state, len(record["epochs"]))
    batcher = Batcher(split.train, length, settings.targets_per_step, seed, settings.buckets)
    device_tokens = None if tokens is None else share.everywhere(jnp.asarray(tokens))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    device = jax.devices()[0]
    log(
        f"device {device.device_kind} ({device.platform}), float32, {count:,} parameters, {batcher.total:,} targets an epoch{share.note}"
    )

    def loss_of(
        params: model.Params, tokens: jax.Array | None, key: jax.Array, batch: tuple[jax.Array, ...]
    ) -> jax.Array:
        rows, place, target, weight = batch
        drop_key, noise_key = jax.random.split(key)
        dropped = getattr(settings, "drop_learned", 0.0)
        vectors = share.whole(model.item_vectors(params, share.cut(tokens), drop_key, dropped))
        states = model.encode(params, vectors[rows], settings.heads, noise_key, settings.dropout)
        flat = states.reshape(-1, settings.dim)[place]  # (targets, dim): only positions that have a next item
        return share.softmax_loss(flat, vectors, target, weight) / settings.targets_per_step

    def step(
        state: dict[str, Any], tokens: jax.Array | None, key: jax.Array, batch: tuple[jax.Array, ...]
    ) -> tuple[dict[str, Any], jax.Array]:
        loss, gradient = jax.value_and_grad(loss_of)(state["params"], tokens, key, batch)
        return optimiser.update(state, gradient, settings.learning_rate, settings.average), loss

    jitted = share.jit(step)
    validation = split.validation[:: max(1, len(split.validation) // getattr(settings, "validation_users", 4000))]
    for epoch in range(done, epochs):
        began = time.monotonic()
        epoch_key = jax.random.fold_in(keys[3], epoch)
        losses = []
        for number, batch in enumerate(batcher.epoch(epoch)):
            arrays = share.batch((batch.items, batch.place, batch.target, batch.weight))
            state, loss = jitted(state, device_tokens, jax.random.fold_in(epoch_key, number), arrays)
            losses.append(share.finished(loss))
        mean = float(jnp.sum(jnp.stack(losses))) * settings.targets_per_step / batcher.total
        seconds = time.monotonic() - began
        entry: dict[str, Any] = {"loss": round(mean, 5), "seconds": round(seconds, 1)}
        line = f"epoch {epoch + 1}/{epochs} loss {mean:.4f} {seconds:.1f} s, {seconds * (epochs - epoch - 1) / 60:.1f} min left"
        if not share.first:
            continue
        if (epoch + 1) % getattr(settings, "validate_every", 5) == 0 or epoch + 1 == epochs:
            average = share.local(state["average"])
            vectors = model.item_vectors(average, share.local(device_tokens))
            hidden = hidden_states(average, vectors, validation, settings.heads, length)
            _, masked = ranks_of(hidden, np.asarray(vectors), validation)
            entry["validation"] = summary(masked)
            line += f", validation R@10 {entry['validation']['recall10']:.4f} N@10 {entry['validation']['ndcg10']:.4f}"
        record["epochs"].append(entry)
        record["seconds"] += time.monotonic() - began
        optimiser.save(checkpoint, state, record)
        log(line)
    return share.local(state["average"]), record
