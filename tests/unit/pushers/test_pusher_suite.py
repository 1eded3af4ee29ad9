"""The pushers ``openapi`` and ``stdout`` keep the promises of a pusher."""

import asyncio
import json
import os
import sys
from collections import deque

from raw_service import Service, answering, close

from fuagent.model import Credential, Secret
from fuagent.pushers.openapi import OpenAPI
from fuagent.pushers.stdout import Stdout
from fuagent.testing.pusher_kit import Act, PusherKit, Said
from fuagent.testing.pusher_suite import PusherSuite

PATH, STATUS = "/v1/ingest-batch", "/v1/fuagent-sync-status"
PAGE = b"<html>Welcome</html>"


async def silent(exchange):
    await asyncio.Event().wait()


async def cut(exchange):
    exchange.cut()


ACTS = {
    Act.WISH: answering(200, b'{"snapshot_needed":true}'),
    Act.BUSY: answering(500),
    Act.LATER: answering(503, headers={"Retry-After": "7"}),
    Act.CUT: cut,
    Act.SILENT: silent,
    Act.LARGE: answering(413),
    Act.REFUSE: answering(422),
    Act.DENY: answering(401),
    Act.MOVE: answering(307, headers={"Location": "/v1/elsewhere"}),
    Act.PAGE: answering(200, PAGE),
    Act.GONE: answering(410),
}
SAID = {
    Said.INDEX: answering(200, b'{"index":42}'),
    Said.NONE: answering(404),
    Said.BUSY: answering(500),
    Said.SILENT: silent,
    Said.DENY: answering(401),
    Said.PAGE: answering(200, PAGE),
    Said.NONSENSE: answering(200, b"-5"),
}


class OpenAPIKit(PusherKit):
    """A raw HTTP server."""

    secret = "canary-1"

    async def __aenter__(self):
        self.script = deque()
        self.service = Service()
        self.service.describe()
        # Every batch goes out on a connection of its own: one that was used before may be stale.
        self.service.closing |= {"/openapi.json", STATUS}
        self.service.routes |= {PATH: self.take, "/v1/elsewhere": answering(), STATUS: SAID[Said.NONE]}
        self.server = await asyncio.start_server(self.service.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error):
        await close(self.server)
        assert self.service.failures == []

    async def take(self, exchange):
        known = exchange.request.value("x-api-key") == self.secret
        answer = self.script.popleft() if self.script else answering() if known else answering(401)
        await answer(exchange)

    def pusher(self):
        return OpenAPI(
            self.context(
                endpoint=f"{self.url}/openapi.json",
                options=OpenAPI.Options(),
                credential=lambda: Credential(key=Secret(self.secret)),
            )
        )

    async def received(self):
        return [request.body for request in self.service.requests if request.method == "POST"]

    def events(self, body):
        return json.loads(body)["events"]

    async def play(self, act):
        self.script.append(ACTS[act])

    async def say(self, said):
        self.service.routes[STATUS] = SAID[said]

    async def rotate(self):
        self.secret = "canary-2"


class TestOpenAPI(PusherSuite):
    """Every promise, over real HTTP."""

    Kit = OpenAPIKit


class StdoutKit(PusherKit):
    """Standard output as a file, or for a moment as a pipe that nobody reads."""

    async def __aenter__(self):
        self.path = self.directory / "out"
        self.out, self.own, self.broken = self.path.open("wb"), sys.stdout, None
        sys.stdout = self.out
        return self

    async def __aexit__(self, *_error):
        sys.stdout = self.own
        self.out.close()
        if self.broken is not None:
            os.close(self.broken)

    def pusher(self):
        return Stdout(self.context(options=Stdout.Options()))

    async def received(self):
        return self.path.read_bytes().splitlines()

    def events(self, body):
        return json.loads(body)["events"]

    async def play(self, act):
        reading, self.broken = os.pipe()
        os.close(reading)
        os.dup2(self.broken, self.out.fileno())


class TestStdout(PusherSuite):
    """What a file can show."""

    Kit = StdoutKit
    no_act = dict.fromkeys(set(Act) - {Act.GONE}, "nobody answers to what is printed: it is out, or cannot be written")
    no_checkpoint = "what is printed is not asked for; the journal remembers"
    no_rotate = "there is no credential"
