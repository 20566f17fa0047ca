"""Proof of the books: everything that can be reckoned twice is, and must agree."""

from __future__ import annotations

from stockllm.data.stores.book_rows import AccountRow
from stockllm.data.stores.books import Books
from stockllm.market.fees import charges
from stockllm.trading.exchange.exchange import Exchange


def problems(exchange: Exchange) -> list[str]:
    """What does not agree in the books of ``exchange``, a sentence each; nothing where all is well.

    Debits equal credits in every entry; cash, proceeds due, and the cost of holdings equal their
    ledger accounts; what is set aside equals what open orders need; shares follow from fills and
    ex-dates; and every fill's charges follow from its order by the fee function.
    """
    with exchange.store.books.read() as books:
        row = exchange.row(books)
        found = [f"entry {entry} does not balance" for entry in books.unbalanced()]
        for account in books.accounts(row.id):
            found += [f"{account.name}: {what}" for what in _account(books, account, row.number)]
    return found


def _account(books: Books, account: AccountRow, number: int) -> list[str]:
    balances = books.balances(account.id)
    orders = {order.id: order for order in books.orders(account.id)}
    fills = books.fills(account.id)
    held = books.holdings(account.id)
    pairs: list[tuple[str, object, object]] = [
        ("cash", account.cash, balances.get("cash", 0)),
        ("due", sum(books.due(account.id, number).values()), balances.get("receivable", 0)),
        ("cost of holdings", sum(h.cost for h in held), balances.get("shares", 0)),
        ("set aside", account.reserved, sum(o.reserved for o in orders.values() if o.state == "open")),
        ("fills", len(fills), sum(o.state == "filled" for o in orders.values())),
    ]
    shares: dict[str, int] = {}
    for fill in fills:
        order = orders[fill.order_id]
        shares[order.code] = shares.get(order.code, 0) + (1 if order.side == "buy" else -1) * order.shares
        due = charges(order.side, order.code, order.shares, order.price, discount=account.discount)
        booked = (fill.value, fill.commission, fill.tax)
        pairs.append((f"charges of order {order.id}", booked, (due.value, due.commission, due.tax)))
    for grant in books.grants(account.id):
        shares[grant.code] = shares.get(grant.code, 0) + grant.shares
    pairs.append(("shares", {h.code: h.shares for h in held}, {c: n for c, n in shares.items() if n}))
    selling: dict[str, int] = {}
    for order in orders.values():
        if order.state == "open" and order.side == "sell":
            selling[order.code] = selling.get(order.code, 0) + order.shares
    found = [f"{what} is {one} and should be {other}" for what, one, other in pairs if one != other]
    found += [
        f"open sales of {code} exceed what is held" for code, n in selling.items() if n > shares.get(code, 0)
    ]
    return found
