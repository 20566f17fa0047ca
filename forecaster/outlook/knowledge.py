"""What a forecast of a moment knew, and the sentences for what it could not know.

No sentence here stops a forecast: it resumes with what is known, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np

from stockllm.data.sentences import Sentence
from stockllm.forecaster.outlook.world import LEARNT, SOURCES, last_weekday_before
from stockllm.market.moments import TAIPEI, new_york_close, night_known

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.forecaster.encoding.windows import Window
    from stockllm.forecaster.outlook.outlook import Outlook
    from stockllm.market.moments import Moment

_NIGHT, *_SYMBOLS = SOURCES


@dataclass(frozen=True, slots=True)
class Night:
    """What a store has, by ``until`` (aware), of the night before a session.

    ``last`` is each source's last day that was known by then, None where there is none: the night session
    is dated by the session it leads to, New York by its own day.
    """

    session: date
    until: datetime
    last: Mapping[str, date | None]

    @classmethod
    def of(cls, store: Store, session: date, until: datetime) -> Night:
        """The night before ``session`` as ``store`` knew it by ``until``."""
        bars = store.world.bars(_SYMBOLS, until)
        days = {_NIGHT: store.world.nights(until).days} | {name: bars[name].days for name in _SYMBOLS}
        upto = session.toordinal()
        last = {name: int(found[found <= upto].max(initial=0)) for name, found in days.items()}
        return cls(
            session, until, {name: date.fromordinal(day) if day else None for name, day in last.items()}
        )

    @property
    def new_york(self) -> date:
        """New York's last day before the session, its holidays apart."""
        return last_weekday_before(self.session.toordinal())

    @property
    def closed(self) -> bool:
        """Whether New York had closed on that day by ``until``."""
        return new_york_close(self.new_york) <= self.until

    def known(self) -> tuple[str, ...]:
        """The sources that spoke on the night before the session; New York counts whole or not at all."""
        stopped = self.stopped()
        found = (_NIGHT,) if self.last[_NIGHT] == self.session else ()
        whole = all(self.last[name] is not None and name not in stopped for name in _SYMBOLS)
        return (*found, *_SYMBOLS) if self.closed and whole else found

    def stopped(self) -> dict[str, date]:
        """The sources that once spoke and lack nights that are over by ``until``, each with its last day.

        A single weekday that all of New York lacks is a holiday of its own.
        """
        found: dict[str, date] = {}
        night = self.last[_NIGHT]
        if night is not None and night < self.session and night_known(self.session) <= self.until:
            found[_NIGHT] = night
        expected = self.new_york
        while new_york_close(expected) > self.until:
            expected = last_weekday_before(expected.toordinal())
        allowed = {expected}
        if all(self.last[name] != expected for name in _SYMBOLS):
            allowed.add(last_weekday_before(expected.toordinal()))
        for name in _SYMBOLS:
            last = self.last[name]
            if last is not None and last not in allowed and last < expected:
                found[name] = last
        return found


def night_warnings(night: Night, asked: Moment) -> Iterator[Sentence]:
    """Of a forecast asked for at a moment: what is missing of its night, one sentence a reason."""
    later = asked != "evening"
    known = night.known()
    if later and not any(night.last.values()):
        yield Sentence(
            "The store has nothing of New York or the index future: the forecast continues with the prices "
            "alone; bring the world in with 'stockllm import PATH'.",
            zh="資料庫沒有美股與台指期的資料：預測只用股價繼續；請用 'stockllm import PATH' 匯入國際行情。",
        )
        return
    if later and not night.closed:
        at = new_york_close(night.new_york).astimezone(TAIPEI)
        if known:
            rest, rest_zh = f"with {_list(known)} alone", f"只用 {_list(known, zh=True)}"
        else:
            rest, rest_zh = "as an evening forecast", "以傍晚的預測"
        yield Sentence(
            f"New York has not closed yet before {night.session} (it does on {at:%Y-%m-%d} at {at:%H:%M} in "
            f"Taipei): the forecast continues {rest}.",
            zh=f"{night.session} 之前的美股還沒收盤（台北時間 {at:%Y-%m-%d %H:%M} 收盤）："
            f"預測{rest_zh}繼續。",
        )
    if stopped := night.stopped():
        each = ", ".join(f"{name} on {day}" for name, day in stopped.items())
        each_zh = "、".join(f"{name} 停在 {day}" for name, day in stopped.items())
        yield Sentence(
            f"The world has stopped before {night.session}: {each}; the forecast continues with what is "
            "known, bring newer days in with 'stockllm import PATH'.",
            zh=f"{night.session} 之前的國際行情中斷：{each_zh}；預測以已知的資料繼續，"
            "請用 'stockllm import PATH' 匯入較新的資料。",
        )


def slope_warnings(outlook: Outlook, window: Window, night: Night) -> Iterator[Sentence]:
    """Of a stock whose own answer to the night is not known: what stands in for it."""
    name = window.code if window.name in ("", window.code) else f"{window.code} {window.name}"
    known = night.known()
    if not known or window.code not in outlook.panel.codes:
        return
    column = outlook.panel.column(window.code)
    row = int(np.searchsorted(outlook.world.days, night.session.toordinal()))
    answers = outlook.answers
    found = [each[: row + 1, column] for each in (answers.night, answers.new_york, answers.both)]
    if not np.isfinite(found).any():
        yield Sentence(
            f"The store has too few nights to know how a stock answers them ({len(outlook.panel.days)} days; "
            f"it takes about {LEARNT + 20}): the forecast continues without the night.",
            zh=f"資料庫的夜盤太少，還不知道股票如何反應（{len(outlook.panel.days)} 天，約需 "
            f"{LEARNT + 20} 天）：預測不用夜盤繼續。",
        )
    elif (days := int(outlook.found.traded[:, column].sum())) < LEARNT:
        yield Sentence(
            f"{name} has traded {days} days so far, too few to know how it answers the night: the forecast "
            "takes the answer of the other stocks.",
            zh=f"{name} 只交易了 {days} 天，還不知道它如何反應夜盤：預測採用其他股票的反應。",
        )


def unread_warning(model: str, asked: Moment) -> Iterator[Sentence]:
    """Of a model that reads nothing beside the candles, asked at a moment when more is known."""
    if asked != "evening":
        yield Sentence(
            f"The model {model} reads nothing of the night: its forecast of the {asked} is that of the "
            "evening; ewma+world and network read it.",
            zh=f"模型 {model} 不讀夜盤：它{_MOMENTS_ZH[asked]}的預測與傍晚相同；ewma+world 與 network 會讀。",
        )


_MOMENTS_ZH: Mapping[str, str] = {"evening": "傍晚", "morning": "早晨", "open": "開盤時"}


def _list(names: tuple[str, ...], zh: bool = False) -> str:
    return ("、" if zh else ", ").join(names)
