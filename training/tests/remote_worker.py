"""A small Worker in this process: training jobs, the log's export, models. It does what the routes do as far as a trainer sees it, and
can cut, corrupt or refuse what it answers."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "ew_sk_test_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
PAGE = 2  # rows a page


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def record(subject: str, item: int | None, occurred_at: float, **more: Any) -> dict[str, Any]:
    """An event as the log holds it; seconds since 1970."""
    base = {"v": 1, "kind": "event", "subject": subject, "type": "purchase", "item": item, "itemId": None}
    return {**base, "occurredAt": round(occurred_at * 1000), "consentTraining": 1, "source": "api", **more}


class Refusal(Exception):
    def __init__(self, status: int, code: str, pointer: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(code)
        errors = [] if pointer is None else [{"pointer": pointer, "code": "x", "detail": "as the test wants"}]
        self.status, self.retry_after = status, retry_after
        self.body = {"code": code, "detail": "refused", "errors": errors, "retryable": status in (429, 503)}


class FakeWorker:
    """`before` is called with (method, path) of each request and may raise a Refusal; `spoil` may change the bytes of a file."""

    def __init__(self) -> None:
        self.segments: dict[str, bytes] = {}
        self.items: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.leases: dict[str, str] = {}
        self.job_files: dict[str, bytes] = {}
        self.models: list[dict[str, Any]] = []
        self.model_files: dict[tuple[str, str], bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []  # that were asked for
        self.beats: list[dict[str, Any]] = []
        self.completions: list[dict[str, Any]] = []
        self.cut_after: int | None = None  # bytes of the next file
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.after: Callable[[str, str], None] = lambda method, path: None
        self.spoil: Callable[[str, bytes], bytes] = lambda path, content: content
        self.heartbeat_seconds = 0.05
        self.lock = threading.RLock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[FakeWorker]:
        worker = self

        class Handler(_Handler):
            fake = worker

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    # what tests set up

    def add_segment(self, number: int, records: list[dict[str, Any]], app: int = 1) -> str:
        key = f"log/app={app}/day=2026-11-24/shard=000/{number:08}.ndjson.gz"
        text = "".join(json.dumps(one) + "\n" for one in records)
        self.segments[key] = gzip.compress(text.encode(), mtime=0)
        return key

    def add_item(self, number: int, name: str, **more: Any) -> None:
        base = {"number": number, "id": name, "title": f"Title of {name}", "text": "", "creator": "", "origin": "human"}
        rest = {"createdAt": "2026-01-01T00:00:00.000Z", "price": None, "attributes": {}}
        self.items.append({**base, **rest, "available": True, "hidden": False, "deleted": False, **more})

    def add_job(self, name: str = "job_1") -> dict[str, Any]:
        job = {"id": name, "status": "queued", "requests": [{"reason": "a test"}], "attempts": 0, "checkpoint": None}
        self.jobs[name] = {**job, "isCancelRequested": False, "progress": None, "modelId": None, "failure": None}
        return self.jobs[name]

    def requeue(self, name: str = "job_1") -> None:
        """As when a lease ends."""
        self.jobs[name]["status"] = "queued"
        self.leases.pop(name, None)

    # routes

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any, dict[str, str]]:
        parts = urlsplit(target)
        path, query = unquote(parts.path), {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self.lock:
            self.requests.append((method, path))
            self.ranges += [headers["range"]] if "range" in headers else []
        self.before(method, path)
        with self.lock:
            if headers.get("authorization") != f"Bearer {KEY}":
                raise Refusal(401, "unauthenticated")
            if path.startswith("/v1/log/"):
                result = self._log(method, path, query, headers)
            elif path.startswith("/v1/models"):
                result = self._models(method, path, headers, body)
            else:
                result = self._jobs(method, path, headers, body)
        self.after(method, path)
        return result

    def _log(self, method: str, path: str, query: dict[str, str], headers: Any) -> tuple[int, Any, dict[str, str]]:
        if (method, path) == ("POST", "/v1/log/seal"):
            return 200, {"shards": 1, "segments": 0}, {}
        if path == "/v1/log/items":
            rows = [item for item in self.items if item["number"] > int(query.get("after", 0))]
            return 200, {"items": rows[:100], "nextAfter": rows[99]["number"] if len(rows) > 100 else None}, {}
        if path == "/v1/log/segments":
            keys = [key for key in sorted(self.segments) if key > query.get("after", "")]
            rows = [
                {"key": key, "sha256": sha256(self.segments[key]), "bytes": len(self.segments[key]), "records": 1}
                for key in keys[:PAGE]
            ]
            return 200, {"segments": rows, "nextAfter": keys[PAGE - 1] if len(keys) > PAGE else None}, {}
        content = self.segments.get(path.removeprefix("/v1/log/segments/"))
        if content is None:
            raise Refusal(404, "not_found")
        start = int((re.fullmatch(r"bytes=(\d+)-", headers.get("range") or "") or [0, 0])[1])
        if 0 < start < len(content):
            return 206, content[start:], {"content-range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return 200, content, {}

    def _models(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if (method, path) == ("GET", "/v1/models"):
            return 200, {"models": self.models}, {}
        if (method, path) == ("POST", "/v1/models"):
            data = json.loads(body)
            for file in data["manifest"]["files"]:
                content = self.model_files.get((data["id"], file["path"]))
                if content is None or sha256(content) != file["sha256"]:
                    raise Refusal(422, "model_refused", file["path"])
            version = data["manifest"]["modelVersion"]
            model = {"id": data["id"], "status": "registered", "modelVersion": version}
            self.models.insert(0, model | {"manifest": data["manifest"]})
            return 201, model, {}
        _, _, _, name, *rest = path.split("/")
        found = [model for model in self.models if model["id"] == name]
        if method == "GET":
            content = self.model_files.get((name, "/".join(rest[1:])))
            if not found or (rest and content is None):
                raise Refusal(404, "not_found")
            return (200, content, {}) if rest else (200, found[0], {})
        if found:
            raise Refusal(409, "conflict")
        if headers.get("x-content-sha256") != sha256(body):
            raise Refusal(400, "invalid_request", "x-content-sha256")
        self.model_files[name, "/".join(rest[1:])] = body
        return 200, {}, {}

    def _jobs(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any, dict[str, str]]:
        _, _, _, name, *rest = path.split("/")
        data = json.loads(body) if body and headers.get("content-type") == "application/json" else {}
        if rest == ["claim"]:
            waiting = [job for job in self.jobs.values() if job["status"] == "queued" and name in ("next", job["id"])]
            if not waiting:
                return 204, None, {}
            job = waiting[0]
            job |= {"status": "claimed", "attempts": job["attempts"] + 1, "trainer": data["trainer"]}
            self.leases[job["id"]] = f"ew_jl_{job['id']}_{job['attempts']}"
            lease = {"token": self.leases[job["id"]], "heartbeatSeconds": self.heartbeat_seconds}
            return 200, {"job": job, "lease": lease}, {}
        job = self.jobs.get(name)
        if job is None:
            raise Refusal(404, "not_found")
        if method == "GET" and not rest:
            return 200, job, {}
        if method == "GET":
            for file in (job["checkpoint"] or {"files": []})["files"]:
                if file["path"] == rest[1]:
                    return 200, self.job_files[file["sha256"]], {}
            raise Refusal(404, "not_found")
        holds = self.leases.get(name) == headers.get("x-job-lease")
        if rest == ["complete"] and holds and job["status"] == "evaluating" and job["modelId"] == data["modelId"]:
            return 200, job, {}
        if not holds or job["status"] not in ("claimed", "running"):
            raise Refusal(409, "conflict")
        if rest == ["complete"]:
            if not any(model["id"] == data["modelId"] for model in self.models):
                raise Refusal(409, "conflict", "/modelId")
            job |= {"status": "evaluating", "modelId": data["modelId"], "report": data["report"]}
            self.completions.append(data)
            return 200, job, {}
        if rest == ["fail"]:
            status = "cancelled" if job["isCancelRequested"] else "failed"
            job |= {"status": status, "failure": data["reason"]}
            return 200, job, {}
        job["status"] = "running"
        if rest == ["heartbeat"]:
            self.beats.append(data)
            job["progress"] = data.get("progress") or job["progress"]
            job["checkpoint"] = data.get("checkpoint") or job["checkpoint"]
            return 200, {"leaseUntil": "2026-11-24T00:00:00Z", "isCancelRequested": job["isCancelRequested"]}, {}
        if headers.get("x-content-sha256") != sha256(body):
            raise Refusal(400, "invalid_request", "x-content-sha256")
        self.job_files[sha256(body)] = body
        return 200, {"path": rest[1], "bytes": len(body), "sha256": sha256(body)}, {}


class _Handler(BaseHTTPRequestHandler):
    fake: FakeWorker
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            status, answer, headers = self.fake.answer(self.command, self.path, self.headers, body)
        except Refusal as refusal:
            status, answer, headers = refusal.status, refusal.body, {}
            if refusal.retry_after is not None:
                headers["retry-after"] = str(refusal.retry_after)
        content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
        cut = None
        if isinstance(answer, bytes):
            content = self.fake.spoil(self.path, content)
            cut, self.fake.cut_after = self.fake.cut_after, None
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if cut is None else content[:cut])
        if cut is not None:
            self.close_connection = True

    do_GET = do_POST = do_PUT = _respond
