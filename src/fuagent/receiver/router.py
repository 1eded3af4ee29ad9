"""The receiving end over HTTP: two endpoints for a FastAPI application, or an application of their own.

::

    receiver = Receiver(store, keys=os.environ["SERVICE_KEY"])

    @receiver.task("orders", key="id")
    class Order(BaseModel):
        id: int
        total: Decimal

    app = receiver.app()

Every refusal is answered with ``{"error": …, "id": …}``. The text never holds a value of a row
or a statement; what really happened stands in the log (``fuagent.receiver``) under that id.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import orjson
from fastapi import APIRouter, Depends, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from fuagent.contract import payload
from fuagent.contract.text import clean
from fuagent.errors import PayloadError
from fuagent.receiver import body, document
from fuagent.receiver.access import Access, Grant, Keys
from fuagent.receiver.rows import RowType
from fuagent.receiver.service import Answer, NoRouteError, Route, Snapshots, Tables, receive, verify_agent
from fuagent.receiver.store import Store, Target

MAX_BYTES = 16 * 1024 * 1024
_LOG = logging.getLogger("fuagent.receiver")
Find = Callable[[str], Route | None]
"""The route of a task at one path."""
_Taker = TypeVar("_Taker", bound=Callable[..., Any])


class _RefusedError(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Receiver:
    """Takes batches of the tasks that are declared, and tells their checkpoints.

    Args:
        store: Where rows and checkpoints go.
        keys: The API keys; a mapping binds each to a list of tasks.
        users: User names and their passwords.
        dependency: A dependency of FastAPI that lets a request pass or raises, besides or
            instead of ``keys`` and ``users``.
        max_bytes: Largest body, before and after it is unpacked.
        delete_field: The boolean property that marks deletes; None takes rows as the contract has
            them, without any.
        name_rejected: Store the other rows of a batch and name those that do not fit in the answer, ``rejected``,
            instead of refusing all of it; the agent heeds that with ``accept_rejected: true`` alone, and counts
            them as delivered without.
        path: Where batches go, unless a task says otherwise.
        status_path: Where the checkpoint is asked for.

    Raises:
        ValueError: nothing says who may send.
    """

    def __init__(
        self,
        store: Store,
        *,
        keys: Keys = (),
        users: Mapping[str, str] | None = None,
        dependency: Callable[..., Any] | None = None,
        max_bytes: int = MAX_BYTES,
        delete_field: str | None = None,
        name_rejected: bool = False,
        path: str = "/ingest-batch",
        status_path: str = "/fuagent-sync-status",
    ) -> None:
        self._store = store
        self._access = Access(keys, users)
        self._dependency = dependency
        self._max_bytes = max_bytes
        self._delete_field = delete_field
        self._name_rejected = name_rejected
        self._path = path
        self._status_path = status_path
        self._routes: dict[str, dict[str, Route]] = {}
        self._tables: tuple[str, Tables] | None = None
        self._closed = self._access.has_keys or self._access.has_users
        if not self._closed and dependency is None:
            raise ValueError("nothing says who may send: give keys, users or a dependency")

    def task(
        self,
        name: str,
        *,
        key: str | Sequence[str],
        table: str | None = None,
        path: str | None = None,
        snapshots: Snapshots = "ask",
        sweep: bool = False,
    ) -> Callable[[_Taker], _Taker]:
        """Declare a task: decorate the type of its rows, or a function.

        A function is called with :class:`fuagent.receiver.service.Changes` inside the transaction,
        after the store has put the rows away; its annotation, ``Changes[Order]``, is the type.

        Args:
            name: The ``task_id``, that is the sync's name.
            key: The property or properties that make up the key of a row.
            table: The table's name in the store; the task's by default.
            path: Where this task's batches go. A sync of several tables has a path for each.
            snapshots: ``"ask"`` for one, until its end marker has come, where none has ended and where the agent suggests it.
            sweep: Take rows away that a finished snapshot did not contain.

        Raises:
            ValueError: the task is declared already at this path, or the store cannot keep such rows.
        """
        names = (key,) if isinstance(key, str) else tuple(key)
        target = Target(table or name, names)
        at = path or self._path

        def declare(taker: _Taker) -> _Taker:
            is_type = isinstance(taker, type) or get_origin(taker) is not None  # dict[str, Any] is no class
            rows = RowType(taker if is_type else _row_type(taker), names, self._delete_field)
            if name in self._routes.get(at, {}):
                raise ValueError(f"task {name} is declared twice at {at}: give one of them another path")
            if is_type and not self._store.keeps_rows:
                raise ValueError(f"task {name}: the store keeps no rows, so decorate a function that takes them")
            self._verify_sweep(name, target.table, sweep=sweep)
            self._store.check(target, sweep=sweep)
            route = Route(name, target, rows, None if is_type else taker, sweep, snapshots)
            self._routes.setdefault(at, {})[name] = route
            return taker

        return declare

    def _verify_sweep(self, name: str, table: str, *, sweep: bool) -> None:
        """Refuse tasks that share a table, one of which would take away what the other has sent."""
        for other in (route for routes in self._routes.values() for route in routes.values()):
            if other.target.table == table and other.task != name and (sweep or other.sweep):
                raise ValueError(
                    f"tasks {other.task} and {name} share the table {table}, and sweep takes away what is not of its own "
                    "task: give each a table, or leave sweep out"
                )

    def tables(self, tables: Tables, path: str = "/ingest/{table}") -> None:
        """Take every task at ``path``, whose ``{table}`` alone says where its rows go.

        There numbers come exactly as they were sent: as a Decimal where 64 bits do not hold one.
        """
        self._tables = path, tables

    @property
    def servers(self) -> list[dict[str, Any]]:
        """``servers`` for the document of your own application: ``FastAPI(servers=receiver.servers)``."""
        return document.servers(self._status_path)

    def router(self) -> APIRouter:
        """The endpoints of all tasks declared so far, for ``include_router``."""
        depends = [Depends(scheme) for scheme in document.schemes(self._access)]
        if self._dependency is not None:
            depends.append(Depends(self._dependency))
        made = APIRouter(dependencies=depends)
        for path, routes in self._routes.items():
            told = document.ingest(list(routes.values()))
            name = f"ingest{len(made.routes) or ''}"
            endpoint = self._ingest_at(routes)
            made.add_api_route(
                path, endpoint, methods=["POST"], response_model=None, operation_id=name, openapi_extra=told
            )
        if self._tables is not None:
            path, tables = self._tables
            endpoint = self._ingest_into(tables)
            made.add_api_route(path, endpoint, methods=["POST"], response_model=None, operation_id="ingest_table")
        made.add_api_route(
            self._status_path,
            self._status,
            methods=["GET"],
            response_model=None,
            operation_id="sync_status",
            openapi_extra=document.status(),
        )
        return made

    def app(self, title: str = "Receiver of fuagent") -> FastAPI:
        """The endpoints as an application, with its document at ``/openapi.json``."""
        made = FastAPI(title=title, servers=self.servers, docs_url=None, redoc_url=None)
        made.include_router(self.router())
        if self._tables is not None:
            path, tables = self._tables
            general = made.openapi
            # Tables come while it runs, so the document is made anew each time; only the rest of it is kept.
            made.openapi = lambda: document.per_table(general(), path, tables)  # type: ignore[method-assign]
        return made

    def _ingest_at(self, routes: Mapping[str, Route]) -> Callable[[Request], Any]:
        async def ingest(request: Request) -> Response:
            return await self._answered(request, lambda grant: self._take(request, grant, routes.get))

        return ingest

    def _ingest_into(self, tables: Tables) -> Callable[[Request], Any]:
        async def ingest(request: Request) -> Response:
            table = request.path_params["table"]
            return await self._answered(
                request, lambda grant: self._take(request, grant, lambda _task: tables.route(table), exact=True)
            )

        return ingest

    async def _status(self, request: Request) -> Response:
        return await self._answered(request, lambda grant: self._tell(request, grant))

    async def _answered(self, request: Request, answer: Callable[[Grant], Any]) -> Response:
        """What ``answer`` gives, once the request has proven that it may ask, or the refusal."""
        try:
            grant = self._access.grant(request.headers) if self._closed else Grant()
            if grant is None:
                raise _RefusedError(401, "the key, or user and password, are missing or wrong")
            result: Response = await answer(grant)
            return result
        except PayloadError as error:
            return _refusal(422, error.what, detail=error.where)
        except (_RefusedError, body.BodyError) as error:
            return _refusal(error.status, str(error))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Exception:
            return _refusal(500, "the request failed; the log says why under this id", failed=True)

    async def _take(self, request: Request, grant: Grant, find: Find, *, exact: bool = False) -> Response:
        raw = await body.read(request.stream(), self._max_bytes)
        coding = request.headers.get("content-encoding", "")
        key = request.headers.get("idempotency-key", "")
        done = await run_in_threadpool(self._receive, raw, coding, key, grant, find, exact=exact)
        if done.late:
            # Not 409, which says that the rows are at fault: the agent would cut the batch down. Not 200
            # either: whoever waits for this answer would believe rows stored that are not. Nobody should
            # wait, since an agent sends the next number only after the answer to this one.
            raise _RefusedError(425, "a later batch of this sync has been stored; this one was not applied")
        answer: dict[str, Any] = {"snapshot_needed": done.snapshot_needed}
        if done.rejected:
            answer["rejected"] = [{"row": number, "reason": clean(reason)} for number, reason in done.rejected]
        return _json(answer)

    def _receive(self, raw: bytes, coding: str, key: str, grant: Grant, find: Find, *, exact: bool) -> Answer:
        """Unpack, read, find the task and apply; everything that takes time."""
        batch = payload.read(body.unpack(raw, coding, self._max_bytes), exact=exact)
        _verify_grant(grant, batch.task_id)
        try:
            route = find(batch.task_id)
        except NoRouteError as error:
            raise _RefusedError(404, str(error)) from None
        if route is None:
            raise _RefusedError(404, "no such task is declared at this path")
        return receive(self._store, route, batch, key, name_rejected=self._name_rejected)

    async def _tell(self, request: Request, grant: Grant) -> Response:
        agent_id, task_id = (request.query_params.get(name, "") for name in ("agent_id", "task_id"))
        if not agent_id or not task_id:
            raise _RefusedError(400, "the query needs task_id and agent_id")
        _verify_grant(grant, task_id)
        verify_agent(agent_id)
        known = self._tables is not None or any(task_id in routes for routes in self._routes.values())
        index = await run_in_threadpool(self._store.checkpoint, agent_id, task_id) if known else None
        if index is None:
            return _json({"error": "there is no checkpoint yet"}, 404)
        return _json({"index": index})


def _row_type(taker: Callable[..., Any]) -> Any:
    """The row type in the annotation ``Changes[…]`` of a function's parameter; dictionaries where there is none."""
    hints = [hint for name, hint in get_type_hints(taker).items() if name != "return"]
    named = get_args(hints[0]) if hints else ()
    return named[0] if named else dict[str, Any]


def _verify_grant(grant: Grant, task_id: str) -> None:
    if not grant.covers(task_id):
        raise _RefusedError(403, "this key is not for this task")


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _refusal(status: int, reason: str, *, detail: str = "", failed: bool = False) -> Response:
    """``detail`` is for the log alone."""
    number = secrets.token_hex(6)
    reason = clean(reason)
    _LOG.log(
        logging.ERROR if failed else logging.WARNING,
        "request %s is answered with %d: %s%s",
        number,
        status,
        reason,
        f" ({clean(detail)})" if detail else "",
        exc_info=failed,
    )
    made = _json({"error": reason, "id": number}, status)
    if status == 401:
        made.headers["www-authenticate"] = "Basic, Bearer"
    return made
