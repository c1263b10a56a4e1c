"""What a run of the papers' backbone consists of, and the values used for the published comparison."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Settings:
    """`layers` each for encoder and decoder; `items` of history, three tokens each; `prefixes` drawn a user an epoch
    (0: all of them, as in the papers); `epochs` is the most that a budget of minutes may plan; `validate_every` epochs;
    `grace`: so many validations without a better one end the run."""

    dim: int
    layers: int
    heads: int
    widen: int
    dropout: float
    items: int
    buckets: tuple[int, ...]
    learning_rate: float
    last_rate: float
    weight_decay: float
    clip: float
    average: float
    batch: int
    prefixes: int
    epochs: int
    validate_every: int
    validation_users: int
    grace: int
    beams: int


# Learning rate: the low end of the papers' search (2e-3, 5e-3, 8e-3 at batch 512); weight decay and dropout are theirs.
PAPER = Settings(
    dim=96,
    layers=2,
    heads=4,
    widen=4,
    dropout=0.1,
    items=20,
    buckets=(2, 4, 7, 12, 20),
    learning_rate=2e-3,
    last_rate=0.05,
    weight_decay=0.05,
    clip=1.0,
    average=0.999,
    batch=256,
    prefixes=0,
    epochs=60,
    validate_every=1,
    validation_users=2000,
    grace=4,
    beams=20,
)


def run_key(settings: Settings, seed: int, tokens_key: str, minutes: float | None) -> str:
    """First 12 hex digits of the hash of everything that a run's result depends on; `tokens_key` names codes and data."""
    text = json.dumps([asdict(settings), seed, tokens_key, minutes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
