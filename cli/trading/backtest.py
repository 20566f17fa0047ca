"""``stockllm backtest``: a past period traded as it would have been; ``outcomes``: what paid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import banner, emit_json, open_store, say, show, table, text
from stockllm.cli.trading import limits
from stockllm.data.errors import StockllmError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Trades printed; all of them are in --json and --report.
SHOWN_TRADES = 10

_KINDS_ZH = {"forecast": "個預測", "pair": "個配對", "trade": "筆交易"}


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("backtest")(backtest)
    app.command("outcomes")(outcomes)


def backtest(
    more: list[str] = typer.Argument(None, metavar="[CODE]...", help="The same as --codes."),
    start: str = typer.Option(..., "--start", metavar="DATE", help="First session, YYYY-MM-DD."),
    end: str = typer.Option(..., "--end", metavar="DATE", help="Last session."),
    strategy: str = typer.Option("", "--strategy", help="mean, four-points, edge or hold."),
    model: str = typer.Option("", "--model", help="Whose forecasts; as --model of forecast."),
    codes: list[str] = typer.Option(
        None, "--codes", metavar="CODE,...", help="Codes or names, by commas; all; or the listed ones."
    ),
    cash: str = typer.Option("100000000", "--cash", metavar="TWD", help="What the account begins with."),
    horizon: int = typer.Option(5, "--horizon", help="Trading days of the forecasts."),
    paths: int = typer.Option(99, "--paths", help="Futures to sample per forecast."),
    prompt: str = typer.Option("compact", "--prompt", help="compact or reference."),
    seed: int = typer.Option(3407, "--seed"),
    cap: str = limits.CAP,
    floor: str = limits.FLOOR,
    stop: str = limits.STOP,
    edge: str = limits.EDGE,
    odd: bool | None = limits.ODD,
    discount: str = typer.Option("", "--discount", metavar="PART", help="Part of the commission charged."),
    settlement: int = typer.Option(1, "--settlement", help="Sessions until proceeds can be spent."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
    report: Path | None = typer.Option(None, "--report", metavar="DIR", help="Write a page and a picture."),
    outcome: Path | None = typer.Option(
        None, "--outcomes", metavar="FILE", help="Write what paid, as JSONL."
    ),
) -> None:
    """Trade a past period evening by evening, with what was known then, and say what came of it."""
    from stockllm.cli.windows import chosen
    from stockllm.trading.backtest.backtest import Request, document
    from stockllm.trading.backtest.backtest import backtest as run
    from stockllm.trading.backtest.outcomes import of_backtest

    _check_targets(report, outcome)
    first, last, style = arguments.day(start), arguments.day(end), arguments.style(prompt)
    money = arguments.whole(cash, "TWD such as 100000000", "新臺幣金額，例如 100000000")
    store, settings = open_store()
    with store:
        request = Request(
            first,
            last,
            chosen(store, [*(codes or []), *(more or [])], ()),
            strategy or settings.trade.strategy,
            model or settings.model,
            limits.policy(settings.trade, cap, floor, stop, edge, odd, discount),
            money,
            horizon,
            paths,
            seed,
            style,
            settlement,
        )
        made = run(store, request, _Progress(settings.language))
        if report is not None:
            from stockllm.trading.backtest.report import write

            written = write(made, store, report, settings.language)
            place = text(f"報告在 {written[-1]}", f"the report is in {written[-1]}", settings.language)
            say(f"stockllm: {place}")
        if outcome is not None:
            _export(of_backtest(store, made), outcome, settings.language)
        facts = document(made)
        if as_json:
            emit_json(facts)
            return
        _show(facts, settings.language)


def outcomes(
    target: Path = typer.Argument(..., metavar="FILE", help="Where to write them, one JSON document a line."),
    strategy: str = typer.Option(
        "", "--strategy", help="Whose verdicts to judge: mean, four-points or edge."
    ),
) -> None:
    """Write which of the ledger's forecasts paid, and which of their paths to prefer."""
    from stockllm.trading.backtest.outcomes import of_ledger
    from stockllm.trading.strategy.strategies import needs_forecast

    _check_targets(None, target)
    store, settings = open_store()
    with store:
        wanted = strategy or settings.trade.strategy
        needs_forecast(wanted)
        _export(of_ledger(store, wanted), target, settings.language)


def _check_targets(report: Path | None, outcome: Path | None) -> None:
    """UsageError where a report or a file could not be written, before any work goes into it."""
    if report is not None and report.exists() and not report.is_dir():
        raise UsageError(
            f"{report} is a file: --report names a folder.", zh=f"{report} 是檔案：--report 要指定資料夾。"
        )
    if outcome is not None and (outcome.is_dir() or not outcome.absolute().parent.is_dir()):
        raise UsageError(
            f"{outcome} cannot be a file: name one in a folder that exists.",
            zh=f"{outcome} 不能當檔案：請指定既有資料夾裡的檔名。",
        )


def _export(lines: Iterable[dict[str, Any]], target: Path, language: str) -> None:
    from stockllm.trading.backtest.outcomes import write

    try:
        counts = write(lines, target)
    except OSError as error:
        raise StockllmError(
            f"{target} cannot be written ({error.strerror}): name another file.",
            zh=f"{target} 無法寫入（{error.strerror}）：請指定其他檔案。",
        ) from error
    en = ", ".join(f"{number} {kind}s" for kind, number in counts.items())
    zh = "、".join(f"{number} {_KINDS_ZH.get(kind, kind)}" for kind, number in counts.items())
    words = text(f"{target} 中有 {zh}", f"{en} are in {target}", language)
    say(f"stockllm: {words}")


def _show(facts: dict[str, Any], language: str) -> None:
    from stockllm.trading.backtest.report import CURVE, SCORING, heading, percent, span, warnings

    pick = 1 if language == "en" else 0
    banner(facts["simulated"], language)
    for line in warnings(facts, language)[1 if facts["simulated"] else 0 :]:
        show(text("注意：", "Note: ", language) + line)
    show(heading(facts, language))
    hold = facts["buy_and_hold"]
    rows = [
        (row[pick], row[3](facts[row[2]]), row[3](hold[row[2]]), "+0.0%" if row[2] == "return" else "")
        for row in CURVE
    ]
    rows.append((text("領先買進並持有", "Lead over buy and hold", language), percent(facts["lead"]), "", ""))
    rows.append(
        (text("領先的 95% 區間", "95% interval of it", language), span(facts["lead_interval"]), "", "")
    )
    heads = (facts["strategy"], text("買進並持有", "hold", language), text("現金", "cash", language))
    table(("", *heads), rows, right={1, 2, 3})
    show()
    table(
        (text("計分", "Scoring", language), ""),
        [(row[pick], row[3](facts["scoring"][row[2]])) for row in SCORING],
        right={1},
    )
    if facts["trades"]:
        show()
        headers = text(
            "代號 買進 賣出 交易日 股數 付出 收回 報酬",
            "Code Bought Sold Sessions Shares Paid Received Return",
            language,
        )
        table(
            headers.split(),
            [
                (
                    each["code"],
                    each["bought"],
                    each["sold"],
                    each["sessions"],
                    f"{each['shares']:,}",
                    f"{each['paid']:,}",
                    f"{each['received']:,}",
                    f"{each['return']:+.2%}",
                )
                for each in facts["trades"][-SHOWN_TRADES:]
            ],
            right=range(3, 8),
        )
        rest = len(facts["trades"]) - SHOWN_TRADES
        if rest > 0:
            show(
                text(
                    f"另有較早的 {rest} 筆，見 --json 或 --report。",
                    f"{rest} earlier ones are in --json and --report.",
                    language,
                )
            )
    show()
    show(
        text(
            "依各日收盤後已知的資料交易，含手續費與稅；過去的成績不是承諾，也不是投資建議。",
            "Traded on what each evening knew, with commission and tax; a past result is no promise and no "
            "advice.",
            language,
        )
    )


class _Progress:
    """How far the forecasts are, on stderr, where somebody watches."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, what: str, done: int, total: int) -> None:
        import sys

        if what == "forecasts" and sys.stderr.isatty():
            name = text("預測", what, self.language)
            print(f"\r{name} {done}/{total} ", end="\n" if done >= total else "", file=sys.stderr, flush=True)
