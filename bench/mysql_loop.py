"""What one would write by hand: mysql-replication reads the binlog, requests posts what each transaction changed.

Arguments, as one text of JSON: ``port``, ``user``, ``password``, ``file`` and ``offset`` where to begin, the
service's ``url``, and ``rows`` after which to end (0: never). The place goes along with each request, so that the
service can keep it as the checkpoint.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys

import requests
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.event import XidEvent
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

OPERATIONS = {WriteRowsEvent: "insert", UpdateRowsEvent: "update", DeleteRowsEvent: "delete"}


def plain(value: object) -> str:
    """What JSON has no word for."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def main() -> None:
    """Post transaction by transaction."""
    told = json.loads(sys.argv[1])
    stream = BinLogStreamReader(
        connection_settings={key: told[key] for key in ("port", "user", "password")} | {"host": "127.0.0.1"},
        server_id=4711,
        blocking=True,
        resume_stream=True,
        log_file=told["file"],
        log_pos=told["offset"],
        only_events=[*OPERATIONS, XidEvent],
        only_schemas=["shop"],
        only_tables=["orders"],
        enable_logging=False,
    )
    session = requests.Session()
    changes: list[dict[str, object]] = []
    sent = 0
    for event in stream:
        if not isinstance(event, XidEvent):
            operation = OPERATIONS[type(event)]
            changes += ({"operation": operation, "row": row.get("after_values") or row["values"]} for row in event.rows)
        elif changes:
            body = json.dumps({"place": [stream.log_file, stream.log_pos], "changes": changes}, default=plain)
            session.post(told["url"], data=body, headers={"content-type": "application/json"}).raise_for_status()
            sent += len(changes)
            changes = []
            if 0 < told["rows"] <= sent:
                break


if __name__ == "__main__":
    main()
