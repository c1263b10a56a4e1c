"""What another machine needs to go on with a job: the plan, the items, and what the stages left. One archive, uploaded in parts.

Events are not in it: the next trainer reads the same segments from the Worker, where erased users are gone. Where one of them was
rewritten since, the checkpoint is of other data and is dropped."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.remote.client import Client, Corrupt, Refused, RemoteError
from training.remote.lease import Lease

PART_BYTES = 20 * 2**20  # a Worker takes 25 MiB in one request
MAX_PARTS = 64
KEPT_SECONDS = 600.0
# what stages leave; cases hold users' histories and are not among it
KEPT_FILES = re.compile(
    r"(?P<stage>[a-z]+)-[0-9a-f]{12}\.(?:npz|json|text\.json)|ranks-[a-z0-9-]+\.json|metrics\.json|artefact-int8/[\w.-]+"
)
STAGES = ("trunk", "tokenize", "decoder", "sasrec", "baselines", "evaluate", "export", "hand-over")


class Position:
    """How far a job is here: the index of the stage that is being worked on, and its epochs that are done."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "position.json"

    def read(self) -> tuple[int, int]:
        if not self._path.exists():
            return (-1, 0)
        stage, step = json.loads(self._path.read_text())
        return (stage, step)

    @staticmethod
    def of(kept: dict[str, Any]) -> tuple[int, int]:
        """The position that a checkpoint was made at."""
        return (STAGES.index(kept["stage"]) if kept["stage"] in STAGES else -1, kept["step"])

    def write(self, stage: int, step: int) -> None:
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps([stage, step]))
        temporary.replace(self._path)


def kept_files(folder: Path) -> list[Path]:
    """Of a job's folder, those that change least first, so that most parts of the next archive are the same."""
    fixed = [path for path in (folder / "plan.json", folder / "data" / "items.jsonl") if path.exists()]
    found = []
    for run in sorted((folder / "runs").glob("*")):
        for path in run.rglob("*"):
            match = KEPT_FILES.fullmatch(path.relative_to(run).as_posix())
            if match and path.is_file():
                stage = match["stage"]
                found.append((STAGES.index(stage) if stage in STAGES else len(STAGES), path))
    return fixed + [path for _, path in sorted(found)]


def pack(folder: Path, archive: Path) -> None:
    """The same files give the same bytes."""
    with tarfile.open(archive, "w") as tar:
        for path in kept_files(folder):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size, entry.mode = path.stat().st_size, 0o600
            with path.open("rb") as file:
                tar.addfile(entry, file)


def unpack(archive: Path, folder: Path) -> None:
    """Only files that `pack` would have put in."""
    with tarfile.open(archive) as tar:
        for entry in tar:
            parts = Path(entry.name).parts
            inside = "/".join(parts[2:]) if parts[:1] == ("runs",) else ""
            known = entry.name in ("plan.json", "data/items.jsonl") or KEPT_FILES.fullmatch(inside) is not None
            if not entry.isfile() or not known:
                raise tarfile.TarError(f"the checkpoint holds {entry.name[:80]!r}, which is no part of one")
            tar.extract(entry, folder, filter="data")


def _parts(archive: Path) -> Iterator[bytes]:
    with archive.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


class Keeper:
    """Uploads checkpoints of a job, at most one in `seconds`. Not being able to costs a line, not the job."""

    def __init__(
        self,
        lease: Lease,
        folder: Path,
        seconds: float,
        say: Callable[[str], None],
        kept: dict[str, Any] | None = None,
    ) -> None:
        """`kept`: the checkpoint that the job has, whose parts need not be sent again."""
        self._lease, self._folder, self._seconds, self._say = lease, folder, seconds, say
        self._position = Position(folder)
        self._kept_at = time.monotonic()
        self._kept: tuple[int, int] | None = None
        self._uploaded = {file["sha256"] for file in kept["files"]} if kept else set()

    def moved(self, stage: int, step: int) -> None:
        """What this position says is done lies on the disk. @raise LeaseEnded"""
        self._position.write(stage, step)
        if time.monotonic() - self._kept_at >= self._seconds:
            self.keep()

    def keep(self, patience: float | None = None) -> None:
        """@raise LeaseEnded"""
        stage, step = self._position.read()
        if stage < 0 or self._kept == (stage, step):
            return
        self._kept_at = time.monotonic()
        archive = self._folder / "checkpoint.tar"
        try:
            pack(self._folder, archive)
            size = archive.stat().st_size
            if size > PART_BYTES * MAX_PARTS:
                return self._say(f"checkpoint not kept: {size:,} bytes are more than {MAX_PARTS} parts")
            files = [self._put(number, part, patience) for number, part in enumerate(_parts(archive))]
            self._lease.beat({"stage": STAGES[stage], "step": step, "files": files})
            self._kept = (stage, step)
            self._say(f"checkpoint kept: {STAGES[stage]} {step}, {size:,} bytes in {len(files)} parts")
        except RemoteError as error:
            self._say(f"checkpoint not kept: {error}")
        finally:
            archive.unlink(missing_ok=True)

    def _put(self, number: int, part: bytes, patience: float | None) -> dict[str, Any]:
        sha256 = hashlib.sha256(part).hexdigest()
        path = f"part-{number:03}"
        if sha256 not in self._uploaded:
            headers = {"x-content-sha256": sha256}
            self._lease.call("PUT", f"/files/{path}", content=part, headers=headers, patience=patience)
            self._uploaded.add(sha256)
        return {"path": path, "bytes": len(part), "sha256": sha256}


def fetch(client: Client, job: dict[str, Any], folder: Path) -> bool:
    """Unpacks the job's checkpoint over what is here. False: it can't be had, and the job begins anew."""
    archive = folder / "checkpoint.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open("wb") as whole:
            for file in job["checkpoint"]["files"]:
                part = folder / "checkpoint.part"
                client.download(f"/v1/training-jobs/{job['id']}/files/{file['path']}", part, file["sha256"])
                whole.write(part.read_bytes())
                part.unlink()
        unpack(archive, folder)
    except (Refused, Corrupt, tarfile.TarError):
        return False
    finally:
        archive.unlink(missing_ok=True)
    return True
