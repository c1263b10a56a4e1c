"""Product quantisation of item vectors: error against bytes, residuals, and the artefact that serves it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training import config, export, product_quantiser, tokenizer
from training.config import ConfigError, product_bytes, stage_key
from training.train import Run

DIM = 16


def clustered(count: int = 3000) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Vectors around 20 centres, and the codebooks and codes that a tokenizer gives them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, DIM)) * 3
    vectors = (centres[rng.integers(20, size=count)] + rng.normal(size=(count, DIM))).astype(np.float32)
    books = tokenizer.fit(vectors, (8, 8), 10, seed=0, restarts=1)
    return vectors, books, tokenizer.encode(vectors, books)


def error(vectors: np.ndarray, stored: product_quantiser.ProductVectors) -> float:
    return float(((vectors - stored.vectors) ** 2).sum() / ((vectors - vectors.mean(0)) ** 2).sum())


def test_the_error_falls_with_the_bytes() -> None:
    vectors, books, codes = clustered()
    errors = [error(vectors, product_quantiser.quantise(vectors, codes, books, m, 0, 5)) for m in (2, 4, 8, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.001, "256 centroids on one dimension are nearly the values"


def test_residuals_of_the_items_own_codes_cost_nothing_and_are_nearer() -> None:
    vectors, books, codes = clustered()
    zeros = [np.zeros_like(book) for book in books]
    plain = product_quantiser.quantise(vectors, codes, zeros, 4, 0, 5)
    residual = product_quantiser.quantise(vectors, codes, books, 4, 0, 5)
    assert plain.values.nbytes == residual.values.nbytes
    assert error(vectors, residual) < 0.8 * error(vectors, plain)


def test_what_is_decoded_encodes_to_itself() -> None:
    vectors, books, codes = clustered()
    stored = product_quantiser.quantise(vectors, codes, books, 4, 0, 5)
    centroids = stored.centroids * stored.centroid_scales[:, None, None]
    again = product_quantiser.encode(product_quantiser.decode(stored.values, centroids), centroids)
    assert np.array_equal(again, stored.values)


def test_each_value_is_the_nearest_centroid_of_its_subspace() -> None:
    vectors, books, codes = clustered(300)
    stored = product_quantiser.quantise(vectors, codes, books, 4, 0, 5)
    base = stored.vectors - product_quantiser.decode(
        stored.values, stored.centroids * stored.centroid_scales[:, None, None]
    )
    for subspace, part in enumerate(np.split(vectors - base, 4, axis=1)):
        centroids = stored.centroids[subspace] * stored.centroid_scales[subspace]
        distance = ((part[:, None] - centroids) ** 2).sum(-1)
        assert np.allclose(distance[np.arange(300), stored.values[:, subspace]], distance.min(1), atol=1e-4)


def test_fewer_vectors_than_centroids_are_stored_as_int8_would() -> None:
    vectors, books, codes = clustered(40)
    stored = product_quantiser.quantise(vectors, codes, books, 4, 0, 5)
    assert stored.centroids.shape == (4, 256, DIM // 4)
    assert stored.values.max() < 40
    assert np.abs(stored.vectors - vectors).max() <= stored.centroid_scales.max() / 2 + 1e-5


def test_a_number_of_bytes_that_does_not_divide_the_dimensions_is_refused() -> None:
    vectors, books, codes = clustered(40)
    with pytest.raises(ValueError, match="5 subspaces do not divide 16"):
        product_quantiser.quantise(vectors, codes, books, 5, 0)
    tiny = config.load("tiny")
    with pytest.raises(ConfigError, match=r"serve\.vector_bytes = 5, must be 0 or a divisor"):
        config.check(replace(tiny, serve=replace(tiny.serve, vector_bytes=5)))


def test_vectors_take_fewer_bytes_an_item_the_more_items_there_are_unless_the_configuration_says_otherwise() -> None:
    tiny = config.load("tiny")  # d 32
    asked = {how: replace(tiny, serve=replace(tiny.serve, vectors=how)) for how in ("auto", "int8", "pq")}
    assert [product_bytes(asked["auto"], items) for items in (10, 466_033, 466_034, 2**20, 2**20 + 1)] == [
        None,
        None,
        16,
        16,
        8,
    ]
    assert product_bytes(asked["int8"], 10**7) is None
    assert product_bytes(asked["pq"], 10) == 16
    fixed = replace(tiny, serve=replace(tiny.serve, vectors="pq", vector_bytes=4))
    assert product_bytes(fixed, 10) == 4


def test_results_of_a_stage_stay_known_while_a_new_field_has_its_default() -> None:
    tiny = config.load("tiny")
    same = replace(tiny, serve=replace(tiny.serve, vectors="auto", vector_bytes=0))
    other = replace(tiny, serve=replace(tiny.serve, vectors="pq"))
    assert stage_key(tiny, "export", "x") == stage_key(same, "export", "x") != stage_key(other, "export", "x")
    assert stage_key(tiny, "decoder", "x") == stage_key(other, "decoder", "x")


def test_an_artefact_of_product_quantised_vectors_passes_its_parity_cases(tiny_run: Run, tmp_path) -> None:
    product = product_quantiser.quantise(tiny_run.vectors, tiny_run.codes, tiny_run.books, 8, seed=0)
    model = replace(tiny_run.served(int8=True), vectors=product.vectors, product=product)
    folder = tmp_path / "artefact"
    manifest = export.write(
        folder,
        model=model,
        vectors=tiny_run.vectors,
        config=tiny_run.config,
        data=tiny_run.data,
        tokenizer=tiny_run.text_tokenizer,
        alpha=0.2,
        temperature=1.0,
        cases=tiny_run.split.test,
        metrics=[],
        int8=True,
    )
    count, dim = manifest["items"]["count"], manifest["dim"]
    assert manifest["vectors"] == {
        "file": "pq.bin",
        "dtype": "pq",
        "scales": None,
        "centroids": "centroids.bin",
        "subspaces": 8,
    }
    assert (folder / "pq.bin").stat().st_size == 8 * count
    raw = (folder / "centroids.bin").read_bytes()
    words, levels = sum(manifest["levels"]), manifest["levels"]
    scales = np.frombuffer(raw[(words + 256) * dim :], "<f4")
    whole = np.frombuffer(raw[: (words + 256) * dim], np.int8).astype(np.float32)
    codewords = whole[: words * dim].reshape(words, dim) * scales[:words, None]
    centroids = whole[words * dim :].reshape(8, 256, dim // 8) * scales[words:, None, None]
    codes = np.frombuffer((folder / "codes.bin").read_bytes(), np.uint8).reshape(count, -1)
    values = np.frombuffer((folder / "pq.bin").read_bytes(), np.uint8).reshape(count, 8)
    base = tokenizer.reconstruct(codes, [codewords[: levels[0]], codewords[levels[0] :]])
    vectors = base + product_quantiser.decode(values, centroids)
    assert np.allclose(vectors, model.vectors[np.lexsort(model.codes.T[::-1])], atol=1e-6)
    parity = json.loads((folder / "parity.json").read_text())
    for case in parity["cases"]:
        best = case["top"][0]
        expected = 0.2 * best["logProbability"] + 0.8 * float(np.array(case["h"]) @ vectors[best["row"]])
        assert best["score"] == pytest.approx(expected, abs=1e-3)
