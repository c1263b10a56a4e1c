"""Starts the processes that train together, watches them, and says in one line how they ended.

A worker is `python -m training.train .. --worker`. It runs under this supervisor even where it is the only one on its
machine, because the runtime below JAX ends a process with a stack trace when the coordinator is gone.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import IO

from training.data import ROOT
from training.distributed import LOST, PATIENCE

SHARED_STAGES = ("trunk", "decoder", "sasrec")  # the training loops; the other stages need no second process
GRACE = 5.0  # seconds in which the others end by themselves after the first has failed


class FlagError(ValueError):
    """One line: the flag, its value, the bound."""


class WorkerError(RuntimeError):
    """One line on the process that failed first, and the exit status to give."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--processes", type=int, default=1, help="processes that train together, on this machine's CPU")
    parser.add_argument(
        "--process", type=int, help="this one's number, where each is started by hand; with --coordinator"
    )
    parser.add_argument("--coordinator", help="HOST:PORT on which process 0 listens and where the others find it")
    parser.add_argument(
        "--patience", type=float, default=PATIENCE, help="seconds without a finished step until the others are given up"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)


def check_flags(options: argparse.Namespace) -> None:
    """Raises a FlagError that names the first flag out of bounds."""

    def require(holds: bool, flag: str, value: object, bound: str) -> None:
        if not holds:
            raise FlagError(f"{flag} = {value!r}, must be {bound}")

    require(1 <= options.processes <= 1024, "--processes", options.processes, "from 1 to 1024")
    require(options.patience >= 1, "--patience", options.patience, "at least 1 second")
    if options.process is None:
        require(options.coordinator is None, "--coordinator", options.coordinator, "given together with --process")
        return
    require(options.processes > 1, "--processes", options.processes, "at least 2 with --process")
    require(
        0 <= options.process < options.processes, "--process", options.process, f"from 0 to {options.processes - 1}"
    )
    host, _, port = (options.coordinator or "").rpartition(":")
    good = bool(host) and port.isdecimal() and 0 < int(port) < 65536
    require(good, "--coordinator", options.coordinator, "HOST:PORT, the same for every process")
    require(
        options.stage in SHARED_STAGES, "--stage", options.stage, f"one of {', '.join(SHARED_STAGES)} with --process"
    )


def run_stage(options: argparse.Namespace, stage: str) -> None:
    """Trains `stage` in worker processes: all of them on this machine, or the one that --process names."""
    if options.process is not None:
        return supervise(options, stage, [options.process], options.coordinator)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    supervise(options, stage, list(range(options.processes)), coordinator)


def supervise(options: argparse.Namespace, stage: str, numbers: list[int], coordinator: str) -> None:
    """Runs the workers `numbers` until all have ended; raises a WorkerError when one failed."""
    together = options.process is None
    environment = dict(os.environ)
    if together:  # each computes with its part of the cores: else all start a thread for every core
        environment |= {"JAX_PLATFORMS": "cpu", "NPROC": str(max(1, (os.cpu_count() or 1) // len(numbers)))}
    workers: dict[int, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:
        stack.callback(stop, workers)
        notes = {number: stack.enter_context(tempfile.TemporaryFile()) for number in numbers}
        for number in numbers:
            workers[number] = subprocess.Popen(
                command(options, stage, number, coordinator),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,  # never written: a worker ends when it closes
                stdout=None if number == 0 else subprocess.DEVNULL,
                stderr=notes[number],
            )
        failed = wait(workers)
        said = {number: read(note) for number, note in notes.items()}
    if failed:
        raise explain(failed, said, options.processes)
    sys.stderr.write("".join(said.values()))


def stop(workers: dict[int, subprocess.Popen[bytes]]) -> None:
    for worker in workers.values():
        worker.kill()
        worker.wait()


def command(options: argparse.Namespace, stage: str, number: int, coordinator: str) -> list[str]:
    line = [sys.executable, "-m", "training.train", "--config", options.config, "--stage", stage, "--worker"]
    line += ["--cache", str(options.cache.resolve()), "--patience", str(options.patience)]
    line += ["--processes", str(options.processes), "--process", str(number), "--coordinator", coordinator]
    return line if options.seed is None else [*line, "--seed", str(options.seed)]


def wait(workers: dict[int, subprocess.Popen[bytes]]) -> dict[int, int]:
    """Exit statuses of the workers that failed by themselves, {} when all went well. What still runs is left to run."""
    deadline = float("inf")
    while True:
        statuses = {number: worker.poll() for number, worker in workers.items()}
        failed = {number: status for number, status in statuses.items() if status}
        if failed and deadline == float("inf"):
            deadline = time.monotonic() + GRACE
        if None not in statuses.values() or time.monotonic() > deadline:
            return failed
        time.sleep(0.05)


def read(note: IO[bytes]) -> str:
    note.seek(0)
    return note.read().decode(errors="replace")


def explain(failed: dict[int, int], said: dict[int, str], processes: int) -> WorkerError:
    """The cause among the failures: one's own error before a death by signal before the loss of the others."""

    def rank(number: int) -> int:
        status = failed[number]
        return 3 if status == -signal.SIGABRT else 2 if status == LOST else 1 if status < 0 else 0

    number = min(failed, key=rank)
    status, text = failed[number], said[number]
    who = f"process {number} of {processes}"
    lines = [line for line in text.splitlines() if line.startswith("training: ")]
    if status > 0 and lines:
        return WorkerError(lines[-1].removeprefix("training: "), status)
    if status == -signal.SIGABRT and "distributed service" in text:
        return WorkerError(f"{who} lost the others: process 0 is gone", LOST)
    if status < 0:
        return WorkerError(f"{who} was ended by signal {-status} ({signal.strsignal(-status)})", LOST)
    sys.stderr.write(text)
    return WorkerError(f"{who} failed with status {status}", status)
