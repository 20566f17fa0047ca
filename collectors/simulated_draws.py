"""What chance decides in the simulated market: shocks, jumps, paths, dividends, idle days.

docs/simulated-market.md describes the model. The levels in ``TRAITS`` are round numbers of our own,
not anybody's prices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from stockllm.collectors.simulated_chance import clustered, storms
from stockllm.collectors.simulated_world import Nights
from stockllm.market.companies import Company

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Five-minute steps of the session from 09:00 to 13:30.
STEPS = 54
#: How many of the least liquid companies have days without a trade, and how often.
_ILLIQUID, _IDLE_RATE = 5, 0.012
#: What a day of strong buying by foreign investors adds to the next day, in its own deviations.
_PUSH = 0.06
#: How much of New York's word an industry answers: of what all stocks do, of what semiconductors do besides.
_ANSWERS: Mapping[str, tuple[float, float]] = {
    "半導體業": (1.0, 1.0),
    "電子零組件業": (1.0, 0.5),
    "生技醫療業": (0.5, 0.0),
    "運動休閒": (0.6, 0.0),
}
_OTHERS = (1.0, 0.3)

# code: starting price in TWD, shares a day in thousands, own volatility in % a day, beta, yield in %
TRAITS: Mapping[str, tuple[float, float, float, float, float]] = {
    "2301": (90, 7_000, 1.4, 0.9, 4.5),
    "2303": (48, 45_000, 1.3, 1.0, 6.0),
    "2308": (350, 8_000, 1.6, 1.1, 2.0),
    "2317": (140, 50_000, 1.4, 1.0, 3.5),
    "2324": (34, 14_000, 1.2, 0.8, 4.5),
    "2330": (750, 28_000, 1.1, 1.2, 1.8),
    "2353": (38, 16_000, 1.4, 0.8, 4.0),
    "2356": (46, 20_000, 1.5, 0.9, 3.5),
    "2357": (480, 3_500, 1.4, 0.9, 4.5),
    "2359": (120, 9_000, 3.0, 1.2, 1.0),
    "2376": (240, 9_000, 2.2, 1.3, 3.0),
    "2377": (160, 6_000, 1.8, 1.1, 4.0),
    "2382": (220, 30_000, 1.8, 1.2, 3.5),
    "2395": (330, 1_600, 1.4, 0.8, 3.0),
    "2417": (42, 2_500, 2.4, 1.0, 2.0),
    "2454": (950, 5_000, 1.7, 1.2, 4.0),
    "2465": (75, 6_000, 3.0, 1.2, 1.0),
    "3030": (110, 3_000, 2.2, 1.1, 3.5),
    "3037": (150, 15_000, 2.1, 1.3, 2.0),
    "3048": (30, 4_500, 2.4, 0.9, 4.0),
    "3088": (85, 500, 1.5, 0.7, 4.5),
    "3231": (105, 40_000, 2.2, 1.3, 2.5),
    "3515": (210, 2_200, 2.1, 1.1, 3.5),
    "3540": (40, 350, 2.0, 0.8, 3.0),
    "3706": (55, 9_000, 2.2, 1.0, 2.5),
    "3711": (140, 12_000, 1.5, 1.1, 3.5),
    "4938": (85, 9_000, 1.2, 0.8, 4.5),
    "5371": (80, 2_500, 1.8, 0.9, 3.0),
    "5474": (130, 180, 2.2, 0.7, 2.5),
    "5484": (22, 600, 2.6, 0.8, 1.0),
    "6117": (65, 8_000, 3.0, 1.2, 1.5),
    "6125": (58, 5_000, 2.7, 1.1, 1.5),
    "6166": (60, 1_200, 1.9, 0.9, 2.0),
    "6206": (80, 280, 1.3, 0.6, 5.0),
    "6245": (95, 1_500, 2.1, 1.0, 3.5),
    "6569": (160, 150, 1.6, 0.6, 3.5),
    "6579": (125, 900, 1.7, 0.8, 4.0),
    "6669": (1_900, 1_400, 2.1, 1.3, 2.0),
    "8210": (260, 2_500, 2.3, 1.2, 2.0),
    "8234": (48, 700, 1.9, 0.8, 3.0),
    "9921": (180, 1_800, 1.7, 0.7, 3.0),
}


@dataclass(frozen=True)
class Draws:
    """All that chance decides before anyone trades; arrays have shape (sessions, companies)."""

    shock: Floats  # log return of world, market, sector and company, before jumps
    world: Floats  # the part of ``shock`` that answers New York: it arrives overnight
    jump: Floats  # log return of news that arrives overnight
    scale: Floats  # standard deviation of ``shock`` on that day, known the evening before
    gap: Floats  # standard normal: noise of the opening price
    wander: Floats  # (sessions, companies, steps + 1): a Brownian bridge of unit variance
    attention: Floats  # log of volume beside what the day's range explains
    idle: NDArray[np.bool_]  # nobody traded
    cash: Floats  # dividend as a part of the price, on ex-dates
    rights: Floats  # new shares for each old one, on ex-dates
    buying: Floats  # (sessions, companies, 3): net buying of foreign investors, trusts, dealers over volume
    nights: Nights  # New York, with the night after the last session
    slope: Floats  # (companies, 2): what each stock makes of New York's two factors

    @classmethod
    def draw(
        cls,
        rng: Generator,
        days: tuple[date, ...],
        companies: Sequence[Company],
        before: date,
        after: date,
    ) -> Draws:
        """Draw ``days``; ``before`` is the session before the first, ``after`` the one after the last."""
        import numpy as np

        count, width = len(days), len(companies)
        traits = np.array([TRAITS[c.code] for c in companies])
        own, beta = traits[:, 2] / 100, traits[:, 3]
        industries = sorted({c.industry for c in companies})
        sector = np.array([industries.index(c.industry) for c in companies])

        storm = storms(rng, count + 1)
        nights = Nights.draw(rng, before, (*days, after), storm)
        storm = storm[:-1]
        answers = np.array([_ANSWERS.get(c.industry, _OTHERS) for c in companies])
        slope = answers * np.stack([beta, np.ones(width)], axis=1)
        world = nights.word[:-1] @ slope.T
        factors, level = clustered(rng, count, 1 + len(industries) + width)
        market = 0.0059 * (1 + 1.1 * storm)
        branch = 0.006 * (1 + 0.6 * storm)
        single = own * (1 + 0.35 * storm)[:, None]
        deviation = np.concatenate(
            [market[:, None], np.repeat(branch[:, None], len(industries), axis=1), single], axis=1
        )
        moves, level = factors * deviation, level * deviation
        theirs = 1 + sector
        alone = level[:, 1 + len(industries) :]
        buying, push = _institutions(rng, moves[:, 1 + len(industries) :], alone)
        shock = world + moves[:, :1] * beta + moves[:, theirs] + moves[:, 1 + len(industries) :] + push
        scale = np.sqrt(
            nights.level[:-1] ** 2 @ (slope**2).T
            + (level[:, :1] * beta) ** 2
            + level[:, theirs] ** 2
            + alone**2
        )
        jump = _jumps(rng, (count, width))
        attention = _persistent(rng, count, width) + 3.0 * np.abs(jump)
        idle = rng.random((count, width)) < _IDLE_RATE
        idle &= np.isin(np.arange(width), np.argsort(traits[:, 1], kind="stable")[:_ILLIQUID])
        cash, rights = _dividends(rng, days, companies, traits[:, 4] / 100)
        return cls(
            shock=shock,
            world=world,
            jump=jump,
            scale=scale,
            gap=rng.standard_normal((count, width)),
            wander=_bridges(rng, count, width),
            attention=attention,
            idle=idle,
            cash=cash,
            rights=rights,
            buying=buying,
            nights=nights,
            slope=slope,
        )


def _jumps(rng: Generator, shape: tuple[int, int]) -> Floats:
    """Rare news: mostly a few percent, now and then more than a day's limit lets through."""
    import numpy as np

    kind = rng.random(shape)
    small = rng.normal(0.0, 0.045, shape)
    large = rng.uniform(0.12, 0.34, shape) * np.where(rng.random(shape) < 0.55, 1, -1)
    return np.where(kind < 0.0012, large, np.where(kind < 0.008, small, 0.0))


def _persistent(rng: Generator, count: int, width: int) -> Floats:
    """An autoregressive process for interest in a stock, partly shared by the market."""
    import numpy as np

    draws = 0.2 * rng.standard_normal((count, width)) + 0.1 * rng.standard_normal((count, 1))
    interest = np.empty_like(draws)
    now = np.zeros(width)
    for row, draw in enumerate(draws):
        now = 0.85 * now + draw
        interest[row] = now
    return interest


def _institutions(rng: Generator, own: Floats, level: Floats) -> tuple[Floats, Floats]:
    """Net buying over the day's volume, and what it adds to the next day's log return.

    Foreign investors buy what rises and go on for days; trusts too, more slowly; dealers by chance.
    """
    import numpy as np

    count, width = own.shape
    noise = rng.standard_normal((count, width, 3))
    states = np.zeros((count, width, 3))
    push = np.zeros_like(own)
    foreign, trust = np.zeros(width), np.zeros(width)
    for row in range(count):
        push[row] = _PUSH * level[row] * foreign
        risen = np.clip((own[row] + push[row]) / level[row], -4, 4)
        foreign = 0.85 * foreign + 0.5 * (0.4 * risen + 0.9 * noise[row, :, 0])
        trust = 0.95 * trust + 0.3 * (0.3 * risen + 0.95 * noise[row, :, 1])
        states[row] = np.stack([foreign, trust, noise[row, :, 2]], axis=1)
    buying: Floats = np.clip(states, -4, 4) * np.array([0.08, 0.03, 0.02])
    return buying, push


def _bridges(rng: Generator, count: int, width: int) -> Floats:
    """Brownian bridges from 0 to 0 whose pace is fastest at the open and the close."""
    import numpy as np

    clock = np.linspace(-1, 1, STEPS)
    pace = 0.5 + clock**2
    pace /= np.sqrt((pace**2).sum())
    walk = np.zeros((count, width, STEPS + 1))
    np.cumsum(rng.standard_normal((count, width, STEPS)) * pace, axis=2, out=walk[:, :, 1:])
    elapsed = np.concatenate([[0.0], np.cumsum(pace**2)])
    bridges: Floats = walk - walk[:, :, -1:] * elapsed
    return bridges


def _dividends(
    rng: Generator, days: tuple[date, ...], companies: Sequence[Company], yields: Floats
) -> tuple[Floats, Floats]:
    """One ex-date each summer for every company, one a quarter for 2330; some pay in shares too."""
    import numpy as np

    cash = np.zeros((len(days), len(companies)))
    rights = np.zeros_like(cash)
    for year in range(days[0].year, days[-1].year + 1):
        summer = [i for i, day in enumerate(days) if date(year, 6, 16) <= day <= date(year, 9, 10)]
        for k, company in enumerate(companies):
            position, paid, shares = rng.random(), rng.uniform(0.7, 1.3), rng.random() < 0.12
            if company.code == "2330":
                quarters = [
                    next((i for i, day in enumerate(days) if day >= date(year, month, 16)), None)
                    for month in (3, 6, 9, 12)
                ]
                for row in quarters:
                    if row is not None and days[row].year == year:
                        cash[row, k] = yields[k] * paid / 4
            elif summer:
                row = summer[int(position * len(summer))]
                cash[row, k] = yields[k] * paid
                rights[row, k] = 0.05 if shares else 0.0
    return cash, rights
