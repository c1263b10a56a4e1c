"""What all runs on one data set share: the split, content vectors, the teacher's item vectors, popularity, cases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from training import config as configuration
from training import trunk
from training.config import Config, Sasrec, stage_key
from training.data import CACHE, POSITIVE_TYPES, Case, Dataset, Split, by_time, leave_one_out, load, repeat_share
from training.evaluate import REPEATS_ALLOWED_FROM
from training.joint.content import content_vectors

# On Larder every engagement is a target, and validation is ten days: the few thousand decisions that the shipped model is
# judged by are too few to tell rows apart.
VALIDATION_DAYS, MOST_CASES = 10, 6000
CONTENT_DIM = 64
SAMPLED_USERS, SAMPLE_SEED = 6000, 4


@dataclass(frozen=True)
class World:
    """`content` (items, width) and `teacher` (items, width) float32; `share` (items,) smoothed share of training events.
    `masked`: the user's earlier items leave the ranking. `sampled`: users that validation and test were cut to, or None."""

    name: str
    config: Config
    data: Dataset
    split: Split
    content: np.ndarray
    teacher: np.ndarray
    teacher_quality: dict[str, float]
    share: np.ndarray
    masked: bool
    sampled: int | None

    @cached_property
    def content_sha256(self) -> str:
        return hashlib.sha256(self.content.tobytes()).hexdigest()

    @property
    def items(self) -> int:
        return len(self.data.item_ids)


def settings_of(dataset: str) -> Config:
    """The data set's own configuration; `larder-plain` is Larder's on the world without the hidden factor."""
    if dataset in ("larder", "larder-plain"):
        larder = configuration.load("larder")
        data = replace(larder.data, source=f"folder:.cache/{dataset}", validation_days=VALIDATION_DAYS)
        sasrec = replace(larder.sasrec, epochs=14, dropout=0.3)
        return replace(larder, name=dataset, data=data, sasrec=sasrec)
    return configuration.load(dataset)


def load_world(dataset: str, cache: Path = CACHE, log: Callable[[str], None] = print) -> World:
    config = settings_of(dataset)
    data = load(config.name, config.data.source)
    plan = config.data
    if plan.split == "leave-one-out":
        split = leave_one_out(data, plan.history_length)
    else:
        kinds = POSITIVE_TYPES if dataset.startswith("larder") else plan.target_types
        split = by_time(data, plan.history_length, plan.validation_days, plan.test_days, kinds)
    users = sorted({case.user for case in split.test})
    sampled = None
    if len(users) > 2 * SAMPLED_USERS:
        sampled = SAMPLED_USERS
        kept = set(np.random.default_rng(SAMPLE_SEED).choice(users, sampled, replace=False).tolist())
        split = replace(split, validation=_only(split.validation, kept), test=_only(split.test, kept))
    split = replace(split, validation=_some(split.validation), test=_some(split.test))
    folder = cache / "runs" / "ablation" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    content = _cached(
        folder / f"content{CONTENT_DIM}-{data.sha256[:12]}.npy", lambda: content_vectors(data.item_texts, CONTENT_DIM)
    )
    teacher, quality = _teacher(config, data, split, cache, folder, log)
    counts = np.bincount(np.concatenate(split.train), minlength=len(data.item_ids)) + 0.5
    masked = repeat_share(data, plan.target_types) <= REPEATS_ALLOWED_FROM
    return World(
        dataset,
        config,
        data,
        split,
        content,
        teacher,
        quality,
        (counts / counts.sum()).astype(np.float32),
        masked,
        sampled,
    )


def _only(cases: list[Case], users: set[int]) -> list[Case]:
    return [case for case in cases if case.user in users]


def _some(cases: list[Case]) -> list[Case]:
    """At most MOST_CASES, evenly over the list."""
    if len(cases) <= MOST_CASES:
        return cases
    return [cases[int(place)] for place in np.linspace(0, len(cases) - 1, MOST_CASES)]


def _cached(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not path.exists():
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, make())
        temporary.replace(path)
    return np.load(path)


def _teacher(
    config: Config, data: Dataset, split: Split, cache: Path, folder: Path, log: Callable[[str], None]
) -> tuple[np.ndarray, dict[str, float]]:
    """Item vectors of a full-softmax SASRec on the training split, and its validation figures. The one that the ranking
    comparison trained is taken where it lies in the cache; one teacher, of seed 0, serves all seeds."""
    name = f"sasrec-{stage_key(config, 'sasrec', data.sha256)}.npz"
    known = cache / "runs" / config.name / name
    settings: Sasrec = config.sasrec
    params, record = trunk.train(
        split=split,
        items=len(data.item_ids),
        tokens=None,
        settings=settings,
        length=config.data.history_length,
        seed=config.seed,
        checkpoint=known if known.exists() else folder / name,
        log=log,
    )
    return np.asarray(params["item"]), record["epochs"][-1]["validation"]
