"""ONNX graphs of the papers' backbone for timing: `encoder` with the first decoder position, and one step a later token.

The encoder's run also makes the decoder's keys and values of the history and the first token's logits (START is the same
for every beam). A step takes all beams as one batch and runs their prefix again from its beginning, as the papers do;
every beam asks the same cross-attention keys, so they are one row of queries.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from training.export import ParityError, session
from training.graphs import CONTRIB, FLOAT, INT, Builder
from training.model import Params
from training.t5 import model
from training.t5.settings import Settings

TOLERANCE = 2e-4


class T5Builder(Builder):
    """Float32 nodes of the blocks; the first norm of a stack is spelled out, later ones are fused with the sum before."""

    def product(self, x: str, w: np.ndarray) -> str:
        return self.op("MatMul", [x, self.weight(np.asarray(w))])

    def gain(self, value: np.ndarray) -> str:
        return self.constant(np.asarray(value, np.float32), "g")

    def rms(self, x: str, gain: np.ndarray) -> str:
        mean = self.op("ReduceMean", [self.op("Mul", [x, x])], axes=[-1], keepdims=1)
        root = self.op("Sqrt", [self.op("Add", [mean, self.constant(np.float32(model.EPSILON))])])
        return self.op("Mul", [self.op("Div", [x, root]), self.gain(gain)])

    def add_rms(self, x: str, skip: str, gain: np.ndarray) -> tuple[str, str]:
        """(norm(x + skip), x + skip)"""
        outputs = [self._name("norm"), "", "", self._name("residual")]
        inputs = [x, skip, self.gain(gain)]
        self.op("SkipSimplifiedLayerNormalization", inputs, outputs, domain=CONTRIB, epsilon=model.EPSILON)
        return outputs[0], outputs[3]

    def attend(self, q: str, k: str, v: str, heads: int, bias: str = "", causal: bool = False) -> str:
        inputs = [q, k, v, "", "", bias] if bias else [q, k, v]
        return self.op("MultiHeadAttention", inputs, domain=CONTRIB, num_heads=heads, unidirectional=int(causal))

    def thirds(self, mixed: str, dim: int) -> list[str]:
        parts = [self._name(stem) for stem in "qkv"]
        self.op("Split", [mixed, self.constant(np.array([dim] * 3, np.int64))], parts, axis=2)
        return parts

    def feed(self, normed: str, layer: Params) -> str:
        return self.product(self.op("Relu", [self.product(normed, layer["up"])]), layer["down"])


def _bias(p: Params, length: int, both_ways: bool) -> np.ndarray:
    """(1, heads, length, length)"""
    return np.asarray(p["bias"])[model.relative_bucket(length, both_ways)].transpose(2, 0, 1)[None]


def _decode(g: T5Builder, params: Params, x: str, shape: tuple[int, int], heads: int, kept: list[list[str]]) -> str:
    """x (beams, length, dim) -> normed states of the last position (beams, dim). `shape` is (length, dim)."""
    p, (length, dim) = params["decoder"], shape
    bias = g.constant(_bias(p, length, False).astype(np.float32), "bias")
    as_row, as_beams = (g.constant(np.array(s, np.int64)) for s in ([1, -1, dim], [-1, length, dim]))
    last = g.constant(np.array([-1], np.int64))
    residual, normed = x, g.rms(x, p["layers"][0]["norm1"])
    for index, layer in enumerate(p["layers"]):
        mixed = g.attend(*g.thirds(g.product(normed, layer["qkv"]), dim), heads, bias, causal=True)
        normed, residual = g.add_rms(g.product(mixed, layer["out"]), residual, layer["norm_cross"])
        query = g.op("Reshape", [g.product(normed, layer["query"]), as_row])
        mixed = g.op("Reshape", [g.attend(query, *kept[index], heads), as_beams])
        if index + 1 == len(p["layers"]):  # nothing after this mixes positions
            mixed, residual = (g.op("Gather", [value, last], axis=1) for value in (mixed, residual))
        normed, residual = g.add_rms(g.product(mixed, layer["out_cross"]), residual, layer["norm2"])
        following = p["norm"] if index + 1 == len(p["layers"]) else p["layers"][index + 1]["norm1"]
        normed, residual = g.add_rms(g.feed(normed, layer), residual, following)
    return g.op("Squeeze", [normed, g.constant(np.array([1], np.int64))])


def _head(g: T5Builder, params: Params, states: str, level: int, sizes: tuple[int, ...], name: str) -> None:
    first, dim = 1 + sum(sizes[:level]), params["embed"].shape[1]
    rows = np.asarray(params["embed"])[first : first + sizes[level]].T * np.float32(dim**-0.5)
    g.op("MatMul", [states, g.weight(rows)], [name])


def encoder(params: Params, sizes: tuple[int, ...], heads: int, tokens: int) -> bytes:
    """tokens (1, T) -> logits1 (1, sizes[0]) and key<l>, value<l> (1, T, dim) of every decoder layer; T at most `tokens`."""
    g = T5Builder(False)
    p, embed = params["encoder"], np.asarray(params["embed"])
    dim = embed.shape[1]
    zero, one = g.constant(np.array([0], np.int64)), g.constant(np.array([1], np.int64))
    size = g.op("Shape", ["tokens"], start=1, end=2)
    bias = g.constant(_bias(p, tokens, True).astype(np.float32), "bias")
    for axis in (2, 3):
        bias = g.op("Slice", [bias, zero, size, g.constant(np.array([axis], np.int64)), one])
    residual = g.op("Gather", [g.weight(embed), "tokens"], axis=0)
    normed = g.rms(residual, p["layers"][0]["norm1"])
    for index, layer in enumerate(p["layers"]):
        mixed = g.attend(*g.thirds(g.product(normed, layer["qkv"]), dim), heads, bias)
        normed, residual = g.add_rms(g.product(mixed, layer["out"]), residual, layer["norm2"])
        following = p["norm"] if index + 1 == len(p["layers"]) else p["layers"][index + 1]["norm1"]
        normed, residual = g.add_rms(g.feed(normed, layer), residual, following)
    kept, outputs = [], [("logits1", FLOAT, [1, sizes[0]])]
    for index, layer in enumerate(params["decoder"]["layers"]):
        names = [f"key{index}", f"value{index}"]
        halves = g.constant(np.array([dim, dim], np.int64))
        g.op("Split", [g.product(normed, layer["key_value"]), halves], names, axis=2)
        outputs += [(name, FLOAT, [1, "T", dim]) for name in names]
        kept.append(names)
    start = g.constant(embed[None, model.START : model.START + 1], "start")  # (1, 1, dim)
    _head(g, params, _decode(g, params, start, (1, dim), heads, kept), 0, sizes, "logits1")
    return g.build("t5-encoder", [("tokens", INT, [1, "T"])], outputs)


def step(params: Params, sizes: tuple[int, ...], heads: int, level: int) -> bytes:
    """prefix (B, level) of token ids without START, key<l> and value<l> (1, T, dim) -> logits (B, sizes[level])."""
    g = T5Builder(False)
    embed, kept = np.asarray(params["embed"]), []
    dim = embed.shape[1]
    inputs: list[tuple] = [("prefix", INT, ["B", level])]
    for index in range(len(params["decoder"]["layers"])):
        kept.append([f"key{index}", f"value{index}"])
        inputs += [(name, FLOAT, [1, "T", dim]) for name in kept[-1]]
    pads = g.constant(np.array([0, 1, 0, 0], np.int64))
    ids = g.op("Pad", ["prefix", pads, g.constant(np.array(model.START, np.int32))])
    x = g.op("Gather", [g.weight(embed), ids], axis=0)  # (B, level + 1, dim)
    _head(g, params, _decode(g, params, x, (level + 1, dim), heads, kept), level, sizes, "logits")
    return g.build(f"t5-step{level + 1}", inputs, [("logits", FLOAT, ["B", sizes[level]])])


def difference(graphs: dict[str, bytes], params: Params, sizes: tuple[int, ...], settings: Settings) -> float:
    """Largest difference of any logit between the graphs and the network, over histories of many lengths and all beams."""
    rng, worst = np.random.default_rng(0), 0.0
    width, firsts = len(sizes), 1 + np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def random_tokens(count: int) -> np.ndarray:
        return (np.stack([rng.integers(0, size, count) for size in sizes], 1) + firsts).astype(np.int32)

    run = {name: session(data) for name, data in graphs.items()}
    for items in {1, 2, settings.items // 2, settings.items}:
        ids = random_tokens(items).reshape(1, -1)
        real = np.ones(ids.shape, bool)
        names = [output.name for output in run["encoder.onnx"].get_outputs()]
        got = dict(zip(names, run["encoder.onnx"].run(names, {"tokens": ids}), strict=True))
        kept = model.memory(params, model.encode(params, ids, real, settings.heads))
        beams = random_tokens(settings.beams)
        for level in range(width):
            prefix = np.pad(beams[:, :level], ((0, 0), (1, 0)), constant_values=model.START)
            states = model.decode(params, kept, real, prefix[None], settings.heads)[0, :, -1]
            expected = np.asarray(model.level_logits(params, states, level, sizes))
            if level == 0:
                given, expected = got["logits1"], expected[:1]
            else:
                feeds = {name: value for name, value in got.items() if name != "logits1"}
                given = run[f"step{level + 1}.onnx"].run(["logits"], {"prefix": beams[:, :level], **feeds})[0]
            worst = max(worst, float(np.abs(given - expected).max()))
    return worst


def write(folder: Path, params: Params, sizes: tuple[int, ...], settings: Settings) -> float:
    """Graphs and `shape.json` into the folder; the largest difference from the network, or a ParityError."""
    width = len(sizes)
    graphs = {"encoder.onnx": encoder(params, sizes, settings.heads, settings.items * width)}
    graphs |= {f"step{level + 1}.onnx": step(params, sizes, settings.heads, level) for level in range(1, width)}
    worst = difference(graphs, params, sizes, settings)
    if not worst <= TOLERANCE:
        raise ParityError(f"t5 graphs: differ from the network by {worst:.2e}, tolerance {TOLERANCE:.0e}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in graphs.items():
        (folder / name).write_bytes(data)
    shape: dict[str, Any] = {"sizes": sizes, "dim": settings.dim, "layers": settings.layers, "beams": settings.beams}
    (folder / "shape.json").write_text(json.dumps({**shape, "items": settings.items}))
    return worst
