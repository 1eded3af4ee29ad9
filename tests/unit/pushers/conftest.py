"""Services to push to, pushers to push with, and what the operator was told."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from raw_service import AGENT, TASK, Authority, Service, Warnings, answering, close

from fuagent.interfaces import PusherContext
from fuagent.model import Credential
from fuagent.pushers.openapi import OpenAPI


@pytest.fixture
async def serving():
    """Start raw services; they end with the test, and none may have failed by itself."""
    async with AsyncExitStack() as stack:
        services: list[Service] = []

        async def start(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Service:
            service = Service()
            service.describe()
            service.routes["/v1/ingest-batch"] = answering()
            server = await asyncio.start_server(service.serve, host, 0, ssl=tls)
            stack.push_async_callback(close, server)
            # What nobody reads is not to disappear in the kernel, which has room for megabytes.
            server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            port = server.sockets[0].getsockname()[1]
            service.url = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{port}"
            services.append(service)
            return service

        yield start
        for service in services:
            service.ended.set()
    assert [service.failures for service in services] == [[] for _ in services]


@pytest.fixture
async def service(serving):
    """One service over plain HTTP."""
    return await serving()


@pytest.fixture
def warned():
    """What the operator was told while the test ran."""
    return Warnings()


@pytest.fixture
async def pushing(tmp_path, warned):
    """Make pushers; they are closed with the test."""
    made: list[OpenAPI] = []

    def make(
        endpoint: str,
        *,
        credential: Credential | Callable[[], Credential | None] | None = None,
        timeout: float = 10.0,
        outcomes: dict[int, str] | None = None,
        accept_rejected: bool = False,
        **options: object,
    ) -> OpenAPI:
        context = PusherContext(
            sync=TASK,
            agent_id=AGENT,
            endpoint=endpoint if "openapi" in endpoint or "://" not in endpoint else endpoint + "/openapi.json",
            credential=credential if callable(credential) else lambda: credential,
            options=OpenAPI.Options(**options),
            timeout=timeout,
            outcomes=outcomes or {},
            accept_rejected=accept_rejected,
            cache=tmp_path / "cache",
            warn=warned,
        )
        made.append(OpenAPI(context))
        return made[-1]

    yield make
    for pusher in made:
        await pusher.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An authority this machine does not know."""
    return Authority(tmp_path_factory.mktemp("authority"))
