"""Rows of items and events -> a `Dataset` of integers, and the two splits (leave one out, by time).

A source is a folder (or two files) `items.{csv,jsonl,parquet}` and `events.{csv,jsonl,parquet}` in the import format,
or one of the research packs that lie beside the checkout and are unpacked once into `.cache/data`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
PACKS = ROOT.parent / "shared" / "data"
TEXT_SEPARATOR = " \n "
ORDER_ONLY_END = datetime(2014, 7, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0
TIE_SEED = 2014
SUFFIXES = ("csv", "jsonl", "parquet")
POSITIVE_TYPES = ("view", "click", "like", "save", "cook", "purchase")  # weakest first
ENGAGEMENT_SECONDS = 12 * 3600.0

csv.field_size_limit(sys.maxsize)


class DataError(ValueError):
    """A problem with the input that its owner can mend; the message is one line."""


@dataclass(frozen=True)
class Dataset:
    """Events sorted by (user, time), ties shuffled by a fixed seed. `user`, `item`, `kind` are int32 rows of the lists; `time` is seconds."""

    name: str
    item_ids: list[str]
    item_texts: list[str]
    user_ids: list[str]
    kinds: list[str]
    user: np.ndarray
    item: np.ndarray
    kind: np.ndarray
    time: np.ndarray
    ordered_only: bool
    rows: int  # events before those of one engagement were merged
    sha256: str

    @property
    def starts(self) -> np.ndarray:
        """(users + 1,) offsets of every user's first event."""
        return np.searchsorted(self.user, np.arange(len(self.user_ids) + 1))


@dataclass(frozen=True)
class Case:
    """One ranking question: what comes after `history` (rows, oldest first)? `seen` are all earlier items of the user."""

    user: int
    history: np.ndarray
    target: int
    seen: np.ndarray


@dataclass(frozen=True)
class Split:
    """Training sequences (rows, oldest first; one array a user) and the cases of validation and test."""

    train: list[np.ndarray]
    train_times: list[np.ndarray]
    validation: list[Case]
    test: list[Case]


def item_text(title: str, creator: str, categories: list[str], text: str) -> str:
    """The text of an item as trainer and Worker both build it: title, creator, categories, text; empty parts left out."""
    return TEXT_SEPARATOR.join(part.strip() for part in [title, creator, *categories, text] if part and part.strip())


def categories_of(attributes: object) -> list[str]:
    """`attributes.categories` (names or paths of names), else `attributes.category`: distinct names in order."""
    if not isinstance(attributes, dict):
        return []
    raw = attributes.get("categories", attributes.get("category", []))
    names: dict[str, None] = {}
    for entry in raw if isinstance(raw, list) else [raw]:
        for name in entry if isinstance(entry, list) else [entry]:
            if isinstance(name, str) and name.strip():
                names[name.strip()] = None
    return list(names)


def read_rows(path: Path) -> Iterator[dict[str, object]]:
    """Rows of a CSV (RFC 4180 quoting, line breaks inside quotes), JSON Lines or Parquet file as dictionaries."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            try:
                for row in reader:
                    if None in row or None in row.values():
                        raise DataError(
                            f"{path.name}: line {reader.line_num} has a number of fields other than the header's"
                        )
                    yield row
            except csv.Error as error:
                raise DataError(f"{path.name}: line {reader.line_num}: {error}") from error
    elif path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except json.JSONDecodeError as error:
                        raise DataError(f"{path.name}: line {number} is not JSON: {error.msg}") from error
    elif path.suffix == ".parquet":
        import pyarrow.parquet as parquet  # costs 0.3 s; only this format needs it

        for batch in parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    else:
        raise DataError(f"{path.name}: format {path.suffix or 'none'} is not one of {', '.join(SUFFIXES)}")


def _seconds(value: object, where: str) -> float:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise DataError(f"{where}: occurredAt {value!r} is not an RFC 3339 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _field(row: dict[str, object], name: str, where: str) -> str:
    value = row.get(name)
    if value is None or value == "":
        raise DataError(f"{where}: {name} is missing")
    return str(value)


def _find(folder: Path, stem: str) -> Path:
    for suffix in SUFFIXES:
        path = folder / f"{stem}.{suffix}"
        if path.exists():
            return path
    raise DataError(f"{folder}: holds no {stem}.csv, {stem}.jsonl or {stem}.parquet")


def merge_engagements(columns: np.ndarray, time: np.ndarray, kinds: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Events of one user on one item, each within 12 hours of the one before, become one: the time of the first, the
    strongest type. Otherwise "saves what was opened a second ago" would be most of what there is to foresee.
    `columns` (events, 3) user, item, type; sorted by (user, time)."""
    strength = [POSITIVE_TYPES.index(kind) for kind in kinds]
    open_at: dict[tuple[int, int], tuple[int, float]] = {}
    merged: list[list[int]] = []
    moments: list[float] = []
    for (user, item, kind), moment in zip(columns.tolist(), time.tolist(), strict=True):
        place, last = open_at.get((user, item), (-1, -np.inf))
        if moment - last <= ENGAGEMENT_SECONDS:
            if strength[kind] > strength[merged[place][2]]:
                merged[place][2] = kind
        else:
            place = len(merged)
            merged.append([user, item, kind])
            moments.append(moment)
        open_at[user, item] = (place, moment)
    return np.array(merged, np.int32).reshape(-1, 3), np.array(moments)


def build(
    name: str,
    items: list[tuple[str, str]],
    events: list[tuple[str, str, str, float]],
    *,
    ordered_only: bool = False,
) -> Dataset:
    """(id, text) of items and (user, item, type, seconds) of events -> Dataset; users are numbered as they appear."""
    if not items:
        raise DataError(f"{name}: no items")
    if not events:
        raise DataError(f"{name}: no events of the types {', '.join(POSITIVE_TYPES)}")
    item_row = {identity: row for row, (identity, _) in enumerate(items)}
    if len(item_row) != len(items):
        raise DataError(f"{name}: {len(items) - len(item_row)} item ids occur more than once")
    user_row: dict[str, int] = {}
    kind_row: dict[str, int] = {}
    known = [event for event in events if event[1] in item_row]
    columns = np.array(
        [
            (user_row.setdefault(user, len(user_row)), item_row[item], kind_row.setdefault(kind, len(kind_row)))
            for user, item, kind, _ in known
        ],
        dtype=np.int32,
    ).reshape(-1, 3)
    time = np.array([event[3] for event in known])
    # events of one user at one instant have no order of their own; file order among them would leak into the figures
    tie = np.random.default_rng(TIE_SEED).permutation(len(known))
    order = np.lexsort((tie, time, columns[:, 0]))
    columns, time = columns[order], time[order]
    if not ordered_only:
        columns, time = merge_engagements(columns, time, list(kind_row))
    digest = hashlib.sha256(json.dumps([items, list(user_row), list(kind_row)], ensure_ascii=False).encode())
    digest.update(np.ascontiguousarray(columns, dtype="<i4").tobytes())
    digest.update(time.astype("<f8").tobytes())
    return Dataset(
        name=name,
        item_ids=[identity for identity, _ in items],
        item_texts=[text for _, text in items],
        user_ids=list(user_row),
        kinds=list(kind_row),
        user=columns[:, 0],
        item=columns[:, 1],
        kind=columns[:, 2],
        time=time,
        ordered_only=ordered_only,
        rows=len(known),
        sha256=digest.hexdigest(),
    )


def read_folder(name: str, items_path: Path, events_path: Path, *, ordered_only: bool = False) -> Dataset:
    """Items and events in the import format. Event types other than the positive ones are left out."""
    items = []
    for number, row in enumerate(read_rows(items_path), 1):
        attributes = row.get("attributes") or {}
        if isinstance(attributes, str):
            try:
                attributes = json.loads(attributes)
            except json.JSONDecodeError:
                raise DataError(f"{items_path.name}: item {row.get('id')!r}: attributes is not JSON") from None
        text = item_text(
            str(row.get("title") or ""),
            str(row.get("creator") or ""),
            categories_of(attributes),
            str(row.get("text") or ""),
        )
        items.append((_field(row, "id", f"{items_path.name}: row {number}"), text))
    events = []
    for number, row in enumerate(read_rows(events_path), 1):
        if row.get("type") in POSITIVE_TYPES:
            where = f"{events_path.name}: row {number}"
            user, item, when = (_field(row, name, where) for name in ("userId", "itemId", "occurredAt"))
            events.append((user, item, str(row["type"]), _seconds(when, where)))
    return build(name, items, events, ordered_only=ordered_only)


def unpacked(pack: str) -> Path:
    """The folder of a research pack, unpacked once into the cache."""
    folder = CACHE / "data" / pack
    if folder.exists():
        return folder
    archive = PACKS / f"{pack}.tar.xz"
    if not archive.exists():
        raise DataError(f"source pack:{pack}: {archive.name} is not in ../shared/data")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        with tarfile.open(archive) as tar:
            tar.extractall(fresh, filter="data")
        Path(fresh, pack).rename(folder)
    return folder


def _amazon(name: str, folder: Path) -> Dataset:
    """Beauty or Sports: `sequences.txt` gives order only, so the last event of everyone is on 2014-07-01, one a day before."""
    items = []
    with (folder / "items.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            brand = row.get("brand") or ""
            text = item_text(
                row.get("title") or "",
                "" if brand == "Unknown" else brand,
                categories_of({"categories": row.get("categories") or []}),
                "" if row.get("title") else row.get("text_id") or "",
            )
            items.append((str(row["id"]), text))
    events = []
    for line in (folder / "sequences.txt").read_text().splitlines():
        user, *sequence = line.split()
        for place, item in enumerate(sequence, 1):
            events.append((user, item, "purchase", ORDER_ONLY_END - (len(sequence) - place) * DAY))
    return build(name, items, events, ordered_only=True)


def _online_retail(name: str, folder: Path) -> Dataset:
    items = [(str(row["item_id"]), item_text(str(row["title"]), "", [], "")) for row in read_rows(folder / "items.csv")]
    events = [
        (str(row["user_id"]), str(row["item_id"]), "purchase", _seconds(row["timestamp"], "interactions.csv"))
        for row in read_rows(folder / "interactions.csv")
    ]
    return build(name, items, events)


def _movietweetings(name: str, folder: Path) -> Dataset:
    """Tweeted ratings of 6 and more (of 10) as likes, with their real times."""
    items = []
    for line in (folder / "movies.dat").read_text(encoding="utf-8").splitlines():
        identity, title, genres = line.split("::")
        items.append((identity, item_text(title, "", genres.split("|"), "")))
    events = []
    for line in (folder / "ratings.dat").read_text(encoding="utf-8").splitlines():
        user, item, rating, seconds = line.split("::")
        if int(rating) >= 6:
            events.append((user, item, "like", float(seconds)))
    return build(name, items, events)


def load(name: str, source: str) -> Dataset:
    """`pack:<name>`, `folder:<path from the repository root>` or `synthetic:<seed>` -> Dataset."""
    scheme, _, rest = source.partition(":")
    if scheme == "synthetic":
        from training.synthetic import world

        return world(name, seed=int(rest or 0))
    if scheme == "pack":
        folder = unpacked(rest)
        if (folder / "sequences.txt").exists():
            return _amazon(name, folder)
        if (folder / "interactions.csv").exists():
            return _online_retail(name, folder)
        if (folder / "ratings.dat").exists():
            return _movietweetings(name, folder)
        raise DataError(f"source {source}: there is no reader for this pack")
    if scheme == "folder":
        folder = ROOT / rest
        if not folder.is_dir():
            raise DataError(f"source {source}: {folder} is not a folder")
        return read_folder(name, _find(folder, "items"), _find(folder, "events"))
    raise DataError(f"source {source!r}: begins with none of pack:, folder:, synthetic:")


def _case(user: int, earlier: np.ndarray, target: int, length: int) -> Case:
    return Case(user, earlier[-length:].copy(), int(target), np.unique(earlier))


def leave_one_out(data: Dataset, length: int) -> Split:
    """Last event of each user: test; the one before: validation; the rest: training. Users with fewer than 3 only train."""
    train, times, validation, test = [], [], [], []
    starts = data.starts
    for user in range(len(data.user_ids)):
        rows = data.item[starts[user] : starts[user + 1]]
        moments = data.time[starts[user] : starts[user + 1]]
        if len(rows) < 3:
            train.append(rows)
            times.append(moments)
            continue
        train.append(rows[:-2])
        times.append(moments[:-2])
        validation.append(_case(user, rows[:-2], rows[-2], length))
        test.append(_case(user, rows[:-1], rows[-1], length))
    return Split(train, times, validation, test)


def by_time(
    data: Dataset, length: int, validation_days: float, test_days: float, target_kinds: tuple[str, ...]
) -> Split:
    """Training before a moment; validation, then test after it. One case a held-out event of a target type whose user has
    an earlier event; its history is everything the user did before it, the held-out periods included."""
    test_from = data.time.max() - test_days * DAY
    validation_from = test_from - validation_days * DAY
    wanted = np.array([kind in target_kinds for kind in data.kinds])
    train, times, validation, test = [], [], [], []
    starts = data.starts
    for user in range(len(data.user_ids)):
        span = slice(starts[user], starts[user + 1])
        rows, moments, kinds = data.item[span], data.time[span], data.kind[span]
        cut = int(np.searchsorted(moments, validation_from))
        if cut:
            train.append(rows[:cut])
            times.append(moments[:cut])
        for place in range(cut, len(rows)):
            before = int(np.searchsorted(moments, moments[place]))  # events of the same instant are not history
            if before and wanted[kinds[place]]:
                (validation if moments[place] < test_from else test).append(
                    _case(user, rows[:before], rows[place], length)
                )
    return Split(train, times, validation, test)


def repeat_share(data: Dataset, target_kinds: tuple[str, ...]) -> float:
    """Of the events of a target type, those after a user's first: the share whose item the user already had by that type."""
    repeats = later = 0
    for row, kind in enumerate(data.kinds):
        if kind in target_kinds:
            chosen = data.kind == row
            pairs = data.user[chosen].astype(np.int64) * len(data.item_ids) + data.item[chosen]
            repeats += len(pairs) - len(np.unique(pairs))
            later += len(pairs) - len(np.unique(data.user[chosen]))
    return repeats / later if later else 0.0
