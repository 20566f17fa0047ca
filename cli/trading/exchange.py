"""``stockllm exchange``: the simulated exchange, its sessions and its server."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.arguments import day
from stockllm.cli.output import banner, emit_json, open_store, say, show, table, text
from stockllm.cli.trading import exchange_accounts
from stockllm.data.errors import StockllmError, UsageError
from stockllm.trading.exchange.opening import check_name

if TYPE_CHECKING:
    from stockllm.trading.exchange.exchange import Advance

_NAME = typer.Option("live", "--exchange", metavar="NAME", help="Which exchange; live is the calendar's own.")
_JSON = typer.Option(False, "--json", help="Print one JSON document on stdout.")


def register(app: typer.Typer) -> None:
    """Add the commands as a group."""
    group = typer.Typer(
        name="exchange",
        help="A simulated exchange and its server; what prints an answer takes --json.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("open")(open_exchange)
    group.command("list")(list_exchanges)
    group.command("advance")(advance)
    group.command("replay")(replay)
    group.command("serve")(serve)
    group.command("check")(check)
    group.command("audit")(audit)
    exchange_accounts.register(group)
    app.add_typer(group)


def open_exchange(
    name: str = typer.Argument("live", help="live, or a name of your own for a replay."),
    start: str = typer.Option("", "--from", metavar="DATE", help="A replay's first evening, YYYY-MM-DD."),
    hours: str = typer.Option("evening", "--hours", help="When orders are taken: evening, intraday, always."),
    settlement: int = typer.Option(
        1, "--settlement", min=0, max=10, help="Sessions until a sale's proceeds can be spent."
    ),
    off_tick: str = typer.Option("refuse", "--off-tick", help="A price off its tick: refuse or round."),
    as_json: bool = _JSON,
) -> None:
    """Open an exchange: live, or a replay of a past period."""
    from stockllm.trading.exchange.exchange import LIVE, Exchange
    from stockllm.trading.exchange.rules import Rules

    if (name == LIVE) == bool(start):
        raise UsageError(
            "A replay needs --from DATE and a name; the live exchange takes no --from.",
            zh="重播需要 --from 日期與名稱；現行交易所不用 --from。",
        )
    if hours not in ("evening", "intraday", "always"):
        raise UsageError(
            f"There are no hours {hours!r}: choose evening, intraday or always.",
            zh=f"沒有 {hours!r} 這種時段：請選 evening、intraday 或 always。",
        )
    if off_tick not in ("refuse", "round"):
        raise UsageError(
            f"--off-tick is refuse or round, not {off_tick!r}.",
            zh=f"--off-tick 為 refuse 或 round，而不是 {off_tick!r}。",
        )
    check_name(name)
    rules = Rules(hours, settlement, off_tick)  # type: ignore[arg-type]
    store, settings = open_store()
    with store:
        made = Exchange.open(store, name, evening=day(start) if start else None, rules=rules)
        document = {"exchange": name, "day": made.day().isoformat()}
        if as_json:
            emit_json(document)
            return
        banner(store.simulated, settings.language)
        show(
            text(
                f"已開設交易所 {name}，目前為 {made.day()} 收盤後。",
                f"Opened the exchange {name} on the evening of {made.day()}.",
                settings.language,
            )
        )


def list_exchanges(as_json: bool = _JSON) -> None:
    """List the exchanges."""
    store, settings = open_store()
    with store:
        with store.books.read() as books:
            rows = [(row, len(books.accounts(row.id))) for row in books.exchanges()]
        if as_json:
            emit_json(
                [asdict(row) | {"day": row.day.isoformat(), "accounts": accounts} for row, accounts in rows]
            )
            return
        banner(store.simulated, settings.language)
        if not rows:
            show(text("沒有交易所", "No exchanges", settings.language))
            return
        table(
            text(
                "名稱 模式 日期 場次 時段 交割 帳戶",
                "Name Mode Day Sessions Hours T+ Accounts",
                settings.language,
            ).split(),
            [(r.name, r.mode, r.day, r.number, r.hours, r.settlement, accounts) for r, accounts in rows],
            right={3, 5, 6},
        )


def advance(
    name: str = _NAME,
    to: str = typer.Option("", "--to", metavar="DATE", help="Match every session up to this day."),
    as_json: bool = _JSON,
) -> None:
    """Match the next session, or all up to a day. A day that was matched is not matched again."""
    from stockllm.trading.exchange.exchange import Exchange

    until = day(to) if to else None
    store, settings = open_store()
    with store:
        exchange = Exchange(store, name)
        if as_json:
            done = exchange.advance(until)
            emit_json({"exchange": name, "day": exchange.day().isoformat(), "sessions": _documents(done)})
            return
        told = False

        def tick(one: Advance) -> None:
            # One by one: a session that cannot be matched yet hides none of those before it.
            nonlocal told
            if not told:
                banner(store.simulated, settings.language)
            told = True
            _show(one, settings.language)

        if not exchange.advance(until, tick):
            banner(store.simulated, settings.language)
            show(
                text(
                    f"{exchange.day()} 以前都已撮合。",
                    f"Everything up to {exchange.day()} was matched before.",
                    settings.language,
                )
            )


def replay(
    name: str = typer.Argument(..., help="The exchange to replay."),
    to: str = typer.Option(..., "--to", metavar="DATE", help="The last day to match."),
    every: float = typer.Option(
        0.0, "--every", min=0, max=86_400, metavar="SECONDS", help="How long to wait between sessions."
    ),
) -> None:
    """Replay a past period at a speed of your choice; Ctrl-C stops between two sessions."""
    from stockllm.collectors.clock import SystemClock
    from stockllm.trading.exchange.exchange import Exchange

    until = day(to)
    store, settings = open_store()
    with store:
        exchange = Exchange(store, name)
        banner(store.simulated, settings.language)
        clock = SystemClock()

        def tick(one: Advance) -> None:
            _show(one, settings.language)
            if one.session < until:
                clock.sleep(every)

        exchange.advance(until, tick)


def serve(
    name: str = _NAME,
    host: str = typer.Option(
        "127.0.0.1", "--host", help="Address to listen on; this machine alone by default."
    ),
    port: int = typer.Option(8081, "--port", min=0, max=65_535, help="Port; 0 takes a free one."),
    rate: float = typer.Option(
        100.0, "--rate", min=1, max=100_000, help="Requests a second for each account and client."
    ),
    every: float | None = typer.Option(
        None, "--every", min=0.05, max=86_400, metavar="SECONDS", help="Match a session every so often."
    ),
    proxy: str = typer.Option(
        "", "--proxy", metavar="ADDRESS", help="The proxy in front, which alone may say for whom it asks."
    ),
) -> None:
    """Serve an exchange over HTTP until Ctrl-C: the university's protocol, and a modern one."""
    from stockllm.trading.exchange.exchange import Exchange
    from stockllm.trading.server.serve import Terms
    from stockllm.trading.server.serve import serve as run

    store, settings = open_store()
    language = settings.language
    with store:
        exchange = Exchange(store, name)
        with store.books.read() as books:
            live = exchange.row(books).mode == "live"
        if live and every is not None:
            raise UsageError(
                "The live exchange moves with the calendar: --every is for a replay.",
                zh="現行交易所隨日曆前進：--every 是給重播用的。",
            )

        loopback = host in ("127.0.0.1", "localhost", "::1")

        def ready(address: str, taken: int) -> None:
            banner(store.simulated, language, err=True)
            if not loopback:
                say(
                    text(
                        "注意：此位址可由其他機器連線，而密碼以明文傳送；請只在可信任的網路使用。",
                        "Note: other machines can reach this address, and passwords travel unencrypted: "
                        "use it on a network you trust.",
                        language,
                    )
                )
            shown = f"[{address}]" if ":" in address else address
            show(f"http://{shown}:{taken}/stock/api/v1")
            say(
                text(
                    f"交易所 {name} 服務中（新式介面：/v1，說明：/openapi.json）；按 Ctrl-C 結束。",
                    f"Serving {name} (modern protocol: /v1, described by /openapi.json); Ctrl-C ends it.",
                    language,
                )
            )

        run(exchange, host, port, Terms(rate, every, proxy.strip(), loopback), ready)


def check(name: str = _NAME, as_json: bool = _JSON) -> None:
    """Prove the books: debits and credits, cash, holdings and every fee, reckoned a second time."""
    from stockllm.trading.exchange.exchange import Exchange
    from stockllm.trading.exchange.proof import problems

    store, settings = open_store()
    with store:
        found = problems(Exchange(store, name))
        if as_json:
            emit_json({"exchange": name, "problems": found})
        else:
            for line in found:
                show(line)
            if not found:
                show(text("帳目相符。", "The books agree.", settings.language))
    if found:
        raise StockllmError(
            f"The books of {name} do not agree in {len(found)} places: restore a backup.",
            zh=f"{name} 的帳冊有 {len(found)} 處不符：請還原備份。",
        )


def audit(
    name: str = _NAME,
    limit: int = typer.Option(50, "--limit", min=1, max=100_000, help="How many lines."),
    as_json: bool = _JSON,
) -> None:
    """Show who did what on an exchange, the newest first."""
    from stockllm.collectors.clock import taipei
    from stockllm.trading.exchange.exchange import Exchange

    store, settings = open_store()
    with store:
        exchange = Exchange(store, name)
        with store.books.read() as books:
            row = exchange.row(books)
            names = {account.id: account.name for account in books.accounts(row.id)}
            lines = books.audit(row.id, limit)
        shown = [
            (
                taipei(one.at).isoformat(timespec="seconds"),
                names.get(one.account or 0),
                one.what,
                one.detail,
            )
            for one in lines
        ]
        if as_json:
            keys = ("at", "account", "what", "detail")
            emit_json([dict(zip(keys, line, strict=True)) for line in shown])
            return
        banner(store.simulated, settings.language)
        headers = text("時間 帳戶 事項 內容", "At Account What Detail", settings.language).split()
        table(
            headers,
            [(*line[:3], " ".join(f"{key}={value}" for key, value in line[3].items())) for line in shown],
        )


def _documents(done: list[Advance]) -> list[dict[str, Any]]:
    return [asdict(one) | {"session": one.session.isoformat()} for one in done]


def _show(one: Advance, language: str) -> None:
    show(
        text(
            f"{one.session} 成交 {one.filled} 筆，失效 {one.expired} 筆，除權息 {one.paid} 筆",
            f"{one.session} {one.filled} filled, {one.expired} expired, {one.paid} ex-date payments",
            language,
        )
    )
