"""A backtest on paper: one HTML page that needs no other file, its picture, and the document itself."""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stockllm.data.errors import StockllmError
from stockllm.trading.backtest.backtest import Backtest, document
from stockllm.trading.backtest.figures import drawdowns

if TYPE_CHECKING:
    from stockllm.data.store import Store

PAGE, PICTURE, FIGURES = "backtest.html", "equity.png", "backtest.json"

Language = Literal["zh", "en"]
Form = Callable[[Any], str]

_UP, _DOWN = "#c62828", "#2e7d32"


def percent(value: float | None) -> str:
    """``0.123`` -> ``+12.3%``; an en dash where there is none."""
    return "–" if value is None else f"{value:+.1%}"


def share(value: float | None) -> str:
    """``0.123`` -> ``12.3%``."""
    return "–" if value is None else f"{value:.1%}"


def span(value: tuple[float, float] | list[float] | None) -> str:
    """An interval of parts."""
    return "–" if value is None else f"{value[0]:+.1%} … {value[1]:+.1%}"


def whole(value: float | None) -> str:
    """Whole TWD, or a count."""
    return "–" if value is None else f"{value:,.0f}"


def number(value: float | None) -> str:
    """A ratio."""
    return "–" if value is None else f"{value:.2f}"


#: Rows of the first table: Chinese, English, key, how it is written. All but the lead are of both runs.
CURVE: tuple[tuple[str, str, str, Form], ...] = (
    ("期末淨值", "Equity at the end", "end_equity", whole),
    ("報酬", "Return", "return", percent),
    ("報酬的 95% 區間", "95% interval of the return", "return_interval", span),
    ("年化報酬", "Annual return", "annual_return", percent),
    ("年化波動", "Annual volatility", "volatility", share),
    ("最大回落", "Largest drawdown", "max_drawdown", share),
    ("持股比重", "Exposure", "exposure", share),
    ("週轉率", "Turnover", "turnover", number),
    ("手續費與稅", "Commission and tax", "costs", whole),
    ("股利", "Dividends", "dividends", whole),
    ("委託", "Orders", "orders", whole),
    ("成交", "Fills", "fills", whole),
)
#: Rows of the university's scoring.
SCORING: tuple[tuple[str, str, str, Form], ...] = (
    ("交易次數", "Trades", "trades", whole),
    ("每筆報酬", "Return a trade", "per_trade", percent),
    ("年化", "Annualised", "annualised", percent),
    ("平均獲利", "Mean win", "mean_win", percent),
    ("平均虧損", "Mean loss", "mean_loss", percent),
    ("勝率", "Win rate", "win_rate", share),
    ("獲利因子", "Profit factor", "profit_factor", number),
    ("持有交易日", "Sessions held", "sessions_held", number),
)
# Columns of the table of trades.
_COLUMNS = (
    ("代號", "Code"),
    ("名稱", "Name"),
    ("買進", "Bought"),
    ("賣出", "Sold"),
    ("交易日", "Sessions"),
    ("股數", "Shares"),
    ("付出", "Paid"),
    ("收回", "Received"),
    ("損益", "Profit"),
    ("報酬", "Return"),
)


def warnings(facts: dict[str, Any], language: str) -> list[str]:
    """What has to be said before any figure."""
    zh: list[str] = []
    en: list[str] = []
    if facts["simulated"]:
        zh.append("SIMULATED 模擬資料：產生的數字，不是真實行情。")
        en.append("SIMULATED: generated prices, which say nothing about a real market.")
    model, until = facts["model"], facts["read_until"]
    if facts["seen"]:
        zh.append(f"這不是測試：模型 {model} 的訓練資料至 {until}，含此期間。")
        en.append(
            f"This is no test: the model {model} was trained on days up to {until}, of this period too."
        )
    elif facts["seen"] is None:
        zh.append(f"無從得知模型 {model} 的訓練資料至何日，可能含此期間：不可當作測試。")
        en.append(f"Nothing says until when {model} was trained: it may have read the period; no test.")
    if not facts["ex_dates"]:
        zh.append("資料庫沒有此期間的除權息：股利未計入，除息跌價視同虧損。")
        en.append("No ex-dates of the period are known: dividends are not paid, and their fall is a loss.")
    if not facts["scoring"]["enough_trades"]:
        zh.append(f"交易 {facts['scoring']['trades']} 次，未達計分所需的 100 次。")
        en.append(f"{facts['scoring']['trades']} trades, fewer than the 100 that the scoring asks for.")
    return en if language == "en" else zh


def heading(facts: dict[str, Any], language: str) -> str:
    """What was traded, in a line."""
    model = f" · {facts['model']}" if facts["model"] else ""
    period = f"{facts['first_session']} – {facts['last_session']}"
    count, sessions = len(facts["codes"]), facts["sessions"]
    return f"{facts['strategy']}{model} · {period} · " + (
        f"{count} companies, {sessions} sessions"
        if language == "en"
        else f"{count} 家公司，{sessions} 個交易日"
    )


def write(made: Backtest, store: Store, folder: Path, language: Language) -> list[Path]:
    """Write the report's files, the page last; each appears whole or not at all.

    StockllmError where the folder cannot be written.
    """
    facts = document(made)
    picture = _picture(made, facts)
    files = {
        FIGURES: (json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode(),
        PICTURE: picture,
        PAGE: page(facts, picture, {c: store.company(c).name_zh for c in facts["codes"]}, language).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            draft = folder / f".{name}.{os.getpid()}.part"
            try:
                draft.write_bytes(content)
                draft.replace(folder / name)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise StockllmError(
            f"The report cannot be written to {folder} ({error.strerror}): name another folder.",
            zh=f"報告無法寫入 {folder}（{error.strerror}）：請指定其他資料夾。",
        ) from error
    return [folder / name for name in files]


def page(facts: dict[str, Any], picture: bytes, names: dict[str, str], language: Language) -> str:
    """The page: warnings, tables, picture, and every trade."""
    pick = 1 if language == "en" else 0

    def t(zh: str, en: str) -> str:
        return (zh, en)[pick]

    hold = facts["buy_and_hold"]
    curve = [
        (row[pick], row[3](facts[row[2]]), row[3](hold[row[2]]), "0" if row[2] == "return" else "")
        for row in CURVE
    ]
    lead = (t("領先買進並持有", "Lead over buy and hold"), percent(facts["lead"]), "", "")
    lead_span = (t("領先的 95% 區間", "95% interval of the lead"), span(facts["lead_interval"]), "", "")
    scoring = [(row[pick], row[3](facts["scoring"][row[2]])) for row in SCORING]
    limits = [(key.replace("_", " "), value) for key, value in facts["policy"].items()]
    decisions = list(facts["decisions"].items())
    trades = [_trade_row(each, names, "") for each in facts["trades"]]
    held = [_trade_row(each, names, t("持有中", "held")) for each in facts["held"]]
    columns = (*(pair[pick] for pair in _COLUMNS), "")
    body = [
        f"<h1>{html.escape(t('回測', 'Backtest'))}</h1>",
        f"<p>{html.escape(heading(facts, language))}</p>",
        *(f'<p class="warning">{html.escape(line)}</p>' for line in warnings(facts, language)),
        f'<img alt="equity" src="data:image/png;base64,{base64.b64encode(picture).decode()}">',
        _table(
            ("", html.escape(facts["strategy"]), t("買進並持有", "Buy and hold"), t("現金", "Cash")),
            [*curve, lead, lead_span],
        ),
        f"<h2>{t('模擬交易平台計分', 'The university scoring')}</h2>",
        _table((), scoring),
        f"<h2>{t('風險限制', 'Limits')}</h2>",
        _table((), limits),
        f"<h2>{t('決定', 'Decisions')}</h2>",
        _table((), decisions),
        f"<h2>{t('交易', 'Trades')}</h2>",
        _table(columns, [*trades, *held]),
        f"<p>{t('過去的成績不是承諾，也不是投資建議。', 'A past result is no promise and no advice.')}</p>",
    ]
    title = html.escape(f"stockllm {facts['strategy']} {facts['first_session']} – {facts['last_session']}")
    return (
        f'<!doctype html>\n<html lang="{"en" if pick else "zh-Hant"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


_STYLE = (
    "body{font-family:system-ui,'Noto Sans TC','Microsoft JhengHei',sans-serif;max-width:60rem;"
    "margin:2rem auto;padding:0 1rem;color:#222}img{width:100%}table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd;"
    "font-variant-numeric:tabular-nums}"
    "td:first-child,th:first-child{text-align:left}"
    f".up{{color:{_UP}}}.down{{color:{_DOWN}}}"
    ".warning{background:#fff4e5;border-left:4px solid #c2410c;padding:.5rem 1rem}"
)


def _trade_row(each: dict[str, Any], names: dict[str, str], mark: str) -> tuple[Any, ...]:
    return (
        each["code"],
        names.get(each["code"], ""),
        each["bought"],
        each["sold"],
        each["sessions"],
        f"{each['shares']:,}",
        f"{each['paid']:,}",
        f"{each['received']:,}",
        f"{each['profit']:+,}",
        f"{each['return']:+.2%}",
        mark or ("stop" if each["stop"] else ""),
    )


def _table(headers: tuple[str, ...], rows: list[Any]) -> str:
    head = "<tr>" + "".join(f"<th>{cell}</th>" for cell in headers) + "</tr>" if headers else ""
    lines = [head]
    for row in rows:
        cells = "".join(f"<td{_colour(cell)}>{html.escape(str(cell))}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return "<table>" + "".join(lines) + "</table>"


def _colour(cell: Any) -> str:
    """Red is up, green is down, where a figure shows its sign."""
    text = str(cell)
    if " … " in text or text[:1] not in ("+", "-") or not any(c in "123456789" for c in text):
        return ""
    return ' class="up"' if text[0] == "+" else ' class="down"'


def _picture(made: Backtest, facts: dict[str, Any]) -> bytes:
    """Equity against buy and hold, drawdown, and exposure, as a PNG. In English: fonts differ."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    days, hold = made.run.days, made.buy_and_hold.days
    when = np.array([day.session.isoformat() for day in days], dtype="datetime64[D]")
    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    first = days[0].equity
    top.plot(when, [d.equity / first for d in days], label=facts["strategy"], color="#1f4e79", linewidth=1.5)
    top.plot(when, [d.equity / first for d in hold], label="buy and hold", color="0.55", linewidth=1.1)
    top.axhline(1, color="0.8", linewidth=0.8)
    top.set_ylabel("equity / cash at the start")
    top.legend(loc="upper left")
    marks = []
    if made.simulated:
        marks.append("SIMULATED")
    if made.seen is not False:
        marks.append("NO TEST: the model has read this period" if made.seen else "NO TEST: may have read it")
    top.set_title(
        "  ".join([heading(facts, "en"), *marks]), color="#c2410c" if marks else "black", fontsize=10
    )
    middle.fill_between(when, drawdowns(days) * 100, color="#1f4e79", alpha=0.6, linewidth=0)
    middle.plot(when, drawdowns(hold) * 100, color="0.55", linewidth=0.9)
    middle.set_ylabel("drawdown %")
    exposure = [100 * d.shares / d.equity if d.equity else 0 for d in days]
    bottom.fill_between(when, exposure, color="#8a6d3b", alpha=0.5, linewidth=0, step="mid")
    bottom.set_ylabel("in shares %")
    bottom.set_ylim(0, 100)
    file = BytesIO()
    figure.savefig(file, dpi=110, format="png")
    return file.getvalue()
