"""``stockllm export``: a model as a folder for other tools, and on the Hugging Face hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import banner, emit_json, show, table, text
from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.data.settings import Settings
    from stockllm.forecaster.exporting.export import Exported
    from stockllm.forecaster.exporting.facts import Kind
    from stockllm.forecaster.models.registry import ModelRef


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("export")(export)


def export(
    folder: Path = typer.Argument(..., metavar="DIR", help="The folder to write; new or empty."),
    merged: bool = typer.Option(False, "--merged", help="One model, its adapter in its weights."),
    adapter: bool = typer.Option(False, "--adapter", help="The adapter alone, for PEFT and vLLM."),
    model: str = typer.Option("", "--model", help="As --model of forecast; the default is its default."),
    push: str = typer.Option("", "--push", metavar="REPO", help="Put it on the hub as owner/name; HF_TOKEN."),
    public: bool = typer.Option(False, "--public", help="Make a new repository public; else it is private."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be written and sent; do neither."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Write a model as a folder that plain transformers (--merged) or PEFT (--adapter) loads."""
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings
    from stockllm.forecaster.exporting.export import export as make
    from stockllm.forecaster.exporting.hub import check_repo, need_token
    from stockllm.forecaster.exporting.hub import push as send
    from stockllm.forecaster.models.registry import resolve_model

    if merged == adapter:
        raise UsageError(
            "Choose what to write: --merged for one whole model, or --adapter for the adapter alone.",
            zh="請選擇要寫什麼：--merged 為完整模型，--adapter 只有轉接器。",
        )
    if public and not push:
        raise UsageError(
            "--public says how a repository is made: pass --push owner/name with it.",
            zh="--public 說的是儲存庫如何建立：請同時給 --push 擁有者/名稱。",
        )
    home = Home.locate()
    settings = Settings.load(home)
    repo = check_repo(push) if push else ""
    token = need_token(settings.hf_token) if repo and not dry_run else ""
    ref = resolve_model(model or settings.model, home)
    kind: Kind = "merged" if merged else "adapter"
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="stockllm-") as place:
            made = make(ref, Path(place) / "export", kind)
            _say(made, ref, folder.expanduser().absolute(), settings, repo, public, "", as_json, dry=True)
        return
    made = make(ref, folder, kind)
    address = send(made, repo, token, public=public) if repo else ""
    _say(made, ref, made.folder, settings, repo, public, address, as_json, dry=False)


def _say(
    made: Exported,
    ref: ModelRef,
    folder: Path,
    settings: Settings,
    repo: str,
    public: bool,
    address: str,
    as_json: bool,
    *,
    dry: bool,
) -> None:
    from dataclasses import asdict

    from stockllm.forecaster.exporting.card import commands
    from stockllm.forecaster.exporting.hub import token_of, where

    base = ref.base if isinstance(ref.base, Path) else ref.name
    lines = commands(made.facts, folder, base)
    total = sum(size for _, size in made.files)
    if as_json:
        pushed: dict[str, Any] | None = None
        if repo:
            pushed = {"repo": repo, "hub": where(), "public": public, "commit": address or None}
        emit_json(
            {
                "folder": str(folder),
                "dry_run": dry,
                **asdict(made.facts),
                "files": [{"name": name, "bytes": size} for name, size in made.files],
                "commands": lines,
                "push": pushed,
            }
        )
        return
    language = settings.language
    banner(made.facts.simulated, language)
    wrote = text("會寫入" if dry else "已寫入", "Would write" if dry else "Wrote", language)
    show(f"{wrote} {folder}  {len(made.files)} {text('個檔案', 'files', language)}, {_size(total)}")
    table(
        text("檔案 大小", "File Size", language).split(),
        [(name, _size(size)) for name, size in made.files],
        right=(1,),
    )
    if repo and dry:
        kind = text("公開" if public else "私人", "public" if public else "private", language)
        there = token_of(settings.hf_token) is not None
        show(
            text(
                f"會上傳到 {where()}/{repo}（{kind}，若是新的）；權杖{'已設定' if there else '尚未設定'}。",
                f"Would go to {where()}/{repo} ({kind} if it is new); the token is "
                f"{'set' if there else 'not set'}.",
                language,
            )
        )
    if address:
        show(text(f"已上傳：{address}", f"Pushed: {address}", language))
    if lines:
        show()
        show(text("提供服務與使用：", "Serve it, and ask it:", language))
        for line in lines.values():
            show(f"  {line}")
    if "transformers" not in lines:
        show()
        show(
            text(
                "transformers serve 只讀完整模型：請改用 --merged 匯出。",
                "transformers serve reads whole models only: export with --merged for it.",
                language,
            )
        )


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:,.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
