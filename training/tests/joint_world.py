"""A world of 60 items that the tests of the joint experiment share; its teacher is random, because nothing here asks for a good one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from training import config as configuration
from training import synthetic
from training.data import by_time
from training.joint.config import Joint, Soda, Tokenizer
from training.joint.content import content_vectors
from training.joint.world import World

LENGTH = 8
SMALL = Joint(
    tokenizer=Tokenizer(hidden=24, latent=8, codes=8, steps=60, batch=60),
    soda=Soda(),
    dim=16,
    length=LENGTH,
    decoder_hidden=16,
    decoder_rank=2,
    targets_per_step=128,
    epochs=4,
    beams=8,
    leaves=24,
)
SOFT = replace(SMALL, soft_ids=True, joint=True)


@cache
def small_world() -> World:
    data = synthetic.world("small", items=60, users=90, topics=6, days=40, seed=3)
    config = configuration.load("tiny")
    split = by_time(data, LENGTH, 6, 6, ("purchase",))
    counts = np.bincount(np.concatenate(split.train), minlength=60) + 0.5
    return World(
        name="small",
        config=replace(config, name="small"),
        data=data,
        split=split,
        content=content_vectors(data.item_texts, 24),
        teacher=np.random.default_rng(5).normal(size=(60, 12)).astype(np.float32),
        teacher_quality={},
        share=(counts / counts.sum()).astype(np.float32),
        masked=False,
        sampled=None,
    )
