"""What a code stands for, as far as ticks and taxes tell the difference."""

from __future__ import annotations

import re
from typing import Literal

Instrument = Literal["share", "etf"]

# 0050, 00631L, 006208: ETFs begin with 00; no share does.
_ETF = re.compile(r"00\d{2,4}[A-Z]?")


def instrument_of(code: str) -> Instrument:
    """Whether ``code`` is an ETF's; anything else is taken for a share.

    >>> instrument_of("0050"), instrument_of("2330")
    ('etf', 'share')
    """
    return "etf" if _ETF.fullmatch(code) else "share"
