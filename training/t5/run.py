"""Trains and ranks the papers' backbone on the codes of a configuration whose stage `tokenize` has run.

    python -m training.t5.run --config beauty --minutes 18

The result goes to `.cache/runs/t5/<dataset>-<key>.json`: ranks of the configuration's test cases in their order, with and
without the user's earlier items, metrics, seconds, epochs, parameters. Graphs for timing go to `.cache/runs/t5/<dataset>/`.
`--minutes` are those of this machine with nothing else on it: the number of epochs is planned from processor time.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training import config as configuration
from training.command import one_line_errors
from training.config import stage_key
from training.data import CACHE, Case
from training.evaluate import sample, write_json, write_ranks
from training.metrics import summary
from training.model import Params, to_numpy
from training.t5 import export
from training.t5.decode import search, target_ranks
from training.t5.prefixes import item_tokens
from training.t5.settings import PAPER, Settings, run_key
from training.t5.train import train
from training.train import Run, StageError, remember_compilations, run_name


def result_of(ranks: dict[str, np.ndarray], record: dict[str, Any]) -> dict[str, Any]:
    """Metrics are of the ranking without the user's earlier items."""
    return {
        **{name: round(value, 5) for name, value in summary(ranks["masked"]).items()},
        "parameters": record["parameters"],
        "trainSeconds": round(record["seconds"], 1),
        "processorSeconds": round(record["processorSeconds"], 1),
        "epochs": len(record["epochs"]),
        "plannedEpochs": record["planned"],
        "bestEpoch": (record["best"] or {}).get("epoch"),
        "curve": record["epochs"],
        **{name: values.tolist() for name, values in ranks.items()},
    }


def _beside_others(run: Run, result: dict[str, Any]) -> None:
    """`ranks-t5.json` in the run's folder, where the ranking table looks; its seconds are processor seconds."""
    unmasked, masked = (np.asarray(result[ranking]) for ranking in ("unmasked", "masked"))
    write_ranks(run.folder, "t5", run.data.name, unmasked, masked, result["processorSeconds"])


def train_and_rank(run: Run, settings: Settings, minutes: float | None, as_it_is: bool = False) -> dict[str, Any]:
    """The whole chain, from the run's codes to the result's file. Epochs in the checkpoint are not run again; `as_it_is`
    ranks with the best of them, finished or not."""
    folder = run.folder.parent / "t5"
    folder.mkdir(parents=True, exist_ok=True)
    seed = run.config.seed
    key = run_key(settings, seed, stage_key(run.config, "tokenize", run.data.sha256), minutes)
    name = f"{run_name(run.config)}-{key}"

    def log(line: str) -> None:
        stamped = f"{time.strftime('%Y-%m-%d %H:%M:%S')} t5 {line}"
        print(stamped, flush=True)
        with (folder / f"{name}.txt").open("a", encoding="utf-8") as file:
            file.write(stamped + "\n")

    tokens, tree = item_tokens(run.codes, run.tree), run.tree

    shape = {"heads": settings.heads, "items": settings.items, "beams": settings.beams}

    def ranked(params: Params, cases: list[Case], masked: bool) -> np.ndarray:
        return target_ranks(params, tokens, tree, cases, masked, **shape)

    checked = sample(run.split.validation, settings.validation_users)
    params, record = train(
        sequences=run.split.train,
        tokens=tokens,
        settings=settings,
        minutes=minutes,
        seed=seed,
        checkpoint=folder / f"{name}.npz",
        log=log,
        validate=lambda weights: ranked(weights, checked, not run.repeats),
        as_it_is=as_it_is,
    )
    if not record["epochs"]:
        raise StageError(f"stage {run.stage}: no epoch of this run is done yet")
    out = folder / run_name(run.config)
    worst = export.write(out, to_numpy(params), tokens.sizes, settings)
    probes = sample(run.split.test, 16)[:16]
    asked = [case.history for case in probes], [case.seen for case in probes]
    found, _ = search(params, tokens, tree, *asked, **shape)
    histories = [case.history[-settings.items :].tolist() for case in probes]
    write_json(
        out / "check.json", {"histories": histories, "seen": [c.seen.tolist() for c in probes], "items": found.tolist()}
    )
    log(f"graphs in {out.name}/ within {worst:.1e} of the network")
    result_path = folder / f"{name}.json"
    if result_path.exists() and not as_it_is:
        result = json.loads(result_path.read_text())
        if result["epochs"] == len(record["epochs"]):
            log("ranks are in the cache")
            _beside_others(run, result)
            return result
    began = time.monotonic()
    ranks = {"masked": ranked(params, run.split.test, True), "unmasked": ranked(params, run.split.test, False)}
    result = {
        "model": "t5",
        "dataset": run.data.name,
        "split": "test",
        "seed": seed,
        "beams": settings.beams,
        "minutes": minutes,
        "rankSeconds": round(time.monotonic() - began, 1),
        **result_of(ranks, record),
    }
    write_json(result_path, result)
    _beside_others(run, result)
    log(f"test, earlier items left out: R@10 {result['recall10']:.4f} N@10 {result['ndcg10']:.4f}")
    return result


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.t5.run", description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True, help="a file of training/configs without its suffix")
    parser.add_argument("--seed", type=int, help="of the network and of the codes, in place of the configuration's")
    parser.add_argument("--minutes", type=float, help="of training on this machine's cores; decides the epochs")
    parser.add_argument("--epochs", type=int, help="most epochs, in place of the settings'")
    parser.add_argument("--dim", type=int, help="width, in place of the settings'")
    parser.add_argument("--rate", type=float, help="peak learning rate, in place of the settings'")
    parser.add_argument("--as-it-is", action="store_true", help="train no further: rank the checkpoint of the same run")
    parser.add_argument("--cache", type=Path, default=CACHE, help="cache folder, .cache by default")
    options = parser.parse_args(arguments)
    remember_compilations()
    given = {"epochs": options.epochs, "dim": options.dim, "learning_rate": options.rate}
    settings = replace(PAPER, **{name: value for name, value in given.items() if value is not None})
    with one_line_errors():
        config = configuration.load(options.config)
        if options.seed is not None:
            config = configuration.check(replace(config, seed=options.seed))
        # an item unseen in training has the code that training left it: this network knows no text to put in its place
        config = replace(config, codes=replace(config.codes, unseen_from_text=False))
        run = Run(config, options.cache, None)
        run.stage = "t5"
        train_and_rank(run, settings, options.minutes, options.as_it_is)


if __name__ == "__main__":
    main()
