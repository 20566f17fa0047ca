"""``stockllm forecast``: sample the coming days, freeze them in the ledger, print or draw them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
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
    from stockllm.market.moments import Moment


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
        "baseline: last, drift, ewma, bootstrap, ets, arima, lstm, cnn, ewma+world, network.",
    ),
    prompt: str = typer.Option("compact", "--prompt", help="compact or reference."),
    seed: int = typer.Option(3407, "--seed", help="The same seed on the same data gives the same forecast."),
    as_of: str = typer.Option("", "--as-of", metavar="DATE", help="Forecast from this day, YYYY-MM-DD."),
    moment: str = typer.Option(
        "",
        "--moment",
        help="evening, morning (the night is known) or open (and the day's open); by the clock and the store "
        "where it is absent.",
    ),
    opens: list[str] = typer.Option(
        None, "--open", metavar="CODE=PRICE", help="A company's open in TWD, for --moment open."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list on stdout."),
    chart: Path | None = typer.Option(None, "--chart", help="Draw one company's forecast to a PNG file."),
) -> None:
    """Sample the coming days of companies as candles with bands, and freeze them in the ledger."""
    from stockllm.market.companies import display

    style, day = arguments.style(prompt), arguments.day(as_of) if as_of else None
    chosen = _moment(moment, opens or [])
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
        prices = _opens(store, opens or [], codes)
        entries = _forecast(store, settings, codes, horizon, paths, model, style, seed, day, chosen, prices)
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
    for line in dict.fromkeys(_known_at(entry, chosen is None, settings.language) for entry in entries):
        show(line)
    show()
    show(
        text(
            "預測已凍結於帳本；區間為取樣路徑的分位數，不是保證，也不是投資建議。",
            "Frozen in the ledger; the bands are quantiles of sampled paths, no promise and no advice.",
            settings.language,
        )
    )


def _moment(text: str, opens: list[str]) -> Moment | None:
    """The moment asked for: that of --open where only an open is given, None where the clock decides."""
    chosen = arguments.moment(text) if text else ("open" if opens else None)
    if opens and chosen != "open":
        raise UsageError(
            f"--open tells the day's open, which a forecast of the {chosen} does not know: "
            "pass --moment open.",
            zh="--open 是當日的開盤價，這個時刻的預測還不知道：請用 --moment open。",
        )
    return chosen


def _opens(store: Store, given: list[str], codes: list[str]) -> dict[str, int]:
    """``["2330=1005"]`` -> code and hundredths of a TWD; UsageError for anything else."""
    found = {}
    for text_ in given:
        name, _, price = text_.partition("=")
        try:
            hundredths = Decimal(price) * 100
        except InvalidOperation:
            hundredths = Decimal("NaN")
        if not (hundredths.is_finite() and hundredths > 0 and hundredths == hundredths.to_integral_value()):
            raise UsageError(
                f"'{text_}' is no open: write it as CODE=PRICE in TWD, such as 2330=1005.",
                zh=f"'{text_}' 不是開盤價：請寫成 代號=價格（元），例如 2330=1005。",
            )
        code = store.resolve(name.strip()).code
        if code not in codes:
            raise UsageError(
                f"--open names {code}, which is not forecast: name it among the companies too.",
                zh=f"--open 指定了 {code}，但它不在要預測的公司之中：請一併指定。",
            )
        found[code] = int(hundredths)
    return found


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
    moment: Moment | None,
    opens: dict[str, int],
) -> list[LedgerEntry]:
    from stockllm.forecaster.forecast import forecast as make

    entries = make(
        store, codes, horizon=horizon, paths=paths, model=model or settings.model, prompt=prompt, seed=seed,
        as_of=as_of, moment=moment, opens=opens, progress=counter,
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


#: What a forecast knows -> its words in Chinese and English.
_KNOWN = {
    "prices": ("股價", "prices"),
    "flows": ("法人買賣超", "institutions' buying"),
    "TX night": ("台指期夜盤", "the TX night"),
    "SOX": ("費城半導體", "SOX"),
    "SPX": ("標普500", "SPX"),
    "TSM": ("台積電 ADR", "TSM"),
    "open": ("開盤價", "the open"),
}
_MOMENTS = {"evening": ("傍晚", "evening"), "morning": ("早晨", "morning"), "open": ("開盤", "open")}


def _known_at(entry: LedgerEntry, by_clock: bool, language: str) -> str:
    """The moment of a forecast, how it was chosen, what it knew and until when."""
    from stockllm.market.moments import TAIPEI

    made = entry.forecast
    moment_zh, moment = _MOMENTS[made.moment]
    zh = "、".join(_KNOWN[name][0] for name in entry.knows)
    en = ", ".join(_KNOWN[name][1] for name in entry.knows)
    until = f"{made.known_until.astimezone(TAIPEI):%Y-%m-%d %H:%M}" if made.known_until else "-"
    return text(
        f"時刻：{moment_zh}{'（依時鐘與資料庫）' if by_clock else ''}  所知：{zh}  截至台北時間 {until}",
        f"Moment: {moment}{' (by the clock and the store)' if by_clock else ''}  knows: {en}  "
        f"until {until} in Taipei",
        language,
    )


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
