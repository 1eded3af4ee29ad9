"""The contract as a table of exchanges, for both ends; nothing here opens a connection.

Every row is a :class:`Case`: one statement of the contract, which section it
stands in, who owes it, and a conversation in which it shows.

**The agent's side** (:data:`AGENT_CASES`). The agent runs for real and a
scripted service answers it::

    script = Script(case)
    # Give the agent one table, items(id integer primary key, name text, email text),
    # with the rows case.setup.rows; a sync named case.setup.task_id;
    # agent_id case.setup.agent_id; the pusher entry pusher(case.setup, origin).
    # Serve document(case.setup, origin) at /openapi.json, and for every other request:
    reply = script.answer(Request(method, path, query, headers, body))
    # Meanwhile, until script.done or a deadline of your own:
    while (act := script.due()) is not None:
        ...  # do act.do (with act.row) to the table or to the agent
    # Then stop the agent in an orderly way and look:
    assert script.failures() == []

An :class:`Exchange` is one request that is owed and the answer it gets; its
acts happen before it, and nothing may arrive until they have. The question for
the checkpoint may come at any other time as well: it is then answered with what
the script has acknowledged so far. Every request is held against the checks
that always apply (paths, headers, credential, the keys of the body) besides
those of its exchange.

Be patient in ``4-needed`` and ``4-suggestion-taken``: an agent may put off a
snapshot for a while after the one before it.

**The service's side** (:data:`SERVICE_CASES`). Somebody sends, the service
answers::

    setup = Setup(task_id=..., agent_id=...)   # fresh ids for every case
    replies = []
    for step in case.steps:
        replies.append(send(step.send(setup)))
        broken = [e.text for e in step.expects if not e.met(setup, replies)]

A case that :meth:`Case.applies` says no to (no status endpoint, no credential)
is left out. ``Setup.rows`` must be rows the service takes.
"""

from fuagent.receiver.cases.agent import AGENT_CASES
from fuagent.receiver.cases.exchange import (
    Act,
    Ask,
    Case,
    Check,
    Do,
    Exchange,
    Exchanged,
    Expect,
    Reply,
    Request,
    Scene,
    Setup,
    Side,
    Step,
    credential_headers,
    document,
    pusher,
)
from fuagent.receiver.cases.script import Script
from fuagent.receiver.cases.service import SERVICE_CASES

CASES: tuple[Case, ...] = (*AGENT_CASES, *SERVICE_CASES)
"""Every statement of the contract's sections 2 to 5 that can be seen from outside."""

__all__ = [
    "AGENT_CASES",
    "CASES",
    "SERVICE_CASES",
    "Act",
    "Ask",
    "Case",
    "Check",
    "Do",
    "Exchange",
    "Exchanged",
    "Expect",
    "Reply",
    "Request",
    "Scene",
    "Script",
    "Setup",
    "Side",
    "Step",
    "credential_headers",
    "document",
    "pusher",
]
