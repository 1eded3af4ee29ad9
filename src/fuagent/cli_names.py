"""Arguments that name a sync, and what a shell completes them with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sync_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The syncs of the configuration that begin so; nothing where it cannot be read.

    Whatever is wrong with it is for ``fuagent check`` to say: a shell waits for names, not for errors.
    """
    import yaml

    given = ctx.params.get("config") or ctx.find_root().params.get("config") or "config.yaml"
    try:
        syncs = yaml.safe_load(Path(given).read_text(encoding="utf-8"))["syncs"]
        return [name for name in map(str, syncs) if name.startswith(incomplete)]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return []


SyncArgument = Annotated[str, typer.Argument(help="Name of the sync.", show_default=False, autocompletion=sync_names)]
SyncMayArgument = Annotated[
    str | None, typer.Argument(help="Name of the sync; all of them, if left out.", autocompletion=sync_names)
]
