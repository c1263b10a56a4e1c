"""The trainer's parts against a small Worker in this process: what is cut, corrupt, erased, lost, cancelled or said twice."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training import config, train
from training.configs import shop
from training.data import POSITIVE_TYPES, DataError, read_folder
from training.remote import __main__ as command
from training.remote import checkpoint, hand_over, source
from training.remote.client import Client, Corrupt, Refused, RemoteError, Unreachable, sha256_of
from training.remote.lease import CancelRequested, Lease, LeaseLost
from training.remote.mirror import Mirror, read_items
from training.remote.work import Claim, claim, folder_of, left_behind, remember
from training.tests.remote_worker import KEY, FakeWorker, Refusal, record, sha256


@pytest.fixture
def fake() -> Iterator[FakeWorker]:
    with FakeWorker().running() as worker:
        yield worker


@pytest.fixture
def client(fake: FakeWorker) -> Client:
    return Client(fake.url, KEY, patience=5, sleep=lambda seconds: time.sleep(min(seconds, 0.01)))


@pytest.fixture
def mirror(client: Client, tmp_path: Path) -> Mirror:
    return Mirror(client, tmp_path / "segments", lambda here, wanted: None)


def once(action: Any) -> Any:
    """A hook that acts at the first request it fits."""
    left = [True]

    def hook(method: str, path: str) -> None:
        if left[0] and action(method, path) is not False:
            left[0] = False

    return hook


def first(method: str, end: str, action: Any) -> Any:
    def at(given: str, path: str) -> Any:
        if given != method or not path.endswith(end):
            return False
        left = action()  # a Refusal counts as having acted
        return left

    return once(at)


def refusing(refusal: Refusal, times: int, end: str) -> Any:
    left = [times]

    def hook(_method: str, path: str) -> None:
        if path.endswith(end) and left[0] > 0:
            left[0] -= 1
            raise refusal

    return hook


# the client


def test_a_cut_download_goes_on_from_the_byte_that_is_missing(fake: FakeWorker, mirror: Mirror) -> None:
    fake.add_segment(1, [record(os.urandom(16).hex(), 1, 0.0) for _ in range(20)])
    fake.cut_after = 100
    (segment,) = mirror.read()
    assert mirror.path(segment).read_bytes() == fake.segments[segment.key]
    assert fake.ranges == ["bytes=100-"]


def test_a_killed_process_leaves_a_part_that_the_next_one_completes(fake: FakeWorker, mirror: Mirror) -> None:
    key = fake.add_segment(1, [record(os.urandom(16).hex(), 1, 0.0) for _ in range(20)])
    part = mirror._folder / f"{key}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(fake.segments[key][:70])
    (segment,) = mirror.read()
    assert fake.ranges == ["bytes=70-"]
    assert sha256_of(mirror.path(segment)) == segment.sha256
    assert not part.exists()


def test_a_wrong_hash_is_fetched_once_more_and_then_refused(fake: FakeWorker, mirror: Mirror) -> None:
    key = fake.add_segment(1, [record("aa", 1, 0.0)])
    fake.spoil = lambda path, content: content[:-1] + b"!"
    with pytest.raises(Corrupt, match="the sha256 is"):
        mirror.read()
    assert sum(path.endswith(key) for _, path in fake.requests) == 2
    assert not list(mirror._folder.rglob("*.gz*"))
    fake.spoil = lambda path, content: content
    (segment,) = mirror.read()
    mirror.path(segment).write_bytes(b"damaged on the disk")
    mirror.read()
    assert mirror.path(segment).read_bytes() == fake.segments[key]


def test_it_waits_as_long_as_it_is_asked_to_and_tries_again(fake: FakeWorker) -> None:
    waits: list[float] = []
    client = Client(fake.url, KEY, patience=5, sleep=waits.append)
    fake.before = refusing(Refusal(503, "unavailable", retry_after=7), 2, "/v1/models")
    assert client.json("GET", "/v1/models") == {"models": []}
    assert waits == [7.0, 7.0]
    fake.before = refusing(Refusal(503, "unavailable"), 99, "/v1/models")
    with pytest.raises(Unreachable, match="503 unavailable"):
        client.request("GET", "/v1/models", patience=0)


def test_a_refusal_is_one_line_without_the_key(fake: FakeWorker) -> None:
    other = KEY.replace("test", "else")
    with pytest.raises(Refused) as caught:
        Client(fake.url, other).request("GET", "/v1/models")
    assert str(caught.value) == "GET /v1/models: 401 unauthenticated: refused"
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("ftp://x", KEY),
        ("https://user:word@x", KEY),
        ("https://x", "ew_pk_publishable"),
        ("https://x", KEY + "\r\nX: y"),
    ],
)
def test_an_address_or_key_that_can_not_be_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(RemoteError) as caught:
        Client(url, key)
    assert "word" not in str(caught.value)
    assert key not in str(caught.value)


# the mirror


def test_what_was_erased_between_two_reads_is_gone_from_the_copy(
    fake: FakeWorker, client: Client, mirror: Mirror, tmp_path: Path
) -> None:
    fake.add_item(1, "a")
    old = fake.add_segment(1, [record("stays", 1, 0.0), record("goes", 1, 9.0)])
    fake.add_segment(2, [record("goes", 1, 99.0)])
    mirror.read()
    source.write_items(tmp_path / "items.jsonl", read_items(client))
    fake.segments.clear()
    new = fake.add_segment(3, [record("stays", 1, 0.0)])
    segments = mirror.read()
    assert [segment.key for segment in segments] == [new]
    assert [path.name for path in mirror._folder.rglob("*.gz")] == ["00000003.ndjson.gz"]
    assert old not in fake.segments
    facts = source.write_events(tmp_path / "events.jsonl", tmp_path / "items.jsonl", map(mirror.path, segments))
    assert facts.users == 1
    assert "goes" not in (tmp_path / "events.jsonl").read_text()
    fake.segments.clear()
    assert mirror.read() == []
    assert not [path for path in mirror._folder.rglob("*") if path.is_file()]


def test_a_segment_and_its_replacement_are_never_read_together(fake: FakeWorker, mirror: Mirror) -> None:
    keys = [fake.add_segment(number, [record(f"u{number}", 1, 0.0)]) for number in (1, 2, 3)]

    def rewrite() -> None:
        del fake.segments[keys[0]]
        fake.add_segment(9, [record("u1", 1, 0.0)])

    fake.after = first("GET", "/v1/log/segments", rewrite)  # between the first page and the second
    found = [segment.key[-18:-10] for segment in mirror.read()]
    assert found == ["00000002", "00000003", "00000009"]


def test_a_segment_that_goes_while_it_is_fetched_is_replaced(fake: FakeWorker, mirror: Mirror) -> None:
    key = fake.add_segment(1, [record("u1", 1, 0.0)])

    def rewrite() -> None:
        del fake.segments[key]
        fake.add_segment(2, [record("u1", 1, 0.0)])

    fake.before = first("GET", "00000001.ndjson.gz", rewrite)
    assert [segment.key[-18:-10] for segment in mirror.read()] == ["00000002"]


def test_a_key_that_leaves_the_folder_is_refused(fake: FakeWorker, mirror: Mirror) -> None:
    fake.segments["log/app=1/../../../evil.ndjson.gz"] = b"x"
    with pytest.raises(RemoteError, match="which is no segment"):
        mirror.read()


# rows


def test_only_consenting_events_on_items_that_live_become_rows(
    fake: FakeWorker, client: Client, tmp_path: Path
) -> None:
    for number, more in ((1, {"attributes": {"category": "tea"}}), (2, {"deleted": True}), (3, {"hidden": True})):
        fake.add_item(number, f"i{number}", **more)
    records = [
        record("u1", 1, 1_700_000_000.25),
        record("u1", 2, 1.0),  # its item is deleted
        record("u1", None, 2.0, itemId="i3"),  # came before the item had a number
        record("u1", None, 3.0, itemId="nobody knows"),
        record("shy", 1, 4.0, consentTraining=0),
        record("u1", 1, 5.0, type="impression"),
        {**record("u1", None, 6.0), "kind": "list", "type": None},
    ]
    segment = tmp_path / "one.ndjson.gz"
    segment.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in records).encode()))
    source.write_items(tmp_path / "items.jsonl", read_items(client))
    facts = source.write_events(tmp_path / "events.jsonl", tmp_path / "items.jsonl", [segment])
    assert (facts.items, facts.events, facts.users, facts.decisions, facts.withheld) == (2, 2, 1, 2, 1)
    data = read_folder("shop", tmp_path / "items.jsonl", tmp_path / "events.jsonl")
    assert data.item_ids == ["i1", "i3"]
    assert data.item_texts[0] == "Title of i1 \n tea"
    assert sorted(data.time.tolist()) == [2.0, 1_700_000_000.25]
    segment.write_bytes(gzip.compress(json.dumps(records[4]).encode()))
    with pytest.raises(DataError, match=r"no event to learn from \(1 are withheld"):
        source.write_events(tmp_path / "events.jsonl", tmp_path / "items.jsonl", [segment])


@pytest.mark.parametrize(("events", "dim"), [(300, 32), (19_999, 32), (20_000, 64), (999_999, 64), (30_000_000, 128)])
def test_the_shop_is_scaled_within_its_bounds(events: int, dim: int) -> None:
    facts = source.Facts(items=900, events=events, decisions=events // 3, users=events // 9, withheld=0, days=40.0)
    scaled = config.check(shop.scaled(facts))
    assert (scaled.name, scaled.trunk.dim) == ("shop", dim)
    assert scaled.data.test_days == 6
    assert 3 <= scaled.trunk.epochs <= 60
    assert scaled.data.target_types == (source.DECISIONS if events >= 6000 else POSITIVE_TYPES)


# the lease


def _busy(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


def lease_of(client: Client, fake: FakeWorker) -> Lease:
    fake.add_job()
    taken = claim(client, "test")
    assert taken is not None
    return Lease(client, taken.job["id"], taken.token, taken.every)


def test_the_thread_reports_and_stops_a_loop_when_the_job_is_cancelled(fake: FakeWorker, client: Client) -> None:
    with lease_of(client, fake) as lease:
        lease.report("trunk", 3, 10, loss=7.5)
        _busy(0.2)
        assert fake.jobs["job_1"]["progress"] == {"stage": "trunk", "step": 3, "steps": 10, "loss": 7.5}
        fake.jobs["job_1"]["isCancelRequested"] = True
        began = time.monotonic()
        with pytest.raises(CancelRequested), lease.interruptible():
            _busy(10)
        assert time.monotonic() - began < 3
        with pytest.raises(CancelRequested):
            lease.report("trunk")


def test_a_lease_that_another_took_ends_the_work_even_while_it_sleeps(fake: FakeWorker, client: Client) -> None:
    with lease_of(client, fake) as lease:
        fake.requeue()
        assert claim(client, "thief") is not None
        began = time.monotonic()
        with pytest.raises(LeaseLost, match="409 conflict"), lease.interruptible():
            time.sleep(10)
        assert time.monotonic() - began < 3
        with pytest.raises(LeaseLost):
            lease.call("PUT", "/files/part-000", content=b"x", headers={"x-content-sha256": sha256(b"x")})


def test_a_worker_that_is_down_for_a_while_costs_nothing(fake: FakeWorker, client: Client) -> None:
    with lease_of(client, fake) as lease, lease.interruptible():
        fake.before = refusing(Refusal(503, "unavailable"), 3, "/heartbeat")
        _busy(0.5)
        lease.report("trunk", loss=float("nan"))
        lease.beat()
    assert fake.beats[-1]["progress"] == {"stage": "trunk"}


def test_two_trainers_that_race_get_one_job_between_them(fake: FakeWorker) -> None:
    fake.add_job()
    got: list[Claim | None] = []
    threads = [threading.Thread(target=lambda: got.append(claim(Client(fake.url, KEY), "racer"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in got) == 1


def test_a_killed_process_finds_its_lease_again_and_ended_jobs_are_forgotten(
    fake: FakeWorker, client: Client, tmp_path: Path
) -> None:
    for name in ("job_1", "job_2"):
        fake.add_job(name)
        taken = claim(client, "killed")
        assert taken is not None
        remember(tmp_path, taken)
    note = folder_of(tmp_path, "job_2") / "lease.json"
    assert note.stat().st_mode & 0o777 == 0o600
    fake.jobs["job_1"]["status"] = "promoted"
    again = left_behind(client, tmp_path)
    assert again is not None
    assert (again.job["id"], again.token) == ("job_2", taken.token)
    assert not folder_of(tmp_path, "job_1").exists()
    fake.requeue("job_2")
    assert left_behind(client, tmp_path) is None
    assert note.parent.exists()  # what was trained is of use when the job comes back
    assert not note.exists()


# checkpoints


def job_folder(folder: Path) -> Path:
    run = folder / "runs" / "shop"
    (run / "artefact-int8").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "plan.json").write_text("{}")
    (folder / "data" / "items.jsonl").write_text("{}\n")
    (folder / "data" / "events.jsonl").write_text("a user's history")
    (run / "cases-test.json").write_text("a user's history")
    (run / "log.txt").write_text("a line")
    (run / "trunk-0123456789ab.npz").write_bytes(os.urandom(3000))
    (run / "tokenize-0123456789ab.npz").write_bytes(b"books")
    (run / "trunk-0123456789ab.123.tmp").write_bytes(b"half")
    (run / "artefact-int8" / "codes.bin").write_bytes(b"codes")
    return folder


def test_a_checkpoint_holds_what_was_made_and_no_history(tmp_path: Path) -> None:
    folder = job_folder(tmp_path / "job")
    checkpoint.pack(folder, tmp_path / "one.tar")
    checkpoint.pack(folder, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    checkpoint.unpack(tmp_path / "one.tar", tmp_path / "other")
    found = sorted(path.relative_to(tmp_path / "other").as_posix() for path in (tmp_path / "other").rglob("*.*"))
    assert found == [
        "data/items.jsonl",
        "plan.json",
        "runs/shop/artefact-int8/codes.bin",
        "runs/shop/tokenize-0123456789ab.npz",
        "runs/shop/trunk-0123456789ab.npz",
    ]


@pytest.mark.parametrize("name", ["../evil", "/evil", "runs/shop/../../evil", "data/events.jsonl", "lease.json"])
def test_an_archive_with_anything_else_is_no_checkpoint(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(tarfile.TarError):
        checkpoint.unpack(tmp_path / "evil.tar", tmp_path / "to")


def test_parts_that_did_not_change_are_sent_once(
    fake: FakeWorker, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PART_BYTES", 2048)
    folder, said = job_folder(tmp_path / "job"), []
    with lease_of(client, fake) as lease:
        keeper = checkpoint.Keeper(lease, folder, 0.0, said.append)
        keeper.moved(0, 1)
        sent = [path for method, path in fake.requests if method == "PUT"]
        kept = fake.jobs["job_1"]["checkpoint"]
        assert (kept["stage"], kept["step"], len(kept["files"])) == ("trunk", 1, len(sent))
        assert all(file["bytes"] <= 2048 for file in kept["files"])
        (folder / "runs" / "shop" / "artefact-int8" / "codes.bin").write_bytes(b"other")
        keeper.moved(6, 0)
        assert len([path for method, path in fake.requests if method == "PUT"]) < 2 * len(sent)
        assert checkpoint.fetch(client, fake.jobs["job_1"], tmp_path / "next")
        assert (tmp_path / "next" / "runs" / "shop" / "artefact-int8" / "codes.bin").read_bytes() == b"other"
        fake.job_files = dict.fromkeys(fake.job_files, b"corrupt")
        assert not checkpoint.fetch(client, fake.jobs["job_1"], tmp_path / "third")


def test_a_checkpoint_that_can_not_be_kept_costs_a_line(fake: FakeWorker, client: Client, tmp_path: Path) -> None:
    said: list[str] = []
    with lease_of(client, fake) as lease:
        keeper = checkpoint.Keeper(lease, job_folder(tmp_path / "job"), 0.0, said.append)
        fake.before = refusing(Refusal(413, "too_large"), 9, "/files/part-000")
        keeper.moved(0, 1)
        assert said == ["checkpoint not kept: PUT /v1/training-jobs/job_1/files/part-000: 413 too_large: refused"]
        fake.before = lambda method, path: None
        keeper.keep()
        assert fake.jobs["job_1"]["checkpoint"]["step"] == 1


def test_stages_are_those_of_the_trainer() -> None:
    assert (*train.STAGES, "hand-over") == checkpoint.STAGES


# handing over


def artefact(folder: Path, version: str = "m_0123456789ab") -> Path:
    folder.mkdir(parents=True)
    files = []
    for name, content in (("a.bin", b"one"), ("b.bin", b"two"), ("c.bin", b"three")):
        (folder / name).write_bytes(content)
        files.append({"path": name, "bytes": len(content), "sha256": sha256(content)})
    (folder / "manifest.json").write_text(json.dumps({"modelVersion": version, "files": files}))
    return folder


def test_an_upload_that_was_killed_goes_on_with_the_files_that_are_missing(
    fake: FakeWorker, client: Client, tmp_path: Path
) -> None:
    folder, note = artefact(tmp_path / "artefact"), tmp_path / "uploaded.json"
    with lease_of(client, fake) as lease:
        fake.before = refusing(Refusal(400, "invalid_request"), 1, "/b.bin")
        with pytest.raises(Refused):
            hand_over.upload(client, lease, folder, note)
        fake.before = refusing(Refusal(503, "unavailable"), 2, "/c.bin")
        assert hand_over.upload(client, lease, folder, note) == "m_0123456789ab"
        puts = [path[-5:] for method, path in fake.requests if method == "PUT"]
        assert puts == ["a.bin", "b.bin", "b.bin", "c.bin", "c.bin", "c.bin"]
        before = len(fake.requests)
        hand_over.upload(client, lease, folder, note)
        assert len(fake.requests) == before + 1  # it is registered, and that is all there is to see


def test_files_that_were_lost_there_are_put_again(fake: FakeWorker, client: Client, tmp_path: Path) -> None:
    folder, note = artefact(tmp_path / "artefact"), tmp_path / "uploaded.json"
    note.write_text(json.dumps({"a.bin": sha256(b"one")}))
    with lease_of(client, fake) as lease:
        assert hand_over.upload(client, lease, folder, note) == "m_0123456789ab"
    assert fake.model_files["m_0123456789ab", "a.bin"] == b"one"


def test_a_completion_whose_answer_is_lost_is_sent_again_and_counts_once(
    fake: FakeWorker, client: Client, tmp_path: Path
) -> None:
    with lease_of(client, fake) as lease:
        model = hand_over.upload(client, lease, artefact(tmp_path / "artefact"), tmp_path / "note")
        fake.after = refusing(Refusal(503, "unavailable"), 1, "/complete")
        hand_over.complete(lease, model, {"comparedTo": None, "ndcg10": None})
        hand_over.complete(lease, model, {"comparedTo": None, "ndcg10": None})
    assert len(fake.completions) == 1
    assert fake.jobs["job_1"]["status"] == "evaluating"
    with pytest.raises(LeaseLost):
        hand_over.complete(Lease(client, "job_1", "ew_jl_other", 60), model, {})


def test_the_serving_model_and_the_newest_few_are_kept(tmp_path: Path) -> None:
    for number in range(8):
        folder = artefact(tmp_path / f"new-{number}", f"m_{number:012}")
        os.utime(folder, (number, number))
        hand_over.keep_model(folder, tmp_path / "models", "m_000000000001")
    kept = sorted(path.name[-1] for path in (tmp_path / "models").iterdir())
    assert kept == ["1", "3", "4", "5", "6", "7"]
    (tmp_path / "models" / "m_000000000005" / "b.bin").write_bytes(b"damaged")
    assert hand_over.is_whole(tmp_path / "models" / "m_000000000004", "m_000000000004")
    assert not hand_over.is_whole(tmp_path / "models" / "m_000000000004", "m_000000000003")
    assert not hand_over.is_whole(tmp_path / "models" / "m_000000000005")


def test_what_serves_behind_a_hundred_models_is_not_taken_for_nothing(fake: FakeWorker, client: Client) -> None:
    assert hand_over.serving_version(client) is None
    fake.models = [{"id": "a", "status": "retired", "modelVersion": "m_a"}] * 100
    assert hand_over.serving_version(client) == "unknown"
    fake.models = [*fake.models, {"id": "b", "status": "serving", "modelVersion": "m_b"}]
    assert hand_over.serving_version(client) == "m_b"


def test_a_serving_model_that_is_not_here_is_read_from_the_worker(
    fake: FakeWorker, client: Client, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    assert hand_over.fetch_model(client, "m_0123456789ab", models) is None
    with lease_of(client, fake) as lease:
        hand_over.upload(client, lease, artefact(tmp_path / "artefact"), tmp_path / "uploaded.json")
    folder = hand_over.fetch_model(client, "m_0123456789ab", models)
    assert folder is not None
    assert hand_over.is_whole(folder, "m_0123456789ab")
    del fake.model_files["m_0123456789ab", "b.bin"]
    shutil.rmtree(folder)
    assert hand_over.fetch_model(client, "m_0123456789ab", models) is None


# the command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def called(url: str, *more: str, key: str | None = KEY) -> int:
        monkeypatch.delenv("EDGEWISE_KEY", raising=False)
        monkeypatch.delenv("EDGEWISE_TRAINER_KEY", raising=False)
        if key is not None:
            monkeypatch.setenv("EDGEWISE_TRAINER_KEY", key)
        return command.main(["--url", url, "--once", "--cache", str(tmp_path), *more])

    return called


def test_the_command_ends_with_a_status_and_one_line(
    fake: FakeWorker, run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(fake.url) == 0
    assert "EDGEWISE_TRAINER_KEY" not in os.environ
    assert run(fake.url, key=None) == 2
    assert run(fake.url, key=KEY.replace("test", "else")) == 7
    assert run("http://127.0.0.1:9") == 6
    fake.add_job()
    assert run(fake.url) == 3
    assert (
        fake.jobs["job_1"]["failure"]
        == "DataError: the log holds no event to learn from (0 are withheld from training)"
    )
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert (
        lines[0] == "trainer: no key: set EDGEWISE_TRAINER_KEY or EDGEWISE_KEY to a secret key with the scope trainer"
    )
    assert lines[1] == "trainer: POST /v1/training-jobs/next/claim: 401 unauthenticated: refused"
    assert lines[2].startswith("trainer: POST /v1/training-jobs/next/claim: ConnectionRefusedError")
    assert len(lines) == 4
    assert KEY not in out + err


def test_one_trainer_works_in_a_folder(fake: FakeWorker, run: Any, tmp_path: Path) -> None:
    with command._home(tmp_path, fake.url):
        assert run(fake.url) == 2
    assert run(fake.url) == 0


def test_a_signal_ends_a_trainer_that_waits(fake: FakeWorker, tmp_path: Path) -> None:
    arguments = ["--url", fake.url, "--cache", str(tmp_path), "--poll-seconds", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "training.remote", *arguments],
        env={**os.environ, "EDGEWISE_KEY": KEY},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 30
        while not fake.requests and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 143
    assert err == "trainer: stopped by a signal; a job in hand goes on with the next trainer\n"
