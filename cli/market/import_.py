"""``stockllm import``: take files in, and account for every row of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import banner, counter, emit_json, show, store_to_fill, table, text
from stockllm.data.reasons import name_of

if TYPE_CHECKING:
    from stockllm.data.records import ImportReport

_COUNTS = ("read", "accepted", "unchanged", "repaired", "flagged", "quarantined")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("import")(import_)


def import_(
    paths: list[str] = typer.Argument(
        ...,
        metavar="PATH...",
        help="Prices: CSV (file or folder, code in the name) or parquet; company lists and news: JSON.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Import prices, company lists and news; importing a file again changes nothing."""
    from stockllm.collectors.imports import import_paths
    from stockllm.data.errors import ImportFailed, UsageError

    for given in paths:  # before anything is touched
        if not given.strip():
            raise UsageError(
                "A path is empty; nothing was imported: name a file or a folder.",
                zh="有一個路徑是空的，沒有匯入任何內容：請指定檔案或資料夾。",
            )
        if not os.path.exists(given):
            raise ImportFailed(
                f"There is no file or folder {given}; nothing was imported: check the path.",
                zh=f"沒有 {given} 這個檔案或資料夾，沒有匯入任何內容：請檢查路徑。",
            )
    with store_to_fill() as (store, settings):
        reports = import_paths(store, [Path(path) for path in paths], counter)
        simulated = store.simulated
    totals = _totals(reports)
    if as_json:
        emit_json(
            {
                "simulated": simulated,
                "kinds": totals,
                "reports": [asdict(report) for report in reports],
            }
        )
        return
    banner(simulated, settings.language)
    _print(totals, settings.language)


def _totals(reports: Iterable[ImportReport]) -> list[dict[str, Any]]:
    """One row per kind of file, in the order they came, with the reasons added up."""
    kinds: dict[str, dict[str, Any]] = {}
    for report in reports:
        row = kinds.setdefault(
            report.kind,
            {"kind": report.kind, "files": 0} | dict.fromkeys(_COUNTS, 0) | {"reasons": Counter()},
        )
        row["files"] += 1
        for name in _COUNTS:
            row[name] += getattr(report, name)
        row["reasons"].update(report.reasons)
    for row in kinds.values():
        row["reasons"] = dict(sorted(row["reasons"].items()))
    return list(kinds.values())


def _print(totals: Sequence[dict[str, Any]], language: str) -> None:
    headers = text(
        "種類 讀入 接受 不變 修復 標記 隔離",
        "Kind Read Accepted Unchanged Repaired Flagged Quarantined",
        language,
    ).split()
    names = {"prices": "價格", "companies": "公司", "news": "新聞"}
    rows: list[list[object]] = [
        [text(names[row["kind"]], row["kind"], language), *(row[name] for name in _COUNTS)] for row in totals
    ]
    if len(rows) > 1:
        rows.append(
            [text("合計", "total", language), *(sum(row[name] for row in totals) for name in _COUNTS)]
        )
    table(headers, rows, right=range(1, len(headers)))
    for row in totals:
        for reason, count in row["reasons"].items():
            words = f"{name_of(reason, language)} ({reason})"
            show(text(f"  隔離 {words}：{count}", f"  quarantined, {words}: {count}", language))
