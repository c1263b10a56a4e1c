"""Reading rows, and splits that let nothing of the future through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training import config, data
from training.synthetic import world

HEADER_ITEMS = "id,title,text,creator,origin,createdAt,price,currency,attributes\n"
HEADER_EVENTS = "id,userId,itemId,type,occurredAt,value,quantity,sessionId,surface,listId,position,propensity\n"


def folder(tmp_path: Path, items: str, events: str) -> Path:
    (tmp_path / "items.csv").write_text(HEADER_ITEMS + items, newline="")
    (tmp_path / "events.csv").write_text(HEADER_EVENTS + events, newline="")
    return tmp_path


def event(user: str, item: str, kind: str, when: str) -> str:
    return f",{user},{item},{kind},{when},,,,,,,\n"


def test_csv_with_quotes_and_line_breaks_is_read_as_written(tmp_path: Path) -> None:
    items = 'a,"Say ""hi"", twice","one\r\ntwo",Ann,human,2026-01-01T00:00:00Z,1.50,EUR,"{""categories"": [[""Food"", ""Soup""], [""Food"", ""Hot""]]}"\n'
    path = folder(tmp_path, items, event("u", "a", "cook", "2026-01-02T03:04:05Z"))
    read = data.read_folder("t", path / "items.csv", path / "events.csv")
    assert read.item_texts == ['Say "hi", twice \n Ann \n Food \n Soup \n Hot \n one\r\ntwo']
    assert read.time.tolist() == [1767323045.0]


def test_jsonl_and_parquet_give_the_same_data_as_csv(tmp_path: Path) -> None:
    import json

    import pyarrow
    import pyarrow.parquet

    items = [
        {"id": "a", "title": "A", "text": "x", "creator": "C", "attributes": '{"categories": ["K"]}'},
        {"id": "b", "title": "B"},
    ]
    events = [
        {"userId": "u", "itemId": "b", "type": "save", "occurredAt": "2026-01-02T00:00:00Z"},
        {"userId": "u", "itemId": "a", "type": "view", "occurredAt": "2026-01-01T00:00:00+00:00"},
    ]
    digests = set()
    for suffix in ("csv", "jsonl", "parquet"):
        for stem, rows in (("items", items), ("events", events)):
            path = tmp_path / f"{stem}.{suffix}"
            if suffix == "jsonl":
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            elif suffix == "parquet":
                pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
            else:
                keys = list(rows[0])
                quoted = [['"' + str(row.get(k) or "").replace('"', '""') + '"' for k in keys] for row in rows]
                path.write_text(",".join(keys) + "\n" + "".join(",".join(q) + "\n" for q in quoted))
        read = data.read_folder("t", tmp_path / f"items.{suffix}", tmp_path / f"events.{suffix}")
        assert read.item[0] == 0, "events are in order of time"
        digests.add(read.sha256)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("items", "events", "message"),
    [
        ("a,A,,,,,,,\n", event("u", "a", "cook", "yesterday"), "occurredAt 'yesterday' is not an RFC 3339 time"),
        ("a,A,,,,,,,\n", event("u", "", "cook", "2026-01-01"), "events.csv: row 1: itemId is missing"),
        (",A,,,,,,,\n", event("u", "a", "cook", "2026-01-01"), "items.csv: row 1: id is missing"),
        ("a,A,,,,,,,{\n", event("u", "a", "cook", "2026-01-01"), "attributes is not JSON"),
        ("a,A\n", event("u", "a", "cook", "2026-01-01"), "line 2 has a number of fields other than the header's"),
        ("a,A,,,,,,,\na,B,,,,,,,\n", event("u", "a", "cook", "2026-01-01"), "1 item ids occur more than once"),
        ("a,A,,,,,,,\n", event("u", "a", "impression", "2026-01-01"), "no events of the types"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, items: str, events: str, message: str) -> None:
    path = folder(tmp_path, items, events)
    with pytest.raises(data.DataError, match=message) as caught:
        data.read_folder("t", path / "items.csv", path / "events.csv")
    assert "\n" not in str(caught.value)


def test_events_of_one_instant_do_not_keep_their_file_order(tmp_path: Path) -> None:
    items = "".join(f"i{n},T,,,,,,,\n" for n in range(30))
    events = "".join(event("u", f"i{n}", "cook", "2026-01-01T00:00:00Z") for n in range(30))
    path = folder(tmp_path, items, events)
    first = data.read_folder("t", path / "items.csv", path / "events.csv").item
    assert sorted(first) == list(range(30))
    assert first.tolist() != list(range(30))
    assert first.tolist() == data.read_folder("t", path / "items.csv", path / "events.csv").item.tolist()


def test_leave_one_out_keeps_targets_out_of_training_and_history() -> None:
    rows = [(f"i{n}", "x") for n in range(100)]
    events = [("u", f"i{n}", "purchase", float(n)) for n in range(10)] + [
        ("v", "i1", "purchase", 0.0),
        ("v", "i2", "purchase", 1.0),
    ]
    split = data.leave_one_out(data.build("t", rows, events), length=5)
    assert split.train[0].tolist() == list(range(8))
    assert (split.validation[0].history.tolist(), split.validation[0].target) == ([3, 4, 5, 6, 7], 8)
    assert (split.test[0].history.tolist(), split.test[0].target) == ([4, 5, 6, 7, 8], 9)
    assert split.test[0].seen.tolist() == list(range(9))
    assert len(split.test) == 1, "two events are too few for a test"
    assert split.train[1].tolist() == [1, 2]


def test_split_by_time_lets_no_later_event_through() -> None:
    generated = world("t", users=60)
    split = data.by_time(generated, 16, validation_days=7, test_days=7, target_kinds=("purchase",))
    last = generated.time.max()
    for times in split.train_times:
        assert times.max() < last - 14 * data.DAY
    starts = generated.starts
    for name, cases, low, high in (("validation", split.validation, 14, 7), ("test", split.test, 7, 0)):
        assert cases, name
        for case in cases:
            own = slice(starts[case.user], starts[case.user + 1])
            times, items = generated.time[own], generated.item[own]
            places = [
                p
                for p in np.flatnonzero(items == case.target)
                if last - low * data.DAY <= times[p] <= last - high * data.DAY
            ]
            assert any(items[max(0, p - 16) : p].tolist() == case.history.tolist() for p in places)


def test_events_of_the_targets_instant_are_not_history() -> None:
    rows = [(f"i{n}", "x") for n in range(9)]
    events = [("u", "i0", "purchase", 0.0)]
    events += [("u", f"i{n}", "purchase", 100 * data.DAY) for n in (1, 2, 3)]
    split = data.by_time(data.build("t", rows, events), 5, validation_days=1, test_days=1, target_kinds=("purchase",))
    assert [case.history.tolist() for case in split.test] == [[0], [0], [0]]


def test_repeat_share_counts_items_a_user_already_had() -> None:
    rows = [("a", ""), ("b", "")]
    events = [("u", item, "cook", n * data.DAY) for n, item in enumerate(["a", "b", "a", "a", "b"])]
    events += [("u", "a", "view", 9 * data.DAY), ("u", "a", "view", 10 * data.DAY)]
    assert data.repeat_share(data.build("t", rows, events), ("cook",)) == pytest.approx(0.75)


def test_events_of_one_engagement_become_one_with_the_strongest_type_and_the_first_time() -> None:
    rows = [("a", ""), ("b", "")]
    events = [("u", "a", "view", 0.0), ("u", "b", "view", 50.0), ("u", "a", "cook", 100.0), ("u", "a", "view", 200.0)]
    events += [("u", "a", "cook", 3 * data.DAY), ("v", "a", "save", 10.0)]
    read = data.build("t", rows, events)
    kinds = [read.kinds[k] for k in read.kind]
    assert list(zip(read.user.tolist(), read.item.tolist(), kinds, read.time.tolist(), strict=True)) == [
        (0, 0, "cook", 0.0),
        (0, 1, "view", 50.0),
        (0, 0, "cook", 3 * data.DAY),
        (1, 0, "save", 10.0),
    ]
    assert read.rows == 6


def test_beauty_pack_has_its_published_size() -> None:
    try:
        read = data.load("beauty", "pack:amazon-beauty-2014")
    except data.DataError as error:
        pytest.skip(str(error))
    assert (len(read.user_ids), len(read.item_ids), len(read.item)) == (22_363, 12_101, 198_502)
    assert data.repeat_share(read, ("purchase",)) == 0


@pytest.fixture(scope="module")
def movietweetings() -> data.Dataset:
    try:
        return data.load("movietweetings", "pack:movietweetings-100k")
    except data.DataError as error:
        pytest.skip(str(error))


def test_movietweetings_are_its_ratings_of_six_and_more_in_order_of_time(movietweetings: data.Dataset) -> None:
    read = movietweetings
    assert (len(read.user_ids), len(read.item_ids), len(read.item)) == (15_727, 10_506, 85_715)
    assert read.kinds == ["like"]
    assert read.item_texts[read.item_ids.index("0002844")] == (
        "Fantômas - À l'ombre de la guillotine (1913) \n Crime \n Drama"
    )
    lines = (data.unpacked("movietweetings-100k") / "ratings.dat").read_text().splitlines()
    rated = {(u, i, float(t)) for u, i, rating, t in (line.split("::") for line in lines) if int(rating) >= 6}
    users, items = (
        [ids[row] for row in rows] for ids, rows in ((read.user_ids, read.user), (read.item_ids, read.item))
    )
    assert set(zip(users, items, read.time.tolist(), strict=True)) == rated
    later, same = np.diff(read.time), np.diff(read.user) == 0
    assert (later[same] >= 0).all()
    assert (np.diff(read.user) >= 0).all()


def test_movietweetings_are_split_at_one_moment_for_everybody(movietweetings: data.Dataset) -> None:
    read, plan = movietweetings, config.load("movietweetings").data
    split = data.by_time(read, plan.history_length, plan.validation_days, plan.test_days, plan.target_types)
    when = dict(zip(zip(read.user.tolist(), read.item.tolist(), strict=True), read.time.tolist(), strict=True))
    assert len(when) == len(read.item), "nobody likes a film twice, so user and item tell the moment"
    train = max(times.max() for times in split.train_times)
    validation, test = ([when[case.user, case.target] for case in cases] for cases in (split.validation, split.test))
    assert train < min(validation) < max(validation) < min(test)
    assert (len(validation), len(test)) == (6_189, 6_604)
    for case in split.validation + split.test:
        assert max(when[case.user, item] for item in case.seen.tolist()) < when[case.user, case.target]
