"""The tables of the System tab: what is read, as rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta, timezone
from typing import TYPE_CHECKING

from stockllm.data.reasons import name_of
from stockllm.market.companies import display
from stockllm.nightly.names import OUTCOME_NAMES, STEP_NAMES, WHY_NAMES
from stockllm.tui.drawing.table import Cell, Column, Line, Table
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language

if TYPE_CHECKING:
    from stockllm.data.stores.refreshes import RefreshRow, StepRow
    from stockllm.tui.core.dashboard import Trouble
    from stockllm.tui.system.reading import Freshness, StoreState, SystemState

#: The panes in the order of the key that walks along them. Freshness stands beside the others where
#: there is room for two.
PANES = ("refresh", "freshness", "requests", "quarantine", "log")

_TAIPEI = timezone(timedelta(hours=8))

#: How the first line of an entry in a log begins: with its day.
_BEGINS = re.compile(r"\d{4}-\d\d-\d\d")

_BLANK: Cell = ("", "row")
_BLANKS = (_BLANK, _BLANK, _BLANK)

_LOOKS = {"ok": "forecast", "running": "row", "skipped": "quiet"}


def freshness_table(table: Table, state: StoreState | None, language: Language) -> None:
    """One line a company, the stalest first."""
    columns = (
        Column(t("list.code", language), 5),
        Column(t("list.name", language), 0),
        Column(t("fresh.last", language), 10),
        Column(t("fresh.behind", language), 6, "right"),
        Column(t("fresh.gaps", language), 5, "right", rank=1),
        Column(t("fresh.refused", language), 5, "right", rank=2),
        Column(t("fresh.why", language), 22, rank=3),
    )
    companies = state.companies if state else ()
    notice = t("fresh.none" if state else "data.loading", language)
    table.fill(columns, [_fresh(each, language) for each in companies], notice)


def _fresh(each: Freshness, language: Language) -> Line:
    def count(value: int) -> Cell:
        return (f"{value:,}" if value else "·", "warning" if value else "quiet")

    why = "" if each.missing is None else WHY_NAMES[each.missing.why][language == "en"]
    return Line(
        each.company.code,
        (
            (each.company.code, "quiet"),
            (display(each.company, language), "row"),
            (text.day(each.last, language), "row"),
            count(each.behind),
            count(each.gaps),
            count(each.quarantined),
            (why, "quiet"),
        ),
    )


def fill_pane(
    table: Table,
    pane: str,
    state: SystemState | None,
    store_state: StoreState | None,
    troubles: Sequence[Trouble],
    steps_of: str,
    language: Language,
) -> None:
    """One of ``PANES`` but freshness. ``steps_of`` is the refresh to unfold, the last one if empty."""
    if pane == "refresh":
        _refreshes(table, state.refreshes if state else (), steps_of, language)
    elif pane == "requests":
        _requests(table, state, language)
    elif pane == "quarantine":
        _quarantine(table, store_state, language)
    else:
        _log(table, state, troubles, language)


def duration(seconds: float | None, language: Language) -> str:
    """A duration in a few characters; a dash where it has no end."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    if language == "en":
        return f"{minutes}m {rest}s" if minutes else f"{seconds:.1f}s"
    return f"{minutes}分{rest}秒" if minutes else f"{seconds:.1f}秒"


def _outcome(outcome: str, language: Language) -> Cell:
    name = OUTCOME_NAMES[outcome] if language == "zh" else outcome
    return (name, _LOOKS.get(outcome, "warning"))


def _refreshes(table: Table, rows: Sequence[RefreshRow], steps_of: str, language: Language) -> None:
    """Refreshes, newest first; under one of them its steps."""
    columns = (
        Column(t("refresh.when", language), 14),
        Column(t("refresh.outcome", language), 8),
        Column(t("refresh.took", language), 8, "right"),
        Column(t("refresh.said", language), 0),
    )
    lines = []
    opened = steps_of or (str(rows[0].id) if rows else "")
    for row in rows:
        took = None if row.ended is None else (row.ended - row.started).total_seconds()
        head = f"{row.started.astimezone(_TAIPEI):%m/%d %H:%M}"
        wanted = t("refresh.evening", language, day=row.evening.isoformat())
        cells = ((head, "row"), _outcome(row.outcome, language), (duration(took, language), "row"))
        lines.append(Line(f"refresh-{row.id}", (*cells, (wanted, "quiet"))))
        if str(row.id) == opened:
            lines += [line for step in row.steps for line in _step(row.id, step, language)]
    table.fill(columns, lines, t("system.never", language))


def _step(id: int, step: StepRow, language: Language) -> list[Line]:
    """A step, and beneath it what went wrong or was left out."""
    name = STEP_NAMES.get(step.step, step.step) if language == "zh" else step.step
    took = duration(step.seconds, language)
    said = step.zh if language == "zh" else step.en
    lines = [
        Line(
            f"step-{id}-{step.step}",
            ((f"  {name}", "row"), _outcome(step.outcome, language), (took, "quiet"), (said, "row")),
        )
    ]
    for number, (zh, en) in enumerate(step.notes):
        note = zh if language == "zh" else en
        lines.append(Line(f"note-{id}-{step.step}-{number}", (*_BLANKS, (f"  {note}", "warning"))))
    return lines


def _requests(table: Table, state: SystemState | None, language: Language) -> None:
    """What each site was asked in a day and may still be asked, then the last requests."""
    columns = (
        Column(t("request.at", language), 14),
        Column(t("request.site", language), 12),
        Column(t("request.outcome", language), 12),
        Column(t("request.what", language), 0),
    )
    lines = []
    for site in state.sites if state else ():
        limit = "" if site.limit is None else f"/{site.limit}"
        said = t("request.day", language, sent=f"{site.sent}{limit}", faults=site.faults)
        look = "row"
        if site.barred is not None:
            until = f"{site.barred.astimezone(_TAIPEI):%m/%d %H:%M}"
            said, look = t("request.barred", language, until=until, why=site.why), "warning"
        lines.append(
            Line(
                f"site-{site.site}",
                ((t("request.24h", language), "quiet"), (site.site, "forecast"), _BLANK, (said, look)),
            )
        )
    for row in state.requests if state else ():
        fault = row.outcome not in ("ok", "no_data", "sent")
        what = f"{row.what} {row.detail}".strip()
        lines.append(
            Line(
                f"request-{row.id}",
                (
                    (f"{row.at.astimezone(_TAIPEI):%m/%d %H:%M:%S}", "quiet"),
                    (row.site, "quiet"),
                    (row.outcome, "warning" if fault else "quiet"),
                    (what, "row"),
                ),
            )
        )
    table.fill(columns, lines, t("data.loading", language))


def _quarantine(table: Table, state: StoreState | None, language: Language) -> None:
    """Rows that did not become bars, the newest first."""
    columns = (
        Column(t("list.code", language), 6),
        Column(t("quarantine.day", language), 10),
        Column(t("quarantine.reason", language), 18),
        Column(t("quarantine.raw", language), 0),
        Column(t("quarantine.source", language), 20, rank=1),
    )
    rows = state.quarantined if state else ()
    lines = [
        Line(
            str(number),
            (
                (row.code or "–", "row"),
                (text.day(row.date, language), "row"),
                (name_of(row.reason, language), "warning"),
                (" ".join(row.raw.split()), "quiet"),
                (row.source, "quiet"),
            ),
        )
        for number, row in enumerate(rows)
    ]
    table.fill(columns, lines, t("quarantine.none" if state else "data.loading", language))


def _log(table: Table, state: SystemState | None, troubles: Sequence[Trouble], language: Language) -> None:
    """What went wrong while the dashboard was open, then the ends of the logs, the newest first."""
    lines = [
        Line(
            f"trouble-{number}",
            ((f"{each.at:%m/%d %H:%M:%S} {each.title}: {each.error.sentence(language)}", "warning"),),
        )
        for number, each in enumerate(reversed(troubles))
    ]
    for number, line in enumerate(_newest_first(state.log if state else ())):
        wrong = " ERROR " in line or " WARNING " in line
        look = "warning" if wrong else "forecast" if line.startswith("── ") else "quiet"
        lines.append(Line(f"log-{number}", ((line, look),)))
    table.fill((Column(t("log.title", language), 0),), lines, t("log.none", language))


def _newest_first(log: Sequence[str]) -> list[str]:
    """The last log first, under its name, its newest entry first; the lines of an entry stay in order."""
    logs: list[list[list[str]]] = []
    for line in log:
        if line.startswith("── "):
            logs.append([[line]])
        elif not logs:
            logs.append([[], [line]])
        elif len(logs[-1]) == 1 or _BEGINS.match(line):
            logs[-1].append([line])
        else:
            # A traceback belongs to the line above it.
            logs[-1][-1].append(line)
    ordered = [entry for name, *entries in reversed(logs) for entry in (name, *reversed(entries))]
    return [line for entry in ordered for line in entry]
