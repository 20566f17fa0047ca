"""The open dashboard as host of the schedule, for users who want that (``dashboard_schedule``)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

from stockllm.data.errors import StockllmError

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings

_log = logging.getLogger("stockllm.tui")


def _host(home: Home, settings: Settings) -> AbstractContextManager[object]:
    from stockllm.nightly.host import Host

    return Host(home, settings, "stockllm-tui")


@contextmanager
def hosting(
    home: Home,
    settings: Settings,
    host: Callable[[Home, Settings], AbstractContextManager[object]] = _host,
) -> Iterator[None]:
    """Refresh ``home`` by the schedule for the length of the block, if the settings say so.

    Begun in a thread, so that nothing waits for it to be imported. Where another process hosts the
    schedule already, or there is no store of real prices, the log says so and the block goes on.
    Leaving waits until a refresh under way has been stopped.
    """
    if not settings.dashboard_schedule:
        yield
        return
    held = ExitStack()

    def begin() -> None:
        try:
            if home.store.exists():
                held.enter_context(host(home, settings))
        except StockllmError as error:
            _log.warning("the schedule is not hosted here: %s", error)

    thread = threading.Thread(target=begin, name="schedule", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        held.close()
