"""Both languages say everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stockllm.tui.core.keys import COMMON
from stockllm.tui.ledger.screen import LedgerScreen
from stockllm.tui.look import strings
from stockllm.tui.look.strings import TABLE, t
from stockllm.tui.market.screen import MarketScreen
from stockllm.tui.portfolio.screen import PortfolioScreen
from stockllm.tui.system.screen import SystemScreen
from stockllm.tui.training.screen import TrainingScreen

TUI = Path(strings.__file__).parents[1]


def test_both_languages_have_every_text_and_the_same_figures() -> None:
    for key, (zh, en) in TABLE.items():
        assert zh.strip(), key
        assert en.strip(), key
        assert set(re.findall(r"{(\w+)}", zh)) == set(re.findall(r"{(\w+)}", en)), key


def test_chinese_is_traditional() -> None:
    simplified = "预测讯号开闭资料时间没读数据股价涨跌买卖观请载错误确认设置"
    traditional = "預測訊號開閉資料時間沒讀數據股價漲跌買賣觀請載錯誤確認設置"
    only_simplified = set(simplified) - set(traditional)
    assert {key for key, (zh, _) in TABLE.items() if only_simplified & set(zh)} == set()


def test_every_key_that_the_code_names_is_in_the_table_and_none_is_idle() -> None:
    files = [path for path in TUI.rglob("*.py") if "words" not in f"{path.relative_to(TUI)}"]
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    screens = (MarketScreen, PortfolioScreen, LedgerScreen, TrainingScreen, SystemScreen)
    for key in (*COMMON, *(key for screen in screens for key in screen.KEYS)):
        assert f"help.{key.name}" in TABLE
        assert not key.footer or f"key.{key.name}" in TABLE
    named = set(re.findall(r'\bt\(\s*"([^"]+)"', source))
    assert named
    assert named <= set(TABLE)
    formed = tuple(set(re.findall(r"""f["']([a-z_]+\.[a-z_.]*)\{""", source)))
    quoted = set(re.findall(r"""["']([a-z]+\.[\w.-]+)["']""", source))
    said = {key: key.removesuffix(".one") for key in TABLE}  # ``t`` finds the text for one by itself
    assert {k for k, key in said.items() if key not in quoted and not key.startswith(formed)} == set()
    assert set(said.values()) <= set(TABLE)


def test_figures_are_filled_in() -> None:
    assert t("header.companies", "zh", count=41) == "41 檔"
    assert t("header.companies", "en", count=41) == "41 stocks"
    assert t("header.companies", "en", count=1) == "1 stock"
    assert t("quote.lots", "en", count="1") == "1 lot"
    with pytest.raises(KeyError):
        t("no.such.key", "zh")
