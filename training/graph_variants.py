"""The served graphs with other arithmetic, for `npm run bench:graphs`: which form of int8 is fast and exact at this width?

    python -m training.graph_variants --config beauty

Writes encoder.onnx and step2.onnx to `.cache/graph-variants/<run>/<variant>/`: `float32`; `int8-unpacked` (as served: int8 in
the file, float32 arithmetic); `int8-dynamic` (DynamicQuantizeMatMul: one activation scale over the whole batch); `int8-static`
(activation scales fixed by 256 training histories, MatMulIntegerToFloat).
"""

from __future__ import annotations

import argparse

import numpy as np

from training import config as configuration
from training import graphs
from training.command import one_line_errors
from training.data import CACHE
from training.export import session
from training.graphs import CONTRIB, FLOAT, Builder
from training.serving import quantise
from training.train import Run, remember_compilations

CALIBRATION = 256  # histories


class DynamicBuilder(Builder):
    def matmul(self, x: str, value: np.ndarray) -> str:
        whole, scale = quantise(np.asarray(value, np.float32))
        return self.op("DynamicQuantizeMatMul", [x, self.constant(whole), self.constant(scale)], domain=CONTRIB)


class CalibratingBuilder(Builder):
    """float32, with the largest absolute value of every product's left side as a further output `seen_<n>`."""

    def matmul(self, x: str, value: np.ndarray) -> str:
        self.seen = [*getattr(self, "seen", []), x]
        return super().matmul(x, value)

    def build(self, name: str, inputs: list[tuple], outputs: list[tuple]) -> bytes:
        more = []
        for number, source in enumerate(self.seen):
            self.op("ReduceMax", [self.op("Abs", [source])], [f"seen_{number}"], keepdims=0)
            more.append((f"seen_{number}", FLOAT, []))
        return super().build(name, inputs, [*outputs, *more])


def static_builder(largest: list[float]) -> type[Builder]:
    class StaticBuilder(Builder):
        def matmul(self, x: str, value: np.ndarray) -> str:
            number = self.products = getattr(self, "products", -1) + 1
            whole, scale = quantise(np.asarray(value, np.float32))
            step = self.constant(np.array(largest[number] / 127, np.float32))
            zero = self.constant(np.array(0, np.int8))
            rounded = self.op("QuantizeLinear", [x, step, zero])
            inputs = [rounded, self.constant(whole), step, self.constant(scale)]
            return self.op("MatMulIntegerToFloat", inputs, domain=CONTRIB)

    return StaticBuilder


def largest_inputs(graph: bytes, feeds: list[dict[str, np.ndarray]]) -> list[float]:
    """Largest absolute value that each product's left side takes over the calibration feeds."""
    run = session(graph)
    names = [output.name for output in run.get_outputs() if output.name.startswith("seen_")]
    return np.array([run.run(names, feed) for feed in feeds]).max(0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.graph_variants", description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True)
    options = parser.parse_args()
    remember_compilations()
    with one_line_errors():
        run = Run(configuration.load(options.config), CACHE, None)
        full = run.served(False)
    rng = np.random.default_rng(0)
    cases = [run.split.validation[i] for i in rng.choice(len(run.split.validation), CALIBRATION, replace=False)]
    histories = [{"x": full.vectors[case.history][None]} for case in cases]
    level1, level2 = full.decoder[0], full.decoder[1]

    def both(int8: bool, first: type[Builder], second: type[Builder]) -> dict[str, bytes]:
        return {
            "encoder.onnx": graphs.encoder(full.backbone, level1, full.heads, int8, first),
            "step2.onnx": graphs.step(level2, 2, int8, second),
        }

    plain = both(False, Builder, Builder)
    encoder = session(plain["encoder.onnx"])
    prefixes = rng.integers(0, run.config.codes.levels[0], (CALIBRATION, 20, 1)).astype(np.int32)
    steps = [
        {"h": encoder.run(["h"], feed)[0], "prefix": prefix} for feed, prefix in zip(histories, prefixes, strict=True)
    ]
    calibrating = both(False, CalibratingBuilder, CalibratingBuilder)
    static = (
        static_builder(largest_inputs(calibrating["encoder.onnx"], histories)),
        static_builder(largest_inputs(calibrating["step2.onnx"], steps)),
    )
    variants = {
        "float32": plain,
        "int8-unpacked": both(True, Builder, Builder),
        "int8-dynamic": both(True, DynamicBuilder, DynamicBuilder),
        "int8-static": both(True, *static),
    }
    for name, files in variants.items():
        folder = CACHE / "graph-variants" / run.folder.name / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        print(f"{folder.relative_to(CACHE.parent)}: {sum(map(len, files.values())):,} bytes")


if __name__ == "__main__":
    main()
