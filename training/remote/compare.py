"""The new model against the one that serves, on the new run's test cases: what the gate reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from training import evaluate
from training.metrics import gains, paired_bootstrap
from training.remote.artefact import Artefact
from training.remote.hand_over import is_whole
from training.slices import slices
from training.train import Run

MOST_CASES = 20_000  # about a millisecond each
SERVED = "generator-int8"
# of training.slices, those in which a model may not be worse, by the names that the gate prints
GUARDED = {"unseen": "new items", "tail": "tail", "short": "short histories"}


def find(version: str, places: list[Path]) -> Path | None:
    """The folder of an artefact of this version, whole, in one of `places`."""
    for place in places:
        for manifest in sorted(place.glob("*/manifest.json")):
            if is_whole(manifest.parent, version):
                return manifest.parent
    return None


def report(run: Run, serving: str | None, artefact: Path | None) -> dict[str, Any]:
    """`comparedTo`, `ndcg10` and `slices`. A serving model without an artefact here can't be compared: the gate then refuses."""
    if serving is None or artefact is None:
        return {"comparedTo": serving, "ndcg10": None, "slices": []}
    ranking = "unmasked" if run.repeats else "masked"
    every = max(1, -(-len(run.split.test) // MOST_CASES))
    cases = run.split.test[::every]
    new = np.array(json.loads((run.folder / f"ranks-{SERVED}.json").read_text())[ranking])[::every]
    old = Artefact(artefact).over(run.data).ranks(cases, masked=ranking == "masked")
    users = np.array([case.user for case in cases])

    def paired(members: np.ndarray) -> dict[str, Any]:
        difference, low, high = paired_bootstrap(gains(new[members], 10), gains(old[members], 10), users[members])
        return {
            "difference": round(difference, 6),
            "interval": [round(low, 6), round(high, 6)],
            "users": len(np.unique(users[members])),
        }

    events = evaluate.training_events(run.split, len(run.data.item_ids))
    parts = {part.name: part.members for part in slices(cases, events, run.repeats)}
    return {
        "comparedTo": serving,
        "ndcg10": paired(np.ones(len(cases), bool)),
        "slices": [{"slice": name, "ndcg10": paired(parts[part])} for part, name in GUARDED.items() if part in parts],
    }


def figures(folder: Path) -> dict[str, Any]:
    """The new model's own, in the ranking that choices look at."""
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    own = next(row for row in rows if row["model"] == SERVED and "ndcg10Interval" in row)
    return {name: own[name] for name in ("ranking", "ndcg10", "recall10", "ndcg10Interval")}
