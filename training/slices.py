"""Groups of ranking cases by target item and by user: new items, tail and head, short and long histories, repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data import Case

SHORT, LONG = 4, 10


@dataclass(frozen=True)
class Slice:
    """`members` (cases,) bool."""

    name: str
    definition: str
    members: np.ndarray


def slices(cases: list[Case], training_events: np.ndarray, repeats: bool) -> list[Slice]:
    """The slices that hold a case. `training_events` (items,) counts each item's events in training. The first three share
    out all cases, and so do the last two, which need a ranking that keeps the user's earlier items (`repeats`)."""
    target = np.array([case.target for case in cases])
    length = np.array([len(case.history) for case in cases])
    events = training_events[target]
    held = training_events[training_events > 0]
    middle = float(np.median(held)) if len(held) else 0.0
    found = [
        Slice("unseen", "the target has no event in training", events == 0),
        Slice(
            "tail",
            f"the target has 1 to {middle:g} training events: the less popular half",
            (events > 0) & (events <= middle),
        ),
        Slice("head", f"the target has more than {middle:g} training events", (events > 0) & (events > middle)),
        Slice("short", f"histories of at most {SHORT} items", length <= SHORT),
        Slice("long", f"histories of {LONG} items and more", length >= LONG),
    ]
    if repeats:
        again = np.array([case.target in case.seen for case in cases])
        found.append(Slice("repeat", "the target is among the user's earlier items", again))
        found.append(Slice("first-time", "the target is new to the user", ~again))
    return [one for one in found if one.members.any()]
