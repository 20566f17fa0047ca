"""The server: every site under one address, each request recorded, faults as they are ordered."""

from __future__ import annotations

import gzip
import json
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from standin import pages
from standin import world as others
from standin.faults import BLOCK_PAGE, OUTCOMES, Fault, can_befall, spoil
from standin.market import GeneratedMarket
from stockllm.data.settings import Settings


class Tells(Protocol):
    def now(self) -> datetime: ...


@dataclass(frozen=True)
class Seen:
    """A request as the server saw it. ``at`` is the clock's time, ``fault`` what was done to it."""

    site: str
    kind: str
    path: str
    asked: dict[str, str]
    at: datetime
    fault: str
    headers: dict[str, str]


class StandIn:
    """Serve ``market`` as it stands at ``clock``'s time. Use it as a context manager.

    ``order`` queues faults; ``choose``, where set, is asked for one for every other request. ``keys``
    are the NewsAPI keys it knows; ``allowance`` its requests in 24 hours.
    """

    def __init__(self, market: GeneratedMarket, clock: Tells, *, seed: int = 0) -> None:
        self.market = market
        self.world = others.World(market, seed)
        self.clock = clock
        self.seen: list[Seen] = []
        self.choose: Callable[[], str | None] | None = None
        self.keys = {"a-key"}
        self.allowance = 100
        self.articles = 3
        self.news_error: tuple[int, Any] | None = None
        self.open_data_lag = 0  # sessions by which the open data are late
        self._orders: list[Fault] = []
        self._draw = random.Random(seed)
        self._lock = threading.Lock()
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def settings(self, **other: Any) -> Settings:
        """Settings that send every request here."""
        given: dict[str, Any] = {
            "twse_url": f"{self.url}/twse",
            "twse_openapi_url": f"{self.url}/twse_openapi/v1",
            "tpex_url": f"{self.url}/tpex",
            "tpex_openapi_url": f"{self.url}/tpex/openapi/v1",
            "newsapi_url": f"{self.url}/newsapi",
            "newsapi_key": "a-key",
            "taifex_url": f"{self.url}/taifex",
            "taifex_openapi_url": f"{self.url}/taifex_openapi/v1",
            "yahoo_url": f"{self.url}/yahoo",
        }
        return Settings(**(given | other))

    def order(self, *names: str, route: str = "") -> None:
        """Let these faults befall the next requests whose path has ``route`` in it, one each."""
        assert all(name in OUTCOMES for name in names), names
        with self._lock:
            self._orders += [Fault(name, route) for name in names]

    def count(self, site: str | None = None, kind: str | None = None) -> int:
        """The requests seen so far."""
        return sum((site in (None, s.site)) and (kind in (None, s.kind)) for s in self.seen)

    def faults(self) -> list[Seen]:
        """The requests to which something was done that cost the answer."""
        return [seen for seen in self.seen if seen.fault and OUTCOMES[seen.fault] != "ok"]

    # What the handler asks

    def take(self, site: str, kind: str, path: str, asked: dict[str, str], headers: dict[str, str]) -> str:
        """Record a request; the fault that befalls it."""
        with self._lock:
            fault = ""
            for order in self._orders:
                if order.route in path and can_befall(order.name, kind, site):
                    self._orders.remove(order)
                    fault = order.name
                    break
            else:
                chosen = self.choose() if self.choose else None
                if chosen and can_befall(chosen, kind, site):
                    fault = chosen
            self.seen.append(Seen(site, kind, path, asked, self.clock.now(), fault, headers))
        return fault

    def answer(self, kind: str, site: str, asked: dict[str, str], fault: str, headers: dict[str, str]) -> Any:
        """(status, document) for a request."""
        now = self.clock.now()
        exchange = "TWSE" if site.startswith("twse") else "TPEx"
        if kind == "news":
            return self._news(asked, headers, now)
        if kind == "holidays":
            return 200, pages.holidays(int(asked["date"][:4]))
        if kind == "open":
            published = self.market.published(exchange, now)
            late = self.open_data_lag + (fault == "wrong_day")
            return 200, pages.open_data(self.market, exchange, published[-1 - late])
        if kind == "ex":
            start, end = (_day(asked[name]) for name in ("startDate", "endDate"))
            if fault == "wrong_day":
                start, end = start - timedelta(days=31), end - timedelta(days=31)
            return 200, pages.ex_rights(self.market, exchange, start, min(end, now.date()))
        if kind in ("flows", "margin", "revenue", "futures", "futures_open", "world"):
            return self._other(kind, exchange, asked, fault, now)
        if kind == "day":
            document = self._day(exchange, asked["date"], fault, now)
        else:
            document = self._month(exchange, asked, fault, now)
        return 200, spoil(document, fault, self._draw) if fault else document

    def _other(self, kind: str, exchange: str, asked: dict[str, str], fault: str, now: datetime) -> Any:
        if kind == "revenue":
            return 200, others.revenue(self.world, exchange, now)
        if kind == "futures_open":
            return 200, others.futures_open(self.world, now, running=fault == "running_session")
        if kind == "world":
            symbol = asked["symbol"]
            if fault == "wrong_code":
                symbol = next(other for other in others.SYMBOLS if other != symbol)
            return others.chart(self.world, symbol, asked, now)
        if kind == "futures":
            start, end = (_day(asked[name]) for name in ("queryStartDate", "queryEndDate"))
            if fault == "wrong_day":
                start, end = start - timedelta(days=31), start - timedelta(days=1)
            flags = {"running": fault == "running_session", "late": fault == "late_night"}
            body = others.futures_csv(self.world, start, end, now, **flags)
            return 200, body.replace("收盤價".encode("big5"), b"?") if fault == "no_columns" else body
        day = _day(asked["date"])
        if fault == "wrong_day":
            day -= timedelta(days=1)
        page = others.flows if kind == "flows" else others.margin
        document = page(self.world, exchange, day, now)
        return 200, spoil(document, fault, self._draw) if fault and "stat" in document else document

    def _day(self, exchange: str, asked: str, fault: str, now: datetime) -> dict[str, Any]:
        published = self.market.published(exchange, now)
        if exchange == "TPEx" and "/" not in asked:  # the trap: another form gets the latest day
            return pages.day_list(self.market, exchange, published[-1])
        day = _day(asked)
        if fault == "wrong_day":
            others = [other for other in published if other != day]
            return pages.day_list(self.market, exchange, others[-1]) if others else pages.NO_DATA
        if day not in published:
            return pages.empty_day(exchange, day)
        return pages.day_list(self.market, exchange, day)

    def _month(self, exchange: str, asked: dict[str, str], fault: str, now: datetime) -> dict[str, Any]:
        code = asked.get("stockNo") or asked["code"]
        first = _day(asked["date"])
        codes = [company.code for company in self.market.of(exchange)]
        if fault == "wrong_month":
            first = (first - timedelta(days=1)).replace(day=1)
        if fault == "wrong_code":
            code = next((other for other in codes if other != code), code)
        published = self.market.published(exchange, now)
        days = [day for day in published if (day.year, day.month) == (first.year, first.month)]
        if fault == "wrong_month" and not days:
            days = published[:1]
        if code not in codes or not days:
            if exchange == "TWSE":
                return pages.NO_DATA
            days = []
            if code not in codes:
                return pages.no_such_month()
        return pages.month(self.market, exchange, code, days, first)

    def _news(self, asked: dict[str, str], headers: dict[str, str], now: datetime) -> Any:
        if self.news_error is not None:
            return self.news_error
        key = headers.get("authorization", "")
        if not key:
            return 401, {"status": "error", "code": "apiKeyMissing", "message": "Your API key is missing."}
        if key not in self.keys:
            return 401, {"status": "error", "code": "apiKeyInvalid", "message": "Your API key is invalid."}
        day = timedelta(hours=24)
        recent = [seen for seen in self.seen if seen.kind == "news" and now - seen.at < day]
        if len(recent) > self.allowance:
            message = "You have made too many requests recently."
            return 429, {"status": "error", "code": "rateLimited", "message": message}
        name = asked["q"].split('"')[1]
        return 200, pages.news(name, asked["language"], now, self.articles)


def _day(text: str) -> date:
    return datetime.strptime(text.replace("/", ""), "%Y%m%d").date()


_ROUTES = {
    "/twse/rwd/zh/afterTrading/MI_INDEX": ("twse", "day"),
    "/twse/rwd/zh/afterTrading/STOCK_DAY": ("twse", "month"),
    "/twse/exchangeReport/STOCK_DAY": ("twse", "month"),
    "/twse/rwd/zh/exRight/TWT49U": ("twse", "ex"),
    "/twse/rwd/zh/holidaySchedule/holidaySchedule": ("twse", "holidays"),
    "/twse_openapi/v1/exchangeReport/STOCK_DAY_ALL": ("twse_openapi", "open"),
    "/tpex/www/zh-tw/afterTrading/dailyQuotes": ("tpex", "day"),
    "/tpex/www/zh-tw/afterTrading/tradingStock": ("tpex", "month"),
    "/tpex/www/zh-tw/bulletin/exDailyQ": ("tpex", "ex"),
    "/tpex/openapi/v1/tpex_mainboard_daily_close_quotes": ("tpex", "open"),
    "/newsapi/v2/everything": ("newsapi", "news"),
    "/twse/rwd/zh/fund/T86": ("twse", "flows"),
    "/tpex/www/zh-tw/insti/dailyTrade": ("tpex", "flows"),
    "/twse/rwd/zh/marginTrading/MI_MARGN": ("twse", "margin"),
    "/tpex/www/zh-tw/margin/balance": ("tpex", "margin"),
    "/twse_openapi/v1/opendata/t187ap05_L": ("twse_openapi", "revenue"),
    "/tpex/openapi/v1/mopsfin_t187ap05_O": ("tpex", "revenue"),
    "/taifex/cht/3/futDataDown": ("taifex", "futures"),
    "/taifex_openapi/v1/DailyMarketReportFut": ("taifex_openapi", "futures_open"),
}
# The symbol is a part of the path.
_CHARTS = "/yahoo/v8/finance/chart/"


_SENTENCES = {
    "invented_stat": {"stat": "查詢過於頻繁，請稍後再試!"},
    "refused_words": {"stat": "查詢日期大於今日，請重新查詢!"},
    "false_no_data": pages.NO_DATA | {"total": 0},
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    owner: StandIn


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self._serve(parts.path, dict(parse_qsl(parts.query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._serve(urlsplit(self.path).path, dict(parse_qsl(body)))

    def _serve(self, path: str, asked: dict[str, str]) -> None:
        self.close_connection = True
        owner = self.server.owner
        with suppress(ConnectionError):
            if path.startswith(_CHARTS):
                site, kind = "yahoo", "world"
                asked = asked | {"symbol": unquote(path.removeprefix(_CHARTS))}
            elif path in _ROUTES:
                site, kind = _ROUTES[path]
            else:
                self._send(404, b"<html>404</html>", "text/html")
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            fault = owner.take(site, kind, path, asked, headers)
            if not self._broken(fault):
                status, document = owner.answer(kind, site, asked, fault, headers)
                body = (
                    document
                    if isinstance(document, bytes)
                    else json.dumps(document, ensure_ascii=False).encode()
                )
                self._whole(fault, status, body)

    def _broken(self, fault: str) -> bool:
        """Send what a fault of the line sends; False where there is none."""
        owner = self.server.owner
        if fault in ("500", "404"):
            self._send(int(fault), b'{"error": "no"}')
        elif fault == "503_page":
            self._send(503, b"<html>busy</html>", "text/html")
        elif fault in ("307", "301"):
            self._send(int(fault), b"", Location="/errors" if fault == "307" else "/moved")
        elif fault in ("403", "429"):
            self._send(int(fault), b"<html>no</html>", "text/html")
        elif fault == "block_page":
            self._send(200, BLOCK_PAGE.encode(), "text/html")
        elif fault == "empty":
            self._send(200, b"")
        elif fault in _SENTENCES:
            self._send(200, json.dumps(_SENTENCES[fault]).encode())
        elif fault == "hang":
            owner.released.wait(10)
        elif fault == "drip":
            self._head(200, 1000)
            for _ in range(1000):
                self.wfile.write(b" ")
                self.wfile.flush()
                if owner.released.wait(0.05):
                    break
        elif fault != "reset":
            return False
        return True

    def _whole(self, fault: str, status: int, body: bytes) -> None:
        if fault == "cut_short":
            self._head(status, len(body))
            self.wfile.write(body[: len(body) // 2])
        elif fault == "truncated":
            self._send(status, body[: len(body) // 2])
        elif fault == "chunked":
            self.send_response(status)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(body), 1000):
                part = body[start : start + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        elif fault == "gzip":
            self._send(status, gzip.compress(body), Content_Encoding="gzip")
        else:
            self._send(status, body)

    def _send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self._head(status, len(body), kind, **headers)
        self.wfile.write(body)

    def _head(self, status: int, length: int, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
