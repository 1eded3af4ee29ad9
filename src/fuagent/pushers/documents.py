"""Where a service's document comes from: the network, a file, or the last good copy.

The copy lets an agent start while the service is down. It is one file, a line of JSON
about the document and then its bytes, written whole or not at all, and it only counts
for the endpoint it was fetched from.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fuagent.contract import document
from fuagent.contract.text import address, clean
from fuagent.errors import MENDED_CREDENTIAL, TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.pushers.client import Client, Headers, Reply
from fuagent.pushers.faults import Broken

_NAME = "openapi-document"


@dataclass(frozen=True, slots=True)
class Found:
    """A document's bytes and where they were found in the end."""

    data: bytes
    url: str


async def fetch(client: Client, endpoint: str, headers: Headers) -> Found:
    """Fetch a document, first without a key; only if that is refused with one.

    Raises:
        TryAgainError: there is none to be had now; also as UnauthorisedError and WrongAnswerError.
    """
    reply = await client.get(endpoint, limit=document.BYTE_LIMIT)
    if headers and isinstance(reply, Reply) and reply.status in {401, 403}:
        reply = await client.get(endpoint, headers, document.BYTE_LIMIT)
    if isinstance(reply, Broken):
        raise reply.error(endpoint)
    where, fix = address(endpoint), "check the pusher's endpoint; open it with curl"
    what = f"the document's URL answers {reply.status}"
    if reply.status in {401, 403}:
        raise UnauthorisedError(what, where=where, fix=f"check the pusher's credential; {MENDED_CREDENTIAL}")
    if 300 <= reply.status < 400:
        target = address(reply.headers.get("location", ""))
        fix = "write the final URL as the pusher's endpoint"
        raise WrongAnswerError(f"{what} and leads to another origin: {target}", where=where, fix=fix)
    if reply.status != 200:
        kind = TryAgainError if reply.status >= 500 or reply.status in {408, 425, 429} else WrongAnswerError
        raise kind(what, where=where, fix=fix)
    if reply.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        raise WrongAnswerError("the document comes compressed although none was asked for", where=where, fix=fix)
    return Found(reply.body, reply.url)


def read_file(endpoint: str) -> Found:
    """Read a document from a ``file:`` URL or path.

    Raises:
        TryAgainError: the file cannot be read.
    """
    path = Path(unquote(urlsplit(endpoint).path) if endpoint.lower().startswith("file:") else endpoint)
    fix = "check the pusher's endpoint"
    try:
        if not path.is_file():
            raise TryAgainError("there is no such file", where=str(path), fix=fix)
        with path.open("rb") as file:
            return Found(file.read(document.BYTE_LIMIT + 1), path.resolve().as_uri())
    except (OSError, ValueError) as error:
        reason = clean(getattr(error, "strerror", None) or "the path cannot be used")
        raise TryAgainError(f"the document cannot be read: {reason}", where=str(path), fix=fix) from None


class LastGood:
    """The copy of the last document that could be used, in a directory of its own."""

    def __init__(self, directory: Path, endpoint: str) -> None:
        # The endpoint itself may hold a secret in its query.
        self._endpoint = hashlib.sha256(endpoint.encode("utf-8", "replace")).hexdigest()
        self._path = directory / f"{self._endpoint[:16]}-{_NAME}"

    def keep(self, found: Found) -> None:
        """Write the copy; readable by this user only.

        Raises:
            OSError: it cannot be written.
        """
        sha256 = hashlib.sha256(found.data).hexdigest()
        about = {"endpoint": self._endpoint, "url": address(found.url), "sha256": sha256}
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Under a name of its own: other syncs may keep the same document at the same moment.
        handle, new = tempfile.mkstemp(dir=self._path.parent, suffix=".new")
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(about).encode() + b"\n" + found.data)
            file.flush()
            os.fsync(file.fileno())
        Path(new).replace(self._path)

    def load(self) -> Found | None:
        """The copy; None where there is none, or it is another endpoint's, or it is damaged."""
        try:
            about, _, data = self._path.read_bytes().partition(b"\n")
            spoken = json.loads(about)
        except (OSError, ValueError):
            return None
        told = document.table(spoken)
        whole = told.get("sha256") == hashlib.sha256(data).hexdigest() and told.get("endpoint") == self._endpoint
        return Found(data, document.words(told.get("url"))) if whole else None
