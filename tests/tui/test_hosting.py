"""The dashboard as host of the schedule."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stockllm.data.errors import StockllmError
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.nightly.lock import holder
from stockllm.tui.hosting import hosting

WANTED = Settings(dashboard_schedule=True)


@pytest.fixture
def filled(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    Store.open(home).close()
    return home


def test_it_hosts_for_as_long_as_it_is_open(filled: Home) -> None:
    begun = threading.Event()
    events: list[str] = []

    @contextmanager
    def host(_home: Home, _settings: Settings) -> Iterator[None]:
        assert threading.current_thread() is not threading.main_thread()
        begun.set()
        yield
        events.append("ended")

    with hosting(filled, WANTED, host):
        assert begun.wait(10)
        assert events == []
    assert events == ["ended"]


def test_leaving_at_once_leaves_no_host(filled: Home) -> None:
    events: list[str] = []

    @contextmanager
    def host(_home: Home, _settings: Settings) -> Iterator[None]:
        events.append("begun")
        yield
        events.append("ended")

    with hosting(filled, WANTED, host):
        pass
    assert events == ["begun", "ended"]


def test_where_another_hosts_the_dashboard_opens_all_the_same(
    filled: Home, caplog: pytest.LogCaptureFixture
) -> None:
    def host(_home: Home, _settings: Settings) -> None:
        raise StockllmError("Somebody else is at it already.")

    with caplog.at_level(logging.WARNING, "stockllm.tui"), hosting(filled, WANTED, host):  # type: ignore[arg-type]
        pass
    assert "Somebody else is at it already." in caplog.text


def test_nobody_asked(filled: Home, tmp_path: Path) -> None:
    with hosting(filled, Settings(), lambda *_: pytest.fail("hosted unasked")):
        pass
    with hosting(Home(tmp_path / "nowhere"), WANTED, lambda *_: pytest.fail("hosted without a store")):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_a_simulated_store_is_not_hosted(filled: Home) -> None:
    with Store.open(filled) as store:
        store.set_simulated(True)
    with hosting(filled, WANTED):
        pass
    assert holder(filled.schedule_lock) is None
