"""Every word the dashboard itself says, in Traditional Chinese and English.

``TABLE`` maps a key to its two texts; ``t`` picks one and fills in its figures. Sentences of errors
come from where the error was raised, and reasons of signals carry both languages themselves.
"""

from __future__ import annotations

from stockllm.tui.look.text import Language
from stockllm.tui.look.words import common, ledger, market, portfolio, system, training

TABLE: dict[str, tuple[str, str]] = {
    **common.WORDS,
    **market.WORDS,
    **ledger.WORDS,
    **system.WORDS,
    **training.WORDS,
    **portfolio.WORDS,
}


def t(key: str, language: Language, **figures: object) -> str:
    """The text of ``key`` in ``language`` with ``figures`` filled in. KeyError for an unknown key.

    Where ``count`` is 1 and there is a text for one, under ``key`` with ``.one`` after it, that is taken.
    """
    if str(figures.get("count")) == "1" and f"{key}.one" in TABLE:
        key = f"{key}.one"
    text = TABLE[key][language == "en"]
    return text.format(**figures) if figures else text
