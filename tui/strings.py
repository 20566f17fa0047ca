"""Every word the dashboard itself says, in Traditional Chinese and English.

``TABLE`` maps a key to its two texts; ``t`` picks one and fills in its figures. Sentences of errors
come from where the error was raised, and reasons of signals carry both languages themselves.
"""

from __future__ import annotations

from stockllm.tui.text import Language

TABLE: dict[str, tuple[str, str]] = {
    # header
    "app.simulated": (" SIMULATED 模擬資料 ", " SIMULATED 模擬資料 "),
    "header.companies": ("{count} 檔", "{count} stocks"),
    "header.updated": ("資料更新至 {day}", "data to {day}"),
    "header.loading": ("讀取資料中…", "reading the store…"),
    "header.forecasting": ("預測中…", "forecasting…"),
    # watchlist
    "list.code": ("代號", "Code"),
    "list.name": ("名稱", "Name"),
    "list.last": ("收盤", "Close"),
    "list.change": ("漲跌幅", "Change"),
    "list.signal": ("訊號", "Sig"),
    "list.empty": ("沒有符合「{query}」的股票", "nothing matches “{query}”"),
    "filter.placeholder": ("代號、中文或英文名稱", "code, Chinese or English name"),
    # quote
    "quote.open": ("開", "O"),
    "quote.high": ("高", "H"),
    "quote.low": ("低", "L"),
    "quote.close": ("收", "C"),
    "quote.volume": ("量", "Vol"),
    "quote.lots": ("{count}張", "{count} lots"),
    "quote.TWSE": ("上市", "TWSE"),
    "quote.TPEx": ("上櫃", "TPEx"),
    # chart
    "chart.sessions": ("日線 {count} 日", "{count} days"),
    "chart.forecast": ("預測 ▸", "Forecast ▸"),
    "chart.volume": ("成交量 {lots}張", "Volume {lots} lots"),
    "chart.simulated": (" SIMULATED 模擬 ", " SIMULATED 模擬 "),
    "chart.loading": ("讀取K線中…", "reading the bars…"),
    "chart.none": ("這檔股票還沒有價格資料。", "There are no prices of this stock yet."),
    "chart.small": ("視窗太小，畫不下K線。", "Too small for a chart."),
    # forecast line
    "forecast.none": ("尚無預測，按 f 產生預測", "No forecast yet: press f to make one"),
    "forecast.running": (
        "預測中…（第一次要載入模型，請稍候）",
        "Forecasting… (the first one loads the model)",
    ),
    "forecast.progress": ("預測中… {done}/{total}", "Forecasting… {done}/{total}"),
    "forecast.last": ("預測 {day}", "{day} forecast"),
    "forecast.median": ("中位數 {price}（{move}）", "median {price} ({move})"),
    "forecast.range": ("80% 區間 {low}–{high}", "80% range {low}–{high}"),
    "forecast.last.short": ("預測 {day}", "{day}"),
    "forecast.median.short": ("中位數 {price} {move}", "median {price} {move}"),
    "forecast.range.short": ("80% {low}–{high}", "80% {low}–{high}"),
    "forecast.half": ("50% 區間 {low}–{high}", "50% range {low}–{high}"),
    "forecast.horizon": ("{count} 個交易日後", "{count} sessions ahead"),
    "forecast.model": ("模型 {model}", "model {model}"),
    "forecast.model.short": ("{model}", "{model}"),
    "forecast.as_of": ("截至 {day}", "as of {day}"),
    "forecast.paths": ("{count} 條路徑", "{count} paths"),
    "forecast.made": ("產生於 {when}", "made {when}"),
    "forecast.bands": (
        "深色帶含 50%、淺色帶含 80% 的路徑",
        "dark band holds 50%, light band 80% of the paths",
    ),
    "forecast.hollow": ("空心 K棒為代表路徑", "hollow candles: one representative path"),
    "forecast.honest": ("路徑是模型的想像，不保證實際落點", "paths are the model's guesses, not a promise"),
    "forecast.stale": (
        "此預測早於最新資料（截至 {day}），按 f 更新",
        "Made before the newest data (as of {day}): press f",
    ),
    # panels
    "panel.signals": ("訊號", "Signals"),
    "panel.news": ("新聞", "News"),
    "panel.data": ("資料狀態", "Data"),
    "signal.buy": ("買進", "BUY"),
    "signal.sell": ("賣出", "SELL"),
    "signal.hold": ("觀望", "HOLD"),
    "rule.mean": ("均價法", "Mean rule"),
    "rule.four-points": ("四大買賣點", "Four points"),
    "rule.edge": ("優勢法", "Edge rule"),
    "rule.says": ("{rule}：{reason}", "{rule}: {reason}"),
    "signal.none": ("尚無訊號。", "No signals yet."),
    "signal.as_of": ("依據 {day} 收盤", "on the close of {day}"),
    "news.none": ("沒有這檔股票的新聞。", "There is no news of this stock."),
    "data.last": ("最新交易日", "Last session"),
    "data.today": ("已是最新", "up to date"),
    "data.behind": ("落後 {count} 個交易日", "{count} sessions behind"),
    "data.market": ("全部 {count} 檔", "All {count} stocks"),
    "data.bars": ("K線", "bars"),
    "data.gaps": ("缺漏", "gaps"),
    "data.quarantined": ("隔離", "quarantined"),
    "data.stale": ("過期", "stale"),
    "data.since": ("{first} 至 {last}", "{first} to {last}"),
    "data.missing": ("缺 {span}：{why}", "missing {span}: {why}"),
    "data.refreshed": ("更新 {when} {outcome}", "refreshed {when} {outcome}"),
    "data.next": ("下次 {when}", "next {when}"),
    "data.loading": ("檢查資料中…", "checking the data…"),
    # keys: (what the footer shows, and the sentence of the help screen and the tooltip)
    "key.forecast": ("預測", "Forecast"),
    "key.language": ("EN", "中文"),
    "key.colours": ("紅綠", "Colours"),
    "key.zoom": ("縮放", "Zoom"),
    "key.filter": ("篩選", "Filter"),
    "key.reload": ("重讀", "Reload"),
    "key.panel": ("換頁", "Panel"),
    "key.help": ("說明", "Help"),
    "key.quit": ("離開", "Quit"),
    "help.title": ("鍵盤說明", "Keys"),
    "help.move": ("上下移動，右側隨即換成該檔股票", "move; the chart follows"),
    "help.enter": ("選取；在篩選欄中則回到清單", "select; in the filter, back to the list"),
    "help.forecast": (
        "預測目前這檔股票，完成後畫在今日線右側",
        "forecast this stock; it is drawn right of the divider",
    ),
    "help.language": ("切換中文與英文", "switch between Chinese and English"),
    "help.colours": ("切換紅漲綠跌與綠漲紅跌", "switch red-up and green-up"),
    "help.zoom": ("放大、縮小（看較少或較多天）", "nearer or farther (fewer or more days)"),
    "help.filter": ("以代號、中文或英文篩選，Esc 清除", "filter by code, Chinese or English; Esc clears"),
    "help.reload": ("重新讀取資料庫", "read the store again"),
    "help.panel": ("小視窗時切換訊號、新聞、資料狀態", "next panel: signals, news, data (small windows)"),
    "help.help": ("開關本說明", "open or close this help"),
    "help.quit": ("離開", "quit"),
    "help.marks": (
        "訊號欄三格依序為均價法、四大買賣點、優勢法：▲ 買進，▼ 賣出，· 觀望。",
        "A stock's three marks are the mean rule, the four points and the edge rule: ▲ buy, ▼ sell, · hold.",
    ),
    "help.cone": (
        "預測區：深色帶含 50% 的模擬路徑，淺色帶含 80%；空心 K棒是其中一條代表路徑。預測不是投資建議。",
        "Forecast: the dark band holds 50% of the sampled paths, the light one 80%; the hollow candles are"
        " one representative path. Not investment advice.",
    ),
    # guide
    "guide.title": ("開始使用 stockllm", "Getting started"),
    "guide.absent": ("這裡還沒有資料庫：{path}", "There is no store yet: {path}"),
    "guide.empty": ("資料庫是空的：{path}", "The store is empty: {path}"),
    "guide.trouble": ("資料庫無法讀取", "The store cannot be read"),
    "guide.demo": (
        "用模擬行情試用（SIMULATED，不是真實價格）",
        "try it on a simulated market (not real prices)",
    ),
    "guide.import": (
        "匯入您自己的價格檔（CSV、parquet 或資料夾）",
        "bring in your own prices (CSV, parquet or a folder)",
    ),
    "guide.then": (
        "在另一個終端機執行，完成後按 r 重新讀取。",
        "Run it in another terminal, then press r to read again.",
    ),
    "guide.demo_open": ("模擬行情請以此開啟", "open the simulated market with"),
    # toasts
    "toast.forecast_done": ("{name} 預測完成", "{name}: forecast ready"),
    "toast.forecast_failed": ("預測失敗", "The forecast failed"),
    "toast.load_failed": ("讀取失敗", "Reading failed"),
    "toast.busy": ("正在預測 {name}，請稍候", "{name} is being forecast: one moment"),
    "toast.unexpected": (
        "發生未預期的錯誤（{kind}），詳情寫在 {log}。",
        "Something unexpected happened ({kind}); the details are in {log}.",
    ),
    "toast.up_red": ("紅漲綠跌", "Red is up"),
    "toast.up_green": ("綠漲紅跌", "Green is up"),
}


def t(key: str, language: Language, **figures: object) -> str:
    """The text of ``key`` in ``language`` with ``figures`` filled in. KeyError for an unknown key."""
    text = TABLE[key][language == "en"]
    return text.format(**figures) if figures else text
