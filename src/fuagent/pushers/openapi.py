"""Delivers batches to a service found through its own OpenAPI document.

The document is read once, when the pusher first opens; a changed one counts from the
next start on, so that a running agent never sends keys to a new place by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from fuagent.contract import auth, document, outcome, payload, spec, status, urls
from fuagent.contract.auth import Access
from fuagent.contract.security import Way
from fuagent.contract.spec import Service
from fuagent.contract.text import address, clean
from fuagent.errors import HaltSyncError, TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.interfaces import PusherContext, Whereabouts
from fuagent.model import (
    Answer,
    Batch,
    Checkpoint,
    Credential,
    EventSchema,
    Finding,
    Level,
    Outcome,
    Request,
    Secret,
    Table,
    Verdict,
)
from fuagent.pushers import compression, documents
from fuagent.pushers.client import Client, Reply, within
from fuagent.pushers.faults import Broken
from fuagent.pushers.options import OpenAPIOptions
from fuagent.pushers.tokens import Tokens


class OpenAPI:
    """Sends batches to your own HTTP service, as its OpenAPI document describes it."""

    Options = OpenAPIOptions

    def __init__(self, context: PusherContext) -> None:
        self._context = context
        self._options = cast("OpenAPIOptions", context.options)
        self._settings = self._options.settings
        self._client = Client(
            ca_file=self._options.ca_file, proxy=self._options.proxy, max_age=self._options.max_connection_age
        )
        self._tokens = Tokens(self._client)
        self._credential: Credential | None = None
        self._service: Service | None = None
        self._coding = self._options.compression
        self._warned: set[Finding] = set()
        self._copy_used: tuple[Finding, ...] = ()

    async def open(self) -> None:
        """Find the document and resolve it; nothing more once that has succeeded."""
        if self._service is None:
            await self.refresh()
            service = await self._find()
            self._warn(*service.findings, *self._copy_used)
            self._service = service

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def refresh(self) -> None:
        """Read the credential again, and drop tokens and connections made with the old one."""
        self._credential = self._context.credential()
        self._tokens.drop()
        await self._client.show(self._credential)

    def route(self, table: str) -> str:
        """The URL this table's batches go to, without query."""
        return address(self._opened().batch_url(self._context.sync, table))

    def event_schema(self, table: Table) -> EventSchema | None:
        """What the document says about this table's events; tells what is wrong with their route."""
        service, sync = self._opened(), self._context.sync
        self._warn(*self._unmet(service, table.label), *service.route_findings(sync, table.label))
        return service.event_schema(sync, table.label)

    def whereabouts(self) -> Whereabouts:
        """Where document and status endpoint are, without query."""
        service = self._opened()
        return Whereabouts(service.document.where, service.status_url and address(service.status_url))

    async def checkpoint(self) -> Checkpoint:
        """Ask the status endpoint once."""
        url = self._opened().status_url
        if url is None:
            return Checkpoint(Answer.NO_ENDPOINT)
        reply = await within(self._context.timeout, self._ask(url))
        if isinstance(reply, Broken):
            raise reply.error(url)
        return status.read(reply.status, reply.headers, reply.body, url=reply.url, now=time.time())

    async def push(self, batch: Batch) -> Outcome:
        """Send one batch once."""
        body = payload.body(batch)
        try:
            reply = await within(self._context.timeout, self._send(batch, body))
        except TryAgainError as error:
            # Only asking for an access token raises these.
            return _refused(error)
        if isinstance(reply, Broken):
            return outcome.fault(reply.fault, reply.detail)
        found = outcome.read(
            reply.status,
            reply.headers,
            reply.body,
            now=time.time(),
            overrides=self._context.outcomes,
            accept_html=self._options.accept_html,
            empty=not batch.events,
            refusable=len(batch.events) if self._context.accept_rejected else 0,
        )
        if found.warning:
            fix = "mend the service's answer, or take accept_rejected out of the sync"
            self._warn(Finding(Level.WARNING, self.route(batch.table), found.warning, fix))
        return found

    async def check(self, tables: Sequence[Table]) -> list[Finding]:
        """Everything about the service that would go wrong later. Sends no row."""
        try:
            await self.open()
            service = self._opened()
            findings = [*self._copy_used, *service.findings, self._about(service)]
            findings += self._route_findings(service, tables)
            findings += self._access_findings(service, tables)
        except (HaltSyncError, TryAgainError) as error:
            return [Finding(Level.ERROR, error.where or address(self._context.endpoint), error.what, error.fix)]
        # Whoever checks has been told; the same things are no news while it runs.
        self._warned.update(findings)
        return [*findings, await self._status_finding()]

    def _opened(self) -> Service:
        if self._service is None:
            raise TryAgainError("the service's document has not been read yet", where=address(self._context.endpoint))
        return self._service

    def _warn(self, *findings: Finding) -> None:
        """Tell the operator, each thing once; what fails a check is only a warning in a run."""
        for finding in findings:
            if finding not in self._warned:
                self._warned.add(finding)
                told = replace(finding, level=Level.WARNING) if finding.level is Level.ERROR else finding
                self._context.warn(told)

    async def _find(self) -> Service:
        endpoint = self._context.endpoint
        if urls.is_file(endpoint):
            found = await asyncio.to_thread(documents.read_file, endpoint)
            return await self._read(found)
        spec.check_url(endpoint, self._settings, "the pusher's endpoint")
        last_good = documents.LastGood(self._context.cache, endpoint)
        try:
            found = await self._fetch(endpoint)
            service = await self._read(found)
        except TryAgainError as error:
            return await self._kept(last_good, error)
        try:
            await asyncio.to_thread(last_good.keep, found)
        except OSError as error:
            what = (
                f"the document's copy cannot be written: {clean(error.strerror or '')}; a start will need the service"
            )
            self._warn(Finding(Level.WARNING, str(self._context.cache), what, "make the state directory writable"))
        return service

    async def _fetch(self, endpoint: str) -> documents.Found:
        # Tokens wait for the document, which says where they come from; keys and passwords do not.
        headers = auth.access(self._credential).headers
        found = await within(self._context.timeout, documents.fetch(self._client, endpoint, headers))
        if isinstance(found, Broken):
            raise found.error(endpoint)
        return found

    async def _read(self, found: documents.Found) -> Service:
        # Megabytes of YAML take seconds, in which other syncs have to go on.
        read = await asyncio.to_thread(document.read, found.data, found.url)
        return spec.service(read, self._settings)

    async def _kept(self, last_good: documents.LastGood, error: TryAgainError) -> Service:
        """The service as its last good document says, because the real one is not to be had."""
        found = await asyncio.to_thread(last_good.load)
        if found is None:
            raise error
        service = await self._read(found)
        what = f"{error.what}; going on with the copy kept from before (sha256 {service.document.sha256[:12]})"
        fix = "bring the document back; the agent reads it when it starts next time"
        self._copy_used = (Finding(Level.WARNING, error.where, what, fix),)
        return service

    async def _access(self, service: Service, table: str) -> Access:
        credential = self._credential
        demands = service.demands(self._context.sync, table)
        if credential is None or credential.client_id is None:
            return auth.access(credential, demands)
        url, scopes = service.token_source(credential, demands)
        token: Secret = await self._tokens.current(credential, url, scopes)
        return auth.access(credential, demands, token)

    async def _ask(self, url: str) -> Reply | Broken:
        # The contract: the status endpoint uses the same authentication as the ingestion endpoint.
        access = await self._access(self._opened(), "")
        asked = _with_query(url, status.query(self._context.sync, self._context.agent_id), access.query)
        return await self._client.get(asked, access.headers)

    def preview(self, batch: Batch) -> Request:
        """The request ``push`` would send, with secrets covered; for a token that is not fetched, its place."""
        service = self._opened()
        demands = service.demands(self._context.sync, batch.table)
        uses_token = self._credential is not None and self._credential.client_id is not None
        access = auth.access(self._credential, demands, Secret("token") if uses_token else None)
        path, _, own = service.batch_url(batch.task_id, batch.table).partition("?")
        found = auth.covered(Access(access.headers, "&".join(filter(None, (own, access.query)))))
        url = _with_query(path, found.query)
        headers = tuple(self._headers(batch, found))
        if self._coding == "none":
            return Request("POST", url, headers, payload.body(batch))
        note = f"the body is sent with {self._coding} compression"
        return Request("POST", url, (*headers, ("Content-Encoding", self._coding)), payload.body(batch), note)

    @staticmethod
    def _headers(batch: Batch, access: Access) -> list[tuple[str, str]]:
        return [
            ("Content-Type", "application/json"),
            ("task-id", auth.header_value(batch.task_id, "the name of the sync")),
            ("Idempotency-Key", batch.key),
            *access.headers,
        ]

    async def _send(self, batch: Batch, body: bytes) -> Reply | Broken:
        service = self._opened()
        access = await self._access(service, batch.table)
        url = _with_query(service.batch_url(batch.task_id, batch.table), access.query)
        headers = [*self._headers(batch, access), *self._context.headers()]
        if self._coding == "none":
            return await self._client.post(url, headers, body)
        small = await asyncio.to_thread(compression.compress, self._coding, body)
        reply = await self._client.post(url, [*headers, ("Content-Encoding", self._coding)], small)
        if isinstance(reply, Broken) or reply.status != 415:
            return reply
        what = f"the service does not take {self._coding} bodies (415); they are sent plain from now on"
        self._warn(Finding(Level.WARNING, address(url), what, "remove compression from driver_params"))
        self._coding = "none"
        return await self._client.post(url, headers, body)

    def _about(self, service: Service) -> Finding:
        read = service.document
        path = clean(self._options.batch_endpoint.split("?")[0]).lstrip("/")
        base = address(service.base_url).rstrip("/")
        what = f"OpenAPI {read.version}, sha256 {read.sha256}; batches go to {base}/{path}"
        return Finding(Level.INFO, read.where, what)

    def _route_findings(self, service: Service, tables: Sequence[Table]) -> list[Finding]:
        findings: list[Finding] = []
        for name in self._routes(service, tables):
            wrong = service.route_findings(self._context.sync, name)
            findings += wrong
            if not wrong and service.event_schema(self._context.sync, name) is None:
                what = "the document says nothing about the properties of an event, so the mapping is not checked"
                place = f"{service.document.where} {service.operation(self._context.sync, name)}"
                findings.append(Finding(Level.INFO, place, what, "describe events.items in the request body's schema"))
        return list(dict.fromkeys(findings))

    def _unmet(self, service: Service, table: str) -> list[Finding]:
        unmet = auth.unmet(self._credential, service.demands(self._context.sync, table))
        if not unmet:
            return []
        what = f"the credential does not meet what the document demands: {', or '.join(unmet)}"
        return [Finding(Level.ERROR, service.document.where, what, "complete the pusher's credential")]

    def _access_findings(self, service: Service, tables: Sequence[Table]) -> list[Finding]:
        findings: list[Finding] = []
        for name in self._routes(service, tables):
            demands = service.demands(self._context.sync, name)
            findings += self._unmet(service, name)
            uses_token = self._credential is not None and self._credential.client_id is not None
            if self._credential is not None and uses_token:
                findings += spec.plain_finding(service.token_source(self._credential, demands)[0])
            wanted = any(scheme.way is Way.MUTUAL_TLS for one in demands for scheme in one)
            if wanted and urls.is_plain(service.base_url):
                what = "the document demands a client certificate, but the service's URL is http"
                findings.append(Finding(Level.ERROR, address(service.base_url), what, "use https"))
        return list(dict.fromkeys(findings))

    def _routes(self, service: Service, tables: Sequence[Table]) -> list[str]:
        return [table.label for table in tables] if service.separates_tables else [""]

    async def _status_finding(self) -> Finding:
        where = address(self._opened().status_url or self._opened().document.where)
        try:
            found = await self.checkpoint()
        except (HaltSyncError, TryAgainError) as error:
            return Finding(Level.ERROR, error.where or where, error.what, error.fix)
        match found.answer:
            case Answer.NO_ENDPOINT:
                what = f"the document names no {spec.STATUS_FIELD}: the journal is the only checkpoint"
                return Finding(Level.INFO, where, what, "name one in servers, so that a lost journal costs no snapshot")
            case Answer.NONE:
                return Finding(Level.INFO, where, "the service has no checkpoint for this sync (404)")
            case _:
                return Finding(Level.INFO, where, f"the service's checkpoint is {found.index}")


def _with_query(url: str, *queries: str) -> str:
    path, _, own = url.partition("?")
    query = "&".join(filter(None, (own, *queries)))
    return f"{path}?{query}" if query else path


def _refused(error: TryAgainError) -> Outcome:
    """The outcome of an attempt for which there was no access token."""
    verdict = Verdict.RETRY
    if isinstance(error, UnauthorisedError):
        verdict = Verdict.UNAUTHORISED
    elif isinstance(error, WrongAnswerError):
        verdict = Verdict.WRONG_ANSWER
    reason = f"{error.where}: {error.what}" if error.where else error.what
    return Outcome(verdict, reason, error.fix, retry_after=error.retry_after)
