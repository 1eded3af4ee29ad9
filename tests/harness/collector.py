"""A real collector of traces in the test's own process: takes OTLP over HTTP and keeps the spans.

``swallow`` makes it take connections and answer nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

INTERNAL, CLIENT = 1, 3
ERROR = 2


@dataclass(frozen=True)
class Span:
    """One span as it came."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    status: int
    message: str
    attributes: dict[str, Any]
    resource: dict[str, Any]


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class Collector:
    """``async with`` runs it on a free port of the loopback address."""

    def __init__(self, *, swallow: bool = False) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._swallow = swallow
        self._runner: web.AppRunner | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What sends an agent's traces here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self._swallow:
            await asyncio.Event().wait()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(body)
        told = ExportTraceServiceRequest.FromString(body)
        for group in told.resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [
                    Span(
                        one.name,
                        one.trace_id.hex(),
                        one.span_id.hex(),
                        one.parent_span_id.hex(),
                        one.kind,
                        one.status.code,
                        one.status.message,
                        _values(one.attributes),
                        resource,
                    )
                    for one in scope.spans
                ]
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
