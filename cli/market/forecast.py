"""``stockllm forecast``: sample the coming days, freeze them in the ledger, print or draw them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import MOMENT_NAMES, banner, counter, emit_json, open_store, say, show, table, text
from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.data.sentences import Sentence
from stockllm.market.moments import TAIPEI

if TYPE_CHECKING:
    from stockllm.data.records import PathForecast, PromptStyle
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store
    from stockllm.forecaster.forecast import LedgerEntry


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("forecast")(forecast)


def forecast(
    companies: list[str] = typer.Argument(None, metavar="[CODE]...", help="Codes or names."),
    everything: bool = typer.Option(False, "--all", help="Every company of the list that has prices."),
    horizon: int = typer.Option(5, "--horizon", help="Trading days to forecast."),
    paths: int = typer.Option(99, "--paths", help="Futures to sample; 99 make the bands exact."),
    model: str = typer.Option(
        "",
        "--model",
        help="auto, llama, llama+ADAPTER, a folder, a hub id, openai:BASE_URL#NAME for a server, or a "
        "baseline: last, drift, ewma, bootstrap, ets, arima, lstm, cnn.",
    ),
    prompt: str = typer.Option("compact", "--prompt", help="compact or reference."),
    seed: int = typer.Option(3407, "--seed", help="The same seed on the same data gives the same forecast."),
    as_of: str = typer.Option("", "--as-of", metavar="DATE", help="Forecast from this day, YYYY-MM-DD."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list on stdout."),
    chart: Path | None = typer.Option(None, "--chart", help="Draw one company's forecast to a PNG file."),
) -> None:
    """Sample the coming days of companies as candles with bands, and freeze them in the ledger."""
    from stockllm.market.companies import display

    style, day = arguments.style(prompt), arguments.day(as_of) if as_of else None
    if everything == bool(companies):
        raise UsageError(
            "Name the companies to forecast, or pass --all; not both and not neither.",
            zh="請指定要預測的公司，或用 --all：不能兩者都要，也不能都不要。",
        )
    store, settings = open_store()
    with store:
        if as_json:
            banner(store.simulated, settings.language, err=True)  # the warnings below are of it too
        codes = _codes(store, companies or [], everything, style, day, settings.language)
        if chart is not None and len(codes) != 1:
            raise UsageError(
                f"--chart draws one company, and {len(codes)} were asked for: name one.",
                zh=f"--chart 只畫一家公司，而要求了 {len(codes)} 家：請指定一家。",
            )
        if chart is not None:
            from stockllm.forecaster.charts.chart import check_target

            check_target(chart)  # before anything is sampled and frozen
        entries = _forecast(store, settings, codes, horizon, paths, model, style, seed, day)
        if chart is not None:
            _draw(store, settings, entries[0], chart)
        simulated = store.simulated
        names = [display(store.company(code), settings.language) for code in codes]
    if as_json:
        emit_json([entry.document() for entry in entries])
        return
    banner(simulated, settings.language)
    if len(entries) == 1:
        _show_days(entries[0], names[0], settings.language)
    else:
        _show_summary(entries, names, settings.language)
    show()
    show(
        text(
            "預測已凍結於帳本；區間為取樣路徑的分位數，不是保證，也不是投資建議。",
            "Frozen in the ledger; the bands are quantiles of sampled paths, no promise and no advice.",
            settings.language,
        )
    )


def _codes(
    store: Store,
    queries: list[str],
    everything: bool,
    prompt: PromptStyle,
    as_of: date | None,
    language: str,
) -> list[str]:
    """The companies asked for, each once; of all, those that have prices enough."""
    if not everything:
        return list(dict.fromkeys(store.resolve(query).code for query in queries))
    from stockllm.forecaster.forecast import forecastable

    codes, why_not = forecastable(store, [c.code for c in store.companies()], prompt, as_of)
    if not codes:
        raise NotEnoughHistory(
            "No company has enough prices to forecast: bring some in with 'stockllm import PATH'.",
            zh="沒有公司的股價足以預測：請用 'stockllm import PATH' 匯入。",
        )
    left_out = [Sentence(f"left out: {reason}", zh=f"略過：{reason.zh}") for reason in why_not]
    _tell(left_out, language)
    return codes


def _forecast(
    store: Store,
    settings: Settings,
    codes: list[str],
    horizon: int,
    paths: int,
    model: str,
    prompt: PromptStyle,
    seed: int,
    as_of: date | None,
) -> list[LedgerEntry]:
    from stockllm.forecaster.forecast import forecast as make

    entries = make(
        store, codes, horizon=horizon, paths=paths, model=model or settings.model, prompt=prompt, seed=seed,
        as_of=as_of, progress=counter,
    )  # fmt: skip
    _tell(list(dict.fromkeys(warning for entry in entries for warning in entry.warnings)), settings.language)
    if as_of is None and not store.simulated:
        _tell(_not_whole(store, entries), settings.language)
    return entries


def _not_whole(store: Store, entries: list[LedgerEntry]) -> list[Sentence]:
    """Of companies whose data are stale or have a hole: what is missing, and where the forecast starts.

    Data that ended long ago have their own warning.
    """
    from datetime import UTC, datetime

    from stockllm.forecaster.forecast import STALE_AFTER
    from stockllm.nightly.fitness import fit

    now = datetime.now(UTC)
    starts = {
        e.forecast.code: e.forecast.as_of for e in entries if now.date() - e.forecast.as_of <= STALE_AFTER
    }
    _, unfit = fit(store, [store.company(code) for code in starts], now)
    return [
        Sentence(
            f"{one.note[1]}; the forecast goes on from {starts[one.company.code]}.",
            zh=f"{one.note[0]}；預測從 {starts[one.company.code]} 開始。",
        )
        for one in unfit
    ]


def _tell(sentences: list[Sentence], language: str) -> None:
    """The first few of many sentences of a kind, and how many more there are."""
    for sentence in sentences[:3]:
        say(f"stockllm: {sentence.sentence(language)}")
    if (more := len(sentences) - 3) > 0:
        rest = text(f"類似的還有 {more} 句。", f"and {more} more like these.", language)
        say(f"stockllm: {rest}")


def _draw(store: Store, settings: Settings, entry: LedgerEntry, target: Path) -> None:
    from stockllm.forecaster.charts.chart import draw
    from stockllm.forecaster.evaluation.scoring import record

    made = entry.forecast
    found = record(store, model=made.model_name)
    written = draw(
        store.bars.series(made.code),
        made,
        target,
        company=store.company(made.code),
        language=settings.language,
        simulated=made.simulated,
        up_colour=settings.up_colour,
        record=(found.sentence_zh, found.sentence_en),
    )
    place = text(f"圖在 {written}", f"the chart is in {written}", settings.language)
    say(f"stockllm: {place}")


def _show_days(entry: LedgerEntry, name: str, language: str) -> None:
    made = entry.forecast
    close = f"{made.last_close / 100:,.2f}"
    show(
        f"{made.code} {name}  "
        + text(f"{made.as_of} 收盤 {close}", f"close of {made.as_of} {close}", language)
        + f"  {_made_by(made, language)}"
    )
    bands = made.document()["bands"]["close"]
    rows: list[tuple[Any, ...]] = [
        (
            candle.date.isoformat(),
            *(f"{price / 100:,.2f}" for price in (candle.open, candle.high, candle.low, candle.close)),
            f"{candle.volume / 1000:,.0f}",
            f"{band['q10']:,.2f}",
            f"{band['q50']:,.2f}",
            f"{band['q90']:,.2f}",
        )
        for candle, band in zip(made.candles(), bands, strict=True)
    ]
    headers = text(
        "日期 開 高 低 收 成交張數 10% 中位數 90%", "Date Open High Low Close Lots 10% Median 90%", language
    )
    table(headers.split(), rows, right=range(1, 9))
    show(_sum(entry, language))


def _sum(entry: LedgerEntry, language: str) -> str:
    """What the paths come to, and by what the ledger knows the forecast."""
    from stockllm.market.fees import ROUND_TRIP_COST

    made = entry.forecast
    median = made.document()["bands"]["close"][-1]["q50"]
    change, up, gain = median / (made.last_close / 100) - 1, made.chance(), made.chance(ROUND_TRIP_COST)
    moment = text(*MOMENT_NAMES[made.moment], language)
    known = ""
    if made.known_until is not None:
        at = f"{made.known_until.astimezone(TAIPEI):%Y-%m-%d %H:%M}"
        known = text(f"，所知到 {at}", f", knowing what was public by {at}", language)
    cost = f"{ROUND_TRIP_COST:.3%}"
    return text(
        f"第 {made.horizon} 日中位數 {change:+.2%}；上漲機率 {up:.0%}，漲逾來回成本 {cost} 的機率"
        f" {gain:.0%}。{moment}預測{known}；帳本編號 {entry.id}，種子 {made.seed}。",
        f"Median on day {made.horizon} {change:+.2%}; chance of a rise {up:.0%}, of a gain past the cost of "
        f"{cost} there and back {gain:.0%}. Forecast of the {moment}{known}; number {entry.id} in the "
        f"ledger, seed {made.seed}.",
        language,
    )


def _show_summary(entries: list[LedgerEntry], names: list[str], language: str) -> None:
    from stockllm.market.fees import ROUND_TRIP_COST

    show(_made_by(entries[0].forecast, language))
    rows = []
    for entry, name in zip(entries, names, strict=True):
        made = entry.forecast
        last = made.last_close / 100
        band = made.document()["bands"]["close"][-1]
        above, gain = made.chance(), made.chance(ROUND_TRIP_COST)
        rows.append(
            (
                made.code,
                name,
                made.as_of.isoformat(),
                f"{last:,.2f}",
                f"{band['q50']:,.2f}",
                f"{band['q50'] / last - 1:+.2%}",
                f"{band['q10']:,.2f}",
                f"{band['q90']:,.2f}",
                f"{above:.0%}",
                f"{gain:.0%}",
                entry.id,
            )
        )
    headers = text(
        "代號 名稱 資料日 收盤 中位數 漲跌 10% 90% 上漲機率 逾成本 編號",
        "Code Name As-of Close Median Change 10% 90% P(up) P(>cost) Id",
        language,
    )
    table(headers.split(), rows, right=range(3, 11))


def _made_by(made: PathForecast, language: str) -> str:
    model = made.model_name
    return text(
        f"{made.horizon} 日預測  模型 {model}  {made.paths} 條路徑",
        f"{made.horizon}-day forecast  model {model}  {made.paths} {'path' if made.paths == 1 else 'paths'}",
        language,
    )
