"""UniGRec's and SODA's rows on one data set, one cached result a (settings, seed, data).

    python -m training.joint.ablation --dataset larder --seeds 0,1,2 --variants main
    python -m training.joint.ablation --dataset beauty --seeds 0 --variants "M0;M5:tokenizer_rate=0.05" --epochs 8

Results are `.cache/runs/ablation/<dataset>/<variant>.s<seed>.json`: ranks of every case (validation to choose by, test for
the table), diagnostics, seconds. A row whose file has the same key is skipped, so a killed command goes on where it was.
Fewer epochs than a row's own are marked `budget`. `npm run bench:ablation` makes the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from training import optimiser
from training.command import one_line_errors
from training.data import CACHE
from training.joint import codes, evaluation, loop, variants
from training.joint.config import Tokenizer, key
from training.joint.world import World, load_world
from training.model import Params
from training.train import remember_compilations


def folder_of(dataset: str, cache: Path = CACHE) -> Path:
    return cache / "runs" / "ablation" / dataset


def result_path(folder: Path, variant: str, seed: int) -> Path:
    """Names of rows hold blanks, commas and pluses; in a file name those become hyphens."""
    stem = "".join(c if c.isalnum() or c in "._=" else "-" for c in variant)
    return folder / f"{stem}.s{seed}.json"


def write_json(path: Path, value: Any) -> None:
    """By renaming a whole file, so that a reader or a kill meets all of it or nothing."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


def stage_one(world: World, settings: Tokenizer, seed: int, folder: Path) -> tuple[Params, float]:
    """The pre-trained tokenizer, cached: many rows share one."""
    name = json.dumps(asdict(settings), sort_keys=True)
    digest = hashlib.sha256(f"{name} {seed} {world.content_sha256}".encode()).hexdigest()[:12]
    path = folder / f"tokenizer-{digest}.npz"
    if path.exists():
        made, note = optimiser.load(path, codes.init(jax.random.key(0), world.content, settings, 0))
        return made, note["seconds"]
    began = time.monotonic()
    made, error = codes.pretrain(world.content, settings, seed)
    seconds = time.monotonic() - began
    optimiser.save(path, made, {"seconds": seconds, "error": error, "settings": name})
    return made, seconds


def run_row(
    world: World, variant: variants.Variant, seed: int, epochs: int | None, order: int, folder: Path
) -> dict[str, Any]:
    """The row's result, from the cache where it is there."""
    full = variant.settings
    settings = full if epochs is None else replace(full, epochs=epochs)
    wanted = key(settings, seed, f"{world.data.sha256} {world.content_sha256}")
    path = result_path(folder, variant.name, seed)
    if path.exists():
        known = json.loads(path.read_text())
        if known["key"] == wanted:
            return known
    made, tokenizer_seconds = stage_one(world, settings.tokenizer, seed, folder)
    trained = loop.run(world, settings, seed, jax.tree.map(jnp.array, made))
    began = time.monotonic()
    measured = evaluation.evaluate(trained, world, settings)
    result = {
        "variant": variant.name,
        "comparedTo": variant.compared,
        "group": variant.group,
        "order": order,
        "dataset": world.name,
        "seed": seed,
        "key": wanted,
        "epochs": settings.epochs,
        "budget": settings.epochs < full.epochs,
        "ranking": "masked" if world.masked else "unmasked",
        "sampledUsers": world.sampled,
        "teacherValidation": world.teacher_quality,
        "seconds": {
            "tokenizer": round(tokenizer_seconds, 1),
            "training": round(trained.seconds, 1),
            "evaluation": round(time.monotonic() - began, 1),
        },
        "settings": asdict(settings),
        "losses": trained.losses,
        **measured,
    }
    write_json(path, result)
    return result


def write_cases(world: World, folder: Path) -> None:
    """Users of the cases in order, by which the tables pair and resample."""
    write_json(
        folder / "cases.json",
        {
            "dataset": world.name,
            "split": world.config.data.split,
            "items": world.items,
            "sampledUsers": world.sampled,
            "dataSha256": world.data.sha256,
            "validation": [int(case.user) for case in world.split.validation],
            "test": [int(case.user) for case in world.split.test],
        },
    )


def main(argv: list[str] | None = None, cache: Path = CACHE) -> None:
    parser = argparse.ArgumentParser(prog="training.joint.ablation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dataset", required=True, help="larder, larder-plain, beauty, tiny or another configuration")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", default="main", help="all, main, extra, soda, or names separated by semicolons")
    parser.add_argument("--epochs", type=int, help="fewer than a row's own: marked as budget")
    options = parser.parse_args(argv)
    remember_compilations()
    world = load_world(options.dataset, cache, lambda line: print(f"teacher {line}", flush=True))
    folder = folder_of(options.dataset, cache)
    folder.mkdir(parents=True, exist_ok=True)
    write_cases(world, folder)
    start = variants.base(options.dataset, world.items)
    order = {name: place for place, name in enumerate(variants.rows(start))}
    seeds = [int(seed) for seed in options.seeds.split(",")]
    wanted = variants.chosen(start, options.variants)
    began = time.monotonic()
    for seed in seeds:
        for variant in wanted:
            result = run_row(world, variant, seed, options.epochs, order.get(variant.name, len(order)), folder)
            figures = " ".join(
                f"{part} R@10 {result[part]['summary']['recall10']:.4f} N@10 {result[part]['summary']['ndcg10']:.4f}"
                for part in ("validation", "test")
            )
            changed = np.round(result["diagnostics"]["codesChanged"], 2).tolist()
            print(
                f"{options.dataset} s{seed} {variant.name}: {figures}, codes changed {changed}, collisions "
                f"{result['diagnostics']['collisionRate']:.3f}, {sum(result['seconds'].values()):.0f} s "
                f"({(time.monotonic() - began) / 60:.1f} min so far)",
                flush=True,
            )


if __name__ == "__main__":
    with one_line_errors():
        main()
