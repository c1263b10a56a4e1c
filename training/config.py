"""The shape of an experiment's configuration, its bounds, and the keys under which results of a stage are cached.

A configuration is one frozen literal in `configs/<experiment>.py` that gives every field. A stage's cache key covers its
own fields, those of the stages before it and the data, so a change of the decoder leaves the trunk alone.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any


class ConfigError(ValueError):
    """One line: the field, its value, the bound."""


@dataclass(frozen=True)
class Data:
    """`source` as in data.load; `split` is leave-one-out or time. Days and target types matter to the time split only."""

    source: str
    split: str
    validation_days: float
    test_days: float
    target_types: tuple[str, ...]
    history_length: int


@dataclass(frozen=True)
class Trunk:
    dim: int
    layers: int
    heads: int
    dropout: float
    drop_learned: float
    vocabulary: int
    text_dim: int
    text_hidden: int
    text_tokens: int
    learning_rate: float
    average: float
    targets_per_step: int
    buckets: tuple[int, ...]
    epochs: int
    validate_every: int
    validation_users: int


@dataclass(frozen=True)
class Codes:
    """Codes a level, () = two levels by `levels_for`; `iterations` of k-means a level. `unseen_from_text`: an item that no
    training sequence holds gets the vector that its text alone gives, as an item newer than the model does."""

    levels: tuple[int, ...]
    iterations: int
    unseen_from_text: bool = False


@dataclass(frozen=True)
class Decoder:
    """Depth decoder on cached hidden states. `teacher` is the share of softmax(h.V) in the target distribution;
    `rank` as in decoder.init; `noise` (in standard deviations) is added to the hidden states before the teacher sees them,
    because those of training are surer than those of new histories."""

    hidden: int
    rank: int
    teacher: float
    noise: float
    learning_rate: float
    average: float
    batch: int
    epochs: int


@dataclass(frozen=True)
class Serve:
    """`beams` are prefixes kept after each level but the last, `leaves` after the last; `alphas` are tried on validation.
    `exact_below`: with at most so many live items all are scored, no beams. `vectors`: int8, pq (product-quantised), or auto
    by the number of items; `vector_bytes` an item in pq, 0 = by the number of items (`product_bytes`)."""

    mode: str
    beams: tuple[int, ...]
    leaves: int
    alphas: tuple[float, ...]
    exact_below: int
    vectors: str = "auto"
    vector_bytes: int = 0


@dataclass(frozen=True)
class Sasrec:
    """The plain comparison: learned item vectors only. epochs = 0 leaves it out."""

    dim: int
    layers: int
    heads: int
    dropout: float
    learning_rate: float
    average: float
    targets_per_step: int
    buckets: tuple[int, ...]
    epochs: int


@dataclass(frozen=True)
class Config:
    name: str
    seed: int
    data: Data
    trunk: Trunk
    codes: Codes
    decoder: Decoder
    serve: Serve
    sasrec: Sasrec
    output: str | None  # folder of the artefact from the repository root; None keeps it in the cache


def levels_for(items: int) -> tuple[int, int]:
    """Two levels of equal size, a multiple of 8, with about three items for each pair of codes: leaves in use then hold
    about four (64 x 64 at 12 thousand items, 40 x 40 at four thousand)."""
    size = min(256, max(8, 8 * math.ceil(math.sqrt(items / 3) / 8)))
    return size, size


VECTOR_BYTES = 2**24  # of all item vectors in an isolate that has 128 MB for everything


def product_bytes(config: Config, items: int) -> int | None:
    """Bytes of an item's product-quantised vector; None where vectors are int8. By itself the largest form that keeps all
    vectors within VECTOR_BYTES: int8, half of dim, else a quarter of it (at d 64: to 246 thousand items, 524 thousand, on)."""
    dim, serve = config.trunk.dim, config.serve
    if serve.vectors == "int8" or (serve.vectors == "auto" and items * (dim + 4) <= VECTOR_BYTES):
        return None
    return serve.vector_bytes or (dim // 2 if items * (dim // 2) <= VECTOR_BYTES else dim // 4)


STAGE_FIELDS = {
    "trunk": ("trunk",),
    "tokenize": ("trunk", "codes"),
    "decoder": ("trunk", "codes", "decoder"),
    "export": ("trunk", "codes", "decoder", "serve"),
    "evaluate": ("trunk", "codes", "decoder", "serve"),
    "sasrec": ("sasrec",),
    "baselines": (),
}


def _chosen(part: Any) -> dict[str, Any]:
    """Fields and values, without those that have their default: a field that is added later leaves cached results alone."""
    defaults = {field.name: field.default for field in fields(part) if field.default is not MISSING}
    return {name: value for name, value in asdict(part).items() if name not in defaults or value != defaults[name]}


def stage_key(config: Config, stage: str, data_sha256: str) -> str:
    """First 12 hex digits of the hash of everything that the stage's result depends on."""
    values = {name: _chosen(getattr(config, name)) for name in STAGE_FIELDS[stage]}
    split = {k: v for k, v in _chosen(config.data).items() if k != "source"}
    text = json.dumps([values, split, config.seed, data_sha256], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _require(holds: bool, field: str, value: Any, bound: str) -> None:
    if not holds:
        raise ConfigError(f"config: {field} = {value!r}, must be {bound}")


def check(config: Config) -> Config:
    """The configuration itself, or a ConfigError that names the first field out of bounds."""

    def walk(part: Any, path: str) -> None:
        for field in fields(part):
            value, name = getattr(part, field.name), f"{path}{field.name}"
            if is_dataclass(value):
                walk(value, f"{name}.")
            elif field.name in ("dropout", "drop_learned", "teacher", "average"):
                _require(
                    0 <= value < 1 or (field.name == "teacher" and value == 1), name, value, "at least 0 and below 1"
                )
            elif field.name == "learning_rate":
                _require(0 < value <= 0.1, name, value, "above 0 and at most 0.1")
            elif isinstance(value, bool):
                continue
            elif isinstance(value, int) and field.name not in (
                "epochs",
                "seed",
                "exact_below",
                "validation_days",
                "test_days",
                "vector_bytes",
            ):
                _require(value >= 1, name, value, "at least 1")
            elif isinstance(value, int):
                _require(value >= 0, name, value, "at least 0")

    walk(config, "")
    data, trunk, serve = config.data, config.trunk, config.serve
    _require(data.split in ("leave-one-out", "time"), "data.split", data.split, "leave-one-out or time")
    _require(2 <= data.history_length <= 200, "data.history_length", data.history_length, "from 2 to 200")
    _require(trunk.dim % trunk.heads == 0, "trunk.heads", trunk.heads, f"a divisor of trunk.dim = {trunk.dim}")
    _require(trunk.dim % 4 == 0, "trunk.dim", trunk.dim, "a multiple of 4")
    _require(256 <= trunk.vocabulary <= 32768, "trunk.vocabulary", trunk.vocabulary, "from 256 to 32768")
    _require(
        trunk.targets_per_step >= data.history_length,
        "trunk.targets_per_step",
        trunk.targets_per_step,
        "at least data.history_length",
    )
    levels = len(config.codes.levels)
    _require(levels in (0, 2, 3), "codes.levels", config.codes.levels, "two or three levels, or () for the rule")
    for size in config.codes.levels:
        _require(2 <= size <= 256, "codes.levels", config.codes.levels, "of 2 to 256 codes each")
    _require(serve.mode in ("beam", "exact"), "serve.mode", serve.mode, "beam or exact")
    _require(
        len(serve.beams) == (levels or 2) - 1,
        "serve.beams",
        serve.beams,
        "one number for each level but the last",
    )
    _require(serve.vectors in ("auto", "int8", "pq"), "serve.vectors", serve.vectors, "auto, int8 or pq")
    if serve.vector_bytes:
        bound = f"0 or a divisor of trunk.dim = {trunk.dim}"
        _require(trunk.dim % serve.vector_bytes == 0, "serve.vector_bytes", serve.vector_bytes, bound)
    for alpha in serve.alphas:
        _require(0 <= alpha <= 1, "serve.alphas", serve.alphas, "from 0 to 1")
    return config


def load(name: str) -> Config:
    """The checked configuration `configs/<name>.py`."""
    if not name.isidentifier():
        raise ConfigError(f"config: name = {name!r}, must be a file of training/configs without its suffix")
    try:
        module = importlib.import_module(f"training.configs.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"training.configs.{name}":
            raise
        raise ConfigError(f"config: name = {name!r}, must be a file of training/configs without its suffix") from None
    return check(module.CONFIG)
