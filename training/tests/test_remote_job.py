"""Whole jobs of the trainer against a small Worker, with few epochs of `tiny`: handed over between machines, cancelled, lost, failed;
and the ranking of a served artefact against the trainer's own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training import config
from training.config import Config
from training.data import DataError
from training.remote import compare, work
from training.remote.artefact import Artefact
from training.remote.client import Client
from training.remote.lease import CancelRequested, LeaseLost
from training.remote.source import Facts
from training.remote.work import Options, Stopped, Work, claim, remember
from training.synthetic import world
from training.tests.remote_worker import KEY, FakeWorker, record
from training.train import Run

SHY = "user-7"


def short(_name: str, _facts: Facts) -> Config:
    """A few epochs, which learn little and take seconds."""
    tiny = config.load("tiny")
    trunk = replace(tiny.trunk, epochs=4, validate_every=4)
    return replace(tiny, trunk=trunk, decoder=replace(tiny.decoder, epochs=2), sasrec=replace(tiny.sasrec, epochs=0))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWorker]:
    """The generated world as a log: three segments; one user does not consent."""
    monkeypatch.setattr(work, "configure", short)
    data, worker = world("log"), FakeWorker()
    for row, name in enumerate(data.item_ids):
        worker.add_item(row + 1, name, title=data.item_texts[row])
    records = [
        record(
            f"{data.user_ids[user]:0>32}",
            int(item) + 1,
            float(moment),
            consentTraining=int(data.user_ids[user] != SHY),
        )
        for user, item, moment in zip(data.user, data.item, data.time, strict=True)
    ]
    for number in range(3):
        worker.add_segment(number + 1, records[number::3])
    worker.add_job()
    with worker.running():
        yield worker


def worker_on(fake: FakeWorker, home: Path, say: Callable[[str], None], every: float = 0.0) -> Work:
    """A machine that has claimed the job."""
    client = Client(fake.url, KEY, patience=5, sleep=lambda seconds: time.sleep(0.01))
    taken = claim(client, home.name)
    assert taken is not None
    remember(home, taken)
    return Work(client, Options(home, "tiny", home.name, every), taken, say)


def test_another_machine_goes_on_where_the_first_was_stopped(
    fake: FakeWorker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_after_two(line: str) -> None:
        if line.startswith("checkpoint kept: trunk 2"):
            raise Stopped(15)

    with pytest.raises(Stopped):
        worker_on(fake, tmp_path / "first", stop_after_two).do()
    assert fake.jobs["job_1"]["checkpoint"]["step"] == 2
    fake.requeue()
    fake.add_segment(4, [record("f" * 32, 1, 1_800_000_000.0)])  # what came since is for the next job
    capsys.readouterr()
    said: list[str] = []
    second = worker_on(fake, tmp_path / "second", said.append, every=600.0)
    version = second.do()
    assert "goes on from the checkpoint: trunk 2" in said
    log = capsys.readouterr().out
    assert "goes on after epoch 2" in log
    assert "epoch 3/4" in log
    assert "epoch 2/4" not in log

    (completion,) = fake.completions
    report = completion["report"]
    assert completion["modelId"] == version
    assert (report["comparedTo"], report["ndcg10"], report["trainer"]) == (None, None, "second")
    assert report["data"]["withheld"] > 5
    assert 0 < report["model"]["ndcg10"] < 1
    manifest = json.loads((tmp_path / "second" / "models" / version / "manifest.json").read_text())
    assert manifest["data"]["users"] == 399
    assert {path for _, path in fake.model_files} == {file["path"] for file in manifest["files"]}
    assert not second.folder.exists()  # rows of users' events went with it
    stages = list(dict.fromkeys(beat["progress"]["stage"] for beat in fake.beats if "progress" in beat))
    assert stages[0] == "read"
    assert "trunk" in stages


def test_a_segment_that_an_erasure_rewrote_makes_the_checkpoint_worthless(fake: FakeWorker, tmp_path: Path) -> None:
    def stop_at_once(line: str) -> None:
        if line.startswith("checkpoint kept: trunk 1"):
            raise Stopped(15)

    with pytest.raises(Stopped):
        worker_on(fake, tmp_path / "first", stop_at_once).do()
    fake.requeue()
    fake.segments[next(iter(fake.segments)).replace("00000001", "00000009")] = fake.segments.pop(
        next(iter(fake.segments))
    )
    said: list[str] = []

    def stop_when_anew(line: str) -> None:
        said.append(line)
        if "events of" in line:
            raise Stopped(15)

    for home in ("first", "second"):  # with and without the files of its own
        with pytest.raises(Stopped):
            worker_on(fake, tmp_path / home, stop_when_anew).do()
        assert any("because users were erased: begins anew" in line for line in said)
        assert not (tmp_path / home / "jobs" / "job_1" / "runs").exists()
        said.clear()
        fake.requeue()


def when_training(act: Callable[[], None]) -> Callable[[str, str], None]:
    def hook(method: str, path: str) -> None:
        if path.endswith("/files/part-000"):  # the first epoch is done
            act()

    return hook


def test_a_job_that_is_cancelled_ends_as_cancelled(fake: FakeWorker, tmp_path: Path) -> None:
    job = fake.jobs["job_1"]
    fake.before = when_training(lambda: job.update(isCancelRequested=True))
    with pytest.raises(CancelRequested):
        worker_on(fake, tmp_path / "only", lambda line: None).do()
    assert (job["status"], job["failure"]) == ("cancelled", "cancelled as asked")
    assert not (tmp_path / "only" / "jobs" / "job_1").exists()
    assert fake.model_files == {}


def test_a_lease_that_is_lost_ends_the_work_and_hands_nothing_in(fake: FakeWorker, tmp_path: Path) -> None:
    fake.before = when_training(lambda: fake.leases.update(job_1="ew_jl_of_another"))
    with pytest.raises(LeaseLost):
        worker_on(fake, tmp_path / "only", lambda line: None).do()
    assert fake.model_files == {}
    folder = tmp_path / "only" / "jobs" / "job_1"
    assert (folder / "plan.json").exists()
    assert not (folder / "lease.json").exists()


def test_data_that_can_not_be_split_fails_the_job_with_its_reason(fake: FakeWorker, tmp_path: Path) -> None:
    fake.segments.clear()
    fake.add_segment(1, [record("a" * 32, 1, 1.0), record("b" * 32, 2, 2.0)])
    with pytest.raises(DataError):
        worker_on(fake, tmp_path / "only", lambda line: None).do()
    assert fake.jobs["job_1"]["status"] == "failed"
    assert fake.jobs["job_1"]["failure"].startswith("DataError: tiny: the split leaves 0 validation")


def test_a_full_disk_leaves_the_job_to_the_next_trainer(
    fake: FakeWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(work.source, "write_items", full)
    with pytest.raises(OSError, match="No space left"):
        worker_on(fake, tmp_path / "only", lambda line: None).do()
    assert fake.jobs["job_1"]["status"] in ("claimed", "running")
    assert not (tmp_path / "only" / "jobs" / "job_1" / "lease.json").exists()


# the artefact that serves


@pytest.mark.parametrize("ranking", ["masked", "unmasked"])
def test_an_artefact_alone_ranks_as_the_trainer_ranked_it(tiny_run: Run, ranking: str) -> None:
    wanted = np.array(json.loads((tiny_run.folder / "ranks-generator-int8.json").read_text())[ranking])
    ranker = Artefact(tiny_run.folder / "artefact-int8").over(tiny_run.data)
    found = ranker.ranks(tiny_run.split.test, masked=ranking == "masked")
    assert (found == wanted).mean() > 0.99  # ties of float32 sums may fall otherwise


def test_items_newer_than_the_artefact_are_coded_by_its_text_graphs(tiny_run: Run) -> None:
    folder = tiny_run.folder / "artefact-int8"
    cases = json.loads((folder / "parity.json").read_text())["text"]
    vectors, codes = Artefact(folder).code([case["text"] for case in cases])
    assert codes.tolist() == [case["codes"] for case in cases]
    np.testing.assert_allclose(vectors, [case["vector"] for case in cases], atol=0.02)
    data = replace(tiny_run.data, item_ids=["new", *tiny_run.data.item_ids[1:]])
    ranker = Artefact(folder).over(data)
    own, as_new = Artefact(folder).code([data.item_texts[0]])[0][0], ranker._vectors[0]
    np.testing.assert_array_equal(as_new, own)


def test_a_model_held_against_itself_is_a_tie_in_every_slice(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.folder / "artefact-int8", tmp_path / "models" / "kept")
    version = json.loads((tmp_path / "models" / "kept" / "manifest.json").read_text())["modelVersion"]
    found = compare.find(version, [tmp_path / "nothing", tmp_path / "models"])
    report = compare.report(tiny_run, version, found)
    assert report["comparedTo"] == version
    assert abs(report["ndcg10"]["difference"]) < 0.002
    assert report["ndcg10"]["interval"][0] >= -0.005
    assert {one["slice"] for one in report["slices"]} <= {"new items", "tail", "short histories"}
    assert report["slices"]
    assert compare.report(tiny_run, version, None) == {"comparedTo": version, "ndcg10": None, "slices": []}
    (tmp_path / "models" / "kept" / "codes.bin").write_bytes(b"damaged")
    assert compare.find(version, [tmp_path / "models"]) is None
