"""What steps and outcomes are called in Chinese. Light: the command line's help imports it."""

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
