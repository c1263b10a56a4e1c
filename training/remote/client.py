"""The Worker's interface over HTTP: JSON, files up and down, retries where they can help. The key goes into a header, nowhere else."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE_SECONDS = 120.0  # a Worker that is deployed or restarted answers again sooner
FIRST_PAUSE_SECONDS = 0.4
LONGEST_PAUSE_SECONDS = 20.0
TIMEOUT_SECONDS = 60.0
BLOCK = 2**16
KEY = re.compile(r"ew_sk_[\x21-\x7e]{1,250}")


class RemoteError(RuntimeError):
    """The other side does not do what was asked; the message is one line and holds no key."""


class Unreachable(RemoteError):
    """Nothing answers, or only with errors that pass, for as long as was waited."""


class Corrupt(RemoteError):
    """Bytes arrived twice with a hash other than the one that was announced."""


class Refused(RemoteError):
    """A refusal that trying again does not change. `code` and `pointers` are the problem document's."""

    def __init__(self, request: str, status: int, problem: dict[str, Any]) -> None:
        faults = [fault for fault in problem.get("errors") or [] if isinstance(fault, dict)]
        named = "".join(f"; {fault.get('pointer') or '/'}: {fault.get('detail')}" for fault in faults[:5])
        detail = str(problem.get("detail") or "no detail")
        super().__init__(f"{request}: {status} {problem.get('code', '')}: {detail}{named}")
        self.status, self.code = status, str(problem.get("code", ""))
        self.pointers = [str(fault.get("pointer")) for fault in faults]


class _Passing(Exception):
    """An answer that may be another one soon."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """`sleep` is replaced in tests."""

    def __init__(
        self,
        url: str,
        key: str,
        patience: float = PATIENCE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RemoteError(f"{url!r} is not an http(s) address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise RemoteError("the address holds more than scheme, host, port and path")
        if KEY.fullmatch(key) is None:
            raise RemoteError("the key is not a secret key (ew_sk_...)")
        self.url = url.rstrip("/")
        self._parts, self._key, self._patience, self._sleep = parts, key, patience, sleep

    def request(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
        patience: float | None = None,
    ) -> Answer:
        """The answer to JSON (`data`) or bytes (`content`), tried again for `patience` seconds, 0: once."""
        sent = dict(headers or {})
        if data is not None:
            content, sent["content-type"] = json.dumps(data).encode(), "application/json"
        elif content is not None:
            sent["content-type"] = "application/octet-stream"

        def attempt() -> Answer:
            with self._open(method, path, sent, content, timeout) as response:
                return Answer(response.status, response.read())

        return self._persist(f"{method} {path}", attempt, self._patience if patience is None else patience)

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The parsed body of the answer."""
        return self.request(method, path, **options).json()

    def download(self, path: str, target: Path, sha256: str, patience: float | None = None) -> None:
        """Puts a file under its name once its hash fits; what a cut connection left goes on from where it was."""
        part = target.with_name(f"{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)

        def attempt() -> str:
            have = part.stat().st_size if part.exists() else 0
            with self._open(
                "GET", path, {"range": f"bytes={have}-"} if have else {}, None, TIMEOUT_SECONDS
            ) as response:
                rest = response.status == 206 and (response.headers["content-range"] or "").startswith(f"bytes {have}-")
                if response.status == 206 and not rest:
                    part.unlink(missing_ok=True)
                    raise _Passing("another part than was asked for")
                with part.open("ab" if rest else "wb") as file:
                    _copy(response, file.write)
            return sha256_of(part)

        for last in (False, True):
            found = self._persist(f"GET {path}", attempt, self._patience if patience is None else patience)
            if found == sha256:
                part.replace(target)
                return
            part.unlink()
            if last:
                raise Corrupt(f"GET {path}: the sha256 is {found[:12]}..., announced was {sha256[:12]}...")

    def _persist(self, request: str, attempt: Callable[[], Any], patience: float) -> Any:
        began, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                return attempt()
            except (OSError, http.client.HTTPException) as error:
                reason, wait = f"{type(error).__name__}: {error}", 0.0
            except _Passing as error:
                reason, wait = str(error), error.wait
            if time.monotonic() - began >= patience:
                raise Unreachable(f"{request}: {reason[:200]}") from None
            self._sleep(max(min(wait, 60.0), pause * random.uniform(0.5, 1.0)))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _open(
        self, method: str, path: str, headers: dict[str, str], content: bytes | None, timeout: float
    ) -> _Response:
        """An answer of 2xx. Redirects are not followed: the key is for this host alone."""
        parts = self._parts
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=timeout)
        try:
            sent = {"authorization": f"Bearer {self._key}", "accept-encoding": "identity", **headers}
            connection.request(method, f"{parts.path.rstrip('/')}{path}", content, sent)
            response = connection.getresponse()
            if 200 <= response.status < 300:
                return _Response(connection, response)
            raise _problem(f"{method} {path}", response)
        except BaseException:
            connection.close()
            raise


class _Response:
    """An open answer whose connection is closed with it."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self.status, self.headers, self.read = response.status, response.headers, response.read

    def __enter__(self) -> _Response:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _problem(request: str, response: http.client.HTTPResponse) -> Exception:
    try:
        problem = json.loads(response.read(BLOCK))
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    if problem.get("retryable", response.status == 429 or response.status >= 500):
        after = response.headers["retry-after"] or ""
        reason = f"{response.status} {problem.get('code', response.reason)}"
        return _Passing(reason, float(after) if after.isdigit() else 0.0)
    return Refused(request, response.status, problem)


def _copy(response: _Response, write: Callable[[bytes], Any]) -> None:
    declared, got = response.headers["content-length"], 0
    while block := response.read(BLOCK):
        write(block)
        got += len(block)
    if declared is not None and got < int(declared):
        raise _Passing(f"cut after {got} of {declared} bytes")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
