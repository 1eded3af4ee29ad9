"""Sources that each break one promise, and the test of the suite that says so."""

import asyncio
from dataclasses import replace

from fuagent.errors import LostPlaceError
from fuagent.model import Deletes, Mapping, Place
from fuagent.testing.database import STRIDE
from fuagent.testing.memory import MemorySnapshot, MemorySource


class Shuffled(MemorySource):
    """A transaction comes sorted by table, not in the order of its changes."""

    def _cut(self, *given, numbered):
        first, *others = super()._cut(*given, numbered=numbered)
        found = sorted([first, *others], key=lambda rows: rows.table)
        yield from (replace(rows, boundary=rows is found[-1]) for rows in found)


class BoundariesEverywhere(MemorySource):
    """Every chunk claims to end a transaction."""

    def _cut(self, *given, numbered):
        yield from (replace(rows, boundary=True) for rows in super()._cut(*given, numbered=numbered))


class Counting(MemorySource):
    """Numbers are counted by the driver, not by the log."""

    count = 0

    def _numbers(self, place, transaction):
        self.count += len(transaction.images)
        return [self.count - left for left in range(len(transaction.images))][::-1]


class OneForAnUpdate(MemorySource):
    """An update takes one number."""

    def _numbers(self, place, transaction):
        sent = [number for number, image in enumerate(transaction.images) if image.sent]
        return [place.previous + sum(at <= number for at in sent) for number in range(len(transaction.images))]


class DeafToResume(MemorySource):
    """What was delivered of a transaction comes again."""

    async def stream(self, place, until=None, *, numbered=True):
        async for rows in super().stream(replace(place, resume_after=0), until, numbered=numbered):
            yield rows


class StopsShort(MemorySource):
    """``until`` is taken for the first position not wanted."""

    async def stream(self, place, until=None, *, numbered=True):
        if until is not None:
            epoch, seq = until.split(":")
            until = f"{epoch}:{int(seq) - 1}"
        async for rows in super().stream(place, until, numbered=numbered):
            yield rows


class SaysTheEndTwice(MemorySource):
    """At the end of the log it says so again and again."""

    async def stream(self, place, until=None, *, numbered=True):
        async for rows in super().stream(place, until, numbered=numbered):
            yield rows
            if rows.at_end:
                yield rows


class AlwaysNumbered(MemorySource):
    """``numbered=False`` is ignored."""

    async def stream(self, place, until=None, *, numbered=True):
        async for rows in super().stream(place, until):
            yield rows


class SkipsSaveNumbers(MemorySource):
    """Rows that are not sent take no number."""

    def _numbers(self, place, transaction):
        numbers = super()._numbers(place, transaction)
        skips = any(spec.mapping.deletes is Deletes.SKIP for spec in self._specs.values())
        gone = sum(image.deleted for image in transaction.images) if skips else 0
        return [number - STRIDE * gone for number in numbers]


class NeverMarks(MemorySource):
    """A deleted row looks like any other."""

    async def prepare(self, specs, *, mend=False):
        await super().prepare([replace(spec, mapping=Mapping()) for spec in specs], mend=mend)


class OneVersion(MemorySource):
    """A change of the table's definition is not seen."""

    def _cut(self, *given, numbered):
        yield from (replace(rows, version=0) for rows in super()._cut(*given, numbered=numbered))


class Guessing(MemorySource):
    """Where the number is not met, the oldest place has to do."""

    async def locate(self, anchors, index):
        try:
            return await super().locate(anchors, index)
        except LostPlaceError:
            return await self.oldest(0)


class NewestAnchor(MemorySource):
    """The newest anchor is taken, whatever number was asked for."""

    async def locate(self, anchors, index):
        return anchors[0].place if anchors else await super().locate(anchors, index)


class OldestAsItIs(MemorySource):
    """The oldest place is not numbered above what the service has."""

    async def oldest(self, above):
        return await super().oldest(0)


class LetsGoOfAll(MemorySource):
    """Acknowledging one place lets go of the whole log."""

    async def acknowledge(self, place):
        await super().acknowledge(Place(self.database.position(), 0))


class MendsUnasked(MemorySource):
    """Changes that were missed are passed over."""

    async def prepare(self, specs, *, mend=False):
        await super().prepare(specs, mend=True)


class LatePictures(MemorySource):
    """Tables are read when their turn comes, not as they were at S."""

    async def snapshot(self, tables):
        made = await super().snapshot(tables)
        return Late(self, made.place, made.index, list(tables))


class Late(MemorySnapshot):
    """Its pictures are labels."""

    def __init__(self, source, place, index, labels):
        super().__init__(source, place, index, [])
        self._labels = labels

    async def rows(self):
        for label in self._labels:
            async for rows in self._source.pictured(self._source._picture(label), self.place):
                yield rows


class EarlyPlace(MemorySource):
    """S lies before the picture: what is in it comes again."""

    async def snapshot(self, tables):
        made = await super().snapshot(tables)
        made.place = Place(self.database.position(self.database.end - 1), made.place.previous - STRIDE)
        return made


class OtherValues(MemorySource):
    """A snapshot writes a value another way than the stream."""

    async def pictured(self, picture, place):
        async for rows in super().pictured(picture, place):
            yield replace(rows, rows=[text.replace(b"null", b'""') for text in rows.rows])


class LeavesATask(MemorySource):
    """A task goes on when its stream is cancelled."""

    async def stream(self, place, until=None, *, numbered=True):
        self.pulse = asyncio.create_task(asyncio.sleep(3600))
        async for rows in super().stream(place, until, numbered=numbered):
            yield rows
        self.pulse.cancel()


class Uncancellable(MemorySource):
    """A cancellation is taken for a fault of its own and passed over."""

    async def open(self):
        await super().open()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return


class ClosesOnce(MemorySource):
    """Closing what is closed is an error."""

    async def close(self):
        if self._generation < 0:
            raise RuntimeError("not open")
        await super().close()


class FindsNothing(MemorySource):
    """A name without a table is passed over."""

    async def discover(self):
        return [table for table in self.database.tables if self._is_selected(table.label)]


class Untidy(MemorySource):
    """Something stays in the database for ever."""

    async def remove(self):
        return ["nothing"]


class Unreachable(MemorySource):
    """A cut connection is taken for a lost place."""

    def _step(self, name):
        if self._generation != self.database.generation:
            raise LostPlaceError("gone")
        super()._step(name)


class AnyRow(MemorySource):
    """A row that cannot be told from its event is answered with the next best one."""

    @staticmethod
    def _written(spec, event, found):
        written = MemorySource._written(spec, event, found)
        first = next(iter(found.values()), None)
        return MemorySource._written(spec, first, found) if written.event is None and first else written


class SamplesAll(MemorySource):
    """A sample is the whole table."""

    async def sample(self, spec, most):
        return await super().sample(spec, 10**6)


CAUGHT_BY = {
    AnyRow: "test_an_event_without_its_key_is_refused",
    SamplesAll: "test_a_sample_is_the_beginning_of_a_snapshot[1]",
    Shuffled: "test_changes_come_in_the_order_of_their_commits",
    BoundariesEverywhere: "test_a_boundary_stands_only_where_a_transaction_ends",
    Counting: "test_reading_again_gives_the_same",
    OneForAnUpdate: "test_an_update_takes_two_numbers",
    DeafToResume: "test_reading_on_from_every_row_gives_the_rest",
    StopsShort: "test_until_ends_the_stream",
    SaysTheEndTwice: "test_the_end_is_told_once_and_then_it_waits",
    AlwaysNumbered: "test_numbers_can_be_left_out_of_the_text",
    SkipsSaveNumbers: "test_settings_change_no_number",
    NeverMarks: "test_deleted_rows_are_sent_as_the_mapping_says[mark]",
    OneVersion: "test_a_changed_table_is_another_version",
    Guessing: "test_a_number_that_nothing_has_is_lost[True]",
    NewestAnchor: "test_every_number_is_found_by_the_anchors",
    OldestAsItIs: "test_the_oldest_place_numbers_everything_above[1]",
    LetsGoOfAll: "test_what_is_not_acknowledged_stays",
    MendsUnasked: "test_changes_the_log_does_not_hold_are_noticed",
    LatePictures: "test_changes_beside_it_are_neither_lost_nor_doubled",
    EarlyPlace: "test_changes_beside_it_are_neither_lost_nor_doubled",
    OtherValues: "test_a_value_is_written_as_in_the_stream",
    LeavesATask: "test_a_stream_that_waits_can_be_cancelled",
    Uncancellable: "test_a_cancelled_await_leaves_nothing_open",
    ClosesOnce: "test_closing_is_always_allowed",
    FindsNothing: "test_a_name_without_a_table_needs_a_person[False]",
    Untidy: "test_removing_takes_everything_out",
    Unreachable: "test_a_cut_connection_passes_by_itself",
}
