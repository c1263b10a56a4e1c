"""The settings of one run of the joint experiment: every part of UniGRec and SODA is a switch, weights are numbers.

`Joint` describes a run completely with its seed and data; `key` names its cached result. The rows of the tables are
`training.joint.variants`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields

from training.config import ConfigError


@dataclass(frozen=True)
class Tokenizer:
    """Content vectors -> latents of `latent` numbers, quantised at `levels` levels of `codes` codes.

    `codes` 0 = training.config.levels_for. `start` of the codebooks is random or k-means. Temperatures are relative to the
    codebook's own distances (codes.temperatures): from `t_start` down to `t_end`, then straight-through for the last
    `hard_share` of the steps; `annealed` False keeps `t_start` to the end. `uniformity` weighs the codes' negative entropy
    against a reconstruction error of about 1, on 2,048 items a step."""

    hidden: int = 128
    latent: int = 32
    levels: int = 3
    codes: int = 0
    start: str = "random"
    t_start: float = 2.0
    t_end: float = 0.3
    hard_share: float = 0.4
    annealed: bool = True
    uniformity: float = 0.0
    learning_rate: float = 2e-3
    steps: int = 400
    batch: int = 2048


@dataclass(frozen=True)
class Soda:
    """The loss on a user's code distributions. `kind` is none, soda, kl, soft-label or mse; `target` soft or one-hot;
    `path` own or teacher-forced; `t` a temperature relative to the codebook's distances.

    With `cycle` > 0 the epochs alternate: of each cycle the first trains the tokenizer, the others the recommender;
    `freeze_share` of the epochs pass before the tokenizer is frozen. `still_share` of the steps pass before the target's
    distribution gets a gradient."""

    kind: str = "none"
    weight: float = 0.1
    direction: str = "forward"
    over_levels: str = "mean"
    negative: str = "average"
    path: str = "own"
    t: float = 2.0
    target: str = "soft"
    cycle: int = 0
    freeze_share: float = 0.7
    still_share: float = 0.3


@dataclass(frozen=True)
class Joint:
    """`soft_ids`: history tokens from code probabilities; `joint`: the tokenizer learns with the recommender, at
    `tokenizer_rate` times its rate, beside a reconstruction term. `t_start`, `t_end`, `hard_share`, `annealed` as in
    Tokenizer, for the joint stage. `finish_share` of the epochs are the last stage: hard ids, recommender alone.
    `tokenizer_distillation` and `recommender_distillation` are weights, 0 = off; they and SODA look at `positions` random
    positions of every sequence a step. `refresh_steps` 0 derives the target
    codes anew every epoch. `released_defects`: adapters stay random, logits of the tokenizer-side distillation are positive
    squared distances, the pooling mask is the released one."""

    tokenizer: Tokenizer = Tokenizer()
    soda: Soda = Soda()
    dim: int = 64
    layers: int = 1
    heads: int = 2
    length: int = 20
    dropout: float = 0.2
    decoder_hidden: int = 64
    decoder_rank: int = 4
    learning_rate: float = 5e-3
    average: float = 0.99
    targets_per_step: int = 1024
    buckets: tuple[int, ...] = ()
    epochs: int = 16
    finish_share: float = 0.5
    refresh_steps: int = 0
    soft_ids: bool = False
    joint: bool = False
    tokenizer_rate: float = 0.2
    reconstruction: float = 0.5
    t_start: float = 1.0
    t_end: float = 0.3
    hard_share: float = 0.4
    annealed: bool = True
    tokenizer_distillation: float = 0.0
    recommender_distillation: float = 0.0
    contrast_temperature: float = 0.07
    positions: int = 4
    released_defects: bool = False
    learned_vectors: bool = False
    text_input: bool = False
    item_head: bool = False
    beams: int = 32
    leaves: int = 64

    @property
    def finish_epochs(self) -> int:
        return round(self.epochs * self.finish_share)


SWITCHES: dict[str, tuple[str, ...]] = {
    "tokenizer.start": ("random", "k-means"),
    "soda.kind": ("none", "soda", "kl", "soft-label", "mse"),
    "soda.direction": ("forward", "reverse", "symmetric"),
    "soda.over_levels": ("mean", "sum"),
    "soda.negative": ("average", "average-with-self", "item-average", "sample", "log-mean"),
    "soda.path": ("own", "teacher-forced"),
    "soda.target": ("soft", "one-hot"),
}


def check(settings: Joint) -> Joint:
    """The settings themselves. Raises ConfigError with the first field that is out of bounds."""

    def require(holds: bool, field: str, value: object, bound: str) -> None:
        if not holds:
            raise ConfigError(f"joint: {field} = {value!r}, must be {bound}")

    for path, allowed in SWITCHES.items():
        part, name = path.split(".")
        value = getattr(getattr(settings, part), name)
        require(value in allowed, path, value, " or ".join(allowed))
    for part in (settings, settings.tokenizer, settings.soda):
        for field in fields(part):
            value = getattr(part, field.name)
            if field.name.endswith("_share") or field.name in ("dropout", "average"):
                require(0 <= value <= 1, field.name, value, "from 0 to 1")
            elif field.name in ("t", "t_start", "t_end", "contrast_temperature", "learning_rate"):
                require(value > 0, field.name, value, "above 0")
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                require(value >= 0, field.name, value, "at least 0")
    require(settings.tokenizer.codes <= 256, "tokenizer.codes", settings.tokenizer.codes, "at most 256")
    require(settings.soda.cycle != 1, "soda.cycle", 1, "0 or at least 2")
    require(settings.dim % 4 == 0, "dim", settings.dim, "a multiple of 4")
    require(settings.dim % settings.heads == 0, "heads", settings.heads, f"a divisor of dim = {settings.dim}")
    require(settings.soft_ids or not settings.joint, "joint", settings.joint, "False without soft_ids: no gradient")
    return settings


def key(settings: Joint, seed: int, data_sha256: str) -> str:
    """First 12 hex digits of the hash of everything that a run's result depends on."""
    text = json.dumps([asdict(settings), seed, data_sha256], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
