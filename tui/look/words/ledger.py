"""Words of the Forecasts tab."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "ledger.as_of": ("截至", "As of"),
    "ledger.due": ("到期", "Due"),
    "ledger.company": ("股票", "Company"),
    "ledger.model": ("模型", "Model"),
    "ledger.band": ("80% 區間", "80% range"),
    "ledger.came": ("實際", "Came"),
    "ledger.days": ("天數", "Days"),
    "ledger.error": ("誤差比", "Error"),
    "ledger.none": ("還沒有預測：在行情分頁按 f 產生。", "No forecast yet: press f on the market tab."),
    "ledger.count": ("{count} 筆", "{count} forecasts"),
    "ledger.count.one": ("{count} 筆", "{count} forecast"),
    "ledger.adapter": ("轉接器 {adapter}", "adapter {adapter}"),
    "ledger.no_adapter": ("（無）", "(none)"),
    "ledger.by.made": ("依截至日", "by date"),
    "ledger.by.due": ("依到期日", "by due date"),
    "ledger.by.code": ("依代號", "by code"),
    "ledger.by.error": ("依誤差比", "by error"),
    "detail.as_of": ("截至 {day}", "As of {day}"),
    "detail.last": ("當時收盤 {price}", "close then {price}"),
    "detail.paths": ("{count} 條路徑", "{count} paths"),
    "detail.made": ("產生於 {at}", "made {at}"),
    "detail.day": ("日期", "Day"),
    "detail.median": ("中位數", "Median"),
    "detail.open": ("預測的日子還沒有到。", "None of its days has come."),
    "detail.inside": (
        "{days} 天中有 {inside} 天落在 80% 區間內",
        "{inside} of {days} days inside the 80% range",
    ),
    "detail.better": (
        "誤差是單純預測的 {ratio} 倍，較好",
        "{ratio} times the naive forecast's error: better",
    ),
    "detail.worse": (
        "誤差是單純預測的 {ratio} 倍，沒有較好",
        "{ratio} times the naive forecast's error: no better",
    ),
    "moment.evening": ("晚間", "evening"),
    "moment.morning": ("早晨", "morning"),
    "moment.open": ("開盤", "open"),
    "why_not.late": (
        "※ 在第一個交易日開盤之後才做，不列入紀錄。",
        "* Made after its first session opened: it does not count.",
    ),
    "why_not.clock": (
        "※ 做的時候電腦時鐘早於資料庫已見過的時間，不列入紀錄。",
        "* Made by a clock that was behind what the store had seen: it does not count.",
    ),
    "why_not.paths": (
        "※ 路徑少於 99 條的試驗，不列入紀錄。",
        "* An experiment with fewer than 99 paths: it does not count.",
    ),
    "why_not.again": (
        "※ 同一天晚上已有先做的預測，這是試驗，不列入紀錄。",
        "* An experiment after the first forecast of its evening: it does not count.",
    ),
    "why_not.known": (
        "※ 預測產生時已有結果，不能證明什麼。",
        "* Made when the outcome was known: it proves nothing.",
    ),
    "why_not.trained": (
        "※ 模型學過這些日子，不能證明什麼。",
        "* The model was trained on these days: it proves nothing.",
    ),
    "detail.enter": ("Enter 在圖上與實際走勢比對。", "Enter holds it against what came, on the chart."),
    "curve.coverage": ("落在 80% 區間內的比例（應為 80%）", "Share inside the 80% range (80% is right)"),
    "curve.ratio": (
        "誤差 CRPS 與單純預測之比（低於 1 較好）",
        "CRPS over the naive forecast's (below 1 is better)",
    ),
    "curve.none": ("還沒有評分過的預測。", "No forecast has been scored yet."),
    "curve.uncounted": ("※ 都不列入紀錄", "* none of which counts"),
    "key.filter_ledger": ("篩選", "Filter"),
    "key.model": ("模型", "Model"),
    "key.adapter": ("轉接器", "Adapter"),
    "key.order_ledger": ("排序", "Sort"),
    "key.score": ("評分", "Score"),
    "help.filter_ledger": ("以公司篩選：代號、中文或英文", "filter by company: code, Chinese or English"),
    "help.model": ("只看下一個模型的預測", "forecasts of the next model only"),
    "help.adapter": ("只看下一個轉接器（adapter）的預測", "forecasts of the next adapter only"),
    "help.order_ledger": (
        "下一種排序：截至日、到期日、代號、誤差比",
        "sort by the next column: date, due date, code, error",
    ),
    "help.score": ("為已到期的預測評分", "score every day that has come"),
    "help.clear_ledger": ("清除所有篩選", "clear all filters"),
    "help.ledger": (
        "✓ 到期日收盤落在 80% 區間內，✗ 在區間外，· 尚未到期。"
        "誤差比是 CRPS 除以單純預測的 CRPS，低於 1 較好。Enter 在圖上比對。",
        "✓ the close of the due day lay inside the 80% range, ✗ outside, · not yet due. Error is the CRPS"
        " over the naive forecast's: below 1 is better. Enter compares it on the chart.",
    ),
    "help.counts": (
        "灰色的預測不列入紀錄：開盤後才做、同一晚的試驗，或模型學過那些日子。",
        "Greyed forecasts do not count: made after the open, experiments of an evening, or days trained on.",
    ),
    "toast.scoring": ("評分中…", "scoring…"),
    "toast.scored": ("評分了 {days} 天", "{days} days scored"),
}
