"""One training job from its lease to its completion. Everything that a kill could lose lies in the job's folder or at the Worker."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from training import config as configuration
from training.config import Config
from training.data import ROOT
from training.remote import checkpoint, hand_over, source
from training.remote.checkpoint import Position
from training.remote.client import Client, Corrupt, Refused, RemoteError
from training.remote.lease import CancelRequested, Lease, LeaseEnded, LeaseLost
from training.remote.mirror import Mirror, Segment, read_items
from training.remote.source import Facts

SHOP = "shop"
UNFINISHED = ("queued", "claimed", "running")
EPOCH = re.compile(r"epoch (?P<step>\d+)/(?P<steps>\d+) (?:loss|divergence) (?P<loss>-?[\d.]+|nan|inf)\b")
MACHINE_FAULTS = (OSError, MemoryError)
STOP_SECONDS = 20.0  # for the last checkpoint of a trainer that is told to stop


class Stopped(BaseException):
    """This process was told to stop. Not an Exception, so that nothing takes it for a failure of the job."""


@dataclass(frozen=True)
class Options:
    home: Path
    config: str
    name: str
    checkpoint_seconds: float


@dataclass(frozen=True)
class Claim:
    """A job and its lease, as the Worker gave them or as a killed process of this machine wrote them down."""

    job: dict[str, Any]
    token: str
    every: float


Say = Callable[[str], None]


def configure(name: str, facts: Facts) -> Config:
    """The configuration of that name for this log: `shop` is scaled, others are taken as they are."""
    if name == SHOP:
        from training.configs import shop

        return configuration.check(shop.scaled(facts))
    return configuration.load(name)


def folder_of(home: Path, job: str) -> Path:
    return home / "jobs" / re.sub(r"[^A-Za-z0-9_-]", "", job)


def claim(client: Client, name: str, job: str = "next") -> Claim | None:
    """None: nothing waits. It is asked for once: a second try could lease a second job."""
    answer = client.request("POST", f"/v1/training-jobs/{job}/claim", data={"trainer": name}, patience=0.0)
    if answer.status == 204:
        return None
    taken = answer.json()
    return Claim(taken["job"], taken["lease"]["token"], float(taken["lease"]["heartbeatSeconds"]))


def remember(home: Path, taken: Claim) -> None:
    """Writes the lease down, so that this machine can go on at once when the process is killed."""
    folder = folder_of(home, taken.job["id"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lease.json"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"job": taken.job["id"], "token": taken.token, "every": taken.every}, file)


def left_behind(client: Client, home: Path) -> Claim | None:
    """The job of a killed process whose lease is still good. Folders of jobs that have ended go."""
    for folder in sorted((home / "jobs").glob("*")):
        note = folder / "lease.json"
        try:
            lease = json.loads(note.read_text()) if note.exists() else None
            job = client.json("GET", f"/v1/training-jobs/{lease['job'] if lease else folder.name}")
        except Refused as refusal:
            if refusal.status != 404:
                raise
            job = {"status": "gone"}
        if job["status"] not in UNFINISHED:
            shutil.rmtree(folder)
        elif lease is not None:
            try:
                Lease(client, lease["job"], lease["token"], lease["every"]).beat()
                return Claim(job, lease["token"], lease["every"])
            except LeaseEnded:
                note.unlink()
    return None


class Work:
    """`say` gets one line at a time."""

    def __init__(self, client: Client, options: Options, taken: Claim, say: Say) -> None:
        self._client, self._options, self._job, self._say = client, options, taken.job, say
        self._lease = Lease(client, taken.job["id"], taken.token, taken.every)
        self.folder = folder_of(options.home, taken.job["id"])
        self._keeper = checkpoint.Keeper(
            self._lease, self.folder, options.checkpoint_seconds, say, taken.job["checkpoint"]
        )

    def do(self) -> str:
        """Does the job and gives the model's id. What can't be mended by trying again fails the job; what this machine can't do
        (disk, memory) leaves it to the next trainer.

        @raise LeaseEnded, Stopped, RemoteError; any other error of the data or the training, after the job was failed"""
        try:
            with self._lease:
                try:
                    return self._do()
                except CancelRequested:
                    self._give_up("cancelled as asked")
                    raise
                except Stopped:
                    with suppress(LeaseEnded):
                        self._keeper.keep(STOP_SECONDS)
                    raise
                except LeaseEnded:
                    raise
                except Exception as error:
                    if not isinstance(error, (RemoteError, *MACHINE_FAULTS)) or isinstance(error, Refused | Corrupt):
                        self._give_up(f"{type(error).__name__}: {error}")
                    raise
        except (LeaseLost, *MACHINE_FAULTS):
            (self.folder / "lease.json").unlink(
                missing_ok=True
            )  # the next claim, here or elsewhere, is an attempt of its own
            raise

    def _give_up(self, reason: str) -> None:
        line = " ".join(reason.split())[:500]
        try:
            self._lease.call("POST", "/fail", data={"reason": line})
        except (LeaseEnded, RemoteError) as error:
            return self._say(f"the job could not be given up: {error}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _do(self) -> str:
        self._lease.report("read")
        facts = self._read(self._restore())
        run = self._train(facts)
        from training.remote import compare

        artefact = run.folder / "artefact-int8"
        self._lease.report("compare")
        serving = hand_over.serving_version(self._client)
        models = self._options.home / "models"
        old = None
        if serving is not None:
            old = compare.find(serving, [models, ROOT / "models"])
            old = old or hand_over.fetch_model(self._client, serving, models)
        with self._lease.interruptible():
            report = compare.report(run, serving, old)
        report |= {
            "model": compare.figures(run.folder),
            "data": asdict(facts),
            "configuration": run.config.name,
            "trainer": self._options.name,
        }
        if report["ndcg10"] is None and serving is not None:
            self._say(f"{serving} serves and can't be read: no comparison, which the gate refuses")
        model = hand_over.upload(self._client, self._lease, artefact, self.folder / "uploaded.json")
        hand_over.keep_model(artefact, models, serving)
        hand_over.complete(self._lease, model, report)
        shutil.rmtree(self.folder)
        return model

    def _restore(self) -> list[str] | None:
        """Keys of the segments that the job is planned over, None for a new one. The further of what lies here and what the
        Worker has goes on."""
        kept, plan = self._job["checkpoint"], self.folder / "plan.json"
        if kept is not None and (not plan.exists() or Position.of(kept) > Position(self.folder).read()):
            self._clear()
            if checkpoint.fetch(self._client, self._job, self.folder):
                Position(self.folder).write(*Position.of(kept))
                self._say(f"goes on from the checkpoint: {kept['stage']} {kept['step']}")
            else:
                self._say("the checkpoint is not whole: begins anew")
                self._clear()
        return json.loads(plan.read_text())["segments"] if plan.exists() else None

    def _clear(self) -> None:
        for name in ("data", "runs"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ("plan.json", "position.json"):
            (self.folder / name).unlink(missing_ok=True)

    def _read(self, planned: list[str] | None) -> Facts:
        """Brings the mirror up to date and writes the rows that the trainer reads: those of the plan while all of its segments
        are still there, else those of now."""
        mirror = Mirror(
            self._client,
            self._options.home / "segments",
            lambda here, wanted: self._lease.report("read", here, max(1, wanted)),
        )
        segments = {segment.key: segment for segment in mirror.read()}
        if planned is not None and not all(key in segments for key in planned):
            self._say("segments of the plan were rewritten, because users were erased: begins anew")
            self._clear()
            planned = None
        items, events = self.folder / "data" / "items.jsonl", self.folder / "data" / "events.jsonl"
        if planned is None or not items.exists():
            planned = sorted(segments)
            source.write_items(items, read_items(self._client))
            temporary = self.folder / "plan.tmp"
            temporary.write_text(json.dumps({"config": self._options.config, "segments": planned}))
            temporary.replace(self.folder / "plan.json")
        chosen: list[Segment] = [segments[key] for key in planned]
        facts = source.write_events(events, items, [mirror.path(segment) for segment in chosen])
        self._say(
            f"{facts.events:,} events of {facts.users:,} users on {facts.items:,} items over {facts.days:.1f} days, "
            f"{facts.withheld:,} withheld, {len(chosen)} segments"
        )
        return facts

    def _train(self, facts: Facts) -> Any:
        # brings JAX: a second and memory, which a trainer that waits for jobs does without
        from training.train import STAGES, Run, remember_compilations

        remember_compilations()
        name = json.loads((self.folder / "plan.json").read_text())["config"]
        config = configure(name, facts)
        config = replace(config, data=replace(config.data, source=f"folder:{self.folder / 'data'}"), output=None)
        self._lease.report("data")

        def watch(stage: str, line: str) -> None:
            match = EPOCH.match(line)
            if match is None:
                return
            step, loss = int(match["step"]), float(match["loss"])
            self._keeper.moved(STAGES.index(stage), step)
            self._lease.report(stage, step, int(match["steps"]), loss=loss)

        with self._lease.interruptible():
            run = Run(config, self.folder, None, watch=watch)
            if hand_over.is_whole(run.folder / "artefact-int8"):
                self._say("the artefact is there already")
                return run
            for place, stage in enumerate(STAGES):
                self._lease.report(stage)
                run.go(stage)
                self._keeper.moved(place + 1, 0)
        return run
