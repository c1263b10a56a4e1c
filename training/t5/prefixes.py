"""Items as three tokens (two codes and the place inside their leaf), and batches of (history, target) prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.t5.model import START
from training.tokenizer import Tree


@dataclass(frozen=True)
class Tokens:
    """`of` (items, levels + 1) token ids of every item: codes, then the place inside the leaf, so that no two items share
    a sequence. `sizes` are the tokens of each position; token 0 stands for no token."""

    of: np.ndarray
    sizes: tuple[int, ...]

    @property
    def firsts(self) -> np.ndarray:
        """The first token id of each position's block."""
        return 1 + np.concatenate([[0], np.cumsum(self.sizes)[:-1]])


def item_tokens(codes: np.ndarray, tree: Tree) -> Tokens:
    """Tokens of the items that `tree` holds."""
    place = np.empty(len(codes), np.int64)
    place[tree.order] = np.arange(len(codes)) - tree.offsets[-1][tree.prefix[-1][tree.order]]
    sizes = (*tree.levels, int(tree.leaf_sizes.max()))
    local = np.concatenate([codes.astype(np.int64), place[:, None]], axis=1)
    firsts = 1 + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return Tokens((local + firsts).astype(np.int32), sizes)


def history_tokens(tokens: Tokens, histories: list[np.ndarray], items: int) -> tuple[np.ndarray, np.ndarray]:
    """The last `items` of each history (oldest first, padded on the right) -> ids (n, 3 * items) and a boolean mask."""
    width = tokens.of.shape[1]
    ids = np.full((len(histories), items * width), START, np.int32)
    real = np.zeros((len(histories), items * width), bool)
    for row, history in enumerate(histories):
        flat = tokens.of[history[-items:]].reshape(-1)
        ids[row, : len(flat)] = flat
        real[row, : len(flat)] = True
    return ids, real


class PrefixBatcher:
    """Every next-item question of the training sequences; batches hold histories of similar length, in a seeded order."""

    def __init__(
        self,
        sequences: list[np.ndarray],
        tokens: Tokens,
        items: int,
        buckets: tuple[int, ...],
        batch: int,
        prefixes: int,
        seed: int,
    ) -> None:
        self.sequences, self.tokens, self.items, self.batch = sequences, tokens, items, batch
        self.prefixes, self.seed = prefixes, seed
        self.buckets = sorted({*(b for b in buckets if b < items), items})
        self.owner = np.concatenate([np.full(max(0, len(s) - 1), row) for row, s in enumerate(sequences)])
        self.cut = np.concatenate([np.arange(1, max(1, len(s))) for s in sequences])

    def chosen(self, rng: np.random.Generator) -> np.ndarray:
        """Questions of one epoch: all, or at most `prefixes` drawn a user."""
        order = rng.permutation(len(self.owner))
        if self.prefixes == 0:
            return order
        by_owner = order[np.argsort(self.owner[order], kind="stable")]
        owners = self.owner[by_owner]
        nth = np.arange(len(owners)) - np.searchsorted(owners, owners)
        return rng.permutation(by_owner[nth < self.prefixes])

    def epoch(self, number: int) -> Iterator[tuple[np.ndarray, ...]]:
        """(tokens, real, target tokens, weight) of batches with one row a question; spare rows have weight 0."""
        rng = np.random.default_rng([self.seed, number])
        chosen = self.chosen(rng)
        long = np.minimum(self.cut[chosen], self.items)
        plan, low = [], 0
        for high in self.buckets:
            members = chosen[(long > low) & (long <= high)]
            plan += [(high, members[at : at + self.batch]) for at in range(0, len(members), self.batch)]
            low = high
        for index in rng.permutation(len(plan)):
            yield self._make(*plan[index])

    def _make(self, items: int, members: np.ndarray) -> tuple[np.ndarray, ...]:
        histories = [self.sequences[self.owner[m]][: self.cut[m]] for m in members]
        wanted = np.array([self.sequences[self.owner[m]][self.cut[m]] for m in members])
        ids, real = history_tokens(self.tokens, histories, items)
        spare = self.batch - len(members)
        target = np.pad(self.tokens.of[wanted], ((0, spare), (0, 0)), mode="edge")
        weight = np.pad(np.ones(len(members), np.float32), (0, spare))
        real = np.pad(real, ((0, spare), (0, 0)))
        real[len(members) :, 0] = True  # a row without a real token has no softmax
        return np.pad(ids, ((0, spare), (0, 0))), real, target, weight
