"""``stockllm demo``: a store with a simulated market, to try everything without anybody's prices."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import banner, emit_json, say, show, text
from stockllm.collectors.simulated import DEFAULT_SEED, DEFAULT_SESSIONS, simulate, write

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

_TAIPEI = timezone(timedelta(hours=8))


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)


def demo(
    reset: bool = typer.Option(
        False, "--reset", help="Replace the demo store and its forecasts; adapters stay where they are."
    ),
    sessions: int = typer.Option(DEFAULT_SESSIONS, "--sessions", min=1, help="Trading days to generate."),
    seed: int = typer.Option(DEFAULT_SEED, "--seed", min=0, help="The same seed gives the same market."),
    end: str = typer.Option(
        "", "--end", metavar="DATE", help="Last day, YYYY-MM-DD; today where it is absent."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Create the demo store: the 41 companies with a simulated market."""
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings

    language = Settings.load(Home.locate()).language
    last = _last_day(end)
    home = _demo_home()
    created = reset or not home.store.exists()
    if created:
        market = simulate(last, sessions, seed)
        if home.store.exists():
            _make_room(home, language)
        write(market, home)
    document = _describe(home) | {"created": created}
    if not created and (end or (sessions, seed) != (DEFAULT_SESSIONS, DEFAULT_SEED)):
        say(
            text(
                "示範資料庫已經存在，沿用不改；要換成新的設定請加 --reset。",
                "The demo store exists and is kept as it is; --reset makes it anew with these settings.",
                language,
            )
        )
    if as_json:
        emit_json(document)
        return
    banner(True, language)
    show(
        text(
            f"{'已建立' if created else '沿用'}示範資料庫 {home.store}",
            f"{'Created' if created else 'Kept'} the demo store {home.store}",
            language,
        )
    )
    companies, bars, first, final = (document[key] for key in ("companies", "bars", "first", "last"))
    show(
        text(
            f"{companies} 家公司，{bars} 筆日線，{first} 至 {final}",
            f"{companies} companies, {bars} bars, {first} to {final}",
            language,
        )
    )
    show(_world_sentence(document["world"], language))
    show(
        text(
            f"接下來：stockllm-tui --demo，或在其他指令前加上 STOCKLLM_HOME={home.root}，"
            "例如 stockllm forecast 2330 --model ewma+world --moment morning",
            f"Next: stockllm-tui --demo, or put STOCKLLM_HOME={home.root} before any other command, such as "
            "stockllm forecast 2330 --model ewma+world --moment morning",
            language,
        )
    )


def _last_day(given: str) -> date:
    """The day asked for; by default today, or yesterday while Taipei's session still runs."""
    from stockllm.data.errors import UsageError

    if not given:
        now = datetime.now(_TAIPEI)
        return now.date() if now.hour >= 14 else now.date() - timedelta(days=1)
    try:
        return date.fromisoformat(given)
    except ValueError as error:
        raise UsageError(
            f"--end {given!r} is not a date: write it as 2026-03-31.",
            zh=f"--end {given!r} 不是日期：請寫成 2026-03-31。",
        ) from error


def _demo_home() -> Home:
    """The demo's home; STOCKLLM_HOME itself where it already points at a demo store.

    The command's own advice is to set STOCKLLM_HOME to the demo: a demo inside the demo would be
    nobody's wish.
    """
    from stockllm.data.errors import StoreError
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    here = Home.locate()
    if here.root.name == "demo" and here.store.exists():
        try:
            with Store.open(here, create=False) as store:
                if store.simulated:
                    return here
        except StoreError:
            pass  # cannot tell: leave it alone
    return Home.locate(demo=True)


def _make_room(home: Home, language: str) -> None:
    """See that the store about to be replaced is a demo's; one that cannot be opened is moved aside."""
    from stockllm.data.errors import StoreError
    from stockllm.data.store import Store

    try:
        store = Store.open(home, create=False)
    except StoreError as error:
        aside = home.store.with_suffix(".unreadable")
        moved = text(f"檔案已改名為 {aside.name}。", f" The file is now {aside.name}.", language)
        say(error.sentence(language) + moved)
        home.store.replace(aside)
        return
    with store:
        if not store.simulated and store.bars.last_date() is not None:
            raise StoreError(
                f"{home.store} holds prices that are not simulated and is not replaced: "
                "move it away, or set STOCKLLM_HOME to another folder.",
                zh=(
                    f"{home.store} 裡是非模擬的股價，不會取代：請把它移走，或把 STOCKLLM_HOME 設為其"
                    "他資料夾。"
                ),
            )


def _describe(home: Home) -> dict[str, Any]:
    from stockllm.data.errors import StoreError
    from stockllm.data.store import Store

    with Store.open(home, create=False) as store:
        if not store.simulated:
            raise StoreError(
                f"{home.store} is no demo store: move it away, or set STOCKLLM_HOME to another folder.",
                zh=f"{home.store} 不是試用資料庫：請把它移走，或把 STOCKLLM_HOME 設為其他資料夾。",
            )
        spans = {code: store.bars.span(code) for code in store.bars.codes()}
        known = [span for span in spans.values() if span]
        return {
            "simulated": True,
            "home": str(home.root),
            "companies": len(known),
            "bars": store.bars.count(),
            "first": min(span[0] for span in known).isoformat() if known else None,
            "last": max(span[1] for span in known).isoformat() if known else None,
            "world": _world(store),
        }


def _world_sentence(world: dict[str, Any], language: str) -> str:
    if world["until"] is None:
        return text(
            "沒有國際行情：這個示範資料庫較舊，--reset 會重做。",
            "No world moves it: this demo store is an older one, --reset makes it anew.",
            language,
        )
    names, until, flows = world["symbols"], world["until"], world["flows"]
    return text(
        f"牽動它的國際行情：{'、'.join(names)} 與台指期日夜盤，到 {until} 早上；{flows} 家公司的法人買賣超",
        f"A world that moves it: {', '.join(names)} and TX by day and night, to the morning of {until}; "
        f"what institutions bought of {flows} companies",
        language,
    )


def _world(store: Store) -> dict[str, Any]:
    """What the store has beside its bars; ``until`` is the session that its last night leads to."""
    nights = store.world.nights().days
    return {
        "symbols": store.world.symbols(),
        "nights": len(nights),
        "until": date.fromordinal(int(nights[-1])).isoformat() if len(nights) else None,
        "flows": len(store.flows.codes()),
    }
