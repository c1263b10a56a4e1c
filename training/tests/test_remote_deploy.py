"""The files under training/deploy: they parse, name what is there, and keep to the rules for what runs with a key. Their own linters
are named in docs/training-jobs.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.remote.__main__ import CANCELLED, FAILED, REFUSED, USAGE, _parse

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "training" / "deploy"


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [tuple(line.split(None, 1)) for line in lines if line and not line.startswith("#")]


def test_the_image_is_pinned_and_runs_as_nobody_in_particular(instructions: list[tuple[str, str]]) -> None:
    kinds = [kind for kind, _ in instructions]
    assert kinds[0] == "FROM"
    assert re.fullmatch(r"docker\.io/library/python:3\.1[1-3]\.\d+-slim-\w+", instructions[0][1])
    user = next(value for kind, value in instructions if kind == "USER")
    assert int(user.split(":")[0]) > 0
    assert kinds.index("USER") > max(place for place, kind in enumerate(kinds) if kind == "RUN")
    assert not any(
        word in value for kind, value in instructions for word in ("ew_sk", "KEY=") if kind in ("ENV", "ARG")
    )


def test_the_image_copies_what_is_there_and_not_ignored(instructions: list[tuple[str, str]]) -> None:
    shown = [line[1:] for line in (DEPLOY / "Containerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = [shlex.split(value)[0] for kind, value in instructions if kind == "COPY"]
    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(path == one or path.startswith(f"{one}/") for one in shown), path


def test_the_workflow_starts_by_event_and_by_hand_with_few_rights() -> None:
    workflow = read("github-actions.yml")
    triggers = workflow[True]  # YAML 1.1 takes `on` for a boolean
    assert set(triggers) == {"repository_dispatch", "workflow_dispatch"}
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    steps = workflow["jobs"]["train"]["steps"]
    for step in steps:
        assert "run" in step or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
        assert "${{" not in step.get("run", "")  # an expression in a script lets its value write the script
    train = steps[-1]
    assert train["env"]["EDGEWISE_TRAINER_KEY"] == "${{ secrets.EDGEWISE_TRAINER_KEY }}"
    words = shlex.split(train["run"])
    assert words[:3] == ["python", "-m", "training.remote"]
    assert _parse([*words[3:], "--url", "https://x"]).once


def test_the_pod_is_bounded_and_can_do_nothing_but_train(instructions: list[tuple[str, str]]) -> None:
    job = read("kubernetes-job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    user = next(value for kind, value in instructions if kind == "USER")
    assert user == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["requests"])
    assert {"memory", "ephemeral-storage"} <= set(container["resources"]["limits"])
    key = next(entry for entry in container["env"] if entry["name"] == "EDGEWISE_TRAINER_KEY")
    assert set(key) == {"name", "valueFrom"}
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    options = _parse([*container["args"], "--url", "https://x"])
    assert options.once
    assert options.wait_minutes > 5  # a dead Pod's lease ends after that
    final = job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert (final["containerName"], final["values"]) == (container["name"], [USAGE, FAILED, CANCELLED, REFUSED])
