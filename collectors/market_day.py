"""A whole market's day in one request: asked for, verified, judged and kept.

TWSE: ``rwd/zh/afterTrading/MI_INDEX``, 16 columns, the sign of the change as HTML. TPEx:
``www/zh-tw/afterTrading/dailyQuotes``, 19 columns. Both list funds and warrants too, which are left
out; for the latest day the open data of either stand in where the exchange itself fails. Of TPEx's two
sets that is ``tpex_mainboard_daily_close_quotes``: the other counts whole lots of regular trading alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np

from stockllm.collectors import tables
from stockllm.collectors.bases import IDLE, apply_bases
from stockllm.collectors.clock import TAIPEI, taipei
from stockllm.collectors.failures import Blocked, NoData, Outage, SiteFailure, Unreadable, WrongAnswer
from stockllm.collectors.http import TPEX, TWSE, TWSE_OPENAPI, Answer, Door, Site, Web
from stockllm.collectors.tables import Table
from stockllm.data.sentences import Sentence
from stockllm.data.stores.collected import Collected
from stockllm.data.validation_day import RawDay, validate_day
from stockllm.market.companies import is_ordinary_share

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.market.calendar import TradingCalendar

Exchange = Literal["TWSE", "TPEx"]
EXCHANGES: tuple[Exchange, ...] = ("TWSE", "TPEx")
SITES: dict[Exchange, Site] = {"TWSE": TWSE, "TPEx": TPEX}

#: From when on a day's list can be asked for, in Taipei. TPEx has been seen as late as 16:49.
PUBLISHED: dict[Exchange, time] = {"TWSE": time(15, 0), "TPEx": time(17, 0)}

#: A list with less than this part of the shares of the days around it is not whole.
_WHOLE = 0.8
_NEEDED = ("code", *tables.FIGURES)


@dataclass(frozen=True)
class DayReport:
    """What became of one exchange's day. ``accepted + unchanged + quarantined == read``.

    ``left_out`` rows are of funds, warrants and the like. ``reasons`` counts the quarantined.
    ``fallback`` is the sentence of the failure that made the open data stand in.
    """

    market: Exchange
    day: date
    state: Literal["complete", "no_data"]
    source: str
    read: int = 0
    accepted: int = 0
    unchanged: int = 0
    quarantined: int = 0
    left_out: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    fallback: str = ""


def last_published(market: Exchange, calendar: TradingCalendar, now: datetime) -> date:
    """The last session whose list ``market`` has published by ``now``."""
    here = taipei(now)
    day = here.date() if here.time() >= PUBLISHED[market] else here.date() - timedelta(days=1)
    while not calendar.is_session(day):
        day -= timedelta(days=1)
    return day


def collect_day(
    web: Web, store: Store, market: Exchange, day: date, *, calendar: TradingCalendar | None = None
) -> DayReport:
    """Ask ``market`` for ``day``, judge every row and keep them, all or none.

    That the exchange has nothing for the day is kept too, unless the day is still to come or its
    list still to be published. SiteFailure where the exchange gave no answer to keep and the open
    data could not stand in; StoreError where the store holds simulated prices.
    """
    store.expect_simulated(False)
    calendar = calendar or store.calendar()
    fewest = max(_fewest(store, market, day), web.settings.fewest_shares)
    fallback = ""
    try:
        raw, left_out = fetch_day(web, market, day, fewest=fewest)
    except NoData:
        now = web.clock.now()
        if now >= datetime.combine(day, PUBLISHED[market], TAIPEI):
            store.collected.put(Collected("day", market, day.isoformat(), "no_data", SITES[market].key, now))
        return DayReport(market, day, "no_data", SITES[market].key)
    except (Outage, Unreadable, WrongAnswer, Blocked) as failure:
        if day != last_published(market, calendar, web.clock.now()):
            raise
        try:
            raw, left_out = fetch_latest(web, market, day, fewest=fewest)
        except SiteFailure:
            raise failure from None
        fallback = str(failure)
    return _keep(web, store, market, raw, left_out, calendar, fallback)


def fetch_day(web: Web, market: Exchange, day: date, *, fewest: int = 1) -> tuple[RawDay, int]:
    """The exchange's own list of ``day``: its shares' rows, and how many others it holds.

    NoData where the exchange says that there is none. Unreadable where it lists fewer than
    ``fewest`` shares: such a list has been cut off, or is still being written.
    """
    base = web.settings.twse_url if market == "TWSE" else web.settings.tpex_url

    def ask(door: Door) -> tuple[RawDay, int]:
        if market == "TWSE":
            params = {"date": f"{day:%Y%m%d}", "type": "ALLBUT0999", "response": "json"}
            answer = door.get(f"{base}/rwd/zh/afterTrading/MI_INDEX", params)
        else:
            # Slashes: a date in any other form is answered with the latest day.
            params = {"date": f"{day:%Y/%m/%d}", "type": "EW", "response": "json"}
            answer = door.get(f"{base}/www/zh-tw/afterTrading/dailyQuotes", params)
        return _shares(answer, _read(answer, market, day), day, f"{market} {day}", fewest)

    return web.ask(
        SITES[market], Sentence(f"the list of {market} of {day}", zh=f" {market} {day} 的收盤行情"), ask
    )


def fetch_latest(web: Web, market: Exchange, day: date, *, fewest: int = 1) -> tuple[RawDay, int]:
    """``day`` from the open data, which hold the latest day alone. WrongAnswer where that is another."""
    settings = web.settings
    site, url = (
        (TWSE_OPENAPI, f"{settings.twse_openapi_url}/exchangeReport/STOCK_DAY_ALL")
        if market == "TWSE"
        else (TPEX, f"{settings.tpex_openapi_url}/tpex_mainboard_daily_close_quotes")
    )

    def ask(door: Door) -> tuple[RawDay, int]:
        answer = door.get(url)
        table = tables.records(answer, answer.json(), ("date", *_NEEDED), _is_share)
        for said in set(table.columns["date"]):
            tables.same_day(answer, said, day)
        return _shares(answer, table, day, f"{market} open data {day}", fewest)

    return web.ask(
        site, Sentence(f"the open data of {market} for {day}", zh=f" {market} {day} 的開放資料"), ask
    )


def _read(answer: Answer, market: Exchange, day: date) -> Table:
    document = tables.mapping(answer)
    tables.status(answer, document)
    tables.same_day(answer, document.get("date"), day)
    given = document.get("tables")
    if not isinstance(given, list):
        raise tables.unreadable(answer, "no tables")
    for table in given:
        if isinstance(table, dict):
            tables.same_title(answer, table.get("title"), day)
            if table.get("date"):
                tables.same_day(answer, table["date"], day)
    needed = (*_NEEDED, "change", *(("sign",) if market == "TWSE" else ()))
    table = tables.find(answer, given, needed, _is_share)
    if not len(table) + table.left_out:
        raise tables.no_data(answer)
    return table


def _is_share(code: str) -> bool:
    """Whether a list's row is a share's, or of nobody, which is to be seen and not dropped."""
    return is_ordinary_share(code) or not code


def _shares(answer: Answer, table: Table, day: date, source: str, fewest: int) -> tuple[RawDay, int]:
    if len(table) < fewest:
        raise tables.unreadable(
            answer, f"{len(table)} shares, where the days around it list {fewest} or more"
        )
    raw = RawDay(
        day=day,
        source=source,
        codes=table.columns["code"],
        lines=np.array(table.lines, dtype=np.int64),
        prices=table.prices(),
        volumes=table.numbers("volume"),
        changes=table.changes(),
        values=table.numbers("value"),
        trades=table.numbers("trades"),
        blank=table.blank(),
        raw=table.raw,
        names=table.columns.get("name", ()),
    )
    return raw, table.left_out


def _keep(
    web: Web,
    store: Store,
    market: Exchange,
    raw: RawDay,
    left_out: int,
    calendar: TradingCalendar,
    fallback: str,
) -> DayReport:
    before, after = store.bars.beside(raw.day, set(raw.codes))
    verdict = validate_day(
        raw,
        calendar=calendar.with_opened([raw.day]),  # the exchange itself lists what was traded on it
        before=before,
        after=after,
        references={row.code: row.basis for row in store.ex_rights.rows(raw.day, raw.day)},
        history=store.bars.series,
    )
    with store.transaction():
        accepted, unchanged = store.bars.put(verdict.bars)
        store.bars.quarantine(verdict.quarantined)
        apply_bases(store, store.ex_rights.idle(raw.day, IDLE))
        store.collected.put(
            Collected(
                what="day",
                subject=market,
                period=raw.day.isoformat(),
                state="complete",
                source=raw.source,
                at=web.clock.now(),
                read=len(raw),
                kept=len(verdict.bars),
                refused=len(verdict.quarantined),
                left_out=left_out,
            )
        )
    return DayReport(
        market,
        raw.day,
        "complete",
        raw.source,
        len(raw),
        accepted,
        unchanged,
        len(verdict.quarantined),
        left_out,
        dict(Counter(row.reason for row in verdict.quarantined)),
        fallback,
    )


def _fewest(store: Store, market: Exchange, day: date) -> int:
    """How many shares a whole list of ``day`` has at least, by the complete day nearest to it."""
    known = [entry for entry in store.collected.days(market).items() if entry[1].state == "complete"]
    nearest = min(known, key=lambda entry: abs(entry[0] - day), default=None)
    # A year apart says little: the number of listed companies has doubled since 2000.
    if nearest is None or abs(nearest[0] - day) > timedelta(days=366):
        return 0
    return int(nearest[1].read * _WHOLE)
