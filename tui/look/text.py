"""Text for cells: widths measured as a terminal draws them, and figures as Taiwan writes them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from rich.cells import cell_len, set_cell_size

Language = Literal["zh", "en"]

WEEKDAYS = {"zh": "一二三四五六日", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def clip(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells; what is cut ends in an ellipsis."""
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    return set_cell_size(text, width - 1).rstrip() + "…"


def pad(text: str, width: int, align: Literal["left", "right"] = "left") -> str:
    """``text`` in exactly ``width`` cells, cut or filled with blanks."""
    text = clip(text, width)
    blanks = " " * (width - cell_len(text))
    return blanks + text if align == "right" else text + blanks


def join_fitting(parts: list[str], width: int, separator: str = "  ") -> str:
    """The leading ``parts`` that fit into ``width`` cells; the first is clipped if it must be."""
    line = clip(parts[0], width) if parts else ""
    for part in parts[1:]:
        if cell_len(line) + cell_len(separator) + cell_len(part) > width:
            break
        line += separator + part
    return line


def price(value: float) -> str:
    """A price in TWD with the decimals its tick asks for, and more only where it is off the tick."""
    hundredths = round(value * 100)
    if hundredths % 100 == 0 and abs(value) >= 500:
        return f"{value:,.0f}"
    if hundredths % 10 == 0 and abs(value) >= 50:
        return f"{value:,.1f}"
    return f"{hundredths / 100:,.2f}"


def level(value: float) -> str:
    """A price that was computed, an average or a quantile: no finer than the market's own."""
    return f"{value:,.0f}" if value >= 500 else f"{value:,.1f}" if value >= 50 else f"{value:,.2f}"


def move(value: float) -> str:
    """The size of a move in TWD, without sign: an arrow stands beside it."""
    return f"{abs(value):,.2f}".rstrip("0").rstrip(".")


def percent(share: float | None) -> str:
    """A share as a signed percentage: 0.0142 is ``+1.42%``; None is a dash."""
    if share is None:
        return "–"
    text = f"{share * 100:+.2f}%"
    return "0.00%" if text in ("+0.00%", "-0.00%") else text


def lots(shares: float) -> str:
    """A volume of ``shares`` in whole lots of 1,000 shares: ``24,512``."""
    return f"{shares / 1000:,.0f}"


def short_lots(shares: float, language: Language) -> str:
    """The same in at most six cells: ``2.45萬`` in Chinese, ``24.5K`` in English."""
    count = shares / 1000
    if count < 10_000:
        return f"{count:,.0f}"
    if language == "zh":
        return f"{_three(count / 10_000)}萬"
    return f"{_three(count / 1_000_000)}M" if count >= 1_000_000 else f"{_three(count / 1_000)}K"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def day(value: date | None, language: Language, weekday: bool = False) -> str:
    """``2026-03-31``, with the day of the week where asked; None is a dash."""
    if value is None:
        return "–"
    if not weekday:
        return value.isoformat()
    name = WEEKDAYS[language][value.weekday()]
    return f"{value.isoformat()}（{name}）" if language == "zh" else f"{name} {value.isoformat()}"


def age(then: datetime, now: datetime, language: Language) -> str:
    """How long ago ``then`` was; a date once it is more than 30 days."""
    minutes = int((now - then).total_seconds() // 60)
    if minutes < 60:
        return f"{max(minutes, 0)}分鐘前" if language == "zh" else f"{max(minutes, 0)}m ago"
    if minutes < 60 * 24:
        return f"{minutes // 60}小時前" if language == "zh" else f"{minutes // 60}h ago"
    if minutes <= 60 * 24 * 30:
        return f"{minutes // (60 * 24)}天前" if language == "zh" else f"{minutes // (60 * 24)}d ago"
    return then.date().isoformat()


def month(value: date, language: Language, with_year: bool) -> str:
    """The label of a month on the date axis."""
    if language == "zh":
        return f"{value.year}年{value.month}月" if with_year else f"{value.month}月"
    return f"{MONTHS[value.month - 1]} {value.year}" if with_year else MONTHS[value.month - 1]


#: Marks that must not begin a line.
_CLOSING = "，。、；：！？）」』》％%,.;:!?)"

#: Marks that must not end one.
_OPENING = "（「『《(+-$"


def wrap(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells: between words, and between any two Han characters.

    A word wider than a line is cut. Closing marks stay with what they close where that fits.
    """
    lines, line = [], ""
    for token in _tokens(text):
        if cell_len(line) + cell_len(token.rstrip()) <= width:
            line += token
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = token.lstrip()
        while cell_len(line) > width:
            head = set_cell_size(line, width).rstrip() if width > 1 else line[:1]
            lines.append(head)
            line = line[max(1, len(head)) :]
    if line.strip():
        lines.append(line.rstrip())
    return lines


def _tokens(text: str) -> list[str]:
    """Pieces a line may be broken between; blanks stay at the end of a piece."""
    tokens: list[str] = []
    for character in text:
        wide = cell_len(character) == 2
        joins = tokens and (
            character.isspace()
            or character in _CLOSING
            or tokens[-1][-1] in _OPENING
            or not (wide or tokens[-1][-1].isspace() or cell_len(tokens[-1][-1]) == 2)
        )
        if joins:
            tokens[-1] += character
        else:
            tokens.append(character)
    return tokens


def paragraphs(texts: list[str], width: int, height: int) -> list[list[str]]:
    """Each text wrapped to ``width``, all of them in ``height`` lines; the longest lose lines first.

    A text that lost lines ends in an ellipsis; every text keeps at least one line.
    """
    wrapped = [wrap(text, width) or [""] for text in texts]
    allowed = [len(lines) for lines in wrapped]
    while sum(allowed) > height and max(allowed, default=1) > 1:
        allowed[allowed.index(max(allowed))] -= 1
    return [
        lines if count == len(lines) else [*lines[: count - 1], _cut(lines[count - 1], width)]
        for lines, count in zip(wrapped, allowed, strict=True)
    ]


def _cut(line: str, width: int) -> str:
    """``line`` with an ellipsis at its end, in at most ``width`` cells."""
    return set_cell_size(line, min(cell_len(line), width - 1)).rstrip() + "…" if width > 1 else "…"
