"""training.batches with what the joint losses ask for beside positions: whose row it is, and which places are real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from training.batches import Batch, Batcher


class Rows(NamedTuple):
    """One step's arrays; every bucket has one shape. R rows of T places, N targets, U distinct items.

    `unique` (U,) item rows, padded by repeating the first, real where `unique_weight` is 1; `inputs`, `targets` (R, T)
    indices into `unique`; `valid` (R, T) bool; `owner` (R,) user numbers; `place`, `goal`, `weight` (N,) as in Batch."""

    unique: np.ndarray
    unique_weight: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    valid: np.ndarray
    owner: np.ndarray
    place: np.ndarray
    goal: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class OwnedBatch(Batch):
    """`owner` (sequences,) user numbers; -1 in an empty row."""

    owner: np.ndarray


class JointBatcher(Batcher):
    def __init__(
        self, sequences: list[np.ndarray], length: int, targets: int, seed: int, buckets: tuple[int, ...], items: int
    ) -> None:
        super().__init__(sequences, length, targets, seed, buckets)
        self.items = items
        # windows of one user follow one another, in the order of training.batches.windows
        self.owners = np.concatenate(
            [np.full(len(range(len(s), 1, -length)), user, np.int32) for user, s in enumerate(sequences)]
        )

    def rows(self, epoch: int) -> Iterator[Rows]:
        for batch in self.epoch(epoch):
            assert isinstance(batch, OwnedBatch)
            yield self._arrange(batch)

    def _make(self, high: int, rows: int, chunk: list[int]) -> OwnedBatch:
        owner = np.full(rows, -1, np.int32)
        owner[: len(chunk)] = self.owners[chunk]
        return OwnedBatch(**vars(super()._make(high, rows, chunk)), owner=owner)

    def _arrange(self, batch: OwnedBatch) -> Rows:
        rows, high = batch.items.shape
        real = batch.weight > 0
        valid, goals = np.zeros(rows * high, bool), np.zeros(rows * high, np.int32)
        valid[batch.place[real]] = True
        goals[batch.place[real]] = batch.target[real]
        goals, valid = goals.reshape(rows, high), valid.reshape(rows, high)
        both = np.concatenate([batch.items[valid], goals[valid]])
        unique = np.unique(both)
        size = min(self.items, rows * (high + 1))
        place_of = np.zeros(self.items, np.int32)
        place_of[unique] = np.arange(len(unique), dtype=np.int32)
        padded = np.full(size, unique[0], np.int32)
        padded[: len(unique)] = unique
        unique_weight = (np.arange(size) < len(unique)).astype(np.float32)
        inputs = np.where(valid, place_of[batch.items], 0)
        targets = np.where(valid, place_of[goals], 0)
        return Rows(padded, unique_weight, inputs, targets, valid, batch.owner, batch.place, batch.target, batch.weight)
