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
    """Values, each spelled by a token sequence; none may be the beginning of another.

    ``depth`` is the most tokens a value takes.
    """

    root: Node
    depth: int

    @classmethod
    def of(cls, tokenizer: Any, texts: Mapping[int, str], closing: Sequence[int] = ()) -> Trie:
        """Spell every value; the tokens of ``closing`` stand behind each.

        :param texts: value -> its text; no two texts are the same.
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
                    "cannot use: choose --prompt reference or a Llama-3 model.",
                    zh=(
                        "這個模型的分詞器逐位拼寫數字，不能用精簡格式：請選 --prompt reference 或 "
                        "Llama-3 模型。"
                    ),
                )
            ends.add(id(node))
            depth = max(depth, len(tokens))
        return cls(root, depth)


@dataclass(frozen=True, slots=True)
class Digits:
    """A free count from 1 to ``most``: digits, no leading zero, closed by one token that is no digit.

    ``group`` is how many digits the tokenizer reads as one. It groups from the left, so a shorter
    group is the last: any other spelling is one that the model has never read.
    """

    digits: Mapping[int, str]
    group: int
    end: int
    most: int

    @classmethod
    def of(cls, tokenizer: Any, end: int, most: int) -> Digits:
        """``end`` is the token that closes the count."""
        digits = _digit_tokens(tokenizer)
        return cls(digits, max(map(len, digits.values())), end, most)

    @property
    def depth(self) -> int:
        """The most tokens a count can take."""
        return -(-len(str(self.most)) // self.group) + 1

    def after(self, text: str) -> list[int]:
        """The tokens that may follow the digits said so far."""
        if len(text) % self.group:
            return [self.end]
        more = [
            token
            for token, digits in self.digits.items()
            if (text or digits[0] != "0") and int(text + digits) <= self.most
        ]
        return [*more, self.end] if text else more


@lru_cache(maxsize=4)
def _digit_tokens(tokenizer: Any) -> dict[int, str]:
    return {i: text for text, i in tokenizer.get_vocab().items() if text.isascii() and text.isdigit()}


#: What a program asks for: a value of a trie within bounds, or a free count.
Choice = tuple[Trie, int, int] | Digits

#: Yields choices and is sent the value chosen for each, until it returns.
Program = Generator[Choice, int, None]


class Walker:
    """One path's way through its program.

    ``options`` are the token ids the model may choose from: two or more, or none once ``done``.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.done = False
        self.options: list[int] = []
        self._begin(next(program))

    def _begin(self, choice: Choice) -> None:
        self._choice = choice
        self._text = ""
        if not isinstance(choice, Digits):
            self._node = choice[0].root

    def forced(self) -> list[int]:
        """Walk on to where there is something to choose; the tokens on the way, each without rival."""
        tokens: list[int] = []
        self.options = []
        while not self.done:
            allowed = self._allowed()
            if len(allowed) > 1:
                self.options = allowed
                break
            tokens.append(allowed[0])
            self.take(allowed[0])
        return tokens

    def _allowed(self) -> list[int]:
        choice = self._choice
        if isinstance(choice, Digits):
            return choice.after(self._text)
        _, low, high = choice
        return [token for token, child in self._node.children.items() if child.holds(low, high)]

    def take(self, token: int) -> None:
        """Go along one of the tokens that may follow."""
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
