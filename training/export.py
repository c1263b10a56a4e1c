"""Writes an artefact folder: graphs, item vectors, codes, text tokenizer, parity cases, manifest.

Every graph is run by onnxruntime and compared with the reference before the folder appears under its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from training import graphs
from training.config import Config
from training.data import ROOT, Case, Dataset, repeat_share
from training.decoder import level_logits
from training.model import text_to_item, text_vectors
from training.serving import Served, decode, quantise
from training.text import token_matrix
from training.tokenizer import encode as encode_codes
from training.trunk import hidden_states

TOLERANCE = 1e-3
SCHEMA = ROOT / "functions" / "domain" / "artefact" / "manifest.schema.json"


class ParityError(RuntimeError):
    """A graph that onnxruntime runs differs from the reference by more than the tolerance."""


def session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _close(name: str, given: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    difference = float(np.abs(np.asarray(given, np.float64) - expected).max())
    if not difference <= tolerance:
        raise ParityError(f"{name}: differs from the reference by {difference:.2e}, tolerance {tolerance:.0e}")


def _numbers(values: np.ndarray, digits: int = 6) -> list:
    return np.round(np.asarray(values, np.float64), digits).tolist()


def parity_cases(
    model: Served, config: Config, alpha: float, cases: list[Case], count: int = 16
) -> list[dict[str, Any]]:
    """Histories of many lengths with what the served model makes of them; full catalogue, no filter."""
    lengths = np.array([len(case.history) for case in cases])
    order = np.argsort(lengths, kind="stable")
    chosen = [cases[order[round(place)]] for place in np.linspace(0, len(order) - 1, count)]
    h = hidden_states(model.backbone, jnp.asarray(model.vectors), chosen, model.heads, model.length)
    logits1 = np.asarray(level_logits(model.decoder[0], jnp.asarray(h), None))
    decoded = decode(model, h, config.serve, None)
    rows = []
    for index, case in enumerate(chosen):
        first = np.argsort(-logits1[index])[:3]
        entry: dict[str, Any] = {
            "history": case.history.tolist(),
            "h": _numbers(h[index]),
            "logits1": _numbers(logits1[index]),
        }
        prefixes = first[:, None].astype(np.int32)
        entry["prefixes"] = prefixes.tolist()
        for level in range(1, len(model.tree.levels)):
            hidden = np.broadcast_to(h[index], (len(prefixes), h.shape[1]))
            logits = np.asarray(level_logits(model.decoder[level], hidden, prefixes))
            entry[f"logits{level + 1}"] = _numbers(logits)
            if level + 1 < len(model.tree.levels):
                prefixes = np.concatenate([prefixes, logits.argmax(1)[:, None].astype(np.int32)], 1)
                entry[f"prefixes{level + 1}"] = prefixes.tolist()
        found = decoded[index]
        score = alpha * found.log_probability + (1 - alpha) * found.dot
        # the edge widens beams that hold less than twice what was asked for
        top = np.lexsort((found.rows, -score))[: min(20, len(found.rows) // 2)]
        entry["top"] = [
            {
                "row": int(found.rows[i]),
                "logProbability": round(float(found.log_probability[i]), 6),
                "score": round(float(score[i]), 6),
            }
            for i in top
        ]
        rows.append(entry)
    return rows


def _renumber(cases: list[dict[str, Any]], rows: np.ndarray) -> None:
    """Items of parity cases become rows of the artefact; (items,) row of each item."""
    for case in cases:
        case["history"] = rows[case["history"]].tolist()
        for found in case["top"]:
            found["row"] = int(rows[found["row"]])


def text_cases(model: Served, tokenizer: Tokenizer, texts: list[str], length: int) -> list[dict[str, Any]]:
    rows = []
    for text in texts:
        tokens = token_matrix(tokenizer, [text], length)
        vector = np.asarray(
            text_to_item(model.text, text_vectors(jnp.asarray(model.text["table"]), jnp.asarray(tokens)))
        )
        codes = encode_codes(vector, model.books)[0]
        rows.append(
            {
                "text": text,
                "tokens": tokens[0][tokens[0] > 0].tolist(),
                "vector": _numbers(vector[0]),
                "codes": codes.tolist(),
            }
        )
    return rows


def check_graphs(files: dict[str, bytes], model: Served, parity: dict[str, Any], tolerance: float = TOLERANCE) -> float:
    """Runs every graph on the parity cases, whose histories are items; the largest difference seen, or a ParityError."""
    run = {name: session(data) for name, data in files.items() if name.endswith(".onnx")}
    worst = 0.0

    def compare(name: str, given: np.ndarray, expected: Any) -> None:
        nonlocal worst
        expected = np.asarray(expected, np.float64)
        worst = max(worst, float(np.abs(given - expected).max()))
        _close(name, given, expected, tolerance)

    for case in parity["cases"]:
        h, logits = run["encoder.onnx"].run(["h", "logits1"], {"x": model.vectors[case["history"]][None]})
        compare("encoder.onnx h", h[0], case["h"])
        compare("encoder.onnx logits1", logits[0], case["logits1"])
        for level in range(2, len(model.tree.levels) + 1):
            prefix = np.array(case["prefixes" if level == 2 else f"prefixes{level}"], np.int32)
            (logits,) = run[f"step{level}.onnx"].run(["logits"], {"h": h, "prefix": prefix})
            compare(f"step{level}.onnx", logits, case[f"logits{level}"])
    for case in parity["text"]:
        tokens = np.array([case["tokens"]], np.int32).reshape(1, -1)
        (text,) = run["text.onnx"].run(["text"], {"tokens": tokens, "mask": np.ones(tokens.shape, np.float32)})
        vector, codes = run["tokenizer.onnx"].run(["vector", "codes"], {"text": text})
        compare("tokenizer.onnx vector", vector[0], case["vector"])
        compare("tokenizer.onnx codes", codes[0], case["codes"])
    return worst


def _commit() -> str:
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        return result.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


def _tensor(name: str, dtype: str, shape: list) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape}


def _graph_entries(model: Served, text_dim: int, dtype: str) -> list[dict[str, Any]]:
    dim, levels = model.vectors.shape[1], model.tree.levels
    real = "float32"

    def entry(role: str, file: str, inputs: list, outputs: list, **extra: int) -> dict[str, Any]:
        return {"role": role, **extra, "file": file, "inputs": inputs, "outputs": outputs, "dtype": dtype}

    encoder_out = [_tensor("h", real, [1, dim]), _tensor("logits1", real, [1, levels[0]])]
    rows = [entry("encoder", "encoder.onnx", [_tensor("x", real, [1, "T", dim])], encoder_out)]
    for level in range(2, len(levels) + 1):
        inputs = [_tensor("h", real, [1, dim]), _tensor("prefix", "int32", ["B", level - 1])]
        rows.append(
            entry("step", f"step{level}.onnx", inputs, [_tensor("logits", real, ["B", levels[level - 1]])], level=level)
        )
    coded = [_tensor("vector", real, ["N", dim]), _tensor("codes", "int32", ["N", len(levels)])]
    rows.append(entry("tokenizer", "tokenizer.onnx", [_tensor("text", real, ["N", text_dim])], coded))
    tokens = [_tensor("tokens", "int32", ["N", "T"]), _tensor("mask", real, ["N", "T"])]
    rows.append(entry("text", "text.onnx", tokens, [_tensor("text", real, ["N", text_dim])]))
    return rows


def _stored_vectors(
    model: Served, vectors: np.ndarray, int8: bool, rows: np.ndarray
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files of the item vectors, one of `rows` after another, and the manifest's entry of them."""
    if model.product is not None:
        subspaces = model.product.values.shape[1]
        entry = {"file": "pq.bin", "dtype": "pq", "scales": None, "centroids": "centroids.bin", "subspaces": subspaces}
        return replace(model.product, values=model.product.values[rows]).files(), entry
    if not int8:
        entry = {"file": "vectors.bin", "dtype": "float32", "scales": None}
        return {"vectors.bin": vectors[rows].astype("<f4").tobytes()}, entry
    whole, scale = quantise(vectors[rows], 1)
    files = {"vectors.bin": whole.tobytes(), "scales.bin": scale.astype("<f4").tobytes()}
    return files, {"file": "vectors.bin", "dtype": "int8", "scales": "scales.bin"}


def write(
    folder: Path,
    *,
    model: Served,
    vectors: np.ndarray,
    config: Config,
    data: Dataset,
    tokenizer: Tokenizer,
    alpha: float,
    temperature: float,
    cases: list[Case],
    metrics: list[dict[str, Any]],
    int8: bool,
    extra: dict[str, bytes] | None = None,
) -> dict[str, Any]:
    """The artefact folder, replaced as a whole, and its manifest; rows stand in the order of their codes.
    `model` must come from the same `int8`."""
    digest = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731
    by_code = np.lexsort(model.codes.T[::-1])  # an isolate then takes the tables as they are
    text_dim, levels = int(np.asarray(model.text["table"]).shape[1]), list(model.tree.levels)
    files: dict[str, bytes] = {
        "items.txt": "".join(f"{data.item_ids[item]}\n" for item in by_code).encode(),
        "codes.bin": model.codes[by_code].astype(np.uint8).tobytes(),
        "encoder.onnx": graphs.encoder(model.backbone, model.decoder[0], model.heads, int8),
        "tokenizer.onnx": graphs.item_tokenizer(model.text, model.books, int8),
        "text.onnx": graphs.text_encoder(model.text["table"], int8),
        "text.json": tokenizer.to_str(pretty=False).encode(),
    }
    for level in range(2, len(levels) + 1):
        files[f"step{level}.onnx"] = graphs.step(model.decoder[level - 1], level, int8)
    vector_files, vector_entry = _stored_vectors(model, vectors, int8, by_code)
    files.update(vector_files)
    texts = [data.item_texts[i] for i in np.linspace(0, len(data.item_texts) - 1, 6).astype(int)]
    texts += ["Crème brûlée torch, 2 pieces \n Ünknown maker", "日本語 only"]
    parity = {
        "tolerance": TOLERANCE,
        "cases": parity_cases(model, config, alpha, cases),
        "text": [case for case in text_cases(model, tokenizer, texts, config.trunk.text_tokens) if case["tokens"]],
    }
    worst = check_graphs(files, model, parity)
    _renumber(parity["cases"], np.argsort(by_code))
    files["parity.json"] = json.dumps(parity, ensure_ascii=False, separators=(",", ":")).encode()
    files.update(extra or {})
    listing = [{"path": path, "bytes": len(files[path]), "sha256": digest(files[path])} for path in sorted(files)]
    version = digest("".join(f"{f['path']} {f['sha256']}\n" for f in listing).encode())[:12]
    until = (
        None
        if data.ordered_only
        else datetime.fromtimestamp(float(data.time.max()), UTC).isoformat().replace("+00:00", "Z")
    )
    serve = config.serve
    manifest = {
        "schemaVersion": 1,
        "app": None,
        "modelVersion": f"m_{version}",
        "createdAt": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "code": {"commit": _commit()},
        "data": {
            "name": data.name,
            "sha256": data.sha256,
            "events": data.rows,
            "users": len(data.user_ids),
            "items": len(data.item_ids),
            "until": until,
            "repeatShare": round(repeat_share(data, config.data.target_types), 4),
        },
        "items": {"count": len(data.item_ids), "file": "items.txt"},
        "codes": {"file": "codes.bin"},
        "vectors": vector_entry,
        "levels": levels,
        "leafMax": int(model.tree.leaf_sizes.max()),
        "historyLength": model.length,
        "dim": int(model.vectors.shape[1]),
        "scoring": {
            "mode": serve.mode,
            "alpha": alpha,
            "temperature": temperature,
            "beams": list(serve.beams),
            "leaves": serve.leaves,
            "exactBelow": serve.exact_below,
        },
        "textEncoder": {
            "sha256": digest(files["text.onnx"]),
            "dim": text_dim,
            "tokens": config.trunk.text_tokens,
            "graph": "text.onnx",
            "tokenizer": "text.json",
        },
        "graphs": _graph_entries(model, text_dim, "int8-weights" if int8 else "float32"),
        "files": listing,
        "metrics": {"split": "test", "rows": metrics},
        "parity": {"file": "parity.json", "tolerance": TOLERANCE},
    }
    if SCHEMA.exists():
        import jsonschema

        jsonschema.validate(manifest, json.loads(SCHEMA.read_text()))
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for path, content in files.items():
        (fresh / path).write_bytes(content)
    (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return {**manifest, "worst": worst}
