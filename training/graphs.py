"""Hand-built ONNX graphs of the served model: encoder, steps, tokenizer of new items, text encoder.

Opset 17 plus the runtime's own MultiHeadAttention, SkipLayerNormalization and BiasGelu. int8 weights become float32 by
Cast and Mul, which the runtime folds once when a session opens: arithmetic is float32 and no batch element depends on
its neighbours (a dynamic activation scale would take its maximum over the whole batch).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.model import EPSILON
from training.serving import quantise

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT32
CONTRIB = "com.microsoft"


class Builder:
    """Collects nodes and initialisers; names are counted, so the same weights give the same bytes."""

    def __init__(self, int8: bool) -> None:
        self.int8, self.nodes, self.initialisers, self.count = int8, [], [], 0

    def _name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    def constant(self, value: np.ndarray, stem: str = "c") -> str:
        name = self._name(stem)
        self.initialisers.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def weight(self, value: np.ndarray) -> str:
        """A 2-D weight: as int8 with a scale a column, or as it is."""
        value = np.asarray(value, np.float32)
        if not self.int8:
            return self.constant(value, "w")
        whole, scale = quantise(value)
        as_float = self.op("Cast", [self.constant(whole, "q")], to=FLOAT)
        return self.op("Mul", [as_float, self.constant(scale, "s")])

    def op(self, kind: str, inputs: list[str], outputs: int | list[str] = 1, domain: str = "", **attributes) -> str:
        names = outputs if isinstance(outputs, list) else [self._name(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names[0]

    def matmul(self, x: str, value: np.ndarray) -> str:
        return self.op("MatMul", [x, self.weight(value)])

    def dense(self, x: str, p: dict) -> str:
        return self.op("Add", [self.matmul(x, p["w"]), self.constant(p["b"], "b")])

    def dense_gelu(self, x: str, p: dict) -> str:
        return self.op("BiasGelu", [self.matmul(x, p["w"]), self.constant(p["b"], "b")], domain=CONTRIB)

    def norm(self, x: str, p: dict, epsilon: float = EPSILON) -> str:
        return self.op(
            "LayerNormalization", [x, self.constant(p["g"], "g"), self.constant(p["b"], "b")], axis=-1, epsilon=epsilon
        )

    def add_norm(self, x: str, bias: np.ndarray, skip: str, p: dict) -> tuple[str, str]:
        """(norm(x + bias + skip), x + bias + skip)"""
        outputs = [self._name("norm"), "", "", self._name("residual")]
        inputs = [x, skip, self.constant(p["g"], "g"), self.constant(p["b"], "b"), self.constant(bias, "b")]
        self.op("SkipLayerNormalization", inputs, outputs, domain=CONTRIB, epsilon=EPSILON)
        return outputs[0], outputs[3]

    def build(self, name: str, inputs: list[tuple], outputs: list[tuple]) -> bytes:
        def values(entries: list[tuple]) -> list:
            return [helper.make_tensor_value_info(n, t, shape) for n, t, shape in entries]

        graph = helper.make_graph(self.nodes, name, values(inputs), values(outputs), self.initialisers)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="edgewise")
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)


def _identity(g: Builder, source: str, name: str) -> None:
    g.op("Identity", [source], [name])


def encoder(backbone: dict, level1: dict, heads: int, int8: bool, builder: type[Builder] = Builder) -> bytes:
    """x (1, T, dim) -> h (1, dim) and logits1 (1, K_1). In the last layer only the last position is carried on."""
    g = builder(int8)
    dim = backbone["pos"].shape[1]
    # norm(x sqrt(d) + pos) = norm(x + pos / sqrt(d)) with epsilon / d: one product less
    shape = g.op("Shape", ["x"], start=1, end=2)
    zero, one = g.constant(np.array([0], np.int64)), g.constant(np.array([1], np.int64))
    places = g.op("Slice", [g.constant(backbone["pos"] / np.float32(dim**0.5), "pos"), zero, shape, zero, one])
    residual = g.norm(g.op("Add", ["x", places]), backbone["norm_in"], EPSILON / dim)
    last = g.constant(np.array([-1], np.int64))
    pending: tuple[str, np.ndarray] | None = None
    layers = backbone["layers"]
    for index, layer in enumerate(layers):
        if pending is None:
            normed = g.norm(residual, layer["norm1"])
        else:
            normed, residual = g.add_norm(*pending, residual, layer["norm1"])
        w, b = np.asarray(layer["qkv"]["w"]), np.asarray(layer["qkv"]["b"])
        final = index == len(layers) - 1
        if final:
            key_value = g.matmul(normed, w[:, dim:])
            halves = [g._name("k"), g._name("v")]
            g.op("Split", [key_value, g.constant(np.array([dim, dim], np.int64))], halves, axis=2)
            query = g.matmul(g.op("Gather", [normed, last], axis=1), w[:, :dim])
            residual = g.op("Gather", [residual, last], axis=1)
            parts = [query, *halves]
        else:
            parts = [g._name("q"), g._name("k"), g._name("v")]
            mixed = g.matmul(normed, w)
            g.op("Split", [mixed, g.constant(np.array([dim, dim, dim], np.int64))], parts, axis=2)
        attended = g.op(
            "MultiHeadAttention",
            [*parts, g.constant(b, "b")],
            domain=CONTRIB,
            num_heads=heads,
            unidirectional=0 if final else 1,
        )
        projected = g.matmul(attended, layer["out"]["w"])
        normed, residual = g.add_norm(projected, layer["out"]["b"], residual, layer["norm2"])
        hidden = g.matmul(g.dense_gelu(normed, layer["up"]), layer["down"]["w"])
        pending = (hidden, layer["down"]["b"])
    assert pending is not None
    normed, _ = g.add_norm(*pending, residual, backbone["norm_out"])
    flat = g.op("Reshape", [normed, g.constant(np.array([1, dim], np.int64))])
    _identity(g, flat, "h")
    codes = np.asarray(level1["code"]).shape[1]
    direct = g.matmul(flat, level1["code"])
    learned = g.dense(g.dense_gelu(flat, level1["in"]), level1["out"])
    g.op("Add", [direct, learned], ["logits1"])
    return g.build("encoder", [("x", FLOAT, [1, "T", dim])], [("h", FLOAT, [1, dim]), ("logits1", FLOAT, [1, codes])])


def step(p: dict, level: int, int8: bool, builder: type[Builder] = Builder) -> bytes:
    """h (1, dim), prefix (B, level - 1) -> logits (B, K_level). The part that only h decides is computed once."""
    g = builder(int8)
    dim, codes = np.asarray(p["code"]).shape
    z = g.dense("h", p["in"])
    code = ""
    for place, table in enumerate(p["prefix"]):
        code = g.op("Gather", ["prefix", g.constant(np.array(place, np.int64))], axis=1)  # (B,)
        z = g.op("Add", [g.op("Gather", [g.weight(table), code], axis=0), z])
    z = g.op("Gelu", [z], domain=CONTRIB)
    z = g.op("Add", [z, g.dense_gelu(z, p["mid"])])
    direct = g.op("Add", [g.matmul("h", p["code"]), g.constant(p["out"]["b"], "b")])
    learned = g.matmul(z, p["out"]["w"])
    learned = g.op("Add", [learned, g.op("Gather", [g.weight(p["own"]), code], axis=0)])
    rank = np.asarray(p["project"]).shape[1]
    narrow = g.matmul("h", p["project"])  # (1, rank)
    fine = g.op("Gather", [g.weight(p["fine"]), code], axis=0)  # (B, codes * rank)
    fine = g.op("Reshape", [fine, g.constant(np.array([-1, codes, rank], np.int64))])
    fitted = g.op("MatMul", [fine, g.op("Transpose", [narrow], perm=[1, 0])])  # (B, codes, 1)
    fitted = g.op("Squeeze", [fitted, g.constant(np.array([2], np.int64))])
    g.op("Add", [g.op("Add", [learned, fitted]), direct], ["logits"])
    return g.build(
        f"step{level}", [("h", FLOAT, [1, dim]), ("prefix", INT, ["B", level - 1])], [("logits", FLOAT, ["B", codes])]
    )


def item_tokenizer(text: dict, books: list[np.ndarray], int8: bool) -> bytes:
    """text (N, text_dim) -> vector (N, dim), codes (N, L): residual nearest codeword."""
    g = Builder(int8)
    hidden = g.dense_gelu(g.norm("text", text["norm"]), text["up"])
    vector = g.dense(hidden, text["down"])
    _identity(g, vector, "vector")
    residual, codes = vector, []
    for index, book in enumerate(books):
        square = g.constant((np.asarray(book) ** 2).sum(1).astype(np.float32), "e2")
        stored = g.weight(np.asarray(book))
        product = g.op("MatMul", [residual, g.op("Transpose", [stored], perm=[1, 0])])
        distance = g.op("Sub", [square, g.op("Mul", [product, g.constant(np.array(2, np.float32))])])
        code = g.op("ArgMin", [distance], axis=1, keepdims=1)
        codes.append(code)
        if index + 1 < len(books):
            chosen = g.op("Gather", [stored, g.op("Squeeze", [code, g.constant(np.array([1], np.int64))])], axis=0)
            residual = g.op("Sub", [residual, chosen])
    g.op("Cast", [g.op("Concat", codes, axis=1)], ["codes"], to=INT)
    wide, dim = np.asarray(text["norm"]["g"]).shape[0], np.asarray(books[0]).shape[1]
    outputs = [("vector", FLOAT, ["N", dim]), ("codes", INT, ["N", len(books)])]
    return g.build("tokenizer", [("text", FLOAT, ["N", wide])], outputs)


def text_encoder(table: np.ndarray, int8: bool) -> bytes:
    """tokens, mask (N, T) -> text (N, text_dim): masked mean. The table stays int8; rows are gathered, then turned to float."""
    g = Builder(int8)
    table = np.asarray(table, np.float32)
    if int8:
        whole, scale = quantise(table)
        rows = g.op("Cast", [g.op("Gather", [g.constant(whole, "table"), "tokens"], axis=0)], to=FLOAT)
    else:
        rows, scale = g.op("Gather", [g.constant(table, "table"), "tokens"], axis=0), None
    middle = g.constant(np.array([1], np.int64))
    total = g.op("Squeeze", [g.op("MatMul", [g.op("Unsqueeze", ["mask", middle]), rows]), middle])  # (N, text_dim)
    count = g.op("Max", [g.op("ReduceSum", ["mask", middle], keepdims=1), g.constant(np.array(1, np.float32))])
    if scale is None:
        g.op("Div", [total, count], ["text"])
    else:
        g.op("Mul", [g.op("Div", [total, count]), g.constant(scale, "s")], ["text"])
    inputs = [("tokens", INT, ["N", "T"]), ("mask", FLOAT, ["N", "T"])]
    return g.build("text", inputs, [("text", FLOAT, ["N", table.shape[1]])])
