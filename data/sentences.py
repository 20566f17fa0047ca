"""Sentences that travel from where something was found out to whoever shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stockllm.data.errors import StockllmError


class Sentence(str):
    """A sentence in English that carries the same in Traditional Chinese, as a ``StockllmError`` does.

    Documents and logs take it as the English text that it is; a screen asks for ``sentence(language)``.
    """

    __slots__ = ("zh",)
    zh: str

    def __new__(cls, en: str, *, zh: str) -> Sentence:
        made = super().__new__(cls, en)
        made.zh = zh
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, str]]:
        return (str(self),), {"zh": self.zh}  # copies, and what another process gets, keep the Chinese

    def sentence(self, language: str) -> str:
        """The sentence to show; anything but ``"en"`` reads Traditional Chinese."""
        return str(self) if language == "en" else self.zh

    @classmethod
    def of(cls, error: StockllmError) -> Sentence:
        """What an error says, where it is a remark and not the end."""
        return cls(str(error), zh=error.sentence("zh"))


def in_chinese(text: str) -> str:
    """The Chinese of a ``Sentence``; any other text as it is."""
    return text.zh if isinstance(text, Sentence) else text
