"""Traces of a real agent, as a collector and the service meet them."""

from __future__ import annotations

import json
from pathlib import Path

from harness import canary, shop
from harness.agent import Agent, config
from harness.collector import CLIENT, ERROR, Collector
from harness.service import Service


def settings(service: Service, database: Path) -> dict[str, object]:
    """An agent whose requests carry secrets in headers and query, and whose rows are canaries."""
    pusher = {
        "credential": {"key": canary.KEY},
        "driver_params": {"batch_endpoint": f"/ingest-batch?token={canary.TOKEN}"},
    }
    return config(database, service.openapi, sync={"batch_size": 10}, pusher=pusher)


async def test_every_attempt_is_a_span_and_the_service_knows_which(tmp_path: Path) -> None:
    """One trace for each batch, its attempts in it, each named to the service; who, what and how much, and no more."""
    canary.database(tmp_path / "shop.db", 15)
    async with Service(key=canary.KEY) as service, Collector() as collector:
        service.script.extend([503, 503])
        env = collector.environment | {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20c-1"}
        agent = Agent(tmp_path, settings(service, tmp_path / "shop.db"), env, measured=True)
        async with agent:
            code = await agent.once()
            posts, spans = service.posts, collector.spans
            keys = [post.headers["idempotency-key"] for post in posts]
            first, *others = [span for span in spans if span.attributes["fuagent.batch.key"] == keys[0]]

            assert code == 0
            # 10 rows (three attempts), 5 rows, the end marker: in order, each with its place in the trace.
            assert [post.status for post in posts] == [503, 503, 200, 200, 200]
            assert [span.attributes["fuagent.batch.key"] for span in spans] == keys
            told = [post.headers["traceparent"].split("-") for post in posts]
            assert [(trace, attempt) for _, trace, attempt, _ in told] == [(one.trace, one.id) for one in spans]
            assert {(version, int(flags, 16) & 1) for version, _, _, flags in told} == {("00", 1)}
            assert len({span.trace for span in spans}) == len(set(keys)) == 3
            assert [span.parent for span in spans] == ["", first.id, first.id, "", ""]
            assert first.name == "POST /ingest-batch"
            assert {span.kind for span in spans} == {CLIENT}
            assert (first.status, first.attributes["error.type"]) == (ERROR, "503")
            assert others[1].status == 0
            assert "error.type" not in others[1].attributes
            assert first.attributes.get("http.request.resend_count") is None
            assert others[1].attributes == {
                "fuagent.sync": "orders-sync",
                "fuagent.table": "orders",
                "fuagent.batch.key": keys[0],
                "fuagent.batch.rows": 10,
                "fuagent.batch.bytes": sum(
                    len(json.dumps(one, separators=(",", ":"))) for one in posts[2].json["events"]
                ),
                "fuagent.batch.snapshot_end": False,
                "fuagent.outcome": "acknowledged",
                "http.request.method": "POST",
                "http.request.resend_count": 2,
                "http.response.status_code": 200,
                "server.address": "127.0.0.1",
                "server.port": service.port,
                "url.full": f"{service.url}/ingest-batch",
                "url.template": "/ingest-batch",
            }
            assert spans[3].attributes["fuagent.batch.index"] == service.checkpoint
            assert [span.attributes["fuagent.batch.snapshot_end"] for span in spans] == [False] * 4 + [True]
            assert (
                spans[0].resource.items()
                >= {
                    "service.name": "fuagent",
                    "service.instance.id": "agent-0123456789ab",
                }.items()
            )
            assert {one["authorization"] for one in collector.headers} == {"Bearer c-1"}
            sent = b"".join(collector.bodies) + agent.text().encode()
            assert [secret for secret in canary.SECRETS | canary.ROWS | {b"c-1"} if secret in sent] == []


async def test_a_collector_that_swallows_holds_nothing_up(tmp_path: Path) -> None:
    """Every row arrives, more spans than there is room for are dropped and said, and the agent ends although nobody answers."""
    shop.make(tmp_path / "shop.db", 200).close()
    never = {
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3600",
        "OTEL_BSP_MAX_QUEUE_SIZE": "4",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2",
    }
    async with Service() as service, Collector(swallow=True) as collector:
        agent = Agent(
            tmp_path,
            config(tmp_path / "shop.db", service.openapi, sync={"batch_size": 10}),
            collector.environment | never,
            measured=True,
        )
        async with agent:
            code = await agent.once()
            lines = [json.loads(line) for line in agent.text().splitlines()]

            assert code == 0
            assert len(service.rows) == 200
            assert len(service.posts) == 21
            assert [line["event"] for line in lines].count("traces are lost") == 1
            assert [line for line in lines if "exception" in line] == []
