"""Sequences -> batches of few fixed shapes with about the same number of targets each, the same for a (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Batch:
    """`items` (sequences, length) input rows padded with 0 on the right; `place` flat indices of the positions with a
    target, padded to a fixed count with `weight` 0; `target` their next items."""

    items: np.ndarray
    place: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def windows(sequences: list[np.ndarray], length: int) -> list[np.ndarray]:
    """Sequences longer than length + 1 are cut into windows that overlap by one item, so every target occurs once."""
    cut = []
    for sequence in sequences:
        for end in range(len(sequence), 1, -length):
            cut.append(sequence[max(0, end - length - 1) : end])
    return cut


class Batcher:
    """Buckets by length: a bucket's batches share one shape, so one compilation serves an epoch's share of them."""

    def __init__(
        self, sequences: list[np.ndarray], length: int, targets: int, seed: int, buckets: tuple[int, ...]
    ) -> None:
        self.sequences = windows(sequences, length)
        self.targets, self.seed = targets, seed
        sizes = np.array([len(s) - 1 for s in self.sequences])
        edges = [0, *[b for b in buckets if b < length], length]
        self.buckets = []
        for low, high in pairwise(edges):
            members = np.flatnonzero((sizes > low) & (sizes <= high))
            if len(members):
                self.buckets.append((high, members, max(1, round(targets / float(sizes[members].mean())))))
        self.total = int(sizes.sum())

    def epoch(self, number: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, number])
        plan = []
        for high, members, rows in self.buckets:
            shuffled = rng.permutation(members)
            chunk: list[int] = []
            used = 0
            for member in shuffled:
                size = len(self.sequences[member]) - 1
                if len(chunk) == rows or used + size > self.targets:
                    plan.append((high, rows, chunk))
                    chunk, used = [], 0
                chunk.append(int(member))
                used += size
            plan.append((high, rows, chunk))
        for index in rng.permutation(len(plan)):
            yield self._make(*plan[index])

    def _make(self, high: int, rows: int, chunk: list[int]) -> Batch:
        items = np.zeros((rows, high), np.int32)
        place = np.zeros(self.targets, np.int32)
        target = np.zeros(self.targets, np.int32)
        weight = np.zeros(self.targets, np.float32)
        used = 0
        for row, member in enumerate(chunk):
            sequence = self.sequences[member]
            size = len(sequence) - 1
            items[row, :size] = sequence[:-1]
            place[used : used + size] = row * high + np.arange(size)
            target[used : used + size] = sequence[1:]
            weight[used : used + size] = 1.0
            used += size
        return Batch(items, place, target, weight)
