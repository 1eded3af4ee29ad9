"""A real Redis on a data directory of its own: started, asked, paused, stopped and killed by its saved process id.

Every write is on disk before it is answered, so that what a test saw saved survives `kill`.
"""

from __future__ import annotations

import shutil
import signal
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RefusedError

from harness.server import DEADLINE, Server


def program() -> str | None:
    """The server. Debian's redis-tools holds it under the name of a tool, and it does what it is called."""
    return shutil.which("redis-server") or shutil.which("redis-check-rdb")


class RedisServer(Server):
    """A server; ``with`` starts it, and takes process and files away at the end."""

    scheme, superuser, first, refusal = "redis", "", None, RefusedError
    orderly, abrupt = signal.SIGTERM, signal.SIGKILL

    def __init__(self, **options: object) -> None:
        super().__init__(**{"appendonly": "yes", "appendfsync": "always", **options})
        self.data.mkdir()
        self.program = self.folder / "redis-server"
        self.program.symlink_to(program() or "redis-server")

    def command(self) -> list[str]:
        """What starts it."""
        own = {"bind": "127.0.0.1", "port": self.port, "dir": self.data, "save": ""}
        return [
            str(self.program),
            *(part for name, value in (self.options | own).items() for part in (f"--{name}", str(value))),
        ]

    def connect(self, user: str = "", database: str | None = None, **options: Any) -> Any:
        """A client that has had an answer."""
        client = Redis(host="127.0.0.1", port=self.port, socket_timeout=DEADLINE, **options)
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
        return client

    def url(self, user: str = "", database: str = "0") -> str:
        """The address, as a store takes it."""
        return f"redis://127.0.0.1:{self.port}/{database}"
