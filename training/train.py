"""Trains a recommender from rows of items and events to an artefact that the Worker serves, in resumable stages.

    python -m training.train --config tiny                     # CPU smoke run, under a minute, from generated data
    python -m training.train --config beauty --stage trunk     # one stage; those before it must have run
    python -m training.train --config beauty --processes 2     # loops shared by two processes on this machine

Stages: trunk, tokenize, decoder, sasrec, baselines, evaluate, export (`all` runs them in this order). A stage whose result
for the same configuration, data and seed lies in the cache is skipped. Errors that the caller can mend are one line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from training import (
    baselines,
    calibration,
    decoder,
    evaluate,
    export,
    model,
    optimiser,
    product_quantiser,
    text,
    tokenizer,
    trunk,
)
from training import config as configuration
from training.batches import Batcher
from training.card import model_card
from training.config import Config, ConfigError, stage_key
from training.data import CACHE, ROOT, DataError, by_time, leave_one_out, load, repeat_share
from training.distributed import ALONE, LOST, Alone, DistributedError, end, end_with_parent, join, means_lost
from training.distributed_launch import SHARED_STAGES, FlagError, WorkerError, add_flags, check_flags, run_stage
from training.serving import Served, decode_cases, overlap_with_exact, rank_in, served_model

STAGES = ("trunk", "tokenize", "decoder", "sasrec", "baselines", "evaluate", "export")


def remember_compilations() -> None:
    """Compiled functions are kept in the cache folder: a second run of the same shapes starts at once."""
    jax.config.update("jax_compilation_cache_dir", str(CACHE / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def run_name(config: Config) -> str:
    """The run's folder in the cache: `<config>` for seed 0, `<config>-s<seed>` for others."""
    return config.name if config.seed == 0 else f"{config.name}-s{config.seed}"


class StageError(RuntimeError):
    """A stage was asked for before one that it needs."""


class Run:
    """One experiment in its cache folder. Properties read what earlier stages left there.

    `share` says which processes take part in this one's training loops; `launch` runs a loop's stage in others. `watch` hears
    each line of the log with its stage: when an epoch's line comes, its checkpoint is on the disk."""

    def __init__(
        self,
        config: Config,
        cache: Path,
        out: Path | None,
        share: Alone = ALONE,
        launch: Callable[[str], None] | None = None,
        watch: Callable[[str, str], None] = lambda stage, line: None,
    ) -> None:
        self.out, self.share, self.launch, self.watch = out, share, launch, watch
        self.folder = cache / "runs" / run_name(config)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stage = "data"
        self.data = load(config.name, config.data.source)
        if not config.codes.levels:
            config = replace(
                config, codes=replace(config.codes, levels=configuration.levels_for(len(self.data.item_ids)))
            )
        self.config = config
        length = config.data.history_length
        if config.data.split == "leave-one-out":
            self.split = leave_one_out(self.data, length)
        else:
            plan = config.data
            self.split = by_time(self.data, length, plan.validation_days, plan.test_days, plan.target_types)
        if not self.split.validation or not self.split.test:
            raise DataError(
                f"{self.data.name}: the split leaves {len(self.split.validation)} validation and {len(self.split.test)} test cases; both need some"
            )
        self.repeat_share = repeat_share(self.data, config.data.target_types)
        self.repeats = self.repeat_share > evaluate.REPEATS_ALLOWED_FROM
        self.log(
            f"{self.data.name}: {len(self.data.item_ids):,} items, {len(self.data.user_ids):,} users, {len(self.data.item):,} events, "
            f"{len(self.split.validation):,} validation and {len(self.split.test):,} test cases, repeat share {self.repeat_share:.3f}"
        )

    def log(self, line: str) -> None:
        if not self.share.first:
            return
        stamped = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.stage} {line}"
        print(stamped, flush=True)
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(stamped + "\n")
        self.watch(self.stage, line)

    def path(self, stage: str, suffix: str = "npz") -> Path:
        return self.folder / f"{stage}-{stage_key(self.config, stage, self.data.sha256)}.{suffix}"

    def need(self, stage: str, suffix: str = "npz") -> Path:
        path = self.path(stage, suffix)
        if not path.exists():
            raise StageError(f"stage {self.stage}: needs stage {stage} of config {self.config.name} first")
        return path

    def finished(self, stage: str) -> bool:
        """Whether the cache has all epochs of a training loop."""
        path = self.path(stage)
        return path.exists() and len(optimiser.read_note(path)["epochs"]) >= getattr(self.config, stage).epochs

    @cached_property
    def text_tokenizer(self) -> Tokenizer:
        path = self.path("trunk", "text.json")
        if not path.exists():
            trained = text.train_tokenizer(self.data.item_texts, self.config.trunk.vocabulary)
            if not self.share.first:
                return trained
            temporary = path.with_suffix(".tmp")
            trained.save(str(temporary))
            temporary.replace(path)
        return Tokenizer.from_file(str(path))

    @cached_property
    def tokens(self) -> np.ndarray:
        return text.token_matrix(self.text_tokenizer, self.data.item_texts, self.config.trunk.text_tokens)

    @cached_property
    def params(self) -> model.Params:
        """Averaged trunk weights; refuses an unfinished run."""
        self.trunk_record = optimiser.read_note(self.need("trunk"))
        done, wanted = len(self.trunk_record["epochs"]), self.config.trunk.epochs
        if done < wanted:
            raise StageError(
                f"stage {self.stage}: stage trunk has done {done} of {wanted} epochs; run it again to go on"
            )
        return self.run_trunk(quiet=True)

    @cached_property
    def text_only(self) -> np.ndarray:
        """Item vectors (items, dim) from text alone."""
        text = self.params["text"]
        return np.asarray(model.text_to_item(text, model.text_vectors(text["table"], jnp.asarray(self.tokens))))

    @cached_property
    def vectors(self) -> np.ndarray:
        """Item vectors as they are served. A softmax over all items only ever pushes an unseen item's learned vector away."""
        vectors = np.array(model.item_vectors(self.params, jnp.asarray(self.tokens)))
        if self.config.codes.unseen_from_text:
            unseen = evaluate.training_events(self.split, len(vectors)) == 0
            vectors[unseen] = self.text_only[unseen]
        return vectors

    @cached_property
    def books(self) -> list[np.ndarray]:
        with np.load(self.need("tokenize")) as file:
            return [file[f"book{level}"] for level in range(len(self.config.codes.levels))]

    @cached_property
    def codes(self) -> np.ndarray:
        with np.load(self.need("tokenize")) as file:
            return file["codes"]

    @cached_property
    def tree(self) -> tokenizer.Tree:
        return tokenizer.tree(self.codes, self.config.codes.levels)

    @cached_property
    def decoder(self) -> list[model.Params]:
        settings = self.config.decoder
        like = optimiser.init_state(decoder.init(jax.random.key(0), self.books, settings.hidden, settings.rank))
        state, self.decoder_record = optimiser.load(self.need("decoder"), like)
        if len(self.decoder_record["epochs"]) < self.config.decoder.epochs:
            raise StageError(f"stage {self.stage}: stage decoder is unfinished")
        return state["average"]

    @cached_property
    def product(self) -> product_quantiser.ProductVectors | None:
        """Product-quantised item vectors, where the configuration or the size of the catalogue asks for them."""
        subspaces = configuration.product_bytes(self.config, len(self.data.item_ids))
        if subspaces is None:
            return None
        return product_quantiser.quantise(self.vectors, self.codes, self.books, subspaces, self.config.seed)

    def served(self, int8: bool, weights: list[model.Params] | None = None) -> Served:
        trained = self.decoder if weights is None else weights
        settings = self.config.trunk
        return served_model(
            model.to_numpy(self.params),
            model.to_numpy(trained),
            self.books,
            self.vectors,
            self.codes,
            self.tree,
            settings.heads,
            self.config.data.history_length,
            int8,
            self.product if int8 else None,
        )

    # stages, in order

    def run_trunk(self, quiet: bool = False) -> model.Params:
        if not quiet and self.share.alone and self.finished("trunk"):
            self.log("skipped: in the cache")
            quiet = True
        share = ALONE if quiet else self.share
        share.agree("item texts", self.tokens.tobytes())
        params, _ = trunk.train(
            split=self.split,
            items=len(self.data.item_ids),
            tokens=self.tokens,
            settings=self.config.trunk,
            length=self.config.data.history_length,
            seed=self.config.seed,
            checkpoint=self.path("trunk"),
            log=(lambda line: None) if quiet else self.log,
            share=share,
        )
        return params

    def run_tokenize(self) -> None:
        path = self.path("tokenize")
        if path.exists():
            return self.log("skipped: in the cache")
        began = time.monotonic()
        books = tokenizer.fit(self.vectors, self.config.codes.levels, self.config.codes.iterations, self.config.seed)
        codes = tokenizer.encode(self.vectors, books)
        agreement = (tokenizer.encode(self.text_only, books) == codes).mean(0)
        leaves = tokenizer.tree(codes, self.config.codes.levels).leaf_sizes
        used = leaves[leaves > 0]
        error = float(
            ((self.vectors - tokenizer.reconstruct(codes, books)) ** 2).sum()
            / ((self.vectors - self.vectors.mean(0)) ** 2).sum()
        )
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(
                file, codes=codes, agreement=agreement, **{f"book{level}": book for level, book in enumerate(books)}
            )
        temporary.replace(path)
        self.log(
            f"{len(used)} leaves, {used.mean():.1f} items each, at most {used.max()}; unexplained variance {error:.3f}; "
            f"codes from text alone agree at level 1 for {agreement[0]:.3f} of items; {time.monotonic() - began:.1f} s"
        )

    def run_decoder(self) -> None:
        path = self.path("decoder")
        settings, length = self.config.decoder, self.config.data.history_length
        if self.share.alone and self.finished("decoder"):
            return self.log("skipped: in the cache")
        hidden, target = self.positions()
        self.share.agree("codes", self.codes.tobytes())
        self.log(f"{len(hidden):,} hidden states cached")
        serve = self.config.serve
        cases = evaluate.sample(self.split.validation, 1500)
        exact = trunk.hidden_states(self.params, jnp.asarray(self.vectors), cases, self.config.trunk.heads, length)

        def validate(weights: list[model.Params]) -> str:
            served = self.served(False, weights)
            found = decode_cases(served, cases, serve, masked=not self.repeats)
            free = found if self.repeats else decode_cases(served, cases, serve, masked=False)
            alone = evaluate.gains(rank_in(found, cases, 1.0), 10).mean()
            at_zero = evaluate.gains(rank_in(found, cases, 0.0), 10).mean()
            return f"validation N@10 alone {alone:.4f}, fused at alpha 0 {at_zero:.4f}, overlap with the exact top 10 {overlap_with_exact(served, free, exact, 0.0):.3f}"

        decoder.train(
            hidden=hidden,
            target=target,
            vectors=self.vectors,
            tree=self.tree,
            books=self.books,
            settings=settings,
            seed=self.config.seed,
            checkpoint=path,
            log=self.log,
            validate=validate,
            share=self.share,
        )

    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Hidden states (positions, dim) of every training position, without dropout, and their next items."""
        settings, length = self.config.trunk, self.config.data.history_length
        batcher = Batcher(self.split.train, length, settings.targets_per_step, self.config.seed, settings.buckets)
        vectors = jnp.asarray(self.vectors)

        @jax.jit
        def states(params: model.Params, items: jax.Array, place: jax.Array) -> jax.Array:
            encoded = model.encode(params, vectors[items], settings.heads)
            return encoded.reshape(-1, settings.dim)[place]

        hidden, target = [], []
        for batch in batcher.epoch(0):
            real = batch.weight > 0
            hidden.append(np.asarray(states(self.params, batch.items, batch.place))[real])
            target.append(batch.target[real])
        return np.concatenate(hidden), np.concatenate(target)

    def run_sasrec(self) -> None:
        settings = self.config.sasrec
        if settings.epochs == 0:
            return self.log("left out by the configuration")
        params, record = trunk.train(
            split=self.split,
            items=len(self.data.item_ids),
            tokens=None,
            settings=settings,
            length=self.config.data.history_length,
            seed=self.config.seed,
            checkpoint=self.path("sasrec"),
            log=self.log,
            share=self.share,
        )
        if not self.share.first:
            return
        test = self.split.test
        hidden = trunk.hidden_states(params, params["item"], test, settings.heads, self.config.data.history_length)
        ranks = trunk.ranks_of(hidden, np.asarray(params["item"]), test)
        evaluate.write_ranks(self.folder, "sasrec-ce", self.data.name, *ranks, record["seconds"])
        self.log(f"test, earlier items left out: {evaluate.summary(ranks[1])}")

    def run_baselines(self) -> None:
        marker = self.path("baselines", "json")
        if marker.exists():
            return self.log("skipped: in the cache")
        choices = {}
        for name, ranked in (
            (
                "popularity",
                lambda: baselines.popularity(self.split, len(self.data.item_ids), self.data.ordered_only, self.repeats),
            ),
            ("item-knn", lambda: baselines.item_knn(self.split, len(self.data.item_ids), self.repeats)),
        ):
            began = time.monotonic()
            result = ranked()
            seconds = time.monotonic() - began
            evaluate.write_ranks(self.folder, name, self.data.name, result.unmasked, result.masked, seconds)
            choices[name] = result.choice
            self.log(f"{name} ({result.choice}): {evaluate.summary(result.masked)}, {seconds:.1f} s")
        evaluate.write_json(marker, choices)

    def run_evaluate(self) -> None:
        """Ranks of the generator, once; whatever an earlier version of the trainer left out is added to a cached run."""
        marker = self.path("evaluate", "json")
        length, serve = self.config.data.history_length, self.config.serve
        evaluate.write_items_train(self.folder, self.data, self.split)
        known = json.loads(marker.read_text()) if marker.exists() else {}
        if "temperature" not in known:
            int8 = self.served(True)
            cases = evaluate.sample(self.split.validation, 4000)
            decoded = decode_cases(int8, cases, serve, masked=not self.repeats)
            if not known:
                for name, held_out in (("validation", self.split.validation), ("test", self.split.test)):
                    evaluate.write_cases(self.folder, self.data, name, held_out, length)
                alpha, reached = evaluate.choose_alpha(decoded, cases, serve)
                self.log(f"alpha {alpha:g}, validation N@10 by alpha {reached}")
                seconds = {"trunk": self.trunk_record["seconds"], "decoder": self.decoder_record["seconds"]}
                test, full = self.split.test, self.served(False)
                report = evaluate.generator_ranks(
                    self.folder, self.config, self.data, test, full, int8, alpha, seconds, self.log
                )
                known = {"alpha": alpha, "byAlpha": reached, **report}
            known |= calibration.choose_temperature(decoded, cases, known["alpha"])
            self.log(f"temperature {known['temperature']:g} on {known['temperatureCases']} validation cases")
            evaluate.write_json(marker, known)
        else:
            self.log("generator's ranks are in the cache")
        rows = evaluate.table(self.folder, self.split.test, self.repeats)
        events = evaluate.training_events(self.split, len(self.data.item_ids))
        parts = evaluate.slice_table(self.folder, self.split.test, events, self.repeats)
        evaluate.write_json(self.folder / "metrics.json", {"split": "test", "rows": rows, "slices": parts, **known})
        for row in rows:
            gap = row.get("servedMinusThis_ndcg10")
            more = f", served minus this N@10 {gap[0]:+.4f} [{gap[1]:+.4f}, {gap[2]:+.4f}]" if gap else ""
            self.log(f"{row['model']:15} {row['ranking']:8} R@10 {row['recall10']:.4f} N@10 {row['ndcg10']:.4f}{more}")

    def run_export(self) -> None:
        evaluated = json.loads(self.need("evaluate", "json").read_text())
        metrics = json.loads((self.folder / "metrics.json").read_text())
        rows = metrics["rows"]
        with np.load(self.need("tokenize")) as file:
            evaluated["levelOneAgreement"] = round(float(file["agreement"][0]), 4)
        for int8 in (False, True):
            name = "artefact-int8" if int8 else "artefact-fp32"
            served = self.served(int8)
            card = model_card(self.config, self.data, self.split, metrics, evaluated, self.repeats)
            manifest = export.write(
                self.folder / name,
                model=served,
                vectors=self.vectors,
                config=self.config,
                data=self.data,
                tokenizer=self.text_tokenizer,
                alpha=evaluated["alpha"],
                temperature=evaluated.get("temperature", 1.0),
                cases=self.split.test,
                metrics=rows,
                int8=int8,
                extra={"MODEL_CARD.md": card.encode()},
            )
            size = sum(file["bytes"] for file in manifest["files"])
            self.log(
                f"{name} {manifest['modelVersion']}, {size:,} bytes, graphs within {manifest['worst']:.1e} of the reference"
            )
        target = self.out or (ROOT / self.config.output if self.config.output else None)
        if target is not None:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(self.folder / "artefact-int8", target)
            self.log(f"written to {target.relative_to(ROOT) if target.is_relative_to(ROOT) else target}")

    def go(self, stage: str) -> None:
        for name in STAGES if stage == "all" else (stage,):
            self.stage = name
            if self.launch and name in SHARED_STAGES and not self.finished(name):
                self.launch(name)
            else:
                getattr(self, f"run_{name}")()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True, help="a file of training/configs without its suffix")
    parser.add_argument("--stage", default="all", choices=("all", *STAGES))
    parser.add_argument("--seed", type=int, help="in place of the configuration's; the run gets a folder of its own")
    parser.add_argument("--out", type=Path, help="folder for the int8 artefact, in place of the configuration's")
    parser.add_argument("--cache", type=Path, default=CACHE, help="cache folder, .cache by default")
    add_flags(parser)
    options = parser.parse_args(arguments)
    remember_compilations()
    try:
        check_flags(options)
        config = configuration.load(options.config)
        if options.seed is not None:
            config = configuration.check(replace(config, seed=options.seed))
        if options.worker:
            return work(config, options)
        launch = partial(run_stage, options) if options.processes > 1 else None
        if options.process is None:
            Run(config, options.cache, options.out, launch=launch).go(options.stage)
        else:
            run_stage(options, options.stage)
    except (ConfigError, DataError, StageError, export.ParityError, FlagError, WorkerError) as error:
        print(f"training: {error}", file=sys.stderr)
        return error.status if isinstance(error, WorkerError) else 2
    return 0


def work(config: Config, options: argparse.Namespace) -> int:
    """One process of several in one stage's training loop. Errors end it at once, so that the others notice."""
    end_with_parent()
    try:
        share = join(options.processes, options.process, options.coordinator, options.patience)
        run = Run(config, options.cache, None, share)
        share.agree("data or configuration", stage_key(run.config, options.stage, run.data.sha256).encode())
        run.go(options.stage)
    except (ConfigError, DataError, StageError, DistributedError) as error:
        end(str(error), 2)
    except Exception as error:
        if means_lost(error):
            end(f"process {options.process} of {options.processes} lost the others: a connection broke", LOST)
        traceback.print_exc()
        end(f"process {options.process} of {options.processes}: {type(error).__name__}", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
