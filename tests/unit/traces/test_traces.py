"""When traces are recorded, what is said where they cannot be, and what becomes of an attempt that has no answer."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fuagent import traces
from fuagent.interfaces import Locating, PusherContext, Whereabouts
from fuagent.model import Batch, Outcome, Refused, Verdict
from fuagent.model_rows import Texts
from fuagent.testing.clock import ManualClock
from fuagent.testing.service import MemoryPusher, Service
from fuagent.traces import Traced, Traces, refused, wanted
from harness.agent import unmeasured

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@127.0.0.1:1/v?token=secret"}


@pytest.fixture
def library():
    """The logger of the library, put back as it was; its threads are waited for, so that no other test meets them."""
    logger = logging.getLogger("opentelemetry")
    before = logger.handlers[:], logger.propagate
    others = set(threading.enumerate())
    yield logger
    for thread in set(threading.enumerate()) - others:
        thread.join(30)
    logger.handlers[:], logger.propagate = before
    assert set(threading.enumerate()) <= others


class Answering(MemoryPusher):
    """A pusher that gives what a test put in, and remembers the headers it was given for it."""

    def __init__(self, *answers, route="https://api.example/v1/in?key=secret"):
        context = PusherContext("orders", "agent-1", "memory://", lambda: None, None, 1.0)
        super().__init__(context, Service(ManualClock()))
        self.answers = list(answers)
        self.told = route

    def route(self, _table):
        return self.told

    async def push(self, _batch):
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


async def spans_of(pusher, *batches):
    """What is recorded of these attempts."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    kept = Traces(provider)
    traced = Traced(pusher, kept.of("orders"))
    for batch in batches:
        try:
            await traced.push(batch)
        except Exception as error:
            assert type(error) is RuntimeError
    await kept.end()
    return exporter.get_finished_spans()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_SERVICE_NAME": "fuagent"}, False),
    ],
)
def test_the_environment_asks_for_traces_or_does_not(environ, expected):
    """A place to send them or the exporter turns them on; either switch turns them off."""
    assert wanted(environ) is expected


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (ENDPOINT, ""),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ""),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "write otlp, or none"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ""),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "only http/protobuf is spoken"),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            "",
        ),
    ],
)
def test_what_there_is_not_is_named(environ, told):
    """The variable, and what to write."""
    assert told in refused(environ)
    assert bool(refused(environ)) is bool(told)


def test_nothing_is_loaded_unless_asked_for():
    """Neither by the agent's own imports nor by looking at an environment that says nothing of traces."""
    code = (
        "import sys, fuagent.app; from fuagent import traces\n"
        "assert traces.begin('agent-1', {'OTEL_SERVICE_NAME': 'x'}, None, None) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=unmeasured())

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_without_the_extra_it_is_said(monkeypatch, library):
    """One warning with the command; no traces, and no error."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with structlog.testing.capture_logs() as lines:
        made = traces.begin("agent-1", ENDPOINT, structlog.get_logger(), ManualClock())

    assert made is None
    assert [line["log_level"] for line in lines] == ["warning"]
    assert "pip install 'fuagent[otel]'" in lines[0]["fix"]


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "only http/protobuf is spoken"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "see to the variables OTEL_*"),
    ],
)
def test_what_cannot_be_had_is_said(environ, told, monkeypatch, library):
    """Another protocol, and a value that the library refuses: one warning with what to do, and no traces."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with structlog.testing.capture_logs() as lines:
        made = traces.begin("agent-1", ENDPOINT | environ, structlog.get_logger(), ManualClock())

    assert made is None
    assert [(line["event"], told in line["fix"]) for line in lines] == [
        ("traces are asked for, and there are none", True)
    ]


async def test_a_collector_that_is_gone_is_one_line(monkeypatch, library):
    """However often the library complains: one line in thirty seconds, with the address and without what is secret in it."""
    for name, value in {**ENDPOINT, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}.items():
        monkeypatch.setenv(name, value)
    # A library that is late with its own end would complain in the midst of what follows.
    monkeypatch.setattr(traces, "LAST", 60.0)
    clock = ManualClock()
    with structlog.testing.capture_logs() as lines:
        made = traces.begin("agent-1", ENDPOINT, structlog.get_logger(), clock)
        assert made is not None
        await Traced(Answering(Outcome(Verdict.ACKNOWLEDGED)), made.of("orders")).push(Batch("orders", "agent-1", "k"))
        await made.end()
        for _ in range(5):
            library.error("it said %s", "secret")
        complaints = len(lines)
        clock.advance(31)
        logging.getLogger("opentelemetry.exporter").warning("again")

    assert [line["event"] for line in lines] == ["traces go out", "traces are lost", "traces are lost"]
    assert complaints == 2
    assert lines[-1]["more"] >= 5
    assert "http://127.0.0.1:1/v" in lines[0]["to"]
    assert "secret" not in str(lines)


async def test_the_end_waits_for_nobody_for_long(monkeypatch):
    """A library that never comes back from its own end is left behind."""
    monkeypatch.setattr(traces, "LAST", 0.05)
    let_go = threading.Event()

    class Stuck(TracerProvider):
        def shutdown(self):
            let_go.wait()

    kept = Traces(Stuck(shutdown_on_exit=False))
    try:
        await asyncio.wait_for(kept.end(), 30)
    finally:
        stuck = not let_go.is_set()
        let_go.set()

    assert stuck


async def test_an_attempt_without_an_answer_is_an_error():
    """What a pusher raises goes on as it is, and the span ends with its type alone."""
    found = await spans_of(
        Answering(RuntimeError("secret"), Outcome(Verdict.ACKNOWLEDGED)), *[Batch("o", "a", "k")] * 2
    )

    assert [span.attributes.get("error.type") for span in found] == ["RuntimeError", None]
    assert [span.status.is_ok for span in found] == [False, True]
    assert "secret" not in "".join(span.to_json() for span in found)
    assert found[0].events == ()


async def test_outcomes_in_spans():
    """The case where there is no status, the words of the outcome, and how many rows an answer refused."""
    named = (Refused(0, "secret"), Refused(1, "secret"))
    outcomes = (
        Outcome(Verdict.RETRY, "no connection to the service", case="no connection"),
        Outcome(Verdict.UNAUTHORISED, "refused"),
        Outcome(Verdict.ACKNOWLEDGED, status=200, rejected=named),
    )
    found = await spans_of(Answering(*outcomes), Batch("o", "a", "1"), Batch("o", "a", "2"), Batch("o", "a", "3"))

    assert [span.attributes.get("error.type") for span in found] == ["no connection", "_OTHER", None]
    assert found[0].status.description == "no connection to the service"
    assert [span.attributes.get("fuagent.batch.rejected") for span in found] == [None, None, 2]
    assert found[0].attributes["server.port"] == 443
    assert found[0].attributes["url.full"] == "https://api.example/v1/in"
    assert len({span.context.trace_id for span in found}) == 3


async def test_a_pusher_without_http_has_spans_too():
    """No words of HTTP where there is none; rows that are joined count as they are."""
    rows = Texts(b'{"id":1},{"id":2}', 2)
    found = await spans_of(
        Answering(Outcome(Verdict.ACKNOWLEDGED), route="stdout"), Batch("o", "a", "1", rows, index=7)
    )

    assert found[0].name == "push"
    assert dict(found[0].attributes) == {
        "fuagent.sync": "orders",
        "fuagent.batch.key": "1",
        "fuagent.batch.rows": 2,
        "fuagent.batch.bytes": 16,
        "fuagent.batch.snapshot_end": False,
        "fuagent.batch.index": 7,
        "fuagent.outcome": "acknowledged",
    }


def test_what_else_a_pusher_offers_it_still_offers():
    """One that says where it found its other side says so with traces as well; one that cannot is not taken for such."""

    class Found(Answering):
        def whereabouts(self):
            return Whereabouts("https://api.example/openapi.json", None)

    spans = Traces(TracerProvider(shutdown_on_exit=False)).of("orders")
    with_it, without = Traced(Found(), spans), Traced(Answering(), spans)

    assert isinstance(with_it, Locating)
    assert with_it.whereabouts().document == "https://api.example/openapi.json"
    assert not isinstance(without, Locating)
