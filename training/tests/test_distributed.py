"""Two processes give the curve and weights of one, also when one was killed on the way; who waits in vain says so and ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from training import config, optimiser
from training.data import ROOT
from training.distributed_launch import explain
from training.train import Run, main

CURVE = 1e-5  # relative, of each epoch's loss
WEIGHTS = 1e-4  # absolute, of weights and of their average; most lie between 0.01 and 1
COMMAND = [sys.executable, "-m", "training.train", "--config", "pair", "--stage", "trunk"]


def start(cache: Path, *flags: str) -> subprocess.Popen[str]:
    quick = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compilation is most of a start
    pipe = subprocess.PIPE
    command = [*COMMAND, "--cache", str(cache), *flags]
    return subprocess.Popen(command, cwd=ROOT, env=quick, stdout=pipe, stderr=pipe, text=True)


def by_hand(cache: Path, *flags: str) -> list[subprocess.Popen[str]]:
    """Two processes started each on its own, as on two machines; `flags` are the second one's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    common = ("--processes", "2", "--coordinator", coordinator)
    return [start(cache, *common, "--process", "0"), start(cache, *common, "--process", "1", *flags)]


def leaves(checkpoint: Path, part: str) -> list[np.ndarray]:
    """The arrays of one part of a saved state, in whatever order."""
    names = sorted(("params", "first", "second", "average", "step"))
    with np.load(checkpoint) as file:
        count = (len(file.files) - 2) // 4  # four trees of equal size, a step and a note
        begin = names.index(part) * count
        return [file[f"leaf{begin + i}"] for i in range(count)]


def without_key_bias(leaf: np.ndarray, dim: int) -> np.ndarray:
    """A bias on every key shifts a query's scores alike, so its true gradient is 0, and Adam scales rounding errors up."""
    return np.delete(leaf, slice(dim, 2 * dim)) if leaf.shape == (3 * dim,) else leaf


def test_a_killed_process_ends_the_other_and_the_next_run_of_two_ends_where_one_process_does(tmp_path: Path) -> None:
    first, second = by_hand(tmp_path / "two")
    assert first.stdout is not None
    for line in first.stdout:
        if "epoch 2/" in line:
            second.kill()
            break
    killed = time.monotonic()
    _, errors = first.communicate(timeout=120)
    second.communicate()
    assert (first.returncode, errors) == (3, "training: process 0 of 2 lost the others: a connection broke\n")
    assert time.monotonic() - killed < 30

    checkpoint = next((tmp_path / "two" / "runs" / "pair").glob("trunk-*.npz"))
    done = len(optimiser.read_note(checkpoint)["epochs"])
    again = start(tmp_path / "two", "--processes", "2")
    output, errors = again.communicate(timeout=120)
    assert (again.returncode, errors) == (0, "")
    assert f"goes on after epoch {done}" in output
    assert "2 processes with 2 devices" in output

    alone = Run(config.load("pair"), tmp_path / "one", None)
    alone.go("trunk")
    curves = [[e["loss"] for e in optimiser.read_note(path)["epochs"]] for path in (checkpoint, alone.path("trunk"))]
    assert len(curves[0]) == alone.config.trunk.epochs
    np.testing.assert_allclose(*curves, rtol=CURVE)
    for part in ("params", "average"):
        for two, one in zip(leaves(checkpoint, part), leaves(alone.path("trunk"), part), strict=True):
            dim = alone.config.trunk.dim
            np.testing.assert_allclose(without_key_bias(two, dim), without_key_bias(one, dim), rtol=0, atol=WEIGHTS)


def test_a_process_whose_others_never_come_gives_up(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lone = start(
        tmp_path, "--processes", "2", "--process", "1", "--coordinator", f"127.0.0.1:{port}", "--patience", "2"
    )
    _, errors = lone.communicate(timeout=120)
    assert errors == "training: process 1 of 2 lost the others: the others did not all come for 2 s\n"
    assert lone.returncode == 3


def test_processes_with_different_work_refuse_each_other(tmp_path: Path) -> None:
    for process in by_hand(tmp_path, "--seed", "1"):
        _, errors = process.communicate(timeout=120)
        assert errors == "training: process 1 has not the data or configuration of process 0\n"
        assert process.returncode == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--processes", "0"], "--processes = 0, must be from 1 to 1024"),
        (["--processes", "2", "--patience", "0"], "--patience = 0.0, must be at least 1 second"),
        (["--processes", "2", "--coordinator", "a:1"], "--coordinator = 'a:1', must be given together with --process"),
        (["--process", "0", "--coordinator", "a:1"], "--processes = 1, must be at least 2 with --process"),
        (["--processes", "2", "--process", "2", "--coordinator", "a:1"], "--process = 2, must be from 0 to 1"),
        (
            ["--processes", "2", "--process", "0"],
            "--coordinator = None, must be HOST:PORT, the same for every process",
        ),
        (
            ["--processes", "2", "--process", "0", "--coordinator", "here"],
            "--coordinator = 'here', must be HOST:PORT, the same for every process",
        ),
        (
            ["--processes", "2", "--process", "0", "--coordinator", "a:1", "--stage", "all"],
            "--stage = 'all', must be one of trunk, decoder, sasrec with --process",
        ),
    ],
)
def test_a_bad_flag_is_one_line(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", "pair", "--stage", "trunk", "--cache", str(tmp_path), *flags]) == 2
    assert capsys.readouterr().err == f"training: {message}\n"


@pytest.mark.parametrize(
    ("failed", "said", "line"),
    [
        ({0: 3, 1: -9}, {0: "training: process 0 lost\n", 1: ""}, "process 1 of 2 was ended by signal 9 (Killed)"),
        (
            {0: -9, 1: -6},
            {0: "", 1: "E0 the JAX distributed service\n"},
            "process 0 of 2 was ended by signal 9 (Killed)",
        ),
        ({1: -6}, {1: "E0 the JAX distributed service\n"}, "process 1 of 2 lost the others: process 0 is gone"),
        ({0: 2, 1: 3}, {0: "training: config: bad\n", 1: "training: process 1 lost\n"}, "config: bad"),
    ],
)
def test_the_cause_is_told_from_what_follows_from_it(failed: dict, said: dict, line: str) -> None:
    assert str(explain(failed, said, 2)) == line
