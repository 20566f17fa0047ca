"""The university simulator's protocol, as its clients know it: forms in, ``{result, status}`` out.

Failures come with status 200 and ``result`` "failed", as there; only what never reaches the exchange
(a body too large, too many requests, an unknown path) has a status of its own, with the same body.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from stockllm.collectors.clock import TAIPEI
from stockllm.data.errors import OrderRefused
from stockllm.data.records import Bar, Cents
from stockllm.data.stores.book_rows import AccountRow, HoldingRow
from stockllm.data.stores.books import Books
from stockllm.market.fees import Side
from stockllm.market.instruments import instrument_of
from stockllm.trading.exchange.access import NotAllowed
from stockllm.trading.exchange.rules import LOT, MOST_SHARES, OffTick, Order
from stockllm.trading.server.desk import client_of

if TYPE_CHECKING:
    from stockllm.trading.server.desk import Desk

#: Where the university's simulator has answered, and the root for a base of one's own.
BASES = ("/stock/api/v1", "/sim_stock/trading_api", "/stock/trading_api", "")

_CODE = re.compile(r"[0-9A-Z]{4,8}")
_WHOLE = re.compile(r"\d{1,12}(\.0{1,6})?", re.ASCII)
_PRICE = re.compile(r"\d{1,9}(\.\d{0,20})?", re.ASCII)
_DAY = re.compile(r"\d{8}", re.ASCII)
_LONGEST = 200
_TYPES = {"TWSE": "TWSE", "TPEx": "OTC"}


class Failed(BaseModel):
    """The body of every refusal; ``data`` is there, and empty, where the call has data."""

    result: Literal["failed"]
    status: str
    data: list[Any] | None = None


#: What any call may answer besides its own.
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failed} for status in (400, 404, 405, 408, 413, 421, 422, 429, 500, 503)
}


class BadForm(OrderRefused):
    """A request that is no order at all: a field absent, given twice, or not of its kind."""

    def __init__(self, status: str, en: str) -> None:
        super().__init__("form", status, en)


def failed(status: str, http: int = 200, **more: Any) -> JSONResponse:
    """The protocol's refusal."""
    return JSONResponse({"result": "failed", "status": status} | more, http)


def routes(desk: Desk) -> APIRouter:
    """The protocol's calls."""
    router = APIRouter(tags=["university"], responses=FAILURES)

    @router.post("/buy")
    async def buy(request: Request) -> JSONResponse:
        return await _order(desk, request, "buy")

    @router.post("/sell")
    async def sell(request: Request) -> JSONResponse:
        return await _order(desk, request, "sell")

    @router.post("/get_user_stocks")
    async def get_user_stocks(request: Request) -> JSONResponse:
        try:
            form = await _form(request, ("account", "password"))
            who = await desk.password(client_of(request), form["account"], form["password"])
            account, held = await desk.look(who, lambda books, own: (own, books.holdings(own.id)))
        except NotAllowed:
            return failed("帳號或密碼錯誤", data=[])
        except OrderRefused as error:
            return failed(error.status, data=[])
        rows = [_holding(desk, account, row) for row in held]
        return JSONResponse({"result": "success", "status": "查詢成功", "data": rows})

    @router.get("/api_get_stock_info_from_date_json/{code}/{start}/{end}")
    async def get_stock_info(request: Request, code: str, start: str, end: str) -> JSONResponse:
        desk.count(client_of(request))
        first, last = _date(start), _date(end)
        if first is None or last is None:
            return failed("日期格式錯誤", data=[])
        if not _CODE.fullmatch(code) or not (
            found := await desk.call(lambda: _bars(desk, code, first, last))
        ):
            return failed("查無資料", data=[])
        return JSONResponse({"result": "success", "status": "查詢成功", "data": found})

    @router.get("/stock_list")
    async def stock_list(request: Request) -> JSONResponse:
        desk.count(client_of(request))
        codes = await desk.call(desk.exchange.store.bars.codes)
        return JSONResponse(
            {code: {"name": desk.company(code).listed_name, "type": _type(desk, code)} for code in codes}
        )

    @router.get("/stock_type")
    async def stock_type(request: Request, stock_code: str = "") -> JSONResponse:
        desk.count(client_of(request))
        if not _CODE.fullmatch(stock_code):
            return failed("股票代號錯誤")
        span = await desk.call(lambda: desk.exchange.store.bars.span(stock_code))
        return JSONResponse({"type": _type(desk, stock_code)}) if span else failed("股票代號錯誤")

    return router


async def _order(desk: Desk, request: Request, side: Side) -> JSONResponse:
    try:
        form = await _form(request, ("account", "password", "stock_code", "stock_shares", "stock_price"))
        who = await desk.password(client_of(request), form["account"], form["password"])
        price = _price(form["stock_price"], side, desk.off_tick)
        order = Order(_code(form["stock_code"]), side, _lots(form["stock_shares"]), price)

        def book(books: Books, account: AccountRow) -> None:
            desk.exchange.book(books, account, order)

        await desk.act(who, book)
    except NotAllowed:
        return failed("交易失敗(帳號或密碼錯誤)")
    except OrderRefused as error:
        return failed(f"交易失敗({error.status})")
    return JSONResponse({"result": "success", "status": "委託成功"})


async def _form(request: Request, wanted: tuple[str, ...]) -> dict[str, str]:
    """The fields of a form. BadForm where one is absent, given twice or no text."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in (
        "application/x-www-form-urlencoded",
    ):
        raise BadForm("格式錯誤", "The body is no form.")
    try:
        text = (await request.body()).decode("utf-8")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=20
        )
    except ValueError:
        raise BadForm("格式錯誤", "The form cannot be read.") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in wanted:
            if name in form or len(value) > _LONGEST or "\0" in value:
                raise BadForm(f"欄位錯誤 {name}", f"The field {name} is given twice or too long.")
            form[name] = value
    for name in wanted:
        if not form.get(name):
            raise BadForm(f"缺少欄位 {name}", f"The field {name} is absent.")
    return form


def _code(text: str) -> str:
    if not _CODE.fullmatch(text):
        raise BadForm("股票代號錯誤", "That is no stock's code.")
    return text


def _lots(text: str) -> int:
    """``"2"`` or ``"2.0"`` lots as shares."""
    if not _WHOLE.fullmatch(text) or not 0 < (lots := int(text.partition(".")[0])) <= MOST_SHARES // LOT:
        raise BadForm("股數錯誤", "stock_shares is a number of lots of 1,000 shares.")
    return lots * LOT


def _price(text: str, side: Side, off_tick: OffTick) -> Cents:
    """A price in TWD as hundredths. ``34.300000000000004``, which is what a float prints, is 34.30.

    Where prices are rounded, 34.271 is 34.27 for a buy and 34.28 for a sale; the tick comes after.
    """
    if not _PRICE.fullmatch(text):
        raise BadForm("價格錯誤", "stock_price is a price in TWD.")
    whole, _, fraction = text.partition(".")
    millionths = round(int((fraction + "000000000")[:9]) / 1000)
    cents, rest = divmod(millionths, 10_000)
    if rest and off_tick == "refuse":
        raise BadForm("價格不符升降單位", "stock_price has at most two decimals.")
    return int(whole) * 100 + cents + (rest > 0 and side == "sell")


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date() if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def _type(desk: Desk, code: str) -> str:
    return "ETF" if instrument_of(code) == "etf" else _TYPES.get(desk.company(code).market, "")


def _bars(desk: Desk, code: str, first: date, last: date) -> list[dict[str, Any]]:
    """The rows of a stock, newest first. A replay knows no day after its own."""
    exchange = desk.exchange
    with exchange.store.books.read() as books:
        row = exchange.row(books)
    if row.mode == "replay":
        last = min(last, row.day)
    bars = exchange.store.bars.bars(code, first, last)
    if not bars:
        return []
    before = exchange.store.bars.last_close(code, date.fromordinal(bars[0].date.toordinal() - 1))
    rows = []
    for bar in bars:
        rows.append(_bar(bar, before))
        before = bar.close
    return rows[::-1]


def _bar(bar: Bar, before: Cents | None) -> dict[str, Any]:
    base = bar.reference or before or bar.close
    midnight = datetime.combine(bar.date, time(), UTC)
    return {
        "capacity": bar.volume,
        "change": _number(bar.close - base),
        "close": _number(bar.close),
        "date": int(midnight.timestamp()),
        "high": _number(bar.high),
        "low": _number(bar.low),
        "open": _number(bar.open),
        "shdid": int(bar.code, 36) * 100_000 + bar.date.toordinal() - date(1970, 1, 1).toordinal(),
        "stock_code_id": bar.code,
        "transaction_volume": bar.trades or 0,
        "turnover": bar.value or 0,
    }


def _holding(desk: Desk, account: AccountRow, row: HoldingRow) -> dict[str, Any]:
    lots = row.shares / LOT
    closed = datetime.combine(row.since, time(13, 30), TAIPEI)
    return {
        "usid": row.id,
        "stock_name": desk.company(row.code).listed_name,
        "beginning_price": _number(round(row.cost * 100 / row.shares)),
        "shares": int(lots) if lots.is_integer() else lots,
        "createtime": int(closed.timestamp()),
        "stock_code_id": row.code,
        "user_uid_id": account.id,
    }


def _number(cents: Cents) -> int | float:
    """136 for 136.00 and 137.5 for 137.50, as the university's server writes numbers."""
    return cents // 100 if cents % 100 == 0 else cents / 100
