"""Tries of token sequences: how a value that needs several tokens is offered token by token."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from stockllm.data.errors import ModelUnavailable


@dataclass(slots=True)
class Node:
    """``values`` are those still possible here, sorted; a node without children is one value."""

    values: list[int] = field(default_factory=list)
    children: dict[int, Node] = field(default_factory=dict)

    def holds(self, low: int, high: int) -> bool:
        """Whether a value in [low, high] is still possible here."""
        at = bisect_left(self.values, low)
        return at < len(self.values) and self.values[at] <= high


@dataclass(frozen=True, slots=True)
class Trie:
    """Values, each spelled by a token sequence; none may be the beginning of another."""

    root: Node
    depth: int

    @classmethod
    def of(cls, tokenizer: Any, texts: Mapping[int, str], closing: Sequence[int] = ()) -> Trie:
        """Spell every value; the tokens of ``closing`` stand behind each.

        :param texts: value -> its text.
        :raises ModelUnavailable: where one value's tokens begin another's, so that no one could
            tell when the shorter is complete.
        """
        values = sorted(texts)
        spelled = tokenizer([texts[v] for v in values], add_special_tokens=False)["input_ids"]
        root, depth = Node(), 0
        ends: set[int] = set()
        for value, ids in zip(values, spelled, strict=True):
            node, tokens = root, [*ids, *closing]
            for token in tokens:
                node = node.children.setdefault(token, Node())
                node.values.append(value)
                if id(node) in ends:
                    break
            if id(node) in ends or node.children:
                raise ModelUnavailable(
                    "This model's tokenizer spells numbers digit by digit, which the compact style "
                    "cannot use: choose --prompt reference or a Llama-3 model."
                )
            ends.add(id(node))
            depth = max(depth, len(tokens))
        return cls(root, depth)


@dataclass(frozen=True, slots=True)
class Digits:
    """A free count from 1 to ``most``: digits, no leading zero, closed by one token that is no digit."""

    digits: Mapping[int, str]
    end: int
    most: int

    @classmethod
    def of(cls, tokenizer: Any, end: int, most: int) -> Digits:
        """``end`` is the token that closes the count."""
        return cls(_digit_tokens(tokenizer), end, most)

    @property
    def depth(self) -> int:
        """The most tokens a count can take."""
        return len(str(self.most)) + 1


@lru_cache(maxsize=4)
def _digit_tokens(tokenizer: Any) -> dict[int, str]:
    return {i: text for text, i in tokenizer.get_vocab().items() if text.isascii() and text.isdigit()}


#: What a program asks for: a value of a trie within bounds, or a free count.
Choice = tuple[Trie, int, int] | Digits


class Walker:
    """One path's way through its program.

    The program yields a choice and is sent the value the model chose, until it returns.
    """

    def __init__(self, program: Generator[Choice, int, None]) -> None:
        self._program = program
        self.done = False
        self._begin(next(program))

    def _begin(self, choice: Choice) -> None:
        self._choice = choice
        self._text = ""
        if not isinstance(choice, Digits):
            self._node = choice[0].root

    def allowed(self) -> list[int]:
        """The token ids that may follow; never empty."""
        choice = self._choice
        if isinstance(choice, Digits):
            more = [
                i
                for i, text in choice.digits.items()
                if (self._text or text[0] != "0") and int(self._text + text) <= choice.most
            ]
            return [*more, choice.end] if self._text else more
        _, low, high = choice
        return [token for token, child in self._node.children.items() if child.holds(low, high)]

    def advance(self, token: int) -> None:
        """Take one of the allowed tokens."""
        choice = self._choice
        if isinstance(choice, Digits):
            if token != choice.end:
                self._text += choice.digits[token]
            else:
                self._finish(int(self._text))
            return
        self._node = self._node.children[token]
        if not self._node.children:
            self._finish(self._node.values[0])

    def _finish(self, value: int) -> None:
        try:
            self._begin(self._program.send(value))
        except StopIteration:
            self.done = True
