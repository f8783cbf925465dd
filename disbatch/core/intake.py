"""The task list as it comes in: as far as the next barrier, without what earlier runs have done.

Part of the driver core. Where engines of a driver before this one hold tasks or have reports of them, a run that is
ending reads on until it knows these tasks: what has ended would else be done again.
"""

from collections import deque
from collections.abc import Callable

from disbatch.core import notices
from disbatch.core.books import Books
from disbatch.core.driver_events import Ending, Instant, ItemsCame, ListEnded, ListFailed, Publish, Written
from disbatch.core.errors import DisBatchError
from disbatch.core.messages import StopMode
from disbatch.core.model import Barrier, Item, PerEngine, Task
from disbatch.core.outbox import Outbox
from disbatch.core.resume import Place, Verdict
from disbatch.core.status import barrier_record

Judge = Callable[[Task], tuple[Verdict, Place | None]]

LOOKAHEAD = (
    64  # tasks read ahead of demand: enough for a batch to go out at once, nothing beside a list of millions
)
# nothing more can be read, or written
HOPELESS = (
    Ending.BAD_LIST,
    Ending.LIST_CHANGED,
    Ending.LIST_UNREADABLE,
    Ending.NO_SERVER,
    Ending.NO_DISK,
    Ending.BROKEN,
)


class Intake:
    """`end` ends the run; `node` and `pid` are those of the driver, for the rows of barriers."""

    def __init__(
        self,
        books: Books,
        outbox: Outbox,
        end: Callable[[Ending, StopMode], None],
        judge: Judge | None,
        node: str,
        pid: int,
    ) -> None:
        self._books = books
        self._takeover = books.takeover
        self._recorder = books.recorder
        self._outbox = outbox
        self._end = end
        self._judge = judge
        self._untouched = judge is None and not self._takeover.active  # nobody had this list before us
        self._node = node
        self._pid = pid
        self.list_ended = False
        self.any_item = False  # other than PERENGINE commands
        self.complete_as = Ending.COMPLETE  # what the run is when all that was read is done
        self._waiting: deque[Item] = deque()  # read together with a barrier, and behind it
        self._barrier: tuple[Barrier, Instant] | None = None
        self._barrier_batch = 0  # the batch that holds the record of a barrier that was met, 0 before
        self._stopping = False

    # -- what others ask

    @property
    def wants(self) -> int:
        """How many items of the list may be handed in now."""
        if self._barrier or self.list_ended or self._recorder.behind or not self._open:
            return 0
        # what frees slots once it is written has its successors at hand then: they ride on the acknowledgement
        soon = self._books.fleet.room + self._recorder.freeing
        room = max(0, soon + LOOKAHEAD - len(self._books.ledger.ready))
        return max(room, LOOKAHEAD) if self._takeover.unread else room

    @property
    def _open(self) -> bool:
        """Whether what comes in is taken."""
        return self._takeover.unread or not self._stopping

    @property
    def waiting(self) -> bool:
        """Whether something that was read has to wait for a barrier, or was left when the run began to end."""
        return bool(self._waiting)

    @property
    def barrier(self) -> Barrier | None:
        """The one that is waited for."""
        return self._barrier[0] if self._barrier else None

    @property
    def unread(self) -> bool:
        """Whether engines speak of tasks that are still to be read."""
        return self._takeover.unread

    @property
    def all_at_hand(self) -> bool:
        """Whether nothing more will come in, now or behind a barrier."""
        return self.list_ended and not self._barrier and not self._waiting

    # -- events

    def items(self, now: Instant, event: ItemsCame) -> None:
        items = event.items
        if self._untouched and self.any_item and self._open and not (self._waiting or self._barrier):
            items = items[self._books.ledger.admit_run(items) :]
        self._waiting.extend(items)
        self._take_items(now)

    def ended(self, now: Instant, event: ListEnded) -> None:
        self.list_ended = True
        self._complete_setup()
        self._takeover.ended()
        if event.failure:
            self.complete_as = Ending.FEEDER
            self._outbox.say(event.failure, level="error")

    def failed(self, now: Instant, event: ListFailed) -> None:
        self._outbox.say(event.text, level="error")
        self._end(event.ending, "finish")

    def written(self, now: Instant, event: Written) -> None:
        engine = self._recorder.written(event.batch)
        if engine is not None:
            self._books.dispatcher.owe(engine)
        if event.batch == self._barrier_batch:
            self._open_barrier()
            self._take_items(now)

    def stop(self, ending: Ending, mode: StopMode) -> None:
        """The run is ending: no more is read than what engines of the driver before speak of, and not even that when it has
        to end at once. What engines have of the rest is still to do."""
        self._stopping = True
        if mode == "abort" or ending in HOPELESS:
            self._takeover.ended()

    def settle(self, now: Instant) -> None:
        """After each event: whether the barrier is met."""
        if not self._barrier or self._barrier_batch or not self._open:
            return
        if not self._books.ledger.unfinished:
            self._record_barrier(now, *self._barrier)
            record = self._recorder.seal(None, 0)
            self._barrier_batch = record.batch
            self._outbox.add(record)
        elif self._stopping and self._books.ledger.waiting:
            self._takeover.ended()  # nobody will run what the barrier waits for

    # -- what follows

    def _take_items(self, now: Instant) -> None:
        """Takes in what was read, as far as the next barrier; the rest waits behind it."""
        while self._waiting and not self._barrier and self._open:
            try:
                self._item(now, self._waiting.popleft())
            except DisBatchError as error:  # a resume that does not match, in a stream
                self.failed(now, ListFailed(str(error)))
        if self._recorder.rows:
            self._outbox.add(self._recorder.seal(None, 0))

    def _item(self, now: Instant, item: Item) -> None:
        ledger = self._books.ledger
        if isinstance(item, PerEngine):
            self._books.setup.add(item)
            return
        self._complete_setup()
        self.any_item = True
        self._takeover.read(item.task_id)
        if isinstance(item, Barrier):
            self._barrier = (item, now)
            return
        verdict, place = self._judge(item) if self._judge else (Verdict.RUN, None)
        if verdict is Verdict.RUN:
            holder = self._takeover.take(item)
            if holder is None:
                ledger.admit(item)
            else:
                ledger.adopt(item, *holder, now.mono_s)
            return
        self._takeover.refuse(item.task_id)
        ledger.skip(failed=verdict is Verdict.SKIP_FAILED)
        if place is not None:  # else this run's own file has the line
            self._recorder.rows.append(place)

    def _complete_setup(self) -> None:
        if self._books.setup.ready is None:
            self._takeover.setup_read()
            self._books.setup.complete()
            self._books.dispatcher.owe(*self._books.fleet.living())

    def _record_barrier(self, now: Instant, barrier: Barrier, reached: Instant) -> None:
        if barrier.task_id in self._takeover.inheritance.barriers:
            return  # the driver before this one has
        met_s = reached.wall_s + now.mono_s - reached.mono_s  # whoever has set the clock meanwhile
        self._recorder.rows.append(barrier_record(barrier, self._node, self._pid, reached.wall_s, met_s))

    def _open_barrier(self) -> None:
        assert self._barrier is not None
        barrier = self._barrier[0]
        self._barrier, self._barrier_batch = None, 0
        if barrier.key is not None:
            self._outbox.add(Publish(barrier.key, str(barrier.task_id)))
        if barrier.check and self._books.ledger.age_failed:
            self._outbox.say(notices.check_failed(barrier, self._books.ledger.age_failed), level="error")
            self._end(Ending.CHECK, "finish")
        self._books.ledger.new_age()
