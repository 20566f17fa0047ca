"""The limits of the risk policy as options, the settings' where they are not given."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import typer

from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.data.settings import TradeSettings
    from stockllm.trading.strategy.policy import Policy

CAP = typer.Option("", "--position-cap", metavar="PART", help="Part of the equity in one purchase, as 0.1.")
FLOOR = typer.Option("", "--cash-floor", metavar="PART", help="Part of the equity that stays cash.")
STOP = typer.Option("", "--stop", metavar="PART", help="Fall from the peak at which everything is sold.")
EDGE = typer.Option(
    "", "--min-edge", metavar="PART", help="What a forecast's gain must exceed the costs by; off: not asked."
)
ODD = typer.Option(None, "--odd-lots/--no-odd-lots", help="Whether less than 1,000 shares may be ordered.")


def policy(
    settings: TradeSettings, cap: str, floor: str, stop: str, edge: str, odd: bool | None, discount: str = ""
) -> Policy:
    """The limits given, with the settings' for the rest. UsageError for what is none."""
    from stockllm.trading.strategy.policy import Policy

    wanted = edge or str(settings.minimum_edge)
    return Policy(
        part(cap, "--position-cap") if cap else settings.position_cap,
        part(floor, "--cash-floor") if floor else settings.cash_floor,
        part(stop, "--stop") if stop else settings.stop,
        None if wanted == "off" else part(wanted, "--min-edge"),
        settings.odd_lots if odd is None else odd,
        part(discount, "--discount") if discount else Decimal(1),
    )


def part(text: str, option: str) -> Decimal:
    """``"0.1"`` or ``"10%"`` as a part; UsageError for anything else."""
    try:
        found = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise UsageError(
            f"'{text}' is no part: write {option} 0.1 or 10%.",
            zh=f"'{text}' 不是比例：請寫成 {option} 0.1 或 10%。",
        )
    return found
