"""Small worlds and a trained little model that several test files share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from training import config
from training.train import Run, remember_compilations

remember_compilations()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole chain on the generated world, with its artefacts; a few seconds."""
    cache: Path = tmp_path_factory.mktemp("cache")
    run = Run(config.load("tiny"), cache, cache / "out")
    run.go("all")
    yield run
    shutil.rmtree(cache, ignore_errors=True)
