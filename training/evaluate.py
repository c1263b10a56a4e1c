"""Stage `evaluate`: ranks of every model on the same cases, written for the benchmark, and the table with intervals.

All items are ranked. `unmasked` keeps a user's earlier items in the ranking, `masked` leaves them out (for the generator:
dead inside decoding). Choices (alpha) are made on validation; where repeats are common they look at the unmasked ranking.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from training.config import Config, Serve
from training.data import Case, Dataset, Split
from training.metrics import gains, hits, paired_bootstrap, summary
from training.serving import Decoded, Served, decode_cases, overlap_with_exact, rank_in
from training.slices import slices
from training.trunk import hidden_states, ranks_of

REPEATS_ALLOWED_FROM = 0.05  # the service's own rule for its default of `repeat`


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    temporary.replace(path)


def write_cases(folder: Path, data: Dataset, split: str, cases: list[Case], length: int) -> None:
    users = [
        {"user": data.user_ids[c.user], "history": c.history.tolist(), "target": c.target, "seen": c.seen.tolist()}
        for c in cases
    ]
    body = {"dataset": data.name, "split": split, "historyLength": length, "users": users}
    write_json(folder / f"cases-{split}.json", body)


def training_events(split: Split, items: int) -> np.ndarray:
    """(items,) events of each item row in training."""
    return np.bincount(np.concatenate(split.train), minlength=items)


def write_items_train(folder: Path, data: Dataset, split: Split) -> None:
    """`items-train.json`: id and training events of each item, which tell a new or rare target from a popular one."""
    events = training_events(split, len(data.item_ids))
    write_json(folder / "items-train.json", {"dataset": data.name, "ids": data.item_ids, "events": events.tolist()})


def write_ranks(
    folder: Path, model: str, dataset: str, unmasked: np.ndarray, masked: np.ndarray, seconds: float
) -> None:
    body = {
        "model": model,
        "dataset": dataset,
        "split": "test",
        "trainSeconds": round(seconds, 1),
        "unmasked": unmasked.tolist(),
        "masked": masked.tolist(),
    }
    write_json(folder / f"ranks-{model}.json", body)


def sample(cases: list[Case], count: int) -> list[Case]:
    return cases[:: max(1, len(cases) // count)]


def choose_alpha(decoded: list[Decoded], cases: list[Case], serve: Serve) -> tuple[float, dict[str, float]]:
    """The alpha with the best validation NDCG@10 (the smaller on a tie) and what each reached."""
    reached = {alpha: float(gains(rank_in(decoded, cases, alpha), 10).mean()) for alpha in serve.alphas}
    best = max(serve.alphas, key=lambda alpha: (round(reached[alpha], 6), -alpha))
    return best, {f"{alpha:g}": round(value, 5) for alpha, value in reached.items()}


def generator_ranks(
    folder: Path,
    config: Config,
    data: Dataset,
    test: list[Case],
    full: Served,
    int8: Served,
    alpha: float,
    seconds: dict[str, float],
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Ranks of the exact scan and of the generator (float32, int8, alone); returns how well beams cover the exact top 10."""
    h = hidden_states(full.backbone, jnp.asarray(full.vectors), test, full.heads, full.length)
    write_ranks(folder, "exact-scan", data.name, *ranks_of(h, full.vectors, test), seconds["trunk"])
    log("exact scan ranked")
    report: dict[str, Any] = {}
    both = seconds["trunk"] + seconds["decoder"]
    for name, model in (("generator-fp32", full), ("generator-int8", int8)):
        unmasked = decode_cases(model, test, config.serve, masked=False)
        masked = decode_cases(model, test, config.serve, masked=True)
        write_ranks(folder, name, data.name, rank_in(unmasked, test, alpha), rank_in(masked, test, alpha), both)
        if model is int8:
            ranks = rank_in(unmasked, test, 1.0), rank_in(masked, test, 1.0)
            write_ranks(folder, "generator-alone", data.name, *ranks, both)
            part = sample(test, 2000)
            states = hidden_states(model.backbone, jnp.asarray(model.vectors), part, model.heads, model.length)
            chosen = decode_cases(model, part, config.serve, masked=False)
            report["overlapExactTop10"] = round(overlap_with_exact(model, chosen, states, alpha), 4)
            report["scored"] = round(float(np.mean([len(d.rows) for d in chosen])), 1)
        log(f"{name} ranked")
    return report


ORDER = ("popularity", "item-knn", "sasrec-ce", "exact-scan", "generator-fp32", "generator-int8", "generator-alone")
COMPARED = ("popularity", "item-knn", "sasrec-ce")


def read_ranks(folder: Path, cases: int) -> dict[str, dict[str, Any]]:
    """The ranks files of a run, in the order of the tables; those of another number of cases are left out."""
    read = {}
    for name in ORDER:
        path = folder / f"ranks-{name}.json"
        if path.exists():
            ranks = json.loads(path.read_text())
            if len(ranks["masked"]) == cases:
                read[name] = ranks
    return read


def _gap(served: np.ndarray, other: np.ndarray, users: np.ndarray) -> dict[str, list[float]]:
    """Paired intervals of served - other, users resampled."""
    return {
        label: [round(v, 5) for v in paired_bootstrap(measure(served, 10), measure(other, 10), users)]
        for label, measure in (("ndcg10", gains), ("recall10", hits))
    }


def table(folder: Path, test: list[Case], repeats: bool) -> list[dict[str, Any]]:
    """One row a model and ranking. Rows of the ranking that choices look at have intervals (users resampled), and paired ones
    of the served generator against each comparison that has been ranked."""
    read = read_ranks(folder, len(test))
    users = np.array([case.user for case in test])
    none = np.full(len(test), -1)
    rows = []
    for name, ranks in read.items():
        for kind in ("masked", "unmasked"):
            own = np.array(ranks[kind])
            row = {
                "model": name,
                "ranking": kind,
                **{k: round(v, 5) for k, v in summary(own).items()},
                "trainSeconds": ranks["trainSeconds"],
            }
            if kind == ("unmasked" if repeats else "masked"):
                for label, interval in _gap(own, none, users).items():
                    row[f"{label}Interval"] = interval[1:]
                if name in COMPARED and "generator-int8" in read:
                    for label, gap in _gap(np.array(read["generator-int8"][kind]), own, users).items():
                        row[f"servedMinusThis_{label}"] = gap
            rows.append(row)
    return rows


def slice_table(folder: Path, test: list[Case], events: np.ndarray, repeats: bool) -> list[dict[str, Any]]:
    """One entry a slice: its definition, users, cases, figures of the served generator and of what it is held against, in the
    ranking that choices look at, and paired intervals."""
    kind = "unmasked" if repeats else "masked"
    read = {
        name: np.array(ranks[kind])
        for name, ranks in read_ranks(folder, len(test)).items()
        if name == "generator-int8" or name in COMPARED
    }
    users = np.array([case.user for case in test])
    found = []
    for part in slices(test, events, repeats):
        own = users[part.members]
        rows = []
        for name, ranks in read.items():
            figures = summary(ranks[part.members])
            row = {"model": name, "recall10": round(figures["recall10"], 5), "ndcg10": round(figures["ndcg10"], 5)}
            if name in COMPARED and "generator-int8" in read:
                gap = _gap(read["generator-int8"][part.members], ranks[part.members], own)
                row |= {f"servedMinusThis_{label}": interval for label, interval in gap.items()}
            rows.append(row)
        found.append(
            {
                "slice": part.name,
                "definition": part.definition,
                "users": len(np.unique(own)),
                "cases": len(own),
                "rows": rows,
            }
        )
    return found
