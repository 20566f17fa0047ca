"""``stockllm imports``: what was imported, and taking an import back."""

from __future__ import annotations

import typer

from stockllm.cli.market.import_ import KINDS
from stockllm.cli.output import banner, emit_json, open_store, show, table, text


def register(app: typer.Typer) -> None:
    """Add the two commands as a group."""
    group = typer.Typer(
        name="imports",
        help="What was imported, and taking one back. Both commands take --json.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("list")(list_imports)
    group.command("undo")(undo)
    app.add_typer(group)


def list_imports(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """List the imports that brought something, the newest first."""
    from stockllm.market.moments import TAIPEI

    store, settings = open_store()
    with store:
        rows = store.arrivals.list()
        simulated = store.simulated
    if as_json:
        emit_json(
            [{"id": row.id, "kind": row.kind, "source": row.source, "at": row.at.isoformat()} for row in rows]
        )
        return
    language = settings.language
    banner(simulated, language)
    if not rows:
        show(text("還沒有匯入任何檔案。", "Nothing was imported yet.", language))
        return
    table(
        text("編號 種類 時間 來源", "Id Kind At Source", language).split(),
        [
            (
                row.id,
                text(*KINDS.get(row.kind, (row.kind, row.kind)), language),
                f"{row.at.astimezone(TAIPEI):%Y-%m-%d %H:%M:%S}",
                row.source,
            )
            for row in rows
        ],
        right=(0,),
    )


def undo(
    id: int | None = typer.Argument(None, metavar="ID", help="Of 'imports list'; the last one where absent."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Take an import back: what it replaced counts again. Forecasts and scores stay as they are."""
    from stockllm.data.errors import StoreError

    store, settings = open_store()
    with store:
        rows = store.arrivals.list()
        if not rows:
            raise StoreError(
                "Nothing was imported that could be undone: see 'stockllm imports list'.",
                zh="沒有可以復原的匯入：請見 'stockllm imports list'。",
            )
        row, counts = store.arrivals.undo(rows[0].id if id is None else id, store.bars)
    if as_json:
        emit_json(
            {
                "id": row.id,
                "kind": row.kind,
                "source": row.source,
                "taken_away": counts.new,
                "brought_back": counts.revised,
            }
        )
        return
    show(
        text(
            f"已復原 {row.source} 的匯入：移除 {counts.new:,} 筆，{counts.revised:,} 筆回到先前的值。",
            f"The import of {row.source} is undone: {counts.new:,} rows taken away, {counts.revised:,} back "
            "to what they were.",
            settings.language,
        )
    )
