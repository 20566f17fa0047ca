"""One thread that writes: requests that come in while one commit is on its way share the next.

A commit waits for the disk several times and costs the same for one order as for a hundred. What
``submit`` promises is kept once its future has a result: it is on the disk then.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from stockllm.data.errors import StockllmError, StoreError
from stockllm.data.store import Store
from stockllm.data.stores.books import Books

T = TypeVar("T")
_Job = tuple[Callable[[Books], Any], Future[Any]]

#: Jobs in one transaction at most: a commit with more holds up its first too long.
MOST_IN_ONE = 256
#: A transaction stays open this long for the next job, and this long in all: much less than a commit.
GATHER_S, LONGEST_GATHER_S = 0.003, 0.015
#: Jobs that may wait; more than that and the server is better told to slow down.
MOST_WAITING = 10_000


class Writer:
    """Runs jobs on the books, in the order they come, many to a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MOST_WAITING)
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="books")
        self._thread.start()

    def submit(self, job: Callable[[Books], T]) -> Future[T]:
        """Have ``job`` run. Its result comes when it is on the disk.

        It may be run a second time, after the first was undone, and raises a StockllmError only
        before it has written. queue.Full where too many wait.
        """
        future: Future[T] = Future()
        self._jobs.put_nowait((job, future))
        return future

    def close(self) -> None:
        """Finish what was submitted, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch = [first]
            if not self._together(batch):
                for each in batch:
                    self._alone(each)
            if self._ended:
                return

    def _together(self, batch: list[_Job]) -> bool:
        """Run the job in ``batch`` and those that come while it runs in one transaction.

        False, with nothing of them on the disk, where one broke half-way; ``batch`` has them all.
        """
        results: list[tuple[Any, Exception | None]] = []
        until = time.monotonic() + LONGEST_GATHER_S
        try:
            with self._store.books.write() as books:
                while True:
                    results.append(self._result(batch[-1][0], books))
                    if len(batch) == MOST_IN_ONE or time.monotonic() > until:
                        break
                    try:
                        job = self._jobs.get(timeout=GATHER_S)
                    except queue.Empty:
                        break
                    if job is None:
                        self._ended = True
                        break
                    batch.append(job)
        except Exception:
            return False
        for (_, future), (result, failure) in zip(batch, results, strict=True):
            if failure is not None:
                _tell(future, failure=failure)
            else:
                _tell(future, result)
        return True

    def _result(self, job: Callable[[Books], Any], books: Books) -> tuple[Any, Exception | None]:
        try:
            return job(books), None
        except StoreError:
            raise
        except StockllmError as refusal:  # comes before anything is written
            return None, refusal

    def _alone(self, one: _Job) -> None:
        job, future = one
        try:
            with self._store.books.write() as books:
                result = job(books)
        except Exception as error:
            _tell(future, failure=error)
        else:
            _tell(future, result)


def _tell(future: Future[Any], result: Any = None, failure: Exception | None = None) -> None:
    """Whoever waits for ``future``; nobody does where the client has hung up."""
    if not future.set_running_or_notify_cancel():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
