"""Log records and numbered items -> the folder (`items.jsonl`, `events.jsonl`) that `training.data` reads."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.data import DAY, POSITIVE_TYPES, DataError

DECISIONS = ("like", "save", "cook", "purchase")  # what a person decides; a view mostly follows what was shown


@dataclass(frozen=True)
class Facts:
    """What a configuration is scaled by."""

    items: int
    events: int
    decisions: int
    users: int
    withheld: int  # events whose users do not want to be trained on
    days: float  # from the first event to the last


def write_items(path: Path, items: list[dict[str, Any]]) -> None:
    """Items that can be recommended some day: hidden ones are kept, deleted ones are not. Numbers stay, for the log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        for item in items:
            if not item["deleted"]:
                fields = ("number", "id", "title", "text", "creator", "origin", "createdAt", "price", "attributes")
                file.write(json.dumps({name: item[name] for name in fields}, ensure_ascii=False) + "\n")
    temporary.replace(path)


def records_of(segments: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Records of segments, one after another."""
    for path in segments:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield json.loads(line)


def write_events(path: Path, items: Path, segments: Iterable[Path]) -> Facts:
    """Positive events of users who consent to training, on items of `items`, in the order of the log."""
    ids, known = {}, set()
    with items.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            ids[row["number"]] = row["id"]
            known.add(row["id"])
    users: set[str] = set()
    events = decisions = withheld = 0
    first, last = float("inf"), float("-inf")
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        for record in records_of(segments):
            if record["kind"] != "event" or record["type"] not in POSITIVE_TYPES:
                continue
            if record["consentTraining"] != 1:
                withheld += 1
                continue
            # the number may have been given after the event came
            item = ids.get(record["item"]) if record["item"] is not None else record["itemId"]
            if item not in known:
                continue
            moment = record["occurredAt"] / 1000
            row = {
                "userId": record["subject"],
                "itemId": item,
                "type": record["type"],
                "occurredAt": datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds"),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            users.add(record["subject"])
            events += 1
            decisions += record["type"] in DECISIONS
            first, last = min(first, moment), max(last, moment)
    temporary.replace(path)
    if not events:
        raise DataError(f"the log holds no event to learn from ({withheld} are withheld from training)")
    return Facts(len(ids), events, decisions, len(users), withheld, (last - first) / DAY)
