"""The suite over the pusher of the guide."""

import json

from jsonlines import JsonLines

from fuagent.testing.pusher_kit import Act, PusherKit
from fuagent.testing.pusher_suite import PusherSuite


class Kit(PusherKit):
    def pusher(self):
        return JsonLines(self.context(options=JsonLines.Options(file="out.jsonl")))

    async def received(self):
        path = self.directory / "out.jsonl"
        return path.read_bytes().splitlines() if path.exists() else []

    def events(self, body):
        return json.loads(body)["events"]


class TestJsonLines(PusherSuite):
    Kit = Kit
    no_act = dict.fromkeys(Act, "a file answers nothing")
    no_checkpoint = "the file is not asked; the journal remembers"
    no_rotate = "there is no credential"
