"""Writes tiny-artefacts.json: three artefacts of 40 items with seeded random weights, every file as base64.

`.venv/bin/python test/support/make_tiny_artefact.py`. The graphs have the operators of real ones (int8 weights by Cast and
Mul, MultiHeadAttention, SkipLayerNormalization, Gelu). Expected values come from NumPy alone: the forward pass written
out again, every item scored by brute force. The beams hold every prefix, so a beam search must find exactly the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

ITEMS, DIM, HEADS, TEXT_DIM, TEXT_TOKENS, HISTORY, ALPHA = 40, 8, 2, 6, 16, 10, 0.3
WORDS = "red blue green lentil curry soup bread apple tea cake noodle rice salad pepper lemon cream roast grill".split()
CREATORS = ["Ada's Kitchen", "Bo", "Größe 7", ""]
EPSILON = 1e-5


def quantise(rng: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 (rows, columns) and a float32 scale a column."""
    w = rng.normal(0, rows**-0.5, (rows, columns))
    scale = (np.abs(w).max(0) / 127).astype(np.float32)
    return np.round(w / scale).astype(np.int8), scale


class Graph:
    """Collects nodes and initialisers; `weight` adds an int8 matrix with the Cast and Mul that turn it to float32."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, matrix: tuple[np.ndarray, np.ndarray]) -> str:
        self.constant(f"{name}.q", matrix[0])
        self.constant(f"{name}.scale", matrix[1])
        self.node("Cast", [f"{name}.q"], f"{name}.f", to=TensorProto.FLOAT)
        return self.node("Mul", [f"{name}.f", f"{name}.scale"], name)

    def node(self, kind: str, inputs: list[str], output: str | list[str], **attributes: object) -> str:
        outputs = output if isinstance(output, list) else [output]
        domain = "com.microsoft" if kind in ("MultiHeadAttention", "SkipLayerNormalization") else ""
        self.nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def serialise(self, inputs: list[tuple[str, int, list]], outputs: list[tuple[str, int, list]]) -> bytes:
        info = [[helper.make_tensor_value_info(*one) for one in side] for side in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "g", info[0], info[1], self.constants)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def dequantised(matrix: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return matrix[0].astype(np.float64) * matrix[1]


def layer_norm(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def encoder(rng: np.random.Generator, first: int) -> tuple[bytes, object]:
    qkv, out, head = quantise(rng, DIM, 3 * DIM), quantise(rng, DIM, DIM), quantise(rng, DIM, first)
    position = rng.normal(0, 0.3, (HISTORY, DIM)).astype(np.float32)
    g = Graph()
    ones, zeros = g.constant("ones", np.ones(DIM, np.float32)), g.constant("zeros", np.zeros(DIM, np.float32))
    g.node("Shape", ["x"], "length", start=1, end=2)
    g.node("Slice", [g.constant("position", position), g.constant("zero", np.array([0])), "length"], "positions")
    g.node("Add", ["x", "positions"], "placed")
    g.node("LayerNormalization", ["placed", ones, zeros], "normed", epsilon=EPSILON)
    g.node("MatMul", ["normed", g.weight("qkv", qkv)], "mixed")
    g.node("Split", ["mixed"], ["q", "k", "v"], axis=2, num_outputs=3)
    g.node("MultiHeadAttention", ["q", "k", "v"], "attended", num_heads=HEADS, unidirectional=1)
    g.node("MatMul", ["attended", g.weight("out", out)], "projected")
    g.node("SkipLayerNormalization", ["projected", "placed", ones, zeros], "hidden", epsilon=EPSILON)
    g.node("Gather", ["hidden", g.constant("last", np.array(-1))], "h", axis=1)
    g.node("MatMul", ["h", g.weight("head", head)], "logits1")
    raw = g.serialise(
        [("x", TensorProto.FLOAT, [1, "T", DIM])],
        [("h", TensorProto.FLOAT, [1, DIM]), ("logits1", TensorProto.FLOAT, [1, first])],
    )

    def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, dim) -> h (dim), logits (first)."""
        placed = x + position[: len(x)]
        q, k, v = np.split(layer_norm(placed) @ dequantised(qkv), 3, axis=-1)
        heads = []
        for part in np.split(np.arange(DIM), HEADS):
            scores = q[-1:, part] @ k[:, part].T / math.sqrt(len(part))
            heads.append(np.exp(log_softmax(scores)) @ v[:, part])
        h = layer_norm(np.concatenate(heads, -1) @ dequantised(out) + placed[-1:])[0]
        return h, h @ dequantised(head)

    return raw, forward


def step(rng: np.random.Generator, level: int, levels: list[int]) -> tuple[bytes, object]:
    known = level - 1
    tables = [rng.normal(0, 0.7, (levels[i], DIM)).astype(np.float32) for i in range(known)]
    of_h, of_codes = quantise(rng, DIM, 12), quantise(rng, known * DIM, 12)
    out = quantise(rng, 12, levels[level - 1])
    g = Graph()
    parts = []
    for i, table in enumerate(tables):
        g.node("Gather", ["prefix", g.constant(f"at{i}", np.array(i))], f"code{i}", axis=1)
        parts.append(g.node("Gather", [g.constant(f"table{i}", table), f"code{i}"], f"part{i}"))
    codes = parts[0] if known == 1 else g.node("Concat", parts, "codes", axis=1)
    g.node("MatMul", ["h", g.weight("of_h", of_h)], "user")
    g.node("MatMul", [codes, g.weight("of_codes", of_codes)], "path")
    g.node("Add", ["user", "path"], "summed")
    g.node("Gelu", ["summed"], "active")
    g.node("MatMul", ["active", g.weight("narrow", out)], "logits")
    raw = g.serialise(
        [("h", TensorProto.FLOAT, [1, DIM]), ("prefix", TensorProto.INT32, ["B", known])],
        [("logits", TensorProto.FLOAT, ["B", levels[level - 1]])],
    )

    def forward(h: np.ndarray, prefix: np.ndarray) -> np.ndarray:
        """h (dim), prefix (B, known) -> (B, codes of the level)."""
        codes = np.concatenate([tables[i][prefix[:, i]] for i in range(known)], 1)
        return gelu(h @ dequantised(of_h) + codes @ dequantised(of_codes)) @ dequantised(out)

    return raw, forward


def tokenizer_graph(
    rng: np.random.Generator, levels: list[int], texts: np.ndarray
) -> tuple[bytes, object, list[np.ndarray]]:
    """Centres are drawn from what is left of the items' own vectors, so that codes spread."""
    to_vector = quantise(rng, TEXT_DIM, DIM)
    left, centres = texts @ dequantised(to_vector), []
    for size in levels:
        centres.append(left[rng.choice(len(left), size, replace=False)].astype(np.float32))
        left = left - centres[-1][np.argmin(((left[:, None] - centres[-1]) ** 2).sum(-1), 1)]
    g = Graph()
    g.node("MatMul", ["text", g.weight("to_vector", to_vector)], "vector")
    rest, codes = "vector", []
    axis = g.constant("axis", np.array([1]))
    for i, centre in enumerate(centres):
        g.node("MatMul", [rest, g.constant(f"twice{i}", 2 * centre.T)], f"near{i}")
        g.node("Sub", [f"near{i}", g.constant(f"norm{i}", (centre**2).sum(1))], f"score{i}")
        g.node("ArgMax", [f"score{i}"], f"code{i}", axis=1, keepdims=0)
        g.node("Unsqueeze", [f"code{i}", axis], f"column{i}")
        codes.append(g.node("Cast", [f"column{i}"], f"int{i}", to=TensorProto.INT32))
        if i + 1 < len(levels):
            g.node("Gather", [g.constant(f"centre{i}", centre), f"code{i}"], f"taken{i}")
            rest = g.node("Sub", [rest, f"taken{i}"], f"rest{i}")
    g.node("Concat", codes, "codes", axis=1)
    raw = g.serialise(
        [("text", TensorProto.FLOAT, ["N", TEXT_DIM])],
        [("vector", TensorProto.FLOAT, ["N", DIM]), ("codes", TensorProto.INT32, ["N", len(levels)])],
    )

    def forward(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vector = text @ dequantised(to_vector)
        rest, codes = vector, []
        for centre in centres:
            codes.append(np.argmin(((rest[:, None] - centre) ** 2).sum(-1), 1))
            rest = rest - centre[codes[-1]]
        return vector, np.stack(codes, 1)

    return raw, forward, centres


def product_quantised(
    rng: np.random.Generator, vectors: np.ndarray, codes: np.ndarray, books: list[np.ndarray], subspaces: int
) -> tuple[dict[str, bytes], np.ndarray]:
    """pq.bin and centroids.bin with random centroids for what the codewords leave, and the vectors that they stand for."""
    words = np.concatenate(books)
    word_scales = (np.abs(words).max(1) / 127).astype(np.float32)
    whole_words = np.round(words / word_scales[:, None]).astype(np.int8)
    starts = np.cumsum([0] + [len(book) for book in books[:-1]])
    base = sum(
        whole_words[start + codes[:, level]].astype(np.float64) * word_scales[start + codes[:, level], None]
        for level, start in enumerate(starts)
    )
    scales = rng.uniform(0.005, 0.01, subspaces).astype(np.float32)
    centroids = rng.integers(-127, 128, (subspaces, 256, DIM // subspaces)).astype(np.int8)
    real = centroids.astype(np.float64) * scales[:, None, None]
    parts = np.split(vectors - base, subspaces, axis=1)
    values = [np.argmin(((part[:, None] - own) ** 2).sum(-1), 1) for part, own in zip(parts, real)]
    chosen = np.concatenate([own[value] for own, value in zip(real, values)], axis=1)
    content = [whole_words, centroids, word_scales.astype("<f4"), scales.astype("<f4")]
    files = {
        "pq.bin": np.stack(values, 1).astype(np.uint8).tobytes(),
        "centroids.bin": b"".join(part.tobytes() for part in content),
    }
    return files, base + chosen


def text_graph(rng: np.random.Generator, vocabulary: int) -> tuple[bytes, object]:
    table = quantise(rng, vocabulary, TEXT_DIM)
    g = Graph()
    g.node("Gather", [g.constant("table", table[0]), "tokens"], "rows")
    g.node("Cast", ["rows"], "floats", to=TensorProto.FLOAT)
    g.node("Mul", ["floats", g.constant("scale", table[1])], "vectors")
    g.node("Unsqueeze", ["mask", g.constant("end", np.array([2]))], "wide")
    g.node("Mul", ["vectors", "wide"], "kept")
    g.node("ReduceSum", ["kept", g.constant("time", np.array([1]))], "sum", keepdims=0)
    g.node("ReduceSum", ["mask", "time"], "counted", keepdims=1)
    g.node("Max", ["counted", g.constant("one", np.array(1, np.float32))], "count")
    g.node("Div", ["sum", "count"], "text")
    raw = g.serialise(
        [("tokens", TensorProto.INT32, ["N", "T"]), ("mask", TensorProto.FLOAT, ["N", "T"])],
        [("text", TensorProto.FLOAT, ["N", TEXT_DIM])],
    )
    return raw, lambda ids: dequantised(table)[ids].sum(0) / max(1, len(ids))


def shortened(value: object) -> object:
    """Seven significant digits are more than float32 holds."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, list):
        return [shortened(one) for one in value]
    return {key: shortened(one) for key, one in value.items()} if isinstance(value, dict) else value


def artefact(seed: int, levels: list[int], beams: list[int], subspaces: int | None = None) -> dict[str, bytes]:
    """With `subspaces` the item vectors are product-quantised, else int8."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(ITEMS):
        words = " ".join(rng.choice(WORDS, 3, replace=False)).capitalize()
        creator = CREATORS[rng.integers(len(CREATORS))]
        texts.append(" \n ".join(part for part in [words, creator, "food", f"Number {rng.integers(9)}, fresh."] if part))
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    pattern = Regex(r"[\p{L}\p{M}]+|\p{N}|[^\s\p{L}\p{M}\p{N}]")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "removed", invert=True)
    trainer = trainers.BpeTrainer(vocab_size=120, min_frequency=2, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)

    graphs: list[dict] = []
    files: dict[str, bytes] = {}
    float_, int_ = "float32", "int32"

    def add(role: str, file: str, raw: bytes, inputs: list, outputs: list, level: int | None = None) -> None:
        files[file] = raw
        sides = [[dict(zip(("name", "dtype", "shape"), one)) for one in side] for side in (inputs, outputs)]
        entry = {"role": role, "file": file, "inputs": sides[0], "outputs": sides[1], "dtype": "int8-weights"}
        graphs.append(entry | ({} if level is None else {"level": level}))

    raw, encode = encoder(rng, levels[0])
    add("encoder", "encoder.onnx", raw, [("x", float_, [1, "T", DIM])], [("h", float_, [1, DIM]), ("logits1", float_, [1, levels[0]])])
    steps = {}
    for level in range(2, len(levels) + 1):
        raw, steps[level] = step(rng, level, levels)
        inputs = [("h", float_, [1, DIM]), ("prefix", int_, ["B", level - 1])]
        add("step", f"step{level}.onnx", raw, inputs, [("logits", float_, ["B", levels[level - 1]])], level)
    text_raw, embed = text_graph(rng, tokenizer.get_vocab_size())
    ids = [tokenizer.encode(text).ids[:TEXT_TOKENS] for text in texts]
    embedded = np.stack([embed(row) for row in ids])
    raw, tokenize, books = tokenizer_graph(rng, levels, embedded)
    outputs = [("vector", float_, ["N", DIM]), ("codes", int_, ["N", len(levels)])]
    add("tokenizer", "tokenizer.onnx", raw, [("text", float_, ["N", TEXT_DIM])], outputs)
    inputs = [("tokens", int_, ["N", "T"]), ("mask", float_, ["N", "T"])]
    add("text", "text.onnx", text_raw, inputs, [("text", float_, ["N", TEXT_DIM])])

    vectors, codes = tokenize(embedded)
    vectors = vectors + rng.normal(0, 0.5, vectors.shape)  # what training learned beside the text
    scales = (np.abs(vectors).max(1) / 127).astype(np.float32)
    quantised = np.round(vectors / scales[:, None]).astype(np.int8)
    served = quantised.astype(np.float64) * scales[:, None]
    stored = {"vectors.bin": quantised.tobytes(), "scales.bin": scales.tobytes()}
    entry: dict = {"file": "vectors.bin", "dtype": "int8", "scales": "scales.bin"}
    if subspaces is not None:
        stored, served = product_quantised(rng, vectors, codes, books, subspaces)
        entry = {"file": "pq.bin", "dtype": "pq", "scales": None, "centroids": "centroids.bin", "subspaces": subspaces}

    def brute_force(history: list[int]) -> dict:
        h, logits1 = encode(served[history])
        head = served @ h
        total = np.zeros(ITEMS)
        for level in range(1, len(levels) + 1):
            for prefix in sorted({tuple(row) for row in codes[:, : level - 1].tolist()}):
                below = (codes[:, : level - 1] == np.array(prefix, int)).all(1)
                counts = np.bincount(codes[below, level - 1], minlength=levels[level - 1])
                logits = logits1 if level == 1 else steps[level](h, np.array([prefix]))[0]
                with np.errstate(divide="ignore"):
                    logp = log_softmax(logits + np.log(counts))
                total[below] += logp[codes[below, level - 1]]
        for leaf in {tuple(row) for row in codes.tolist()}:
            inside = (codes == np.array(leaf)).all(1)
            total[inside] += log_softmax(head[inside])
        assert abs(np.exp(total).sum() - 1) < 1e-9
        score = ALPHA * total + (1 - ALPHA) * head
        top = np.lexsort((np.arange(ITEMS), -score))[:20]
        case = {"history": history, "h": h.tolist(), "logits1": logits1.tolist()}
        first = sorted({int(code) for code in codes[:, 0]})[:3]
        case["prefixes"] = [[code] for code in first]
        case["logits2"] = steps[2](h, np.array(case["prefixes"])).tolist()
        if len(levels) == 3:
            case["prefixes3"] = [[code, code % levels[1]] for code in first]
            case["logits3"] = steps[3](h, np.array(case["prefixes3"])).tolist()
        case["top"] = [{"row": int(r), "logProbability": total[r], "score": score[r]} for r in top]
        return case

    histories = [rng.integers(0, ITEMS, length).tolist() for length in (1, 2, 3, 5, 8, 10, 10, 4)]
    samples = texts[:5] + ["", "Unseen words: 東京 & ¼ Lentil!", "lentil " * 30]
    rows = [tokenizer.encode(text).ids[:TEXT_TOKENS] for text in samples]
    sample_vectors, sample_codes = tokenize(np.stack([embed(row) for row in rows]))
    parity = {"tolerance": 1e-4, "cases": [brute_force(history) for history in histories]}
    parity["text"] = [
        {"text": text, "tokens": row, "vector": vector.tolist(), "codes": code.tolist()}
        for text, row, vector, code in zip(samples, rows, sample_vectors, sample_codes)
    ]
    files |= {
        "items.txt": "".join(f"item-{row}\n" for row in range(ITEMS)).encode(),
        "codes.bin": codes.astype(np.uint8).tobytes(),
        **stored,
        "text.json": tokenizer.to_str().encode(),
        "parity.json": json.dumps(shortened(parity)).encode(),
    }
    listed = [{"path": p, "bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for p, b in sorted(files.items())]
    lines = "".join(f"{one['path']} {one['sha256']}\n" for one in listed)
    manifest = {
        "schemaVersion": 1,
        "app": None,
        "modelVersion": f"m_{hashlib.sha256(lines.encode()).hexdigest()[:12]}",
        "createdAt": "2026-01-02T03:04:05Z",
        "code": {"commit": "0000000"},
        "data": {"name": "tiny", "sha256": "0" * 64, "events": 0, "users": 0, "items": ITEMS, "until": None, "repeatShare": 0},
        "items": {"count": ITEMS, "file": "items.txt"},
        "codes": {"file": "codes.bin"},
        "vectors": entry,
        "levels": levels,
        "leafMax": int(np.unique(codes, axis=0, return_counts=True)[1].max()),
        "historyLength": HISTORY,
        "dim": DIM,
        "scoring": {"mode": "beam", "alpha": ALPHA, "temperature": 1.0, "beams": beams, "leaves": ITEMS, "exactBelow": 0},
        "textEncoder": {
            "sha256": hashlib.sha256(files["text.onnx"]).hexdigest(),
            "dim": TEXT_DIM,
            "tokens": TEXT_TOKENS,
            "graph": "text.onnx",
            "tokenizer": "text.json",
        },
        "graphs": graphs,
        "files": listed,
        "metrics": {"split": "none", "rows": []},
        "parity": {"file": "parity.json", "tolerance": 1e-4},
    }
    return files | {"manifest.json": json.dumps(manifest).encode()}


def main() -> None:
    made = {
        "two-levels": artefact(1, [8, 8], [8]),
        "three-levels": artefact(2, [4, 4, 4], [4, 16]),
        "product-quantised": artefact(3, [8, 8], [8], subspaces=2),
    }
    encoded = {
        name: {path: base64.b64encode(raw).decode() for path, raw in sorted(files.items())} for name, files in made.items()
    }
    Path(__file__).with_name("tiny-artefacts.json").write_text(json.dumps(encoded, indent=1) + "\n")


if __name__ == "__main__":
    main()
