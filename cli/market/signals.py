"""``stockllm signals``: what each rule says of each company today, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import banner, emit_json, open_store, show, table, text

if TYPE_CHECKING:
    from stockllm.data.records import Signal
    from stockllm.data.store import Store

_RULES = {"mean": ("均價", "mean"), "four-points": ("四大買賣點", "four points"), "edge": ("優勢", "edge")}
_ACTIONS = {"buy": ("買進", "buy"), "sell": ("賣出", "sell"), "hold": ("觀望", "hold")}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("signals")(signals)


def signals(
    codes: list[str] = typer.Argument(
        None, metavar="CODE", help="Codes or names; every company with prices where absent."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list on stdout."),
) -> None:
    """Judge companies by three rules, with the reasons."""
    from stockllm.market.companies import display
    from stockllm.trading.strategy.signals import refresh_signals

    store, settings = open_store()
    language = settings.language
    with store:
        found = refresh_signals(store, _wanted(store, codes or []))
        companies = {code: store.company(code) for code in {s.code for s in found}}
        simulated = store.simulated or any(s.simulated for s in found)
    if as_json:
        emit_json([_document(s, companies[s.code].name_zh) for s in found])
        return
    banner(simulated, language)
    pick = 1 if language == "en" else 0
    table(
        text("代號 名稱 規則 動作 理由", "Code Name Rule Action Reason", language).split(),
        [
            (
                s.code,
                display(companies[s.code], language),
                _RULES[s.rule][pick],
                _ACTIONS[s.action][pick],
                text(s.reason_zh, s.reason_en, language),
            )
            for s in found
        ],
    )
    first, last = min(s.as_of for s in found), max(s.as_of for s in found)
    zh, en = (f"{last}", f"{last}") if first == last else (f"{first} 至 {last}", f"{first} to {last}")
    show()
    show(
        text(
            f"依 {zh} 的收盤判斷；不是投資建議。",
            f"Judged on the closes of {en}; no investment advice.",
            language,
        )
    )


def _wanted(store: Store, queries: list[str]) -> list[str]:
    """The codes asked for, once each in the order given; all with bars where none is."""
    from stockllm.data.errors import NotEnoughHistory

    if queries:
        return list(dict.fromkeys(store.resolve(query).code for query in queries))
    codes = sorted(store.bars.codes())
    if not codes:
        raise NotEnoughHistory(
            "The store holds no prices, so there is nothing to judge: "
            "bring some in with 'stockllm import PATH'.",
            zh="資料庫沒有股價，無從判斷：請用 'stockllm import PATH' 匯入。",
        )
    return codes


def _document(signal: Signal, name: str) -> dict[str, Any]:
    return {
        "code": signal.code,
        "name": name,
        "as_of": signal.as_of.isoformat(),
        "rule": signal.rule,
        "action": signal.action,
        "strength": signal.strength,
        "reason_zh": signal.reason_zh,
        "reason_en": signal.reason_en,
        "forecast_id": signal.forecast_id,
        "simulated": signal.simulated,
    }
