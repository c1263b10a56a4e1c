"""The lease of a job: a thread reports that the trainer lives and how far it is, and stops it where the job is lost or cancelled."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from training.remote.client import Answer, Client, Refused, RemoteError

# a program's own signal; the thread gets the main thread out of a training loop with it
WAKE = signal.SIGUSR1
CALL_SECONDS = 30.0  # a heartbeat that takes longer is given up; the next one may get through


class LeaseEnded(RuntimeError):
    """The job is not this trainer's any more."""


class LeaseLost(LeaseEnded):
    """Another trainer has it, or it has ended without this one."""


class CancelRequested(LeaseEnded):
    """Somebody asked for the job to be cancelled."""


class Lease:
    """Used as a context manager in the main thread. `report` is cheap: the thread sends the latest one when it is time to, and a new
    stage at once."""

    def __init__(self, client: Client, job: str, token: str, every: float) -> None:
        self._client, self.job, self._token, self._every = client, job, token, every
        self._progress: dict[str, Any] | None = None
        self._ended: LeaseEnded | None = None
        self._interruptible = False
        self._over = False
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="heartbeat", daemon=True)

    def __enter__(self) -> Lease:
        self._before = signal.signal(WAKE, self._woken)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._news.set()
        self._thread.join(CALL_SECONDS)
        signal.signal(WAKE, self._before)

    def report(self, stage: str, step: int | None = None, steps: int | None = None, **more: Any) -> None:
        """@raise LeaseEnded where the thread has heard so"""
        progress = {"stage": stage, "step": step, "steps": steps, **more}
        if not math.isfinite(progress.get("loss") or 0.0):
            del progress["loss"]  # JSON has no infinity
        before, self._progress = self._progress, {name: value for name, value in progress.items() if value is not None}
        if before is None or before["stage"] != stage:
            self._news.set()
        self.check()

    def check(self) -> None:
        if self._ended is not None:
            raise self._ended

    def beat(self, checkpoint: dict[str, Any] | None = None) -> None:
        """Reports now. @raise LeaseEnded"""
        self._beat(checkpoint, None)
        self.check()

    def call(self, method: str, path: str, **options: Any) -> Answer:
        """A request about the job that shows the lease. @raise LeaseLost where it is not good any more"""
        headers = {**options.pop("headers", {}), "x-job-lease": self._token}
        try:
            return self._client.request(method, f"/v1/training-jobs/{self.job}{path}", headers=headers, **options)
        except Refused as refusal:
            if refusal.status in (404, 409) and "/modelId" not in refusal.pointers:
                raise LeaseLost(str(refusal)) from None
            raise

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While this is open, a lost or cancelled job stops the main thread wherever it is."""
        self.check()
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def _woken(self, _signal: int, _frame: FrameType | None) -> None:
        if self._interruptible:
            self.check()

    def _beat(self, checkpoint: dict[str, Any] | None, patience: float | None) -> None:
        data = {"progress": self._progress, "checkpoint": checkpoint}
        sent = {name: value for name, value in data.items() if value is not None}
        try:
            answer = self.call("POST", "/heartbeat", data=sent, timeout=CALL_SECONDS, patience=patience).json()
        except LeaseLost as lost:
            self._ended = lost
            return
        if answer["isCancelRequested"]:
            self._ended = CancelRequested(f"job {self.job} is to be cancelled")

    def _keep(self) -> None:
        while True:
            self._news.wait(self._every)
            if self._over:
                return
            self._news.clear()
            try:
                self._beat(None, 0.0)
            except RemoteError:
                continue  # a lease that nobody took goes on when the Worker answers again
            if self._ended is not None:
                if self._interruptible:
                    signal.pthread_kill(threading.main_thread().ident, WAKE)
                return
