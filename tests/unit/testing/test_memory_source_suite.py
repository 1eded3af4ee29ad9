"""The source in memory keeps the promises of a source."""

from memory_kit import MemoryKit

from fuagent.testing.source_suite import SourceSuite


class TestMemorySource(SourceSuite):
    """Every promise but one that memory cannot break."""

    Kit = MemoryKit
    no_roll_back = "a transaction in memory is made whole, and cannot fail"
    no_replace = "a database in memory is itself; another one is another object"
