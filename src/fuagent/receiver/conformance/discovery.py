"""The service's document found, read and held against the contract, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import orjson

from fuagent.contract import document as documents
from fuagent.contract import operation as operations
from fuagent.contract import schema, spec, urls
from fuagent.contract.document import Document, Node, array, table, words
from fuagent.contract.spec import STATUS_FIELD, Service, Settings
from fuagent.contract.text import address, clean
from fuagent.errors import FuagentError, HaltSyncError, TryAgainError
from fuagent.model import Finding as Told
from fuagent.model import Level
from fuagent.receiver.cases import Reply
from fuagent.receiver.conformance.findings import About, Finding, Grade, Result
from fuagent.receiver.conformance.link import Broken, Link

GUESSES = ("openapi.json", "openapi.yaml", "swagger.json", "v3/api-docs")
"""Where a service that is named itself usually keeps its document."""

_REDIRECTS = 5
_SOME = 10

DOCUMENT = About(
    "2-document",
    "2",
    Grade.MUST,
    "The OpenAPI document is found, without a credential or with it, and can be read.",
    "Serve it as JSON or YAML (OpenAPI 3 or Swagger 2.0), and give its own URL, often /openapi.json.",
)
SERVERS = About(
    "2-servers",
    "2",
    Grade.MUST,
    "The document says where the service is, and the paths can be joined under it.",
    'Write "servers": [{"url": "https://host/base"}], on the origin the document itself comes from; '
    "--base-url is for a document that cannot be changed.",
)
PATH = About(
    "2.1-path",
    "2.1",
    Grade.MUST,
    "The batch endpoint is in the document, and takes JSON of the contract's shape.",
    "Describe POST with a JSON body at this path, or give the path there is with --batch-endpoint.",
)
REMARKS = About(
    "2-remarks",
    "2",
    Grade.SHOULD,
    "Nothing in the document makes the agent warn.",
    "Follow the remark; fuagent check says the same to whoever runs the agent.",
)
STATUS = About(
    "2.2-named",
    "2.2",
    Grade.SHOULD,
    f"The document names a status endpoint, in {STATUS_FIELD} of a server.",
    f'Write "{STATUS_FIELD}": "/fuagent-sync-status" into an entry of "servers", and answer there with the '
    "checkpoint: without it an agent that lost its state sends everything again.",
)
DESCRIBED = About(
    "2.2-described",
    "2.2",
    Grade.NICE,
    "The status endpoint is in the document's paths, as GET.",
    "Describe it there, so that readers and generated clients find it.",
)

DOCUMENT_PROBES = (DOCUMENT, SERVERS, PATH, REMARKS, STATUS, DESCRIBED)


@dataclass(frozen=True, slots=True)
class Found:
    """The service, resolved; None where nobody says where it is."""

    where: str
    service: Service | None
    items: Node = None
    """The schema of one event."""
    findings: tuple[Finding, ...] = field(default=())


async def find(link: Link, url: str, settings: Settings, task: str, headers: dict[str, str]) -> Found:
    """Find the document at a URL, below the service's own URL, or in a file, and hold it against the contract.

    Raises:
        TryAgainError: nobody answers there, or the file cannot be read.
    """
    try:
        document = _from_file(url) if urls.is_file(url) else await _fetched(link, url, headers)
    except HaltSyncError as error:
        judged: list[Finding] = [_failed(DOCUMENT, [str(error)], url)]
        document = _stand_in(settings.base_url or url)
    else:
        judged = [Finding(DOCUMENT, Result.PASSED)]
    try:
        service = spec.service(document, settings)
    except HaltSyncError as error:
        skipped = [_skipped(about) for about in DOCUMENT_PROBES[2:]]
        return Found(document.where, None, None, (*judged, _failed(SERVERS, [str(error)], document.where), *skipped))
    judged.append(Finding(SERVERS, Result.PASSED))
    if judged[0].failed:
        judged += [_skipped(about) for about in DOCUMENT_PROBES[2:]]
        return Found(address(url), service, None, tuple(judged))
    judged += _judged(service, task)
    operation = service.operation(task)
    items = schema.find(document, operation.body, "properties", "events", "items") if operation else None
    return Found(document.where, service, items, tuple(judged))


def _judged(service: Service, task: str) -> Iterable[Finding]:
    document = service.document
    route = service.route_findings(task)
    told = [*service.findings, *route]
    yield _verdict(PATH, [one for one in route if one.level is Level.ERROR], _offered(document))
    yield _verdict(REMARKS, [one for one in told if one.level is Level.WARNING])
    servers = [table(one) for one in array(document.tree.get("servers"))] or [table(dict(document.tree))]
    named = [path for one in servers if (path := words(one.get(STATUS_FIELD)).strip())]
    spoken = service.settings.status_endpoint or next(iter(named), "")
    yield (
        Finding(STATUS, Result.PASSED) if named else _failed(STATUS, [f"no server has {STATUS_FIELD}"], document.where)
    )
    if not spoken:
        yield Finding(DESCRIBED, Result.SKIPPED, "there is no status endpoint")
    elif "GET" in operations.methods(document, "/" + spoken.split("?")[0].lstrip("/")):
        yield Finding(DESCRIBED, Result.PASSED)
    else:
        yield _failed(DESCRIBED, [f"there is no GET {clean(spoken)} in its paths"], document.where)


def _offered(document: Document) -> str:
    """The paths that do take a POST, for who has to choose one."""
    posts = [name for name in table(document.tree.get("paths")) if "POST" in operations.methods(document, name)]
    return f"it has POST at {clean(', '.join(posts[:_SOME]))}" if posts else "it has no POST at all"


def _verdict(about: About, told: list[Told], more: str = "") -> Finding:
    if not told:
        return Finding(about, Result.PASSED)
    why = [f"{one.what} (fix: {one.fix})" if one.fix else one.what for one in told]
    return _failed(about, [*why, *filter(None, [more])], told[0].where)


def _failed(about: About, why: list[str], where: str) -> Finding:
    shown = "; ".join(clean(one, 1000) for one in why)
    return Finding(about, Result.FAILED, shown, sent=address(where), asked=about.statement)


def _skipped(about: About) -> Finding:
    return Finding(about, Result.SKIPPED, "there is no document to look into")


def _from_file(url: str) -> Document:
    path = Path(unquote(urlsplit(url).path) if url.lower().startswith("file:") else url)
    try:
        with path.open("rb") as file:
            data = file.read(documents.BYTE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = clean(getattr(error, "strerror", None) or "the path cannot be used")
        fix = "give the URL or the file of the service's OpenAPI document"
        raise TryAgainError(f"the document cannot be read: {reason}", where=clean(str(path)), fix=fix) from None
    return _read(data, path.resolve().as_uri())


async def _fetched(link: Link, url: str, headers: dict[str, str]) -> Document:
    if urls.split(url) is None or urls.has_userinfo(url):
        fix = "write http://host/path; a user and password are given with --user and --password"
        raise TryAgainError("this is no http or https URL of a service", where=address(url), fix=fix)
    first: HaltSyncError | None = None
    for candidate in _candidates(url):
        try:
            return _read_reply(*await _get(link, candidate, headers))
        except HaltSyncError as error:
            first = first or error
    assert first is not None  # there is at least the URL itself
    raise first


def _candidates(url: str) -> list[str]:
    """The URL itself, and if it may be the service's own, the usual places below it."""
    bare = url.split("#", 1)[0]
    if _is_document(bare) or "?" in bare:
        return [bare]
    return [bare, *(urls.join(bare, guess) for guess in GUESSES)]


def _is_document(url: str) -> bool:
    return urlsplit(url).path.endswith((".json", ".yaml", ".yml"))


async def _get(link: Link, url: str, headers: dict[str, str]) -> tuple[Reply, str]:
    """The answer, with redirects followed inside one origin; with the credential only where it is asked for.

    Raises:
        TryAgainError: nobody answers.
    """
    proof: dict[str, str] = {}
    for _ in range(_REDIRECTS):
        reply = await link.send("GET", url, proof, limit=documents.BYTE_LIMIT)
        if isinstance(reply, Broken):
            raise TryAgainError(reply.why, where=address(url), fix="start the service, and check host and port")
        target = urls.resolve(url, reply.headers.get("location", "")) if 300 <= reply.status < 400 else ""
        if reply.status in {401, 403} and headers and not proof:
            proof = headers
        elif target and urls.origin(target) == urls.origin(url) and not urls.has_userinfo(target):
            url = target.split("#", 1)[0]
        else:
            return reply, url
    raise HaltSyncError("the document's URL is redirected again and again", where=address(url), fix=DOCUMENT.mend)


def _read_reply(reply: Reply, url: str) -> Document:
    if reply.status != 200:
        raise HaltSyncError(f"the document's URL answers {reply.status}", where=address(url), fix=DOCUMENT.mend)
    return _read(reply.body, url)


def _read(data: bytes, url: str) -> Document:
    try:
        return documents.read(data, url)
    except FuagentError as error:
        raise HaltSyncError(error.what, where=error.where, fix=error.fix) from None


def _stand_in(base: str) -> Document:
    """What is used where there is no document: the service's own URL and nothing else."""
    url = "" if urls.is_file(base) else urls.resolve(base, ".") if _is_document(base) else base
    empty = {"openapi": "3.1.0", "servers": [{"url": url}] if url else [], "paths": {}}
    made = documents.read(orjson.dumps(empty), base)
    # Nothing is known of the document's place, so the base is only where the person pointed.
    return replace(made, url=base)
