"""``stockllm adapters``: which are here, which one forecasts and why, and taking one away."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import typer

from stockllm.cli.output import emit_json, show, table, text
from stockllm.data.errors import ModelUnavailable

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings
    from stockllm.forecaster.models.registry import AdapterInfo, Choice


def register(app: typer.Typer) -> None:
    """Add the four commands as a group."""
    group = typer.Typer(
        name="adapters",
        help="The adapters you trained, and which model forecasts where none is named. All take --json.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("list")(list_all)
    group.command("show")(show_one)
    group.command("use")(use)
    group.command("remove")(remove)
    app.add_typer(group)


_JSON = typer.Option(False, "--json", help="Print one JSON document on stdout.")


def list_all(as_json: bool = _JSON) -> None:
    """List the adapters, the newest first, and say which model forecasts and why."""
    home, settings = _home()
    found, chosen = _found(home, settings)
    if as_json:
        emit_json(
            {
                "default": chosen.name,
                "why_zh": chosen.why.zh,
                "why_en": str(chosen.why),
                "adapters": [
                    {
                        "name": each.name,
                        "model": each.model,
                        "made_at": each.made_at.isoformat(),
                        "companies": list(each.companies),
                        "data_end": each.data_end,
                        "simulated": each.simulated,
                        "crps_base": each.crps_base,
                        "crps_adapter": each.crps_adapter,
                        "gain": each.gain,
                    }
                    for each in found
                ],
            }
        )
        return
    language = settings.language
    if found:
        table(
            text(
                "名稱 模型 訓練至 公司數 驗證CRPS增減",
                "Name Model Trained-to Companies CRPS-change",
                language,
            ).split(),
            [
                (
                    each.name,
                    each.model,
                    each.data_end,
                    len(each.companies),
                    None if each.gain is None else f"{-each.gain:+.1%}",
                )
                for each in found
            ],
            right=(3, 4),
        )
        show()
    _say_chosen(chosen, language)


def show_one(name: str = typer.Argument(..., metavar="NAME"), as_json: bool = _JSON) -> None:
    """Show an adapter's card."""
    from dataclasses import asdict

    from stockllm.forecaster.models.cards import facts, read_card

    home, _ = _home()
    card = read_card(_one(home, name).path)
    if as_json:
        emit_json(asdict(card))
        return
    for fact, value in facts(card):
        show(f"{fact}: {value}")


def use(
    name: str = typer.Argument(..., metavar="NAME", help="An adapter, any other model, or auto."),
    as_json: bool = _JSON,
) -> None:
    """Pin the model that forecasts where none is named; 'auto' lets the cards decide again."""
    from stockllm.data.settings import Settings
    from stockllm.data.settings_file import remember
    from stockllm.forecaster.models.registry import AUTO, default_model, list_adapters, resolve_model

    home, settings = _home()
    wanted = next((each.model for each in list_adapters(home) if each.name == name.strip()), name.strip())
    resolve_model(wanted, home)
    remember(home, {"model": None if wanted in ("", AUTO) else wanted})
    chosen = default_model(home, Settings.load(home).model)
    if as_json:
        emit_json({"default": chosen.name, "why_zh": chosen.why.zh, "why_en": str(chosen.why)})
    else:
        _say_chosen(chosen, settings.language)


def remove(name: str = typer.Argument(..., metavar="NAME"), as_json: bool = _JSON) -> None:
    """Delete an adapter. Its forecasts stay in the ledger; a pin on it is let go."""
    from stockllm.data.settings_file import remember

    home, settings = _home()
    adapter = _one(home, name)
    gone = adapter.path.with_name(f".{adapter.path.name}.removed")
    adapter.path.rename(gone)  # at once and whole for everybody else
    shutil.rmtree(gone)
    if settings.model == adapter.model:
        remember(home, {"model": None})
    if as_json:
        emit_json({"removed": adapter.name})
    else:
        show(
            text(
                f"已刪除轉接器 {adapter.name}。", f"The adapter {adapter.name} is deleted.", settings.language
            )
        )


def _home() -> tuple[Home, Settings]:
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings

    home = Home.locate()
    return home, Settings.load(home)


def _found(home: Home, settings: Settings) -> tuple[list[AdapterInfo], Choice]:
    from stockllm.forecaster.models.registry import default_model, list_adapters

    return list_adapters(home), default_model(home, settings.model)


def _one(home: Home, name: str) -> AdapterInfo:
    from stockllm.forecaster.models.registry import list_adapters

    found = list_adapters(home)
    for each in found:
        if name in (each.name, each.model):
            return each
    there = ", ".join(each.name for each in found)
    raise ModelUnavailable(
        f"There is no adapter '{name}' (there: {there or 'none yet'}): see 'stockllm adapters list'.",
        zh=f"沒有轉接器 '{name}'（現有：{there or '無'}）：請見 'stockllm adapters list'。",
    )


def _say_chosen(chosen: Choice, language: str) -> None:
    show(
        text(
            f"未指定模型時由 {chosen.name} 預測：{chosen.why.zh}。",
            f"{chosen.name} forecasts where no model is named: {chosen.why}.",
            language,
        )
    )
