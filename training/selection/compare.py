"""Every way of choosing samples on the small world, at equal steps: python -m training.selection.compare [--seeds 0,1]"""

from __future__ import annotations

import argparse

import numpy as np

from training.selection import scores, testbed
from training.selection.scores import Plan

POOL, HELD_OUT, COUNT, STEPS, WARM_STEPS = 3000, 1000, 300, 300, 40


def rewards(seed: int) -> dict[str, float]:
    """Mean reward on held-out prompts after GRPO on what each way has chosen."""
    world = testbed.make_world(seed, POOL + HELD_OUT)
    pool, test = world.part(np.arange(POOL)), world.part(np.arange(POOL, POOL + HELD_OUT))
    policy = testbed.warm_start(pool, testbed.init_policy(world, seed), seed, WARM_STEPS)
    samples, errors = testbed.examine(pool, testbed.proxy(pool, policy, seed), seed)
    orders = {
        "full pool": np.random.default_rng(seed).permutation(POOL),
        "MiniRec": scores.select(samples, Plan(COUNT)).order,
        "released": scores.select(samples, Plan(COUNT, learnability="released", hard_reject=False)).order,
        "random": np.random.default_rng(seed).choice(POOL, COUNT, replace=False),
        "k-means": scores.by_clusters(samples.embeddings, COUNT, seed),
        "gradient norm": scores.by_gradient(samples.gradients, COUNT),
        "EL2N": scores.by_error(errors, COUNT),
    }
    return {
        name: testbed.mean_reward(test, testbed.train(pool, policy, order, STEPS, seed)[0])
        for name, order in orders.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="training.selection.compare", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--seeds", default="0,1")
    by_seed = [rewards(int(seed)) for seed in parser.parse_args().seeds.split(",")]
    for name in by_seed[0]:
        print(f"{name:14}", *(f"{one[name]:.3f}" for one in by_seed))


if __name__ == "__main__":
    main()
