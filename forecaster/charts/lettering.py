"""The words on a chart, and the fonts that can draw them.

A character no font has would be drawn as a box. So Chinese is used where a font with all of the
chart's Chinese is at hand, English elsewhere, and a stray character of a name becomes a question mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from stockllm.market.companies import Company

#: Families with Traditional Chinese that systems ship, likeliest first. A machine without any of
#: them gets the English chart rather than boxes.
CJK_FAMILIES = (
    "Noto Sans CJK TC",
    "Noto Sans TC",
    "Source Han Sans TC",
    "Microsoft JhengHei",
    "PingFang TC",
    "PingFang HK",
    "Heiti TC",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans CJK KR",
    "Noto Sans CJK HK",
    "Source Han Sans",
    "Source Han Sans TW",
    "Taipei Sans TC Beta",
    "Hiragino Sans",
    "Arial Unicode MS",
    "PMingLiU",
    "MingLiU",
    "DFKai-SB",
    "AR PL UMing TW",
    "AR PL UKai TW",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Noto Serif CJK TC",
    "Noto Serif CJK JP",
    "Unifont",
)

#: Comes with matplotlib, so it is always there.
_LATIN = "DejaVu Sans"

#: What one bar stands for.
Period = Literal["day", "week", "month", "quarter"]

_WORDS = {
    "zh": {
        "price": "價格（TWD）",
        "lots": "成交量（張）",
        "shares": "成交量（股）",
        "median": "收盤中位數",
        "band": "{}% 區間",
        "actual": "實際收盤",
        "foot": "模型 {model}・{paths} 條路徑・種子 {seed}・空心K線為代表路徑",
        "simulated": "SIMULATED 模擬資料",
        "span": "{} 至 {}",
        "ahead": "預測 {} 日：{}",
        "week": "週線，各以該週最後交易日標示：{}",
        "month": "月線，各以該月最後交易日標示：{}",
        "quarter": "季線，各以該季最後交易日標示：{}",
        "ahead.week": "預測至 {}（週線 {} 根）",
        "ahead.month": "預測至 {}（月線 {} 根）",
        "ahead.quarter": "預測至 {}（季線 {} 根）",
    },
    "en": {
        "price": "Price (TWD)",
        "lots": "Volume (lots)",
        "shares": "Volume (shares)",
        "median": "median close",
        "band": "{}% band",
        "actual": "actual close",
        "foot": "model {model}, {paths} paths, seed {seed}; hollow candles: the representative path",
        "simulated": "SIMULATED",
        "span": "{} to {}",
        "ahead": "{}-day forecast: {}",
        "week": "Weekly bars, each dated by its last session: {}",
        "month": "Monthly bars, each dated by its last session: {}",
        "quarter": "Quarterly bars, each dated by its last session: {}",
        "ahead.week": "forecast to {} (weekly bars: {})",
        "ahead.month": "forecast to {} (monthly bars: {})",
        "ahead.quarter": "forecast to {} (quarterly bars: {})",
    },
}


@dataclass(frozen=True, slots=True)
class Lettering:
    """The language that can be drawn, the font families for it, and every character they have."""

    language: Literal["zh", "en"]
    families: tuple[str, ...]
    characters: frozenset[int]

    def words(self, key: str) -> str:
        """The wording of ``key``, with braces where figures go."""
        return _WORDS[self.language][key]

    def span(self, days: Sequence[date]) -> str:
        """From the first of these days to the last."""
        return f"{days[0]}" if len(days) == 1 else self.words("span").format(days[0], days[-1])

    def bars(self, days: Sequence[date], period: Period) -> str:
        """Which days the bars are of; those of a period say that they are."""
        span = self.span(days)
        return span if period == "day" else self.words(period).format(span)

    def ahead(self, days: Sequence[date], period: Period) -> str:
        """How far the forecast reaches: its days, or the bars that they were put together into."""
        if period == "day":
            return self.words("ahead").format(len(days), self.span(days))
        return self.words(f"ahead.{period}").format(days[-1], len(days))

    def drawable(self, text: str) -> str:
        """``text`` with a question mark for what these fonts lack."""
        return "".join(c if ord(c) in self.characters else "?" for c in text)


def lettering_for(language: Literal["zh", "en"], company: Company, *more: str) -> Lettering:
    """Chinese where a font has every character the chart needs, else English. ``more`` it says besides.

    In English a name that the Latin font lacks (shares known by their Chinese name alone) borrows
    the Chinese font where there is one.
    """
    from matplotlib import font_manager

    def characters(family: str) -> frozenset[int]:
        return frozenset(font_manager.get_font(font_manager.findfont(family)).get_charmap())

    plain = characters(_LATIN)
    name = company.name_zh if language == "zh" else company.name_en
    needed = {ord(c) for text in (name, *more, *_WORDS[language].values()) for c in text}
    if not needed <= plain:
        for family in _cjk_families():
            have = characters(family)
            if needed <= have | plain:
                families = (family, _LATIN) if language == "zh" else (_LATIN, family)
                return Lettering(language, families, have | plain)
    return Lettering("en", (_LATIN,), plain)


def _cjk_families() -> list[str]:
    """The families of CJK_FAMILIES at hand, in that order."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    have = {entry.name for entry in manager.ttflist}
    if have.isdisjoint(CJK_FAMILIES):
        # matplotlib keeps its list of fonts on disk and misses what was installed since.
        listed = {str(entry.fname) for entry in manager.ttflist}
        for path in set(map(str, font_manager.findSystemFonts())) - listed:
            try:
                manager.addfont(path)
            except (OSError, RuntimeError):
                continue  # a font matplotlib cannot read was left out of its list before, too
        have = {entry.name for entry in manager.ttflist}
    return [family for family in CJK_FAMILIES if family in have]
