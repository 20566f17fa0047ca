"""``stockllm exchange account``: opening accounts and changing their passwords."""

from __future__ import annotations

import sys
import warnings
from getpass import GetPassWarning
from typing import Any

import typer

from stockllm.cli.output import banner, emit_json, open_store, say, show, table, text
from stockllm.data.errors import UsageError
from stockllm.trading.exchange.accounts import check_free, open_new
from stockllm.trading.exchange.opening import new_account

_JSON = typer.Option(False, "--json", help="Print one JSON document on stdout.")
_STDIN = typer.Option(
    False, "--password-stdin", help="Read the password from the first line of standard input."
)


def register(app: typer.Typer) -> None:
    """Add the commands as a group."""
    group = typer.Typer(
        name="account", help="The accounts of an exchange.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("add")(add)
    group.command("list")(list_accounts)
    group.command("password")(password)
    app.add_typer(group)


def add(
    name: str = typer.Argument(..., help="The account's name."),
    exchange: str = typer.Option("live", "--exchange", metavar="NAME", help="Which exchange."),
    cash: str = typer.Option("100000000", "--cash", metavar="TWD", help="What it begins with."),
    discount: str = typer.Option(
        "1", "--discount", metavar="PART", help="The part of the commission that is charged, such as 0.6."
    ),
    password_stdin: bool = _STDIN,
    as_json: bool = _JSON,
) -> None:
    """Open an account; the live exchange is opened with its first one."""
    new = new_account(name, cash, discount)
    store, settings = open_store()
    with store:
        check_free(store, name)  # before a password is asked for
        made = open_new(store, new, _password(password_stdin, settings.language), exchange)
        if as_json:
            emit_json({"account": made.name, "exchange": exchange, "cash": made.cash})
            return
        banner(store.simulated, settings.language)
        show(
            text(
                f"已在交易所 {exchange} 開戶 {name}，資金 {made.cash:,} 元。",
                f"Opened the account {name} on the exchange {exchange} with {made.cash:,} TWD.",
                settings.language,
            )
        )


def list_accounts(as_json: bool = _JSON) -> None:
    """List all accounts with what they are worth."""
    from stockllm.trading.exchange.exchange import Exchange

    store, settings = open_store()
    with store:
        with store.books.read() as books:
            exchanges = books.exchanges()
            accounts = [(row.name, account) for row in exchanges for account in books.accounts(row.id)]
        found: list[dict[str, Any]] = []
        for exchange, account in accounts:
            money = Exchange(store, exchange).money(account.name)
            found.append(
                {
                    "account": account.name,
                    "exchange": exchange,
                    "day": money.day.isoformat(),
                    "free": money.free,
                    "due": money.due,
                    "shares": money.shares,
                    "equity": money.equity,
                    "discount": str(account.discount),
                }
            )
        if as_json:
            emit_json(found)
            return
        banner(store.simulated, settings.language)
        if not found:
            show(text("沒有帳戶", "No accounts", settings.language))
            return
        headers = text(
            "帳戶 交易所 日期 可用現金 待交割 持股 總值 手續費折數",
            "Account Exchange Day Free Due Shares Equity Discount",
            settings.language,
        ).split()
        rows = [[f"{v:,}" if isinstance(v, int) else v for v in one.values()] for one in found]
        table(headers, rows, right={3, 4, 5, 6, 7})


def password(
    name: str = typer.Argument(..., help="The account's name."), password_stdin: bool = _STDIN
) -> None:
    """Change an account's password; its tokens end with the old one."""
    from datetime import UTC, datetime

    from stockllm.trading.exchange.access import hash_password

    store, settings = open_store()
    with store:
        with store.books.read() as books:
            known = books.account(name)
        if known is None:
            raise UsageError(
                f"There is no account {name!r}: see 'stockllm exchange account list'.",
                zh=f"沒有名為 {name!r} 的帳戶：請看 'stockllm exchange account list'。",
            )
        hashed = hash_password(_password(password_stdin, settings.language))
        with store.books.write() as books:
            books.set_password(known.id, hashed)
            books.log(datetime.now(UTC), known.exchange, known.id, "password")
        show(text(f"已更改 {name} 的密碼。", f"Changed the password of {name}.", settings.language))


def _password(from_stdin: bool, language: str) -> str:
    """The password, from a terminal that does not show it or from standard input; never an argument."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    question = text("密碼", "Password", language)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return str(typer.prompt(question, hide_input=True, confirmation_prompt=True, err=True))
        except GetPassWarning:
            say("")  # the question has no line's end
            raise UsageError(
                "There is no terminal to type a password at unseen: pass it with --password-stdin.",
                zh="沒有終端機可以隱密地輸入密碼：請用 --password-stdin 傳入。",
            ) from None
