"""Trains the points between which the shipped shape is chosen: width, depth and history length, one change at a time.

    python -m training.pareto --config beauty --epochs 8

Each point is the configuration with some fields replaced and a reduced budget, trained through every stage into
`.cache/runs/pareto-<config>-<point>/`; `npm run bench:pareto` measures all of them on validation cases. A run that was
killed goes on where it was.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from training import config as configuration
from training import evaluate, export
from training.command import one_line_errors
from training.config import Config
from training.data import CACHE
from training.serving import decode_cases
from training.train import Run, remember_compilations

POINTS: dict[str, dict[str, dict]] = {
    "d32": {"trunk": {"dim": 32, "dropout": 0.2}, "decoder": {"hidden": 64, "rank": 8}},
    "d64": {"trunk": {"dim": 64, "dropout": 0.4}, "decoder": {"hidden": 128, "rank": 16}},
    "d128": {},
    "d128-1-layer": {"trunk": {"layers": 1}},
    "d128-3-layers": {"trunk": {"layers": 3}},
    "d128-last-20": {"data": {"history_length": 20}},
    "d192": {"trunk": {"dim": 192}},
    "d128-32x32": {"codes": {"levels": (32, 32)}},
    "d128-128x128": {"codes": {"levels": (128, 128)}},
}


def point(base: Config, name: str, epochs: int) -> Config:
    """The configuration of a point: `base` with its changes, `epochs` of the trunk and two of the decoder, no SASRec."""
    changed = {part: replace(getattr(base, part), **fields) for part, fields in POINTS[name].items()}
    at = replace(base, name=f"pareto-{base.name}-{name}", output=None, **changed)
    return configuration.check(
        replace(
            at,
            trunk=replace(at.trunk, epochs=epochs, validate_every=epochs),
            decoder=replace(at.decoder, epochs=2),
            sasrec=replace(at.sasrec, epochs=0),
        )
    )


def take_over_trunk(run: Run) -> None:
    """Points that differ after the trunk share it: the file's name is a hash of all that it depends on."""
    for suffix in ("npz", "text.json"):
        path = run.path("trunk", suffix)
        for other in path.parents[1].glob(f"pareto-*/{path.name}"):
            if not path.exists():
                os.link(other, path)


def export_point(run: Run) -> None:
    """The int8 artefact with the alpha that validation chose, and the validation cases; the test split is not looked at."""
    config, validation = run.config, run.split.validation
    served = run.served(True)
    cases = evaluate.sample(validation, 2000)
    decoded = decode_cases(served, cases, config.serve, masked=not run.repeats)
    alpha, reached = evaluate.choose_alpha(decoded, cases, config.serve)
    evaluate.write_cases(run.folder, run.data, "validation", validation, config.data.history_length)
    export.write(
        run.folder / "artefact-int8",
        model=served,
        vectors=run.vectors,
        config=config,
        data=run.data,
        tokenizer=run.text_tokenizer,
        alpha=alpha,
        temperature=1.0,
        cases=validation,
        metrics=[],
        int8=True,
    )
    run.log(f"alpha {alpha:g}, validation N@10 by alpha {reached}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.pareto", description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="beauty")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--points", nargs="+", choices=tuple(POINTS), default=tuple(POINTS))
    options = parser.parse_args()
    remember_compilations()
    with one_line_errors():
        base = configuration.load(options.config)
        for name in options.points:
            run = Run(point(base, name, options.epochs), CACHE, None)
            take_over_trunk(run)
            for stage in ("trunk", "tokenize", "decoder"):
                run.go(stage)
            export_point(run)


if __name__ == "__main__":
    main()
