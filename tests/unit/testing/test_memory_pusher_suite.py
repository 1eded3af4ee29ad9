"""The pusher in memory keeps the promises of a pusher."""

from service_kit import ACTS, SAID, ServiceKit

from fuagent.testing.pusher_kit import Act, Said
from fuagent.testing.pusher_suite import PusherSuite


class TestMemoryPusher(PusherSuite):
    """Every promise but those of a wire."""

    Kit = ServiceKit
    no_act = dict.fromkeys(set(Act) - set(ACTS), "memory has no wire to be cut, silent or led elsewhere")
    no_said = dict.fromkeys(set(Said) - set(SAID), "memory answers at once")
    no_rotate = "there is no credential"
