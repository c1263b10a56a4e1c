"""Adam with bias correction, a moving average of the weights, and checkpoints that survive a kill at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def init_state(params: Any, average: bool = True) -> dict[str, Any]:
    """`average` is the weights' moving average; None where a loop does without."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return {
        "params": params,
        "first": zeros,
        "second": jax.tree.map(jnp.zeros_like, params),
        "average": jax.tree.map(jnp.array, params) if average else None,
        "step": jnp.zeros((), jnp.int32),
    }


def update(
    state: dict[str, Any], gradient: Any, rate: jax.Array | float, decay: float, weight_decay: float = 0.0
) -> dict[str, Any]:
    """One Adam step. The average starts with a short memory, so that it never drags the initial weights along."""
    step = state["step"] + 1
    t = step.astype(jnp.float32)
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, state["first"], gradient)
    second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, state["second"], gradient)
    scale = rate * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)

    def move(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return p - scale * m / (jnp.sqrt(v) + EPSILON) - rate * weight_decay * p

    params = jax.tree.map(move, state["params"], first, second)
    keep = jnp.minimum(decay, (1 + t) / (10 + t))
    average = state["average"]
    if average is not None:
        average = jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, params)
    return {"params": params, "first": first, "second": second, "average": average, "step": step}


def save(path: Path, tree: Any, note: dict[str, Any]) -> None:
    """Writes leaves and a JSON note to one file beside `path`, then renames: `path` is always whole."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, note=np.array(json.dumps(note)), **{f"leaf{i}": leaf for i, leaf in enumerate(leaves)})
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """The tree that `save` wrote, in the structure of `like`, and its note."""
    with np.load(path) as file:
        leaves = [jnp.asarray(file[f"leaf{i}"]) for i in range(len(jax.tree.leaves(like)))]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), read_note(path)


def read_note(path: Path) -> dict[str, Any]:
    """The note of a checkpoint alone."""
    with np.load(path) as file:
        return json.loads(str(file["note"]))
