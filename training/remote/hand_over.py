"""Brings an artefact to the Worker and completes the job. Each step may have been done before, by this process or a killed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from training.remote.client import Client, Refused, sha256_of
from training.remote.lease import Lease

PATIENCE_SECONDS = 1800.0  # a model is worth waiting for a Worker that is down
SLOW_SECONDS = 300.0  # registering reads every file again
LISTED = 100  # models that the Worker lists
KEPT_MODELS = 5


def is_whole(folder: Path, version: str | None = None) -> bool:
    """Whether every file has the hash of the manifest, which is of this version."""
    path = folder / "manifest.json"
    if not path.exists():
        return False
    manifest = json.loads(path.read_text())
    if version is not None and manifest["modelVersion"] != version:
        return False
    return all(
        (folder / file["path"]).is_file() and sha256_of(folder / file["path"]) == file["sha256"]
        for file in manifest["files"]
    )


def serving_version(client: Client) -> str | None:
    """Version of the model that serves now; None where none does."""
    models = client.json("GET", "/v1/models")["models"]
    for model in models:
        if model["status"] == "serving":
            return str(model["modelVersion"])
    # with a hundred newer models the serving one is not listed: then something serves, and nobody can say what
    return "unknown" if len(models) >= LISTED else None


def is_registered(client: Client, model: str) -> bool:
    try:
        found = client.json("GET", f"/v1/models/{quote(model, safe='')}")
    except Refused as refusal:
        if refusal.status == 404:
            return False
        raise
    return found["status"] != "uploading" and found["modelVersion"] == model


def upload(client: Client, lease: Lease, artefact: Path, note: Path) -> str:
    """Puts what is not there yet and registers the model under its version. `note` remembers what was put."""
    manifest = json.loads((artefact / "manifest.json").read_text())
    model = manifest["modelVersion"]
    if is_registered(client, model):
        return model
    done = json.loads(note.read_text()) if note.exists() else {}
    try:
        _put_files(client, lease, artefact, note, done)
        _register(client, model, manifest)
    except Refused as refusal:
        if not done or refusal.code != "model_refused":
            raise
        note.unlink(missing_ok=True)  # files that the note names may be gone there
        _put_files(client, lease, artefact, note, {})
        _register(client, model, manifest)
    return model


def _put_files(client: Client, lease: Lease, artefact: Path, note: Path, done: dict[str, str]) -> None:
    manifest = json.loads((artefact / "manifest.json").read_text())
    model, files = manifest["modelVersion"], manifest["files"]
    for place, file in enumerate(files):
        lease.report("upload", place, len(files))
        if done.get(file["path"]) == file["sha256"]:
            continue
        client.request(
            "PUT",
            f"/v1/models/{quote(model, safe='')}/files/{quote(file['path'])}",
            content=(artefact / file["path"]).read_bytes(),
            headers={"x-content-sha256": file["sha256"]},
            timeout=SLOW_SECONDS,
            patience=PATIENCE_SECONDS,
        )
        done[file["path"]] = file["sha256"]
        note.write_text(json.dumps(done))


def _register(client: Client, model: str, manifest: dict[str, Any]) -> None:
    data = {"id": model, "manifest": manifest}
    client.request("POST", "/v1/models", data=data, timeout=SLOW_SECONDS, patience=PATIENCE_SECONDS)


def fetch_model(client: Client, version: str, models: Path) -> Path | None:
    """The artefact of a registered model from the Worker, into `models`; None where the Worker does not have it whole."""
    found = [model for model in client.json("GET", "/v1/models")["models"] if model["modelVersion"] == version]
    if not found:
        return None
    path = f"/v1/models/{quote(found[0]['id'], safe='')}"
    manifest = client.json("GET", path)["manifest"]
    fresh = models / f".{version}"
    shutil.rmtree(fresh, ignore_errors=True)
    for file in manifest["files"]:
        target = fresh / file["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            client.download(f"{path}/files/{quote(file['path'])}", target, file["sha256"])
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return None
    (fresh / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(models / version, ignore_errors=True)
    fresh.rename(models / version)
    return models / version


def complete(lease: Lease, model: str, report: dict[str, Any]) -> None:
    """Sending it again changes nothing, so a lost answer is asked for again. @raise LeaseLost"""
    data = {"modelId": model, "report": report}
    lease.call("POST", "/complete", data=data, timeout=SLOW_SECONDS, patience=PATIENCE_SECONDS)


def keep_model(artefact: Path, models: Path, serving: str | None) -> None:
    """A copy for later comparisons; of older ones the serving model and the newest few stay."""
    version = json.loads((artefact / "manifest.json").read_text())["modelVersion"]
    models.mkdir(parents=True, exist_ok=True)
    target, fresh = models / version, models / f".{version}"
    if not target.exists():
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(artefact, fresh)
        fresh.rename(target)
    newest = sorted((path for path in models.glob("m_*")), key=lambda path: -path.stat().st_mtime_ns)
    for path in newest[KEPT_MODELS:]:
        if path.name != serving:
            shutil.rmtree(path)
