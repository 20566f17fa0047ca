"""The reference's ``--choose-stock N``: which companies to train on when nobody named them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stockllm.data.errors import UsageError
from stockllm.data.sentences import Sentence
from stockllm.forecaster.four_points import buy_or_sell

if TYPE_CHECKING:
    from datetime import date

    from stockllm.data.store import Store
    from stockllm.market.companies import Company


@dataclass(frozen=True, slots=True)
class Choice:
    """Companies that show a buy point and companies that show a sell point, each by code.

    ``shortfall`` is a sentence where fewer were to be had than asked for, else None.
    """

    buys: list[Company]
    sells: list[Company]
    shortfall: Sentence | None = None

    @property
    def companies(self) -> list[Company]:
        """All that were chosen, the buys first."""
        return [*self.buys, *self.sells]


def choose_stocks(store: Store, n: int, seed: int, as_of: date | None = None) -> Choice:
    """N companies at random that show a buy point and N that show a sell point.

    Drawn from every company with bars in the store, by the four points of its last day (the last
    up to and including ``as_of`` where it is given: pass the end of the training data, so that the
    choice itself knows nothing later). A company that shows both is a buy, as twstock has it. The
    same store, n, seed and as_of give the same choice. Where fewer than ``n`` are to be had, all
    of them are taken and ``shortfall`` says so; both lists may come out empty.

    Raises UsageError for n below 1.
    """
    if n < 1:
        raise UsageError(
            f"--choose-stock needs a number of at least 1, not {n}.",
            zh=f"--choose-stock 至少要 1，而不是 {n}。",
        )
    sides: dict[str, list[str]] = {"buy": [], "sell": []}
    codes = sorted(store.bars.codes())
    for code in codes:
        side = buy_or_sell(store.bars.series(code, as_of))
        if side is not None:
            sides[side].append(code)
    draw = random.Random(seed)
    chosen = {side: sorted(draw.sample(have, min(n, len(have)))) for side, have in sides.items()}
    short = [side for side in ("buy", "sell") if len(chosen[side]) < n]
    en = " and ".join(f"{len(chosen[side])} of {n} with a {side} point" for side in short)
    names = {"buy": "買點", "sell": "賣點"}
    zh = "、".join(f"{len(chosen[side])} 家有{names[side]}（要求 {n} 家）" for side in short)
    return Choice(
        buys=[store.company(code) for code in chosen["buy"]],
        sells=[store.company(code) for code in chosen["sell"]],
        shortfall=Sentence(
            f"Among the {len(codes)} companies with prices only {en} could be chosen.",
            zh=f"{len(codes)} 家有股價的公司中只選得到 {zh}。",
        )
        if short
        else None,
    )
