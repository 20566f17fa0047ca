"""What a forecast of a moment may know, and the outlook that shows it no more.

An evening knows the day's bars and what was published by then. A morning knows the night as well: the
session that TAIFEX closes at 05:00 and New York's close. The open knows the stock's own first price too.
Whatever the clock says, nothing newer than the moment gets through `outlook_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np

from stockllm.forecaster.outlook.network import BOTH, EVENING
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.outlook.panel import MEMORY, panel_of
from stockllm.forecaster.outlook.world import last_weekday_before, symbols, world_of
from stockllm.market.moments import at_taipei, end_of

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.market.moments import Moment


def known_until(moment: Moment, origin: date, session: date) -> datetime:
    """The last moment that a forecast of ``session``, made from the bars of ``origin``, may know of."""
    if moment == "evening":
        return end_of(origin)
    return at_taipei(session, 8, 59) if moment == "morning" else at_taipei(session, 9, 1)


def shown_at(moment: Moment) -> int:
    """Which sources of the coming session a moment is shown."""
    return EVENING if moment == "evening" else BOTH


def knows_night(store: Store, session: date, until: datetime) -> bool:
    """Whether the store has, by ``until``, the night session or New York's close before a session."""
    day = session.toordinal()
    if bool((store.world.nights(until).days == day).any()):
        return True
    last = last_weekday_before(day).toordinal()
    return any(bool((bars.days == last).any()) for bars in store.world.bars(symbols(), until).values())


def outlook_of(
    store: Store,
    end: date,
    sessions: Sequence[date] = (),
    *,
    memory: int | None = MEMORY,
    until: datetime | None = None,
) -> Outlook:
    """The outlook of a store's stocks on days up to ``end``, and of later ``sessions``.

    :param memory: market days before ``end`` that are read; all where None.
    :param until: nothing that became known later is read; now where None.
    """
    panel = panel_of(store, end, memory=memory, until=until)
    ahead = [day.toordinal() for day in sessions if not len(panel.days) or day.toordinal() > panel.days[-1]]
    days = np.concatenate((panel.days, np.array(sorted(set(ahead)), dtype=np.int64)))
    return Outlook.of(panel, world_of(store, days, until or datetime.now(UTC)))
