"""The service as its OpenAPI document describes it: endpoints, demands, event schema.

Only the document decides where keys and rows go, so every address it names is held
against its own origin: a document that names another host would otherwise be a way to
have keys sent there. What the operator wrote into ``config.yaml`` is trusted.

A document is read once into a :class:`Service`; asking it costs no I/O.
https://spec.openapis.org/oas/v3.1.1.html#server-object
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import quote

from fuagent.contract import operation as operations
from fuagent.contract import schema, security, urls
from fuagent.contract.document import Document, Node, array, table, words
from fuagent.contract.operation import Operation
from fuagent.contract.security import Alternative, Way
from fuagent.contract.standing import standing
from fuagent.contract.text import address, clean
from fuagent.errors import HaltSyncError
from fuagent.model import Credential, EventSchema, Finding, Level

STATUS_FIELD = "x-fuagent-status-endpoint"
SENT = frozenset({"agent_id", "task_id", "is_snapshot_end", "snapshot_sync_suggested", "events"})
"""The members of every request body."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator says about the service, beside its document."""

    batch_endpoint: str = "/ingest-batch"
    status_endpoint: str | None = None
    base_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """One service, resolved. ``findings`` are about the document as a whole."""

    document: Document
    settings: Settings
    base_url: str
    status_url: str | None
    findings: tuple[Finding, ...]
    folder: schema.Folder = field(repr=False, compare=False)

    @property
    def separates_tables(self) -> bool:
        """Whether every table has a route of its own."""
        return "{table}" in self.settings.batch_endpoint

    def batch_url(self, task_id: str, table_name: str = "") -> str:
        """Where batches of this table go.

        Raises:
            HaltSyncError: the table's name cannot stand in a path.
        """
        values = {"task": task_id, "table": table_name}
        path = _PLACEHOLDER.sub(lambda match: _segment(values[match[1]], match[1]), self.settings.batch_endpoint)
        return urls.join(self.base_url, path)

    def operation(self, task_id: str, table_name: str = "") -> Operation | None:
        """What the document says about the place batches of this table go to."""
        return operations.find(self.document, self._documented(task_id, table_name))

    def event_schema(self, task_id: str, table_name: str = "") -> EventSchema | None:
        """What the document says about one event of this table; None where it says nothing."""
        operation = self.operation(task_id, table_name)
        if operation is None:
            return None
        items = schema.find(self.document, operation.body, "properties", "events", "items")
        where = f"{self.document.where} {operation}, events.items"
        found = schema.event_schema(self.folder.shape(items), where)
        return found and replace(found, whole=partial(standing, self.document, items))

    def demands(self, task_id: str, table_name: str = "") -> tuple[Alternative, ...]:
        """What a caller has to prove to send batches of this table."""
        operation = self.operation(task_id, table_name)
        return security.alternatives(self.document, operation.node if operation else {})

    def token_source(self, credential: Credential, demands: tuple[Alternative, ...]) -> tuple[str, tuple[str, ...]]:
        """Where an OAuth2 token is fetched, and for which scopes.

        Raises:
            HaltSyncError: nobody says where, or the document names a host that may not have the secret.
        """
        demanded = [scheme for one in demands for scheme in one if scheme.way is Way.OAUTH2]
        known = [scheme for scheme in (*demanded, *security.schemes(self.document)) if scheme.token_url]
        scopes = credential.scopes or next((scheme.scopes for scheme in demanded if scheme.scopes), ())
        if credential.token_url:
            check_url(credential.token_url, self.settings, "credential.token_url")
            return credential.token_url, scopes
        if not known:
            fix = "set credential.token_url"
            raise HaltSyncError("the document names no token URL", where=self.document.where, fix=fix)
        url = urls.resolve(self.document.url, known[0].token_url)
        _permit(url, self.document, self.settings, "the token URL")
        check_url(url, self.settings, "the token URL")
        return url, scopes

    def route_findings(self, task_id: str, table_name: str = "") -> tuple[Finding, ...]:
        """What is wrong with the place batches of this table go to."""
        path = self._documented(task_id, table_name)
        operation = operations.find(self.document, path)
        if operation is None:
            return (_absent(self.document, path),)
        return tuple(_operation_findings(self.document, operation, self.folder))

    def _documented(self, task_id: str, table_name: str) -> str:
        """The path as the document would write it; without a table's name its placeholder stays."""
        values = {"task": task_id, "table": table_name}
        path = self.settings.batch_endpoint.split("?", 1)[0]
        filled = _PLACEHOLDER.sub(lambda match: values[match[1]].replace("/", "%2F") or match[0], path)
        return "/" + filled.lstrip("/")


def service(document: Document, settings: Settings) -> Service:
    """Resolve a document.

    Raises:
        HaltSyncError: it names no usable server, or one that may not have keys, or the
            settings contradict it; the text says which and what to set.
    """
    _check_endpoint(settings.batch_endpoint)
    findings = list(document.findings)
    server = _server(document)
    base = _base(document, settings, server)
    spoken = server.get(STATUS_FIELD, document.tree.get(STATUS_FIELD) if "swagger" in document.tree else None)
    if spoken is not None and not words(spoken).strip():
        what = f"{STATUS_FIELD} is no path, so there is no status endpoint"
        findings.append(Finding(Level.WARNING, document.where, what, "write a path such as /fuagent-sync-status"))
    status = _status(document, settings, base, words(spoken).strip())
    used = {urls.origin(url): url for url in (document.url, status or base, base)}
    for url in used.values():
        _allow_plain(url, settings, "the service")
        findings += plain_finding(url)
    return Service(document, settings, base, status, tuple(findings), schema.Folder(document))


def check_url(url: str, settings: Settings, what: str) -> None:
    """Refuse a URL that carries a password, is no http(s) URL, or lacks a TLS that is required.

    Raises:
        HaltSyncError: it does.
    """
    if urls.split(url) is None:
        raise HaltSyncError(f"{what} is no http or https URL", where=address(url), fix="write https://host/path")
    if urls.has_userinfo(url):
        fix = "write user and password under credential"
        raise HaltSyncError(f"{what} carries a user or password", where=address(url), fix=fix)
    _allow_plain(url, settings, what)


def _check_endpoint(endpoint: str) -> None:
    unknown = [name for name in _PLACEHOLDER.findall(endpoint) if name not in {"table", "task"}]
    where = "driver_params.batch_endpoint"
    if unknown:
        what = f"the placeholder {{{clean(unknown[0], 60)}}} is not known"
        raise HaltSyncError(what, where=where, fix="use {table} or {task}")
    if "://" in endpoint or "#" in endpoint or not endpoint.strip("/ "):
        fix = "write a path such as /ingest-batch; another host goes into driver_params.base_url"
        raise HaltSyncError("the batch endpoint is no path", where=where, fix=fix)


def _segment(value: str, name: str) -> str:
    if not value:
        fix = "use a batch_endpoint without this placeholder"
        raise HaltSyncError(f"the batch names no {name} for {{{name}}}", where="driver_params.batch_endpoint", fix=fix)
    if value in {".", ".."}:
        # Dots alone mean "here" and "above" even when they are percent-encoded.
        fix = "use a batch_endpoint without this placeholder"
        what = f"'{value}' as {{{name}}} cannot stand in a path"
        raise HaltSyncError(what, where="driver_params.batch_endpoint", fix=fix)
    return quote(value, safe="")


def _server(document: Document) -> dict[str, Node]:
    servers = [table(one) for one in array(document.tree.get("servers"))]
    first = servers[0] if servers else {}
    return next((one for one in servers if words(one.get(STATUS_FIELD)).strip()), first)


def _base(document: Document, settings: Settings, server: dict[str, Node]) -> str:
    if settings.base_url is not None:
        check_url(settings.base_url, settings, "driver_params.base_url")
        if "?" in settings.base_url or "#" in settings.base_url:
            fix = "write scheme, host and path only"
            raise HaltSyncError("driver_params.base_url has a query", where=address(settings.base_url), fix=fix)
        return settings.base_url
    if "swagger" in document.tree:
        spoken = _swagger_server(document)
    else:
        spoken = _filled(words(server.get("url")) or "/", table(server.get("variables")), document)
    url = urls.resolve(document.url, spoken) if not urls.is_file(document.url) else spoken
    if urls.split(url) is None:
        fix = "set driver_params.base_url to the service's own URL"
        what = "the document does not say where the service is: it names no http or https server"
        raise HaltSyncError(what, where=document.where, fix=fix)
    if urls.has_userinfo(url) or "?" in url:
        fix = "write the server's URL without them; user and password belong under credential"
        raise HaltSyncError("the server's URL carries a user, password or query", where=document.where, fix=fix)
    _permit(url, document, settings, "the server")
    return url.split("#", 1)[0]


def _swagger_server(document: Document) -> str:
    """Swagger 2.0 keeps a server in three pieces; what is missing is the document's own."""
    host = words(document.tree.get("host"))
    path = "/" + words(document.tree.get("basePath")).lstrip("/")
    if not host:
        return path
    offered = [words(one) for one in array(document.tree.get("schemes"))]
    own = document.url.split(":", 1)[0]
    scheme = own if own in offered or not offered else offered[0]
    return f"{scheme if scheme in {'http', 'https'} else 'https'}://{host}{path}"


def _filled(url: str, variables: dict[str, Node], document: Document) -> str:
    def value(match: re.Match[str]) -> str:
        default = table(variables.get(match[1])).get("default")
        if default is None or isinstance(default, dict | list):
            what = f"the server's URL has a variable without a default: {{{clean(match[1], 60)}}}"
            raise HaltSyncError(what, where=document.where, fix="give it a default, or set driver_params.base_url")
        return str(default)

    return _PLACEHOLDER.sub(value, url)


def _status(document: Document, settings: Settings, base: str, spoken: str) -> str | None:
    if settings.status_endpoint is not None:
        own = settings.status_endpoint
        if "://" not in own:
            return urls.join(base, own)
        check_url(own, settings, "driver_params.status_endpoint")
        return own
    if not spoken:
        return None
    if "://" not in spoken:
        return urls.join(base, spoken)
    if urls.split(spoken) is None or urls.has_userinfo(spoken):
        fix = f"write a path into {STATUS_FIELD}"
        raise HaltSyncError("the status endpoint is no plain http or https URL", where=document.where, fix=fix)
    _permit(spoken, document, settings, "the status endpoint")
    return spoken


def _permit(url: str, document: Document, settings: Settings, what: str) -> None:
    """Let keys go only where the operator pointed, or said so."""
    own = urls.is_file(document.url) or urls.origin(url) == urls.origin(document.url)
    place = urls.authority(url)
    named = {place, place.removeprefix("[").split("]")[0] if "]" in place else place.split(":")[0]}
    if own or named & {host.lower() for host in settings.allowed_hosts}:
        return
    message = f"the document names another origin for {what}: {urls.origin(url) or clean(address(url))}"
    fix = f"if that is right, add '{place}' to driver_params.allowed_hosts" if place else "mend the document"
    raise HaltSyncError(message, where=document.where, fix=fix)


def _allow_plain(url: str, settings: Settings, what: str) -> None:
    if settings.require_tls and urls.is_plain(url):
        fix = "use https, or take require_tls away"
        raise HaltSyncError(f"{what} is reached without TLS, and require_tls is set", where=address(url), fix=fix)


def plain_finding(url: str) -> list[Finding]:
    """A warning where keys and rows would leave this machine in clear."""
    if not urls.is_plain(url) or urls.is_loopback(url):
        return []
    what = "keys and rows go over the network in clear: the URL is http"
    return [Finding(Level.WARNING, address(url), what, "use https; require_tls: true refuses anything else")]


def _absent(document: Document, path: str) -> Finding:
    others = operations.methods(document, path)
    if others:
        what = f"the document has {', '.join(others)} at {clean(path)}, but no POST"
        return Finding(Level.ERROR, document.where, what, "let the service take POST there, or set batch_endpoint")
    what, near = f"the document has no path {clean(path)}", list(operations.similar(document, path))
    if not near:
        return Finding(Level.ERROR, document.where, what, "add it with a POST, or set batch_endpoint")
    above = {one.rpartition("/")[0] for one in near}
    if len(near) > len(above) == 1:  # a path for each table, it seems
        near.append(f"{above.pop()}/{{table}} for all of them")
    fix = f"set driver_params.batch_endpoint of the pusher to {' or '.join(map(clean, near))}"
    return Finding(Level.ERROR, document.where, what, fix)


def _operation_findings(document: Document, operation: Operation, folder: schema.Folder) -> list[Finding]:
    where = f"{document.where} {clean(str(operation))}"
    if not operation.takes_json:
        what = "the operation takes no application/json, which is what is sent"
        return [Finding(Level.ERROR, where, what, "accept application/json there")]
    found: list[Finding] = []
    if operation.moved:
        what = "the path names servers of its own, which are not read"
        found.append(Finding(Level.WARNING, where, what, "set driver_params.base_url if rows should go there"))
    body = folder.shape(operation.body)
    missing = sorted(body.required - SENT)
    unknown = sorted(SENT - body.properties.keys()) if body.closed else []
    if missing:
        what = f"the request body has required properties that are never sent: {clean(', '.join(missing))}"
        found.append(Finding(Level.ERROR, where, what, "make them optional"))
    if unknown:
        what = f"the request body allows no {', '.join(unknown)}, which are always sent"
        found.append(Finding(Level.ERROR, where, what, "describe them, or allow additional properties"))
    items = schema.find(document, operation.body, "properties", "events", "items")
    types = folder.shape(items).own.types
    if types and "object" not in types:
        what = f"events are described as {' or '.join(sorted(types))}, but objects are sent"
        found.append(Finding(Level.ERROR, where, what, "describe events.items as an object"))
    return found
