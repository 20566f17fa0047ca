"""Which forecasts count: judged from what is frozen of them, the same for everybody who asks.

A forecast counts that was made before its first session opened, by the exchange's clock. When a bar
reached the store makes none count. Of one company, evening, moment, model and horizon the first one made
in time with at least the standard number of paths counts; the others are kept as experiments, for whoever
may make many and show the best has shown nothing. Pure: reads no clock and no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Protocol

from stockllm.data.sentences import Sentence
from stockllm.market.moments import Moment, counts_before

#: Fewer paths make an experiment.
STANDARD_PATHS = 99

#: Why a forecast does not count. ``late``: made when its first session had opened. ``clock``: its clock read
#: earlier than what the store had seen. ``paths``: fewer than the standard. ``again``: another of its evening
#: came first. ``known``: the bar of a day was there before it. ``trained``: its model was trained on a day.
Reason = Literal["late", "clock", "paths", "again", "known", "trained"]
REASONS: tuple[Reason, ...] = ("late", "clock", "paths", "again", "known", "trained")


@dataclass(frozen=True, slots=True)
class Frozen:
    """What of a frozen forecast says whether it counts.

    ``first`` is its first session, ``model`` the name that users see (``llama+ADAPTER``), ``made_at``
    what the clock read (aware), ``witnessed`` the latest moment the store had seen by then.
    """

    id: int
    code: str
    as_of: date
    first: date
    moment: Moment
    model: str
    horizon: int
    paths: int
    made_at: datetime
    witnessed: datetime | None


class Scored(Protocol):
    """What of a day's score says whether its forecast counts: see ``data.stores.scores.Score``."""

    @property
    def ahead(self) -> bool:
        """Whether the day's bar arrived after the forecast was made."""

    @property
    def seen(self) -> bool | None:
        """Whether the model was trained on the day; None where nobody can say."""


def why_not(ledger: Iterable[Frozen]) -> dict[int, Reason | None]:
    """Why each forecast cannot count, by id; None where nothing speaks against it.

    ``ledger`` is in the order in which forecasts were frozen, which no clock can change, and holds all
    forecasts of its companies.
    """
    taken: set[tuple[object, ...]] = set()
    found: dict[int, Reason | None] = {}
    for each in ledger:
        limit = counts_before(each.first, each.moment)
        if each.made_at >= limit:
            found[each.id] = "late"
        elif each.witnessed is not None and each.witnessed >= limit:
            found[each.id] = "clock"
        elif each.paths < STANDARD_PATHS:
            found[each.id] = "paths"
        else:
            # A calendar that is edited moves the first session, an older evening may lead to the same one:
            # each of the two is taken once.
            of = (each.code, each.moment, each.model, each.horizon)
            keys = {(*of, "from", each.as_of), (*of, "to", each.first)}
            found[each.id] = "again" if keys & taken else None
            if not keys & taken:
                taken |= keys
    return found


def settled(standing: Reason | None, scores: Iterable[Scored]) -> Reason | None:
    """``standing``, or what the scores of the forecast's days say against it."""
    if standing is not None:
        return standing
    scores = tuple(scores)
    if any(not score.ahead for score in scores):
        return "known"
    return "trained" if any(score.seen for score in scores) else None


_WORDS: Mapping[Reason, tuple[str, str, str]] = {
    "late": (
        "在第一個交易日開盤之後才做",
        "made after its first session opened",
        "made after their first session opened",
    ),
    "clock": (
        "做的時候電腦時鐘早於資料庫已見過的時間",
        "made by a clock that was behind what the store had seen",
        "made by a clock that was behind what the store had seen",
    ),
    "paths": (
        f"路徑少於 {STANDARD_PATHS} 條的試驗",
        f"an experiment with fewer than {STANDARD_PATHS} paths",
        f"experiments with fewer than {STANDARD_PATHS} paths",
    ),
    "again": (
        "同一天晚上已有先做的預測，屬於試驗",
        "an experiment after the first forecast of its evening",
        "experiments after the first forecast of their evening",
    ),
    "known": (
        "做的時候資料庫已有該日股價",
        "made when a day's price was in the store",
        "made when a day's price was in the store",
    ),
    "trained": (
        "模型訓練時看過這些日子",
        "by a model trained on its days",
        "by models trained on their days",
    ),
}


def words(reason: Reason, count: int = 1) -> Sentence:
    """The reason as a part of a sentence, for ``count`` forecasts."""
    zh, one, many = _WORDS[reason]
    return Sentence(one if count == 1 else many, zh=zh)
