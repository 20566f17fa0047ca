"""Why rows lie in quarantine, in words."""

from __future__ import annotations

#: By the reason of a ``QuarantinedRow``, in Traditional Chinese and English.
NAMES: dict[str, tuple[str, str]] = {
    "unreadable": ("無法解讀", "unreadable"),
    "unreadable_ex_date": ("除權息無法解讀", "unreadable ex-date"),
    "unreadable_article": ("新聞無法解讀", "unreadable article"),
    "not_a_share": ("不是普通股", "not a share"),
    "no_trade": ("當日無成交", "no trade"),
    "zero_price": ("價格為零", "zero price"),
    "negative_volume": ("成交量為負", "negative volume"),
    "not_a_session": ("不是交易日", "not a session"),
    "low_above_high": ("最低價高於最高價", "low above high"),
    "open_outside_range": ("開盤價超出高低價", "open out of range"),
    "close_outside_range": ("收盤價超出高低價", "close out of range"),
    "jump_100x": ("價格跳動百倍", "jump of 100 times"),
    "duplicate": ("重複", "duplicate"),
    "lost_zeros": ("代號缺開頭的零", "code without its leading zeros"),
    "not_a_code": ("不是代號", "not a code"),
    "future_date": ("未來日期", "future date"),
    "session_open": ("尚未收盤", "session not over"),
    "unknown_session": ("不明時段", "unknown session"),
    "sum_differs": ("合計不符", "sum that differs"),
    "other_contract": ("非月份契約", "not a monthly contract"),
}


def name_of(reason: str, language: str) -> str:
    """The reason in words; one that has none stands as it is."""
    return NAMES[reason][language == "en"] if reason in NAMES else reason
