"""A local copy of what the Worker's log exports. It holds what the manifest lists and nothing else: a segment that was rewritten
because a user was erased is dropped with the next read, and nothing is trained on before that."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from training.remote.client import Client, Refused, RemoteError, sha256_of

SEGMENT_KEY = re.compile(r"log/app=\d{1,10}/day=\d{4}-\d\d-\d\d/shard=\d{3}/\d{8}\.ndjson\.gz")
LISTINGS = 8  # while segments are being rewritten a listing may have to be made again


@dataclass(frozen=True)
class Segment:
    key: str
    sha256: str
    bytes: int
    records: int


class Mirror:
    def __init__(self, client: Client, folder: Path, report: Callable[[int, int], None]) -> None:
        """`report` hears of (segments that are here, segments that are wanted)."""
        self._client, self._folder, self._report = client, folder, report

    def path(self, segment: Segment) -> Path:
        return self._folder / segment.key

    def read(self) -> list[Segment]:
        """Has the log sealed, then brings the copy up to date; the segments in the order of their keys."""
        self._client.request("POST", "/v1/log/seal")
        for _ in range(LISTINGS):
            segments = self._listing()
            self._drop_others(segments)
            if self._fetch(segments):
                return segments
        raise RemoteError("the log was rewritten under every listing of it; try again")

    def _listing(self) -> list[Segment]:
        """Segments of one moment. A segment and its replacement may both be met when pages are read one after another; the
        listing stands when the next one still has all of it."""
        segments, pages = self._pages()
        for _ in range(LISTINGS):
            if pages == 1:
                return segments
            again, pages = self._pages()
            if set(segments) <= set(again):
                return segments
            segments = again
        raise RemoteError("the log was rewritten under every listing of it; try again")

    def _pages(self) -> tuple[list[Segment], int]:
        segments, after, pages = [], "", 0
        while after is not None:
            page = self._client.json("GET", f"/v1/log/segments?{urlencode({'after': after})}")
            for row in page["segments"]:
                if SEGMENT_KEY.fullmatch(row["key"]) is None:
                    raise RemoteError(f"the manifest lists {row['key'][:80]!r}, which is no segment")
                segments.append(Segment(row["key"], row["sha256"], row["bytes"], row["records"]))
            after, pages = page["nextAfter"], pages + 1
        return segments, pages

    def _drop_others(self, segments: list[Segment]) -> None:
        """Of the apps that are listed; where nothing is listed, of all: what is gone can be fetched again."""
        listed = {segment.key for segment in segments}
        apps = {key.split("/")[1] for key in listed}
        for path in sorted(self._folder.rglob("*")) if self._folder.exists() else []:
            key = path.relative_to(self._folder).as_posix().removesuffix(".part")
            if path.is_file() and key not in listed and (not apps or key.split("/")[1:2] in [[app] for app in apps]):
                path.unlink()

    def _fetch(self, segments: list[Segment]) -> bool:
        """False: one of them is gone."""
        for place, segment in enumerate(segments):
            target = self.path(segment)
            self._report(place, len(segments))
            if target.exists() and sha256_of(target) == segment.sha256:
                continue
            try:
                self._client.download(f"/v1/log/segments/{quote(segment.key, safe='/=')}", target, segment.sha256)
            except Refused as refusal:
                if refusal.status != 404:
                    raise
                return False
        return True


def read_items(client: Client) -> list[dict[str, Any]]:
    """All items of the app by number, deleted ones too."""
    items: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = client.json("GET", f"/v1/log/items?after={after}")
        items += page["items"]
        after = page["nextAfter"]
    return items
