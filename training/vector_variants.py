"""One run's int8 artefact with its item vectors stored in other ways, for `npm run bench:item-vectors`.

    python -m training.vector_variants --config beauty --bytes 16 32

Writes artefacts to `.cache/vector-variants/<run>/<variant>/`: `pq<bytes>` quantises what the codewords of an item's codes leave
of its vector, `pq<bytes>-plain` the vector itself. Alpha is that of the run; each passes its parity cases before it appears.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np

from training import config as configuration
from training import export, product_quantiser
from training.command import one_line_errors
from training.data import CACHE
from training.train import Run, remember_compilations


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.vector_variants", description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--bytes", type=int, nargs="+", default=[16, 32], help="an item; divisors of trunk.dim")
    options = parser.parse_args()
    remember_compilations()
    with one_line_errors():
        run = Run(configuration.load(options.config), CACHE, None)
        served = run.served(True)
        alpha = json.loads(run.need("evaluate", "json").read_text())["alpha"]
    zeros = [np.zeros_like(book) for book in run.books]
    total = ((run.vectors - run.vectors.mean(0)) ** 2).sum()
    for subspaces in options.bytes:
        for name, books in ((f"pq{subspaces}", run.books), (f"pq{subspaces}-plain", zeros)):
            product = product_quantiser.quantise(run.vectors, run.codes, books, subspaces, run.config.seed)
            folder = CACHE / "vector-variants" / run.folder.name / name
            folder.parent.mkdir(parents=True, exist_ok=True)
            manifest = export.write(
                folder,
                model=replace(served, vectors=product.vectors, product=product),
                vectors=run.vectors,
                config=run.config,
                data=run.data,
                tokenizer=run.text_tokenizer,
                alpha=alpha,
                temperature=1.0,
                cases=run.split.validation,
                metrics=[],
                int8=True,
            )
            lost = ((run.vectors - product.vectors) ** 2).sum() / total
            print(f"{name}: {manifest['modelVersion']}, unexplained variance {lost:.4f}", flush=True)


if __name__ == "__main__":
    main()
