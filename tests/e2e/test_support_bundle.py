"""The support bundle: what helps is in it, and no secret and no row's value, beside an agent and without one."""

from __future__ import annotations

import json
import re
import stat
import tarfile
from pathlib import Path

import pytest
from aiohttp import web

from harness import canary
from harness.agent import Agent, until
from harness.service import Request, Service

SYNCS = ("by-key", "by-password", "by-token")


async def refusing_a_row(request: Request) -> web.Response:
    """Refuses one row, and says the whole request again, headers and rows."""
    if request.path == "/token":
        return web.json_response({"access_token": canary.TOKEN, "token_type": "Bearer", "expires_in": 3600})
    if not any(event["name"] == canary.row(3) for event in request.json["events"]):
        return web.json_response({})
    return web.json_response({"detail": f"{request.headers} {request.body.decode()}"}, status=422)


async def own_checkpoint(request: Request) -> web.StreamResponse:
    """None: each sync is a stranger."""
    return web.json_response({"index": 0, "note": str(request.headers)})


def scene(directory: Path, service: Service) -> Agent:
    """Three syncs, and a secret in every place that one can be in: the file, a comment, the environment, a file, a URL."""
    canary.database(directory / "shop.db")
    service.key, service.answer, service.answer_status = None, refusing_a_row, own_checkpoint
    settings = canary.settings(directory, service.openapi, f"{service.url}/token", on_reject="set_aside")
    settings["pushers"]["with-key"]["credential"] = {"key": canary.KEY}
    settings["pushers"]["with-key"]["endpoint"] += f"?key={canary.KEY}"
    settings["pushers"]["with-token"]["credential"] |= {"client_secret_file": "secret"}
    del settings["pushers"]["with-token"]["credential"]["client_secret"]
    (directory / "secret").write_text(canary.CLIENT_SECRET + "\n")
    (directory / "secret").chmod(0o600)
    agent = Agent(directory, settings, {"CANARY_PASSWORD": canary.PASSWORD})
    agent.path.write_text(agent.path.read_text() + f"# The old key was {canary.KEY}.\n")
    return agent


async def bundle(agent: Agent, path: Path, *arguments: str) -> tuple[dict[str, bytes], str]:
    """Make a bundle: its files, and what was printed."""
    code, out, err = await agent.call("support-bundle", "--output", str(path), *arguments)
    assert (code, err) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        assert {member.mode for member in members} == {0o600}
        return {Path(one.name).name: archive.extractfile(one).read() for one in members}, out  # type: ignore[union-attr]


@pytest.mark.fault("S05", "S06", "S10")
async def test_beside_a_running_agent_and_after_it(tmp_path: Path) -> None:
    """Everything is there; nothing that was planted is, not even from a log that others write into."""
    async with Service() as service, scene(tmp_path, service) as agent:
        await agent.start("--log-level", "debug")

        async def all_there() -> bool:
            told = [await agent.status(name) for name in SYNCS]
            return all(one.get("state") == "caught up" and one.get("rejected") == 1 for one in told)

        await until(all_there, f"every sync has set its row aside; the log says:\n{agent.text()[-3000:]}")
        with agent.log.open("a") as log:
            log.write(f"another program says {canary.row(1)} and {canary.KEY}\n")
        files, out = await bundle(agent, tmp_path / "one.tar.gz", "--log", str(agent.log))
        await agent.end()
        after, _ = await bundle(agent, tmp_path / "two.tar.gz")
        code, _, err = await agent.call("support-bundle", "--output", str(tmp_path / "two.tar.gz"))

    assert canary.leaks(files) == []
    assert canary.leaks(after) == []
    assert [name for name in files if name not in out] == []
    # More where the environment of whoever runs this holds some.
    assert int(re.search(r"for the (\d+) secrets", out)[1]) >= 3
    assert [sync["name"] for sync in json.loads(files["status.json"])["syncs"]] == list(SYNCS)
    assert b'fuagent_rejected_rows{sync="by-key"} 1.0' in files["metrics.txt"]
    assert b"${CANARY_PASSWORD}" in files["config.yaml"]
    assert json.loads(files["tables.json"])["by-key"]["tables"][0]["columns"][1]["name"] == "name"
    kept = json.loads(files["journal.json"])["syncs"]["by-key"]
    assert (kept["rejected_kept"], kept["rejected"][0]["status"], kept["rejected"][0]["table"]) == (1, 422, "orders")
    assert kept["anchors"][0]["anchor"]["index"] > 0
    assert b"agent starts" in files["log.txt"]
    assert b"1 lines left out" in files["log.txt"]
    assert b"no agent is running" in after["status.json"]
    assert json.loads(after["journal.json"])["syncs"]["by-key"]["rejected"] == kept["rejected"]
    # What was made is not overwritten.
    assert code == 5
    assert "File exists" in err
