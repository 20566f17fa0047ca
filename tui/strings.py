"""Every word the dashboard itself says, in Traditional Chinese and English.

``TABLE`` maps a key to its two texts; ``t`` picks one and fills in its figures. Sentences of errors
come from where the error was raised, and reasons of signals carry both languages themselves.
"""

from __future__ import annotations

from stockllm.tui import words, words_ledger, words_market, words_portfolio, words_system, words_training
from stockllm.tui.text import Language

TABLE: dict[str, tuple[str, str]] = {
    **words.WORDS,
    **words_market.WORDS,
    **words_ledger.WORDS,
    **words_system.WORDS,
    **words_training.WORDS,
    **words_portfolio.WORDS,
}


def t(key: str, language: Language, **figures: object) -> str:
    """The text of ``key`` in ``language`` with ``figures`` filled in. KeyError for an unknown key.

    Where ``count`` is 1 and there is a text for one, under ``key`` with ``.one`` after it, that is taken.
    """
    if str(figures.get("count")) == "1" and f"{key}.one" in TABLE:
        key = f"{key}.one"
    text = TABLE[key][language == "en"]
    return text.format(**figures) if figures else text
