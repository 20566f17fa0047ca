"""The one thread that writes: what a result means, and what one broken job does to the others."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from stockllm.data.errors import OrderRefused, StoreError
from stockllm.data.store import Store
from stockllm.data.stores.book_rows import OrderRow
from stockllm.data.stores.books import Books
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.proof import problems
from stockllm.trading.exchange.rules import Order
from stockllm.trading.server.writer import Writer

from ..conftest import SESSIONS

AT = datetime(2025, 3, 3, tzinfo=UTC)


@pytest.fixture
def writer(replay: Exchange) -> Iterator[Writer]:
    writer = Writer(replay.store)
    yield writer
    writer.close()


def note(books: Books, what: str) -> str:
    books.log(AT, 1, None, what)
    return what


def written(store: Store) -> list[str]:
    with closing(sqlite3.connect(store.home.store)) as connection:
        return [row[0] for row in connection.execute("SELECT what FROM audit WHERE id > 2 ORDER BY id")]


def held(writer: Writer) -> threading.Event:
    """Hold the writer up, so that what follows is one batch."""
    go, begun = threading.Event(), threading.Event()

    def wait(_: Books) -> None:
        begun.set()
        assert go.wait(30)

    writer.submit(wait)
    assert begun.wait(30)
    return go


def test_a_result_is_on_the_disk(writer: Writer, market_store: Store) -> None:
    for n in range(20):
        assert writer.submit(lambda books, n=n: note(books, str(n))).result(30) == str(n)
        assert written(market_store)[-1] == str(n)


def test_a_refusal_is_its_senders_own(writer: Writer, market_store: Store) -> None:
    def refuse(_: Books) -> None:
        raise OrderRefused("x", "x", "x")

    go = held(writer)
    futures = [writer.submit(lambda books, n=n: note(books, str(n))) for n in range(3)]
    refused = writer.submit(refuse)
    after = writer.submit(lambda books: note(books, "after"))
    go.set()
    assert [f.result(30) for f in (*futures, after)] == ["0", "1", "2", "after"]
    with pytest.raises(OrderRefused):
        refused.result(30)
    assert written(market_store) == ["0", "1", "2", "after"]


@pytest.mark.parametrize("error", [ZeroDivisionError, StoreError])
def test_a_job_that_breaks_half_way_leaves_nothing_and_harms_nobody(
    writer: Writer, market_store: Store, error: type[Exception]
) -> None:
    def broken(books: Books) -> None:
        note(books, "half")
        raise error("broken")

    go = held(writer)
    before = writer.submit(lambda books: note(books, "before"))
    bad = writer.submit(broken)
    after = writer.submit(lambda books: note(books, "after"))
    go.set()
    assert (before.result(30), after.result(30)) == ("before", "after")
    with pytest.raises(error, match="broken"):
        bad.result(30)
    assert written(market_store) == ["before", "after"]


def test_what_was_submitted_is_finished(replay: Exchange) -> None:
    writer = Writer(replay.store)
    go = held(writer)
    futures = [writer.submit(lambda books, n=n: note(books, str(n))) for n in range(5)]
    go.set()
    writer.close()
    assert [f.result(0) for f in futures] == ["0", "1", "2", "3", "4"]
    assert written(replay.store) == ["0", "1", "2", "3", "4"]


def test_who_hung_up_is_not_waited_for(writer: Writer, market_store: Store) -> None:
    go = held(writer)
    gone = writer.submit(lambda books: note(books, "gone"))
    assert gone.cancel()
    go.set()
    assert writer.submit(lambda books: note(books, "next")).result(30) == "next"


def test_sessions_and_orders_in_one_transaction(writer: Writer, replay: Exchange) -> None:
    go = held(writer)
    close = replay.store.bars.last_close("6166", replay.day())
    assert close
    order = Order("6166", "buy", 1, close)

    def place(books: Books) -> OrderRow:
        return replay.book(books, replay.account(books, "someone"), order)

    jobs: list[Any] = [place, place, replay.match, place, replay.match, place]
    futures = [writer.submit(job) for job in jobs]
    go.set()
    placed = [f.result(30) for f in futures if f.exception(30) is None]
    sessions = [one.session for one in placed if isinstance(one, OrderRow)]
    assert sessions[:2] == [SESSIONS[5]] * 2
    assert set(sessions[2:]) <= {SESSIONS[6], SESSIONS[7]}, "each for the session after the last one matched"
    assert replay.day() == SESSIONS[6]
    assert {o.state for o in replay.orders("someone") if o.session <= SESSIONS[6]} <= {"filled", "expired"}
    assert problems(replay) == []
