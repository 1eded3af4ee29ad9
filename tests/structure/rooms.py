"""Who may import whom: the rooms of the package as data.

A room is a top-level module or package of ``fuagent``; ``config_keys`` and its
like belong to ``config``. An arrow names a room or, with a dot, one module of it.
Everyone may import ``model`` (and ``model_rows``, which is of its room), ``errors`` and ``version``, which import nothing.
"""

EVERYONE = ("model", "model_rows", "errors", "version")

_LOWER: tuple[str, ...] = (
    *(
        "interfaces",
        "functions",
        "wire",
        "contract",
        "journal",
        "control",
        "console",
        "logs",
        "encode",
        "sources",
        "pushers",
    ),
    *("engine", "config", "drivers", "receiver", "testing", "preflight", "schemas", "traces"),
)

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "model": (),
    "version": (),
    "errors": ("model",),  # for its types alone
    "interfaces": (),
    "wire": (),
    "contract": (),
    "journal": (),
    "functions": (),
    "control": (),
    "logs": ("contract.text",),
    "console": (),
    "encode": ("contract.payload", "contract.text"),
    "sources": ("wire", "encode", "interfaces", "contract.text"),
    "pushers": ("contract", "interfaces"),
    "engine": ("interfaces", "journal", "contract"),
    "config": ("interfaces",),
    "drivers": ("interfaces",),
    "receiver": ("contract",),
    "testing": ("interfaces", "contract", "encode", "receiver.cases"),
    "schemas": ("contract",),
    "preflight": ("encode", "engine", "interfaces", "contract.text"),
    "screen": ("engine", "contract.text"),
    "traces": ("engine.repeats", "interfaces", "contract.text"),
    "metrics": ("engine", "contract.text"),
    "listen": ("engine", "metrics"),
    "app": (*_LOWER, "metrics"),
    "demo": ("app", "config", "control", "receiver"),
    "cli": ("app", "config", "drivers", "logs", "screen", "listen", "receiver", "demo", "contract.text"),
    "__main__": ("cli",),
    "__init__": ("interfaces",),
}
"""Room → what it may import beside itself and ``EVERYONE``."""

IMPORTS_LATE = "cli"
"""The one room that imports inside functions, so that ``--help`` is instant."""

PURE = (
    "model",
    "wire",
    "encode",
    "contract",
    "schemas",
    "engine.batcher",
    "engine.retry",
    "engine.lifecycle",
    "receiver.cases",
)
"""Rooms and modules without I/O, clock or chance, and all they import."""

IMPURE_LIBRARIES = (
    *("socket", "ssl", "asyncio", "threading", "sqlite3", "time", "random", "secrets", "os", "logging", "subprocess"),
    *("http.client", "http.server", "urllib.request", "aiohttp", "httpx", "requests", "urllib3"),
)
"""What a pure module must not import, each with everything below it."""
