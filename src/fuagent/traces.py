"""Traces: where a batch's time goes, for whoever follows a change through several systems (OpenTelemetry).

Each attempt to deliver a batch is one span, ended as soon as the attempt is: an outage is seen while it lasts. All
attempts of a batch are one trace, those after the first below it; so in a run without faults there is one span per batch.
The service is told which attempt it sees by the header ``traceparent`` (https://www.w3.org/TR/trace-context/), and
whatever it records itself then stands below that attempt.

A span holds names, sizes, numbers, the URL without its query, and words of ours: never a row, and never a secret.

The environment decides, as with every other program (``OTEL_*``,
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). Where it says nothing, the library is
not even imported. Spans leave in a thread of the library's own: a collector that is slow or gone costs spans, never time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from fuagent.contract.text import address
from fuagent.engine.repeats import Repeats
from fuagent.interfaces import Clock, Locating, Pusher
from fuagent.model import Batch, Outcome, Verdict
from fuagent.model_rows import Texts
from fuagent.version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

Log = structlog.typing.FilteringBoundLogger
LAST = 3.0
"""Seconds that the spans not yet sent have at the end of the agent."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"
_DEFAULT = "http://localhost:4318"
_PORTS = {"http": 80, "https": 443}

Attributes = dict[str, str | int | bool]


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces: an exporter or an endpoint is named, and nothing turns them off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter != "none"
    return _first(environ, ENDPOINTS) != ""


def refused(environ: Mapping[str, str]) -> str:
    """What the environment asks for that there is not; empty where it can be met."""
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporters and "otlp" not in [one.strip() for one in exporters.split(",")]:
        return "OTEL_TRACES_EXPORTER names no exporter that is here: write otlp, or none."
    if _first(environ, PROTOCOLS) not in ("", _SPOKEN):
        return f"only {_SPOKEN} is spoken: set {PROTOCOLS[0]} to it, and the collector's port for it (mostly 4318)."
    return ""


def begin(agent_id: str, environ: Mapping[str, str], log: Log, clock: Clock) -> Traces | None:
    """Traces as the environment asks for them; None where it does not, or where they cannot be had, which is said.

    Nothing about traces keeps an agent from its rows.
    """
    if not wanted(environ):
        return None
    fix = refused(environ)
    if not fix:
        try:
            made = Traces(_provider(agent_id))
        except ImportError:
            fix = "pip install 'fuagent[otel]', or set OTEL_SDK_DISABLED=true."
        except Exception as error:  # whatever the library makes of values it does not like
            fix = f"see to the variables OTEL_*: they were refused with {type(error).__name__}."
    if fix:
        log.warning("traces are asked for, and there are none", fix=fix)
        return None
    where = address(_first(environ, ENDPOINTS) or _DEFAULT)
    _take_over(log, clock, where)
    log.info("traces go out", to=where)
    return made


def _first(environ: Mapping[str, str], names: Sequence[str]) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _provider(agent_id: str) -> TracerProvider:
    """What makes spans and sends them: in batches, from a thread of its own, through a queue that drops what is too much.

    Raises:
        ImportError: the extra is not installed.
    """
    # Optional: fuagent[otel].
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # optional
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # optional
    from opentelemetry.sdk.trace import TracerProvider  # optional
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # optional

    ours = {"service.name": "fuagent", "service.version": __version__, "service.instance.id": agent_id}
    # What the environment says of the service counts more than our own words.
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())
    # The library would wait at the end of the process for as long as it likes: see Traces.end.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _Said(logging.Handler):
    """Puts one line of ours in the place of all that the library says about a collector that does not answer.

    Its own lines come several times a second, and repeat what the collector said.
    """

    def __init__(self, log: Log, clock: Clock, where: str) -> None:
        super().__init__()
        self._log = log
        self._where = where
        self._repeats = Repeats(clock)

    def emit(self, _record: logging.LogRecord) -> None:
        more = self._repeats.met("lost")
        if more is not None:
            fix = f"see that a collector takes OTLP over HTTP at {self._where}; rows are delivered all the same."
            self._log.warning("traces are lost", fix=fix, more=more)


def _take_over(log: Log, clock: Clock, where: str) -> None:
    library = logging.getLogger("opentelemetry")
    library.handlers[:] = [_Said(log, clock, where)]
    library.propagate = False


class Traces:
    """The traces of one run of the agent."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("fuagent", __version__)

    def of(self, sync: str) -> Spans:
        """What makes the spans of one sync."""
        return Spans(sync, self._tracer)

    async def end(self) -> None:
        """Send what is left, for :data:`LAST` seconds at most."""
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        def shut() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop may be gone by now
                loop.call_soon_threadsafe(ended.set)

        # In a thread that nobody waits for: a collector that swallows requests would hold up the end of the process.
        threading.Thread(target=shut, daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST):
                await ended.wait()


class Spans:
    """The spans of one sync, one at a time."""

    def __init__(self, sync: str, tracer: Tracer) -> None:
        self._sync = sync
        self._tracer = tracer
        self._key = ""
        self._attempts = 0
        self._trace: Context | None = None
        """Below what the attempts after the first stand."""
        self._headers: tuple[tuple[str, str], ...] = ()

    def headers(self) -> Sequence[tuple[str, str]]:
        """What names the attempt under way to the service."""
        return self._headers

    def begin(self, batch: Batch, route: str) -> Span:
        """An attempt to deliver ``batch`` begins."""
        from opentelemetry import trace  # optional: fuagent[otel]
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # optional

        again = batch.key == self._key
        self._attempts = self._attempts + 1 if again else 1
        http = urlsplit(route).scheme in _PORTS
        span = self._tracer.start_span(
            f"POST {urlsplit(route).path}" if http else "push",
            context=self._trace if again else trace.set_span_in_context(trace.INVALID_SPAN),
            kind=trace.SpanKind.CLIENT,
            attributes={**self._about(batch), **(_request(route, self._attempts) if http else {})},
        )
        here = trace.set_span_in_context(span)
        if not again:
            self._key, self._trace = batch.key, here
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, here)
        self._headers = tuple(carrier.items())
        return span

    def finish(self, span: Span, outcome: Outcome) -> None:
        """The attempt ended so."""
        span.set_attribute("fuagent.outcome", outcome.verdict.value)
        if outcome.status is not None:
            span.set_attribute("http.response.status_code", outcome.status)
        if outcome.rejected:
            span.set_attribute("fuagent.batch.rejected", len(outcome.rejected))
        if outcome.verdict is not Verdict.ACKNOWLEDGED:
            self._fail(span, str(outcome.status or outcome.case or "_OTHER"), outcome.reason)

    def abandon(self, span: Span, error: BaseException) -> None:
        """The attempt ended without an outcome: it was cancelled, or is a defect."""
        self._fail(span, type(error).__name__, "")

    @staticmethod
    def _fail(span: Span, kind: str, words: str) -> None:
        from opentelemetry.trace import Status, StatusCode  # optional: fuagent[otel]

        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, words or None))

    def _about(self, batch: Batch) -> Attributes:
        events = batch.events
        about: Attributes = {
            "fuagent.sync": self._sync,
            "fuagent.batch.key": batch.key,
            "fuagent.batch.rows": len(events),
            # Joined rows are not cut apart for their length.
            "fuagent.batch.bytes": events.size if isinstance(events, Texts) else sum(map(len, events)),
            "fuagent.batch.snapshot_end": batch.is_snapshot_end,
        }
        if batch.table:
            about["fuagent.table"] = batch.table
        if batch.index:
            about["fuagent.batch.index"] = batch.index
        return about


def _request(route: str, attempt: int) -> Attributes:
    """The attempt as the conventions for HTTP have it (https://opentelemetry.io/docs/specs/semconv/http/http-spans/)."""
    parts = urlsplit(route)
    about: Attributes = {
        "http.request.method": "POST",
        "server.address": parts.hostname or "",
        "server.port": parts.port or _PORTS[parts.scheme],
        "url.full": address(route),
        "url.template": parts.path,
    }
    if attempt > 1:
        about["http.request.resend_count"] = attempt - 1
    return about


class Traced:
    """A pusher each of whose attempts is a span; all else it does itself."""

    def __init__(self, pusher: Pusher, spans: Spans) -> None:
        self._pusher = pusher
        self._spans = spans
        self.open = pusher.open
        self.close = pusher.close
        self.check = pusher.check
        self.event_schema = pusher.event_schema
        self.route = pusher.route
        self.checkpoint = pusher.checkpoint
        self.refresh = pusher.refresh
        if isinstance(pusher, Locating):
            self.whereabouts = pusher.whereabouts

    async def push(self, batch: Batch) -> Outcome:
        """Send one batch once."""
        span = self._spans.begin(batch, self._pusher.route(batch.table))
        try:
            outcome = await self._pusher.push(batch)
            self._spans.finish(span, outcome)
            return outcome
        except BaseException as error:
            self._spans.abandon(span, error)
            raise
        finally:
            span.end()
