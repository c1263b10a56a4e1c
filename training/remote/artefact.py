"""An artefact folder ranks cases as the edge does: its graphs in onnxruntime, beams over codes, exact scores in the leaves.

It needs nothing but the artefact, so a model of another trainer can be held against one of ours. Items that are newer than the
artefact are coded by its own text graphs, as the Worker codes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from training.data import Case, Dataset
from training.export import session
from training.product_quantiser import ProductVectors
from training.serving import Decoded, dequantise, quantise
from training.text import token_matrix
from training.tokenizer import tree

CODED_AT_ONCE = 256  # items


class Artefact:
    """`folder` must be whole (`hand_over.is_whole`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        self.levels = tuple(self.manifest["levels"])
        self._run: dict[str, Any] = {}
        names = (folder / self.manifest["items"]["file"]).read_text(encoding="utf-8").splitlines()
        self.rows = {name: row for row, name in enumerate(names)}
        codes = np.fromfile(folder / self.manifest["codes"]["file"], np.uint8)
        self.codes = codes.reshape(len(names), len(self.levels))
        self.vectors = self._stored_vectors()

    def _stored_vectors(self) -> np.ndarray:
        entry, items, dim = self.manifest["vectors"], len(self.rows), self.manifest["dim"]
        path = self._folder / entry["file"]
        if entry["dtype"] == "float32":
            return np.fromfile(path, "<f4").reshape(items, dim)
        if entry["dtype"] == "int8":
            scales = np.fromfile(self._folder / entry["scales"], "<f4")
            return dequantise(np.fromfile(path, np.int8).reshape(items, dim), scales, 1)
        subspaces, words = entry["subspaces"], sum(self.levels)
        raw = (self._folder / entry["centroids"]).read_bytes()
        whole = np.frombuffer(raw, np.int8, (words + 256) * dim)
        scales = np.frombuffer(raw, "<f4", words + subspaces, offset=whole.size)
        return ProductVectors(
            whole[: words * dim].reshape(words, dim),
            scales[:words],
            whole[words * dim :].reshape(subspaces, 256, dim // subspaces),
            scales[words:],
            self.codes + np.cumsum([0, *self.levels[:-1]]),
            np.fromfile(path, np.uint8).reshape(items, subspaces),
        ).vectors

    def _graph(self, role: str, level: int | None = None) -> Any:
        for entry in self.manifest["graphs"]:
            if entry["role"] == role and entry.get("level") == level:
                name = entry["file"]
                if name not in self._run:
                    self._run[name] = session((self._folder / name).read_bytes())
                return self._run[name]
        raise KeyError(f"{self._folder.name} has no graph {role}")

    def code(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (texts, dim) as they would be stored and codes (texts, levels) of items it has not seen."""
        encoder = self.manifest["textEncoder"]
        words = Tokenizer.from_file(str(self._folder / encoder["tokenizer"]))
        vectors, codes = [np.zeros((0, self.manifest["dim"]), np.float32)], [np.zeros((0, len(self.levels)), np.uint8)]
        for start in range(0, len(texts), CODED_AT_ONCE):
            tokens = token_matrix(words, texts[start : start + CODED_AT_ONCE], encoder["tokens"])
            given = {"tokens": tokens, "mask": (tokens > 0).astype(np.float32)}
            (text,) = self._graph("text").run(["text"], given)
            vector, code = self._graph("tokenizer").run(["vector", "codes"], {"text": text})
            vectors.append(dequantise(*quantise(vector, 1), 1))
            codes.append(code.astype(np.uint8))
        return np.concatenate(vectors), np.concatenate(codes)

    def over(self, data: Dataset) -> Ranker:
        """The model with the items of `data`, in their rows, as its catalogue."""
        fresh = [row for row, name in enumerate(data.item_ids) if name not in self.rows]
        own = np.array([self.rows.get(name, 0) for name in data.item_ids])
        vectors, codes = self.vectors[own], self.codes[own]
        vectors[fresh], codes[fresh] = self.code([data.item_texts[row] for row in fresh])
        return Ranker(self, vectors, codes)


class Ranker:
    def __init__(self, artefact: Artefact, vectors: np.ndarray, codes: np.ndarray) -> None:
        self._encoder = artefact._graph("encoder")
        self._steps = [artefact._graph("step", level) for level in range(2, len(artefact.levels) + 1)]
        self._scoring, self._length = artefact.manifest["scoring"], artefact.manifest["historyLength"]
        self._vectors, self._tree = vectors, tree(codes, artefact.levels)

    def ranks(self, cases: list[Case], masked: bool) -> np.ndarray:
        """0-based rank of each target, -1 where it is not returned. `masked` leaves the user's earlier items out."""
        ranks = np.full(len(cases), -1, np.int64)
        for place, case in enumerate(cases):
            found = self._decode(case.history[-self._length :], case.seen if masked else np.zeros(0, np.int64))
            own = np.flatnonzero(found.ranked(self._scoring["alpha"]) == case.target)
            ranks[place] = own[0] if len(own) else -1
        return ranks

    def _decode(self, history: np.ndarray, seen: np.ndarray) -> Decoded:
        tree = self._tree
        h, logits = self._encoder.run(["h", "logits1"], {"x": self._vectors[history][None]})
        alive = [
            np.diff(offsets) - np.bincount(prefix[seen], minlength=len(offsets) - 1)
            for offsets, prefix in zip(tree.offsets, tree.prefix, strict=True)
        ]
        logp, number = _lifted(logits[0], alive[0]), np.arange(tree.levels[0])
        for level, step in enumerate(self._steps, 1):
            kept = self._scoring["beams"][level - 1]
            best = np.argsort(-logp, kind="stable")[:kept]
            number, logp = number[best][np.isfinite(logp[best])], logp[best][np.isfinite(logp[best])]
            prefix = np.stack(np.unravel_index(number, tree.levels[:level]), 1).astype(np.int32)
            (logits,) = step.run(["logits"], {"h": h, "prefix": prefix})
            children = number[:, None] * tree.levels[level] + np.arange(tree.levels[level])
            logp = (logp[:, None] + _lifted(logits, alive[level][children])).ravel()
            number = children.ravel()
        best = np.argsort(-logp, kind="stable")[: self._scoring["leaves"]]
        best = best[np.isfinite(logp[best])]
        if not len(best):  # the user had everything
            return Decoded(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        rows, owner = [], []
        for place, leaf in enumerate(number[best]):
            members = tree.order[tree.offsets[-1][leaf] : tree.offsets[-1][leaf + 1]]
            members = members[~np.isin(members, seen)]
            rows.append(members)
            owner.append(np.full(len(members), place))
        members, owner = np.concatenate(rows), np.concatenate(owner)
        dot = self._vectors[members] @ h[0]
        top = np.full(len(best), -np.inf)
        np.maximum.at(top, owner, dot)
        norm = top + np.log(np.bincount(owner, np.exp(dot - top[owner])))
        return Decoded(members, logp[best][owner] + dot - norm[owner], dot)


def _lifted(logits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """log softmax over what is alive, weighed by how many items are below."""
    with np.errstate(divide="ignore"):
        lifted = logits + np.log(counts)
    top = np.maximum(lifted.max(-1, keepdims=True), -1e30)
    return lifted - (top + np.log(np.exp(lifted - top).sum(-1, keepdims=True) + 1e-38))
