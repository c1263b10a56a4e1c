"""The artefact: graphs agree with the reference, batch elements with themselves, the manifest with the files."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from training import export, serving
from training.train import Run


@pytest.fixture(scope="module", params=["artefact-int8", "artefact-fp32"])
def artefact(request: pytest.FixtureRequest, tiny_run: Run):
    folder = tiny_run.folder / request.param
    return folder, json.loads((folder / "manifest.json").read_text())


def read_vectors(folder, manifest) -> np.ndarray:
    shape = (manifest["items"]["count"], manifest["dim"])
    raw = (folder / manifest["vectors"]["file"]).read_bytes()
    if manifest["vectors"]["dtype"] == "float32":
        return np.frombuffer(raw, "<f4").reshape(shape)
    scale = np.frombuffer((folder / manifest["vectors"]["scales"]).read_bytes(), "<f4")
    return np.frombuffer(raw, np.int8).reshape(shape) * scale[:, None]


def test_manifest_lists_every_file_with_its_size_and_hash(artefact) -> None:
    folder, manifest = artefact
    names = {entry["path"] for entry in manifest["files"]}
    assert names == {path.name for path in folder.iterdir()} - {"manifest.json"}
    for entry in manifest["files"]:
        content = (folder / entry["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    listing = "".join(
        f"{entry['path']} {entry['sha256']}\n" for entry in sorted(manifest["files"], key=lambda e: e["path"])
    )
    assert manifest["modelVersion"] == f"m_{hashlib.sha256(listing.encode()).hexdigest()[:12]}"
    assert manifest["textEncoder"]["sha256"] == hashlib.sha256((folder / "text.onnx").read_bytes()).hexdigest()


def test_files_have_the_rows_that_the_manifest_says(artefact) -> None:
    folder, manifest = artefact
    count = manifest["items"]["count"]
    assert (folder / "items.txt").read_text().count("\n") == count
    codes = np.frombuffer((folder / "codes.bin").read_bytes(), np.uint8).reshape(count, len(manifest["levels"]))
    assert (codes.max(0) < manifest["levels"]).all()
    _, sizes = np.unique(codes, axis=0, return_counts=True)
    assert sizes.max() == manifest["leafMax"]


def test_rows_stand_in_code_order_each_with_its_own_id_and_vector(artefact, tiny_run) -> None:
    folder, manifest = artefact
    codes = np.frombuffer((folder / "codes.bin").read_bytes(), np.uint8).reshape(-1, len(manifest["levels"]))
    assert codes.tolist() == sorted(codes.tolist())
    item_of = {identity: item for item, identity in enumerate(tiny_run.data.item_ids)}
    items = [item_of[identity] for identity in (folder / "items.txt").read_text().splitlines()]
    assert sorted(items) == list(range(len(item_of))) != items
    served = tiny_run.served(manifest["vectors"]["dtype"] == "int8")
    assert np.array_equal(codes, served.codes[items])
    assert np.allclose(read_vectors(folder, manifest), served.vectors[items], atol=1e-6)


def test_graphs_reproduce_the_parity_cases_from_the_files_alone(artefact) -> None:
    folder, manifest = artefact
    parity = json.loads((folder / "parity.json").read_text())
    vectors = read_vectors(folder, manifest)
    encoder, step = (export.session((folder / f"{name}.onnx").read_bytes()) for name in ("encoder", "step2"))
    assert len(parity["cases"]) == 16
    assert len({len(case["history"]) for case in parity["cases"]}) > 3
    for case in parity["cases"]:
        h, logits = encoder.run(["h", "logits1"], {"x": vectors[case["history"]][None].astype(np.float32)})
        assert np.allclose(h[0], case["h"], atol=parity["tolerance"])
        assert np.allclose(logits[0], case["logits1"], atol=parity["tolerance"])
        (second,) = step.run(["logits"], {"h": h, "prefix": np.array(case["prefixes"], np.int32)})
        assert np.allclose(second, case["logits2"], atol=parity["tolerance"])
        best = case["top"][0]
        assert best["score"] == pytest.approx(
            manifest["scoring"]["alpha"] * best["logProbability"]
            + (1 - manifest["scoring"]["alpha"]) * float(h[0] @ vectors[best["row"]]),
            abs=1e-3,
        )


def test_a_wrong_weight_is_caught_before_anything_is_written(tiny_run: Run) -> None:
    model = tiny_run.served(int8=True)
    cases = export.parity_cases(model, tiny_run.config, 0.2, tiny_run.split.test)
    files = {path.name: path.read_bytes() for path in (tiny_run.folder / "artefact-int8").glob("*.onnx")}
    broken = [dict(weights) for weights in model.decoder]
    broken[1]["code"] = broken[1]["code"] * 1.1
    files["step2.onnx"] = export.graphs.step(broken[1], 2, True)
    with pytest.raises(export.ParityError, match=r"step2\.onnx: differs"):
        export.check_graphs(files, model, {"cases": cases, "text": []})


def test_a_beam_does_not_depend_on_its_neighbours(artefact) -> None:
    folder, manifest = artefact
    step = export.session((folder / "step2.onnx").read_bytes())
    h = np.random.default_rng(0).normal(size=(1, manifest["dim"])).astype(np.float32)
    first, second = np.array([[2], [0], [1], [3]], np.int32), np.array([[2], [7], [6], [5]], np.int32)
    (a,), (b,) = (step.run(["logits"], {"h": h, "prefix": prefix}) for prefix in (first, second))
    assert np.array_equal(a[0], b[0])
    (alone,) = step.run(["logits"], {"h": h, "prefix": first[:1]})
    assert np.allclose(alone[0], a[0], atol=1e-5)


def test_a_text_does_not_depend_on_its_neighbours_or_padding(artefact) -> None:
    folder, _ = artefact
    text = export.session((folder / "text.onnx").read_bytes())
    short = {"tokens": np.array([[5, 6, 7]], np.int32), "mask": np.ones((1, 3), np.float32)}
    padded = {
        "tokens": np.array([[5, 6, 7, 0, 0], [8, 9, 10, 11, 12]], np.int32),
        "mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.float32),
    }
    assert np.allclose(text.run(None, short)[0][0], text.run(None, padded)[0][0], atol=1e-6)


def test_a_new_items_text_gets_vector_and_codes(artefact) -> None:
    folder, manifest = artefact
    parity = json.loads((folder / "parity.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "text.json"))
    run = [export.session((folder / f"{name}.onnx").read_bytes()) for name in ("text", "tokenizer")]
    for case in parity["text"]:
        ids = tokenizer.encode(case["text"], add_special_tokens=False).ids[: manifest["textEncoder"]["tokens"]]
        assert ids == case["tokens"]
        (text,) = run[0].run(
            ["text"], {"tokens": np.array([ids], np.int32), "mask": np.ones((1, len(ids)), np.float32)}
        )
        vector, codes = run[1].run(["vector", "codes"], {"text": text})
        assert np.allclose(vector[0], case["vector"], atol=1e-4)
        assert codes[0].tolist() == case["codes"]


def test_int8_keeps_weights_within_half_a_step() -> None:
    w = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    whole, scale = serving.quantise(w)
    assert np.abs(serving.dequantise(whole, scale) - w).max() <= scale.max() / 2 + 1e-7
    again, same = serving.quantise(serving.dequantise(whole, scale))
    assert np.array_equal(whole, again), "what is stored twice is stored alike"
    assert np.allclose(scale, same)
