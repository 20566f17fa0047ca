"""``stockllm trade``, ``portfolio``, ``orders`` and ``cancel``: an account and its orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import typer

from stockllm.cli import arguments
from stockllm.cli.output import banner, emit_json, open_store, say, show, table, text
from stockllm.cli.trading import limits
from stockllm.data.errors import OrderRefused, StockllmError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stockllm.data.store import Store
    from stockllm.data.stores.sent_orders import SentState
    from stockllm.trading.brokers.broker import Placed
    from stockllm.trading.exchange.rules import Order
    from stockllm.trading.live.live import Account
    from stockllm.trading.strategy.dealing import Sent
    from stockllm.trading.strategy.policy import Plan

_ACCOUNT = typer.Option("", "--account", metavar="NAME", help="Whose; the only one, or trade.account.")
_BROKER = typer.Option("", "--broker", help="local: the store's exchange; ncku: the university's server.")
_JSON = typer.Option(False, "--json", help="Print one JSON document on stdout.")

_SIDES = {"buy": ("買進", "buy"), "sell": ("賣出", "sell")}
_STATES = {
    "open": ("未成交", "open"),
    "filled": ("成交", "filled"),
    "expired": ("失效", "expired"),
    "cancelled": ("已取消", "cancelled"),
    "refused": ("被拒", "refused"),
    "unknown": ("不明", "unknown"),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("trade")(trade)
    app.command("portfolio")(portfolio)
    app.command("orders")(orders)
    app.command("cancel")(cancel)


def trade(
    codes: list[str] = typer.Argument(None, metavar="[CODE]...", help="Companies to buy; the listed ones."),
    account: str = _ACCOUNT,
    broker: str = _BROKER,
    strategy: str = typer.Option("", "--strategy", help="mean, four-points, edge or hold."),
    cap: str = limits.CAP,
    floor: str = limits.FLOOR,
    stop: str = limits.STOP,
    edge: str = limits.EDGE,
    odd: bool | None = limits.ODD,
    new_peak: bool = typer.Option(
        False, "--new-peak", help="Forget the drawdown: today's equity is the peak."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the plan and send nothing."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = _JSON,
) -> None:
    """Turn this evening's signals into orders under the risk policy: shows the plan, asks, sends."""
    from stockllm.cli.windows import chosen
    from stockllm.trading.live import live
    from stockllm.trading.strategy.dealing import send

    if as_json and not (yes or dry_run):
        raise UsageError(
            "With --json nobody is asked: pass --yes to send the orders, or --dry-run.",
            zh="使用 --json 不會詢問：請用 --yes 送出委託，或用 --dry-run。",
        )
    store, settings = open_store()
    language = settings.language
    with store:
        policy = limits.policy(settings.trade, cap, floor, stop, edge, odd)
        mine = live.open_account(store, settings, broker, account)
        if not dry_run or mine.kind == "ncku":  # what a server's orders became changes no book
            live.catch_up(mine)
        plan = live.plan_evening(
            store,
            mine,
            strategy or settings.trade.strategy,
            chosen(store, codes or [], ()),
            live.fitted(policy, mine),
            new_peak=new_peak,
        )
        sent: list[Sent] = []
        if not as_json:
            banner(store.simulated, language)
            _show_plan(store, mine, plan, language)
        if plan.orders and not (dry_run or yes):
            question = text(
                f"送出這 {len(plan.orders)} 筆委託嗎？", f"Send these {len(plan.orders)}?", language
            )
            if not typer.confirm(question, err=True):
                say(text("沒有送出。", "Nothing was sent.", language))
                return
        if not dry_run:
            mine.set_peak(store, plan.standing.peak)
            sent = send(mine.broker, plan)
        if as_json:
            emit_json(_plan_document(mine, plan, sent, dry_run))
        elif sent:
            _show_sent(sent, language)
    missed = sum(each.placed is None for each in sent)
    if missed:
        raise StockllmError(
            f"{missed} of {len(sent)} orders were not taken: see why above, and the others with "
            "'stockllm orders'.",
            zh=(f"{len(sent)} 筆委託中有 {missed} 筆沒有成立：原因見上，其他請看 'stockllm orders'。"),
        )


def portfolio(account: str = _ACCOUNT, broker: str = _BROKER, as_json: bool = _JSON) -> None:
    """Show what an account has: cash, holdings at their last close, and how far it is below its peak."""
    from stockllm.market.companies import display
    from stockllm.trading.live import live

    store, settings = open_store()
    language = settings.language
    with store:
        mine = live.open_account(store, settings, broker, account)
        found = live.look(store, mine)
        if as_json:
            emit_json(found.document())
            return
        banner(store.simulated, language)
        _show_worth(mine, found, language)
        if not found.rows:
            show(text("沒有持股。", "No shares are held.", language))
            return
        headers = text(
            "代號 名稱 股數 成本 收盤 市值 損益 報酬",
            "Code Name Shares Cost Close Worth Gain Return",
            language,
        )
        rows = [
            (
                row.code,
                display(store.company(row.code), language),
                f"{row.shares:,}",
                f"{row.cost:,}",
                None if row.close is None else f"{row.close / 100:,.2f}",
                None if row.worth is None else f"{row.worth:,}",
                None if row.gain is None else f"{row.gain:+,}",
                None if row.gain is None or not row.cost else f"{row.gain / row.cost:+.1%}",
            )
            for row in found.rows
        ]
        table(headers.split(), rows, right=range(2, 8))


def orders(
    account: str = _ACCOUNT,
    broker: str = _BROKER,
    still_open: bool = typer.Option(False, "--open", help="Those alone that may still fill."),
    limit: int = typer.Option(50, "--limit", min=1, max=100_000, help="How many."),
    settle: str = typer.Option(
        "",
        "--settle",
        metavar="ID=STATE",
        help="You have looked: an order elsewhere filled, expired or refused.",
    ),
    as_json: bool = _JSON,
) -> None:
    """List an account's orders, the last placed first."""
    from stockllm.trading.live import live

    store, settings = open_store()
    with store:
        mine = live.open_account(store, settings, broker, account)
        if settle:
            _settle(mine, settle)
        found = [o for o in mine.broker.orders() if not still_open or o.state in ("open", "unknown")][:limit]
        if as_json:
            emit_json([_order_document(order) for order in found])
            return
        banner(store.simulated, settings.language)
        _show_orders(found, settings.language)


def cancel(
    ids: list[str] = typer.Argument(None, metavar="[ID]...", help="As 'stockllm orders' lists them."),
    everything: bool = typer.Option(False, "--all", help="Every open order."),
    account: str = _ACCOUNT,
    broker: str = _BROKER,
    as_json: bool = _JSON,
) -> None:
    """Take open orders back."""
    from stockllm.trading.live import live

    if everything == bool(ids):
        raise UsageError(
            "Name the orders to cancel by their ids, or pass --all; not both and not neither.",
            zh="請以編號指定要取消的委託，或用 --all：不能兩者都要，也不能都不要。",
        )
    wanted = [
        arguments.whole(
            each, "an order's id, as 'stockllm orders' lists them", "'stockllm orders' 所列的編號"
        )
        for each in ids or []
    ]
    store, settings = open_store()
    with store:
        mine = live.open_account(store, settings, broker, account)
        if everything:
            wanted = [order.id for order in mine.broker.orders() if order.state == "open"]
        done: list[Placed] = []
        refused: list[OrderRefused] = []
        for id in dict.fromkeys(wanted):
            try:
                done.append(mine.broker.cancel(id))
            except OrderRefused as error:
                refused.append(error)
        if as_json:
            cancelled = [_order_document(order) for order in done]
            emit_json({"cancelled": cancelled, "refused": [str(error) for error in refused]})
        elif done or not refused:
            banner(store.simulated, settings.language)
            _show_orders(done, settings.language)
    if refused:
        first, left = refused[0], len(refused) - 1
        more = (f" ({left} more like this.)", f"（類似的還有 {left} 筆。）") if left else ("", "")
        raise StockllmError(str(first) + more[0], zh=first.sentence("zh") + more[1])


def _settle(mine: Account, told: str) -> None:
    """Take a person's word for what became of an order that a server does not tell of."""
    from stockllm.trading.brokers.ncku import NckuBroker

    id, _, state = told.partition("=")
    if state not in ("filled", "expired", "refused"):
        raise UsageError(
            f"'{told}' settles nothing: write --settle 7=filled, 7=expired or 7=refused.",
            zh=f"'{told}' 無法認定：請寫成 --settle 7=filled、7=expired 或 7=refused。",
        )
    if not isinstance(mine.broker, NckuBroker):
        raise UsageError(
            "The store's own exchange knows what became of its orders: --settle is for ncku.",
            zh="本地交易所知道委託的結果：--settle 是給 ncku 用的。",
        )
    mine.broker.settle(
        arguments.whole(id, "an order's id before the =, as in 7=filled", "編號=結果，例如 7=filled"),
        cast("SentState", state),
    )


def _show_plan(store: Store, mine: Account, plan: Plan, language: str) -> None:
    from stockllm.market.companies import display

    now = plan.standing
    worth = "–" if now.equity is None else f"{now.equity:,}"
    show(
        text(
            f"{mine.name}：{now.evening} 收盤後，委託於 {now.session}　淨值 {worth}　可用現金 {now.free:,}　"
            f"低於高點 {now.drawdown:.1%}",
            f"{mine.name}: evening of {now.evening}, orders for {now.session}. Equity {worth}, "
            f"free cash {now.free:,}, {now.drawdown:.1%} below the peak",
            language,
        )
    )
    rows = []
    for decision in plan.decisions:
        name = display(store.company(decision.code), language)
        reason = text(decision.reason_zh, decision.reason_en, language)
        for order in decision.orders or (None,):
            rows.append((decision.code, name, *_cells(order, language), reason))
    headers = text("代號 名稱 委託 股數 價格 理由", "Code Name Order Shares Price Reason", language)
    table(headers.split(), rows, right={3, 4})
    if not plan.orders:
        show(text("沒有要下的委託。", "There is nothing to order.", language))


def _cells(order: Order | None, language: str) -> tuple[str | None, ...]:
    if order is None:
        return None, None, None
    return text(*_SIDES[order.side], language), f"{order.shares:,}", f"{order.price / 100:,.2f}"


def _show_sent(sent: Sequence[Sent], language: str) -> None:
    show()
    rows = []
    for each in sent:
        state = _STATES[each.placed.state if each.placed else "refused"]
        id = each.placed.id if each.placed else None
        why = text(each.why_zh, each.why_en, language)
        rows.append((id, each.order.code, *_cells(each.order, language), text(*state, language), why))
    headers = text("編號 代號 委託 股數 價格 狀態 說明", "Id Code Order Shares Price State Note", language)
    table(headers.split(), rows, right={0, 3, 4})


def _show_worth(mine: Account, found: Any, language: str) -> None:
    worth = "–" if found.equity is None else f"{found.equity:,}"
    marked = text("（估計）", " (estimated)", language) if found.estimated else ""
    peak = (
        ""
        if found.drawdown is None
        else text(f"　低於高點 {found.drawdown:.1%}", f", {found.drawdown:.1%} below the peak", language)
    )
    show(
        text(
            f"{mine.name}　淨值 {worth}{marked}　可用現金 {found.free:,}{peak}",
            f"{mine.name}: equity {worth}{marked}, free cash {found.free:,}{peak}",
            language,
        )
    )


def _show_orders(found: Sequence[Placed], language: str) -> None:
    if not found:
        show(text("沒有委託。", "No orders.", language))
        return
    headers = text(
        "編號 交易日 代號 委託 股數 價格 狀態", "Id Session Code Order Shares Price State", language
    )
    rows = [
        (o.id, o.session, o.order.code, *_cells(o.order, language), text(*_STATES[o.state], language))
        for o in found
    ]
    table(headers.split(), rows, right={0, 4, 5})


def _asked(order: Order) -> dict[str, Any]:
    return {"code": order.code, "side": order.side, "shares": order.shares, "price": order.price / 100}


def _order_document(placed: Placed) -> dict[str, Any]:
    return (
        {"id": placed.id}
        | _asked(placed.order)
        | {
            "session": placed.session.isoformat(),
            "state": placed.state,
        }
    )


def _plan_document(mine: Account, plan: Plan, sent: Sequence[Sent], dry_run: bool) -> dict[str, Any]:
    now = plan.standing
    return {
        "account": mine.name,
        "broker": mine.kind,
        "evening": now.evening.isoformat(),
        "session": now.session.isoformat(),
        "free": now.free,
        "equity": now.equity,
        "peak": now.peak,
        "drawdown": now.drawdown,
        "stopped": plan.stopped,
        "dry_run": dry_run,
        "decisions": [
            {
                "code": each.code,
                "why": each.why,
                "reason_zh": each.reason_zh,
                "reason_en": each.reason_en,
                "orders": [_asked(order) for order in each.orders],
            }
            for each in plan.decisions
        ],
        "sent": [
            _asked(each.order)
            | {
                "id": each.placed.id if each.placed else None,
                "state": each.placed.state if each.placed else "refused",
                "why_zh": each.why_zh,
                "why_en": each.why_en,
            }
            for each in sent
        ],
    }
