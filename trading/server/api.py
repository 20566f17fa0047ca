"""The modern protocol of the exchange: JSON, tokens, idempotency keys. ``/openapi.json`` describes it.

Annotations are evaluated where they stand, for FastAPI reads those of the functions in ``routes``.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from stockllm.collectors.clock import taipei
from stockllm.data.errors import OrderRefused
from stockllm.data.stores.book_rows import AccountRow, OrderRow, OrderState
from stockllm.data.stores.books import Books
from stockllm.trading.exchange.access import TOKEN_LIFE, Credential, NotAllowed, new_token
from stockllm.trading.exchange.rules import HIGHEST_PRICE, MOST_SHARES, Order
from stockllm.trading.server.desk import client_of

if TYPE_CHECKING:
    from stockllm.trading.server.desk import Desk

#: What each refusal is in the language of HTTP; the rest are 422.
_STATUS = {"key": 409, "not_open": 409}
_FIRST_ID, _LAST_ID = 1, 2**62

_Id = Annotated[int, Path(ge=_FIRST_ID, le=_LAST_ID)]


class Login(BaseModel):
    """An account and its password."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    account: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=200)


class Token(BaseModel):
    """A token, shown this once, and when it runs out."""

    token: str
    expires_at: datetime


class Problem(BaseModel):
    """Why a request was refused: one word for programs, a sentence in English and one in Chinese."""

    reason: str
    message: str
    message_zh: str


class Refusal(BaseModel):
    """The body of every refusal."""

    error: Problem


#: What any call may answer besides its own.
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal} for status in (400, 401, 404, 405, 408, 409, 413, 421, 422, 429, 500, 503)
}


class NewOrder(BaseModel):
    """An order: ``shares`` are shares, ``price`` TWD as a number or text with at most two decimals."""

    model_config = ConfigDict(extra="forbid")
    code: str = Field(pattern=r"^[0-9A-Z]{4,8}$")
    side: Literal["buy", "sell"]
    shares: int = Field(strict=True, ge=1, le=MOST_SHARES)
    price: Decimal = Field(gt=0, le=HIGHEST_PRICE // 100, decimal_places=2)


class OrderShown(BaseModel):
    """An order as the books have it."""

    id: int
    code: str
    side: Literal["buy", "sell"]
    shares: int
    price: str
    session: date
    reserved: int
    state: OrderState
    key: str | None
    placed_at: datetime
    ended_at: datetime | None


class Cash(BaseModel):
    """Money in TWD on the evening of ``day``: ``free`` for new orders, ``due`` not spendable yet."""

    day: date
    cash: int
    free: int
    due: int
    shares: int
    equity: int


class Holding(BaseModel):
    """Shares of one stock and what they cost together in TWD, without commission."""

    code: str
    name: str
    shares: int
    cost: int
    since: date


class Fill(BaseModel):
    """What became of an order. ``cost`` is what shares sold had cost."""

    order: int
    session: date
    value: int
    commission: int
    tax: int
    cost: int


class Status(BaseModel):
    """Where the exchange stands. ``next_session`` is absent while no orders are taken; ``why`` says it."""

    name: str
    mode: Literal["live", "replay"]
    day: date
    next_session: date | None
    why: str | None
    hours: str
    settlement: int
    off_tick: str
    simulated: bool


def refused(reason: str, en: str, zh: str, http: int, **headers: str) -> JSONResponse:
    """The protocol's refusal."""
    body = {"error": {"reason": reason, "message": en, "message_zh": zh}}
    return JSONResponse(body, http, headers=headers)


def order_refused(error: OrderRefused) -> JSONResponse:
    """An order that the exchange does not take."""
    return refused(error.reason, str(error), error.zh, _STATUS.get(error.reason, 422))


def routes(desk: "Desk") -> APIRouter:
    """The protocol's calls."""
    router = APIRouter(prefix="/v1", tags=["modern"], responses=REFUSALS)
    bearer = HTTPBearer(auto_error=False)

    async def holder(request: Request, given: Annotated[Any, Depends(bearer)]) -> Credential:
        if given is None or not given.credentials or len(given.credentials) > 200:
            raise NotAllowed
        return desk.token(client_of(request), given.credentials)

    Holder = Annotated[Credential, Depends(holder)]  # noqa: N806

    @router.post("/tokens", status_code=201)
    async def get_token(request: Request, login: Login) -> Token:
        who = await desk.password(client_of(request), login.account, login.password)
        token, digest = new_token()
        now = desk.exchange.clock.now()
        expires = now + TOKEN_LIFE

        def keep(books: Books, account: AccountRow) -> None:
            books.add_token(digest, account.id, now, expires)
            books.log(now, account.exchange, account.id, "token")

        await desk.act(who, keep)
        return Token(token=token, expires_at=taipei(expires))

    @router.delete("/tokens", status_code=204)
    async def end_token(who: Holder) -> Response:
        await desk.act(who, lambda books, _: books.drop_token(who.token_digest))
        return Response(status_code=204)

    @router.get("/exchange")
    async def status(request: Request) -> Status:
        desk.count(client_of(request))
        return await desk.call(lambda: _status(desk))

    @router.post("/orders", status_code=201)
    async def place(
        who: Holder,
        new: NewOrder,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
    ) -> OrderShown:
        order = Order(new.code, new.side, new.shares, int(new.price * 100))
        row = await desk.act(
            who, lambda books, account: desk.exchange.book(books, account, order, idempotency_key)
        )
        return _shown(row)

    @router.get("/orders")
    async def list_orders(
        who: Holder,
        state: OrderState | None = None,
        before: Annotated[int | None, Query(ge=_FIRST_ID, le=_LAST_ID)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[OrderShown]:
        rows = await desk.look(
            who, lambda books, own: books.orders(own.id, state=state, before=before, limit=limit)
        )
        return [_shown(row) for row in rows]

    @router.get("/orders/{id}")
    async def get_order(who: Holder, id: _Id) -> OrderShown:
        row = await desk.look(who, lambda books, own: books.order(own.id, id))
        if row is None:
            raise HTTPException(404, f"The account has no order {id}")
        return _shown(row)

    @router.delete("/orders/{id}")
    async def cancel(who: Holder, id: _Id) -> OrderShown:
        return _shown(await desk.act(who, lambda books, account: desk.exchange.take_back(books, account, id)))

    @router.get("/cash")
    async def cash(who: Holder) -> Cash:
        own = await desk.look(who, lambda _, account: account)
        money = await desk.call(lambda: desk.exchange.money(own.name))
        return Cash(
            day=money.day,
            cash=money.cash,
            free=money.free,
            due=money.due,
            shares=money.shares,
            equity=money.equity,
        )

    @router.get("/holdings")
    async def holdings(who: Holder) -> list[Holding]:
        rows = await desk.look(who, lambda books, own: books.holdings(own.id))
        return [
            Holding(
                code=row.code,
                name=desk.company(row.code).listed_name,
                shares=row.shares,
                cost=row.cost,
                since=row.since,
            )
            for row in rows
        ]

    @router.get("/fills")
    async def fills(who: Holder) -> list[Fill]:
        rows = await desk.look(who, lambda books, own: books.fills(own.id))
        return [
            Fill(
                order=row.order_id,
                session=row.session,
                value=row.value,
                commission=row.commission,
                tax=row.tax,
                cost=row.cost,
            )
            for row in rows
        ]

    return router


def _status(desk: "Desk") -> Status:
    exchange = desk.exchange
    with exchange.store.books.read() as books:
        row = exchange.row(books)
    session, why = None, None
    try:
        session = exchange.next_session()
    except OrderRefused as error:
        why = str(error)
    return Status(
        name=row.name,
        mode=row.mode,
        day=row.day,
        next_session=session,
        why=why,
        hours=row.hours,
        settlement=row.settlement,
        off_tick=row.off_tick,
        simulated=exchange.store.simulated,
    )


def _shown(row: OrderRow) -> OrderShown:
    return OrderShown(
        id=row.id,
        code=row.code,
        side=row.side,
        shares=row.shares,
        price=f"{row.price // 100}.{row.price % 100:02d}",
        session=row.session,
        reserved=row.reserved,
        state=row.state,
        key=row.once,
        placed_at=taipei(row.placed_at),
        ended_at=taipei(row.ended_at) if row.ended_at else None,
    )
