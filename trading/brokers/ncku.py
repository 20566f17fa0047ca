"""The broker that speaks the university simulator's protocol over HTTP, and outlives its faults.

That server gives no order id, knows no idempotency key, cannot be asked about orders, and often
hangs or fails. So an order is written down as "sending" before the request goes out, is never sent a
second time, and stays "unknown" where no clear answer came. Until the holdings have shown what became
of it, no other order for that stock goes out.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from datetime import date, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from stockllm.collectors.clock import Clock, SystemClock, taipei
from stockllm.data.errors import BrokerError, OrderRefused
from stockllm.data.store import Store
from stockllm.data.stores.sent_orders import SentOrder, SentState
from stockllm.market.fees import charges, trade_value
from stockllm.trading.brokers.broker import Funds, Placed, Position, State
from stockllm.trading.exchange.exchange import OPENING_CASH
from stockllm.trading.exchange.rules import LOT, Order, Window, booked_for, check_form, twd

if TYPE_CHECKING:
    import requests

#: Seconds to connect, and between two parts of an answer.
TIMEOUT_S = (10.0, 30.0)
#: How often a question, which changes nothing, is asked in all.
QUESTIONS = 3

_LARGEST_ANSWER = 4_000_000
# Of lots or TWD a share; beyond it a number is no holding's, and may be too large to reckon with.
_LARGEST_NUMBER = 10**9
_CODE = re.compile(r"[0-9A-Z]{4,8}")
_PENDING: tuple[SentState, ...] = ("sending", "unknown", "booked")
_MATCHED = time(16, 1)
_STATES: dict[SentState, State] = {
    "sending": "unknown",
    "unknown": "unknown",
    "booked": "open",
    "refused": "refused",
    "filled": "filled",
    "expired": "expired",
}


class NckuBroker:
    """An account on the university's simulator, or on anything that speaks as it does."""

    def __init__(
        self,
        store: Store,
        base_url: str,
        account: str,
        password: str,
        *,
        clock: Clock | None = None,
        hours: Window = "evening",
        opening_cash: int = OPENING_CASH,
        timeout: tuple[float, float] = TIMEOUT_S,
    ) -> None:
        self.store = store
        self.base_url = base_url.rstrip("/")
        self.account = account
        self._password = password
        self._clock = clock or SystemClock()
        self._hours = hours
        self._opening_cash = opening_cash
        self._timeout = timeout
        self._one_at_a_time = threading.Lock()  # the server answers no two requests at once

    def session(self) -> date:
        """The session that an order placed now is booked for. OrderRefused outside the window."""
        now = taipei(self._clock.now()).replace(tzinfo=None)
        return booked_for(now, self._hours, self.store.calendar(), date.min)

    def positions(self) -> dict[str, Position]:
        """What is held, by code. BrokerError where the answer is not of the known form."""
        answer = self._ask("get_user_stocks", {})
        rows = answer.get("data")
        if answer.get("result") != "success":
            raise BrokerError(
                f"{self.base_url} does not show the holdings ({_status(answer)}).",
                zh=f"{self.base_url} 不提供持股（{_status(answer)}）：請檢查帳號與密碼。",
            )
        if not isinstance(rows, list):
            raise self._strange("holdings that are no list")
        found: dict[str, Position] = {}
        for row in rows:
            one = self._position(row)
            before = found.get(one.code, Position(one.code, 0, 0))
            found[one.code] = Position(one.code, before.shares + one.shares, before.cost + one.cost)
        return dict(sorted(found.items()))

    def orders(self) -> list[Placed]:
        """The orders that this store has sent, the last first."""
        return [_placed(sent) for sent in self.store.sent_orders.of(self.base_url, self.account)]

    def funds(self) -> Funds:
        """What there should be: the opening sum and what the orders sent from here did to it.

        The server does not tell. An order of which nobody knows counts as if it had filled.
        """
        free = self._opening_cash
        for sent in self.store.sent_orders.of(self.base_url, self.account):
            cost = charges(sent.side, sent.code, sent.shares, sent.price)
            if sent.side == "buy" and sent.state in (*_PENDING, "filled"):
                free -= cost.paid
            elif sent.side == "sell" and sent.state == "filled":
                free += cost.received
        today = taipei(self._clock.now()).date()
        equity = free
        for code, held in self.positions().items():
            equity += trade_value(held.shares, self.store.bars.last_close(code, today) or 0)
        return Funds(free, equity, estimated=True)

    def place(self, order: Order, once: str | None = None) -> Placed:
        """Send an order once, its price on its tick. OrderRefused where it is not taken.

        The state is "unknown" where no answer came in time, or the connection broke: it may have
        arrived. BrokerError where the answer is not of the known form (the order is "unknown" then),
        or where what became of an earlier one cannot be seen. ``once`` is of no use to this server.
        """
        del once
        session = self.session()
        order = check_form(order, session, "round")
        if order.shares % LOT:
            raise OrderRefused(
                "shares",
                "僅限整股",
                "This broker takes whole lots of 1,000 shares only.",
                "此券商只接受 1,000 股的倍數。",
            )
        held = self.reconcile().get(order.code, Position(order.code, 0, 0)).shares
        for sent in self._pending(order.code):
            if sent.state == "booked":
                raise OrderRefused(
                    "pending",
                    "該股已有委託",
                    f"An order for {order.code} is booked for {sent.session}, and it cannot be cancelled: "
                    "wait for that session.",
                    f"{order.code} 有一筆 {sent.session} 的委託無法取消，請等該日過後。",
                )
            raise OrderRefused(
                "pending",
                "前次委託結果不明",
                f"Nobody knows whether the order for {order.code} sent at {_at(sent)} arrived: "
                f"the holdings tell after the session of {sent.session}.",
                f"{_at(sent)} 送出的 {order.code} 委託不知是否送達，{sent.session} 收盤後看庫存便知。",
            )
        if order.side == "sell" and order.shares > held:
            raise OrderRefused(
                "holdings",
                "庫存不足",
                f"The order sells {order.shares:,} shares and {held:,} are held.",
                f"要賣出 {order.shares:,} 股，持有 {held:,} 股，請減少股數。",
            )
        return self._send(order, session, held)

    def cancel(self, id: int) -> Placed:
        """OrderRefused, always: the protocol has no such call."""
        raise OrderRefused(
            "no_cancel",
            "此券商不支援取消",
            f"This broker cannot take order {id} back.",
            f"委託 {id} 只能等到該交易日結束。",
        )

    def reconcile(self) -> dict[str, Position]:
        """Find from the holdings what became of the orders whose session is over; the holdings.

        BrokerError where a holding changed by something else than the one order sent for it: look
        at the account, then tell with ``settle``.
        """
        held = self.positions()
        for sent in self._pending():
            if not self._is_over(sent.session):
                continue
            now = held[sent.code].shares if sent.code in held else 0
            change = now - sent.held
            if change == (sent.shares if sent.side == "buy" else -sent.shares):
                self.store.sent_orders.end(sent.id, "filled", f"{sent.held} shares became {now}")
            elif change == 0:
                self.store.sent_orders.end(sent.id, "expired", f"{now} shares are held as before")
            else:
                raise BrokerError(
                    f"The holding of {sent.code} went from {sent.held:,} to {now:,} shares, which order "
                    f"{sent.id} ({sent.side} {sent.shares:,}) does not explain: look at the account "
                    "and say what became of it.",
                    zh=(
                        f"{sent.code} 的持股從 {sent.held:,} 變成 {now:,} 股，委託 {sent.id}（"
                        f"{sent.side} {sent.shares:,}）無法解釋：請查看帳戶，並說明該委託的結果。"
                    ),
                )
        return held

    def settle(self, id: int, state: SentState) -> None:
        """A person has looked: the order ``id`` was "filled", "expired" or "refused"."""
        if id not in {sent.id for sent in self._pending()}:
            raise OrderRefused(
                "not_open",
                "委託不存在或已結束",
                f"There is no order {id} that waits.",
                f"沒有等待中的委託 {id}，請先列出委託。",
            )
        self.store.sent_orders.end(id, state, "as a person says")

    def _send(self, order: Order, session: date, held: int) -> Placed:
        now = self._clock.now()
        sent = SentOrder(
            0,
            self.base_url,
            self.account,
            order.code,
            order.side,
            order.shares,
            order.price,
            session,
            held,
            "sending",
            "",
            now,
        )
        sent = replace(sent, id=self.store.sent_orders.begin(sent))
        form = {
            "stock_code": order.code,
            "stock_shares": str(order.shares // LOT),
            "stock_price": twd(order.price),
        }
        try:
            answer = self._post(order.side, form)
        except _NeverSent as error:
            self.store.sent_orders.end(sent.id, "refused", f"not sent: {error}")
            raise BrokerError(
                f"{self.base_url} cannot be reached ({error}): nothing was sent.",
                zh=f"連不上 {self.base_url}（{error}）：沒有送出任何委託。",
            ) from error
        except _NoAnswer as error:
            self.store.sent_orders.end(sent.id, "unknown", str(error))
            return _placed(replace(sent, state="unknown"))
        except BrokerError as error:
            self.store.sent_orders.end(sent.id, "unknown", str(error))
            raise
        if answer.get("result") == "success":
            self.store.sent_orders.end(sent.id, "booked", _status(answer))
            return _placed(replace(sent, state="booked"))
        if answer.get("result") == "failed":
            self.store.sent_orders.end(sent.id, "refused", _status(answer))
            raise OrderRefused("broker", _status(answer), f"The broker refuses it: {_status(answer)}.")
        self.store.sent_orders.end(sent.id, "unknown", "an answer without a result")
        raise self._strange("an answer without a result")

    def _pending(self, code: str | None = None) -> list[SentOrder]:
        """The orders of which it is not known what became, the oldest first."""
        return self.store.sent_orders.of(self.base_url, self.account, code=code, states=_PENDING)[::-1]

    def _is_over(self, session: date) -> bool:
        now = taipei(self._clock.now())
        return now.date() > session or (now.date() == session and now.time() >= _MATCHED)

    def _position(self, row: Any) -> Position:
        """A row of the holdings; prices have come as numbers and as text."""
        try:
            code, lots = str(row["stock_code_id"]), _number(row["shares"])
            price = _number(row["beginning_price"])
            shares = int(lots * LOT)
            if not _CODE.fullmatch(code) or shares <= 0 or shares != lots * LOT or price < 0:
                raise ValueError
        except (KeyError, TypeError, ValueError, InvalidOperation):
            raise self._strange("a holding of an unknown form") from None
        return Position(code, shares, int(price * shares))

    def _ask(self, call: str, form: dict[str, str]) -> dict[str, Any]:
        """A question; asked again where no answer came, for it changes nothing."""
        for attempt in range(1, QUESTIONS + 1):
            try:
                return self._post(call, form)
            except (_NeverSent, _NoAnswer) as error:
                if attempt == QUESTIONS:
                    raise BrokerError(
                        f"{self.base_url} does not answer ({error}): try again.",
                        zh=f"{self.base_url} 沒有回應（{error}）：請再試一次。",
                    ) from error
                self._clock.sleep(attempt)
        raise AssertionError

    def _post(self, call: str, form: dict[str, str]) -> dict[str, Any]:
        """One request, never repeated and never redirected; its document."""
        import requests

        form = {"account": self.account, "password": self._password} | form
        try:
            with (
                self._one_at_a_time,
                requests.post(
                    f"{self.base_url}/{call}",
                    data=form,
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                ) as answer,
            ):
                body = _read(answer)
        except requests.RequestException as error:
            raise (_NeverSent if _never_sent(error) else _NoAnswer)(_cause(error)) from None
        if answer.status_code >= 500:
            raise _NoAnswer(f"status {answer.status_code}")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise self._strange(f"no JSON, with status {answer.status_code}") from None
        if answer.status_code != 200 or not isinstance(document, dict):
            raise self._strange(f"status {answer.status_code}")
        return document

    def _strange(self, what: str) -> BrokerError:
        return BrokerError(
            f"{self.base_url} answered in a form that is not known ({what}): look at the account there.",
            zh=f"{self.base_url} 的回應格式無法辨認（{what}）：請到該處查看帳戶。",
        )


class _NeverSent(Exception):
    """No connection was made, so nothing can have arrived."""


class _NoAnswer(Exception):
    """The request may have arrived, and no whole answer came."""


def _read(answer: requests.Response) -> bytes:
    body = b""
    for part in answer.iter_content(65_536):
        body += part
        if len(body) > _LARGEST_ANSWER:
            break
    return body


def _never_sent(error: Exception) -> bool:
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.InvalidURL)):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, NewConnectionError)


def _cause(error: Exception) -> str:
    """What went wrong in a word or two: the library's own text repeats the address."""
    return {"ReadTimeout": "no answer in time", "ConnectTimeout": "no connection in time"}.get(
        type(error).__name__, type(error).__name__
    )


def _status(answer: dict[str, Any]) -> str:
    return " ".join(str(answer.get("status", "")).split())[:200] or "no reason given"


def _number(value: Any) -> Decimal:
    """A number that came as one or as text. ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    number = Decimal(str(value))
    if not number.is_finite() or abs(number) > _LARGEST_NUMBER:
        raise ValueError
    return number


def _at(sent: SentOrder) -> str:
    return f"{taipei(sent.sent_at):%Y-%m-%d %H:%M}"


def _placed(sent: SentOrder) -> Placed:
    order = Order(sent.code, sent.side, sent.shares, sent.price)
    return Placed(sent.id, order, sent.session, _STATES[sent.state])
