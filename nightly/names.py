"""What steps, outcomes and reasons are called. Light: the command line's help imports it."""

from __future__ import annotations

STEP_NAMES = {
    "calendar": "開休市日",
    "prices": "股價",
    "ex-rights": "除權息",
    "gaps": "補缺漏",
    "news": "新聞",
    "forecasts": "預測",
    "scores": "評分",
    "signals": "訊號",
    "trade": "交易",
}

OUTCOME_NAMES = {
    "running": "進行中",
    "ok": "完成",
    "partial": "部分完成",
    "failed": "失敗",
    "skipped": "略過",
    "stopped": "被中斷",
    "died": "意外終止",
}

#: Why a bar is missing (``data.absences``), in Chinese and English.
WHY_NAMES = {
    "not_asked": ("尚未向交易所取得", "not asked for yet"),
    "failed": ("交易所沒有給出可用的答覆", "the exchange gave no answer to keep"),
    "nothing": ("交易所尚無該日資料", "the exchange has nothing for it yet"),
    "refused": ("資料有誤，已隔離", "its row could not be right and is in quarantine"),
}
