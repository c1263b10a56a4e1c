"""Data-parallel training over processes: how a loop's arrays lie over all devices, and what a process does that waits in vain.

Every process makes the same global batches. Their rows, and the positions that have a target, are cut into equal parts,
one a device; every device holds all weights. Random bits depend on an element's place in the global array, so dropout is
that of one process, and what differs from one process is the order of summation.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from training import model

LOST = 3  # exit status of a process that lost the others
PATIENCE = 300  # default seconds without a finished step before a process gives the others up
NEVER = 10**6  # seconds, for JAX's own time limits: they end a process with a stack trace instead of a line
CUT, WHOLE = PartitionSpec("data"), PartitionSpec()


class DistributedError(RuntimeError):
    """One line: why these processes cannot train together."""


class Alone:
    """One process with one device: arrays pass through as they are. `Group` says the same of several."""

    first = True  # the process that writes checkpoints, logs and validates
    alone = True
    note = ""  # for the log
    softmax_loss = staticmethod(model.softmax_loss)

    def agree(self, what: str, *parts: bytes) -> None:
        """Stops the processes whose `parts` differ, and names `what`."""

    def divides(self, field: str, count: int) -> None:
        """Stops a group whose devices cannot take equal parts of `count` rows, where a row of zeros would count."""

    def from_first(self, state: Any, done: int) -> tuple[Any, int]:
        """The first process's state, on all devices, and its number of finished epochs."""
        return state, done

    def jit(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A compiled training step that may reuse the memory of its first argument, the state."""
        return jax.jit(step, donate_argnums=0)

    def everywhere(self, tree: Any) -> Any:
        """Arrays that every device holds whole."""
        return tree

    def batch(self, arrays: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
        """Arrays cut along their first axis; what lacks to equal parts is filled with 0."""
        return arrays

    def cut(self, tree: Any) -> Any:
        """Inside a step: values of which each device computes its part of the first axis."""
        return tree

    def whole(self, tree: Any) -> Any:
        """Inside a step: values that every device has whole."""
        return tree

    def finished(self, loss: jax.Array) -> jax.Array:
        """The loss of a step as this process's own array; a group waits here until the step is done."""
        return loss

    def local(self, tree: Any) -> Any:
        """Whole arrays as this process's own."""
        return tree


ALONE = Alone()


class Watch(threading.Thread):
    """Ends this process with one line when no `beat` comes for `patience` seconds."""

    def __init__(self, patience: float, name: str) -> None:
        super().__init__(daemon=True)
        self.patience, self.who = patience, name
        self.doing = "the others did not all come"
        self.last = time.monotonic()

    def beat(self, doing: str = "no step ended") -> None:
        self.doing, self.last = doing, time.monotonic()

    def run(self) -> None:
        while time.monotonic() - self.last < self.patience:
            time.sleep(min(1.0, self.patience / 10))
        end(f"{self.who} lost the others: {self.doing} for {self.patience:g} s", LOST)


class Group(Alone):
    """This process among `processes`, and all their devices as one axis."""

    alone = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.first = jax.process_index() == 0
        devices = jax.devices()
        self.parts = len(devices)
        self.note = f", {jax.process_count()} processes with {self.parts} devices"
        self.mesh = Mesh(np.array(devices), ("data",))
        self.softmax_loss = spread_softmax_loss(self.mesh)

    def agree(self, what: str, *parts: bytes) -> None:
        digest = np.frombuffer(hashlib.sha256(b"\0".join(parts)).digest(), np.int32)
        others = np.asarray(multihost_utils.process_allgather(digest)).reshape(-1, len(digest))
        different = [str(i) for i, other in enumerate(others) if (other != others[0]).any()]
        if different:
            raise DistributedError(f"process {', '.join(different)} has not the {what} of process 0")
        self.watch.beat()

    def divides(self, field: str, count: int) -> None:
        if count % self.parts:
            raise DistributedError(f"{field} = {count}, must be a multiple of the {self.parts} devices")

    def from_first(self, state: Any, done: int) -> tuple[Any, int]:
        state, done = multihost_utils.broadcast_one_to_all((state, np.int32(done)), is_source=self.first)
        return self.everywhere(state), int(done)

    def jit(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(step, donate_argnums=0, out_shardings=NamedSharding(self.mesh, WHOLE))

    def _place(self, value: Any, spec: PartitionSpec) -> jax.Array:
        array = np.asarray(value)
        return jax.make_array_from_callback(array.shape, NamedSharding(self.mesh, spec), lambda index: array[index])

    def everywhere(self, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: self._place(leaf, WHOLE), tree)

    def batch(self, arrays: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
        def fill(array: np.ndarray) -> np.ndarray:
            return np.pad(array, ((0, -len(array) % self.parts), *[(0, 0)] * (array.ndim - 1)))

        return tuple(self._place(fill(array), CUT) for array in arrays)

    def cut(self, tree: Any) -> Any:
        return jax.lax.with_sharding_constraint(tree, NamedSharding(self.mesh, CUT))

    def whole(self, tree: Any) -> Any:
        return jax.lax.with_sharding_constraint(tree, NamedSharding(self.mesh, WHOLE))

    def finished(self, loss: jax.Array) -> jax.Array:
        own = self.local(loss)
        self.watch.beat()
        return own

    def local(self, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.numpy.asarray(np.asarray(leaf)), tree)


def spread_softmax_loss(mesh: Mesh) -> Callable[..., jax.Array]:
    """`model.softmax_loss` where each device sweeps its part of the positions over all items; sums go over all parts."""

    def part(hidden: jax.Array, vectors: jax.Array, target: jax.Array, weight: jax.Array) -> tuple[jax.Array, Any]:
        loss, (to_hidden, to_vectors) = model.softmax_pass(hidden, vectors, target, weight)
        loss, to_vectors = jax.lax.psum((loss, to_vectors), "data")
        return loss, (to_hidden, to_vectors)

    sweep = jax.shard_map(
        part, mesh=mesh, in_specs=(CUT, WHOLE, CUT, CUT), out_specs=(WHOLE, (CUT, WHOLE)), check_vma=False
    )

    @jax.custom_vjp
    def softmax_loss(hidden: jax.Array, vectors: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
        return sweep(hidden, vectors, target, weight)[0]

    softmax_loss.defvjp(sweep, model.softmax_backward)
    return softmax_loss


def end(line: str, status: int) -> NoReturn:
    """Leaves at once: an orderly shutdown would wait for the others."""
    print(f"training: {line}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)


def end_with_parent() -> None:
    """Ends this process when standard input closes, that is, when whoever started it is gone."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(LOST)

    threading.Thread(target=wait, daemon=True).start()


def join(processes: int, process: int, coordinator: str, patience: float) -> Group:
    """Meets the other processes at the coordinator, which is process 0, and makes one mesh of all devices."""
    watch = Watch(patience, f"process {process} of {processes}")
    watch.start()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    near = coordinator.rpartition(":")[0] in ("127.0.0.1", "localhost")
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            coordinator_bind_address=coordinator if near else None,  # else every interface
            initialization_timeout=NEVER,
            heartbeat_timeout_seconds=NEVER,
            shutdown_timeout_seconds=NEVER,
        )
    except RuntimeError as error:
        raise DistributedError(
            f"--coordinator = {coordinator!r} cannot be used: {str(error).splitlines()[0]}"
        ) from error
    watch.beat()
    return Group(watch)


def means_lost(error: Exception) -> bool:
    """Whether an error of a collective says that another process is gone; JAX has no class of its own for it."""
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "coordination"))
