"""``stockllm settings``: what is set, and setting one key of ``settings.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import emit_json, show, table, text
from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.data.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the two commands as a group."""
    group = typer.Typer(
        name="settings",
        help="What is set in settings.toml or by variables. Both commands take --json.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("get")(get)
    group.command("set")(set_)
    app.add_typer(group)


def get(
    key: str = typer.Argument("", metavar="[KEY]", help="Such as language or trade.stop; all where absent."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Show a setting, or all of them; secrets only as set or not."""
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings

    found = _flat(Settings.load(Home.locate()))
    if key:
        found = {key: _known(found, key)}
    if as_json:
        emit_json(found)
    elif key:
        show(_plain(found[key]))
    else:
        table(("key", "value"), [(name, _plain(value)) for name, value in found.items()])


def set_(
    key: str = typer.Argument(..., metavar="KEY"),
    value: str = typer.Argument(..., metavar="VALUE", help="'default' takes the key out of the file."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Write one setting; a value that would not be read back is refused and nothing is changed."""
    import os

    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings
    from stockllm.data.settings_file import remember

    home = Home.locate()
    settings = Settings.load(home)
    before = _known(_flat(settings), key)
    if isinstance(before, (list, dict)):
        raise UsageError(
            f"{key} is a list or a table: edit it in {home.settings_file}.",
            zh=f"{key} 是清單或表格：請在 {home.settings_file} 中編輯。",
        )
    old = home.settings_file.read_bytes() if home.settings_file.exists() else None
    given = None if value == "default" else _typed(value, before)
    outer, _, inner = key.partition(".")
    remember(home, {outer: {inner: given}} if inner else {outer: given})
    variable = f"STOCKLLM_{outer.upper()}"
    masking = os.environ.pop(variable, None)  # the file is to be right without it
    try:
        Settings.load(home)
    except UsageError:
        if old is None:
            home.settings_file.unlink(missing_ok=True)
        else:
            home.settings_file.write_bytes(old)
        raise
    finally:
        if masking is not None:
            os.environ[variable] = masking
    after = Settings.load(home)
    now = _flat(after)[key]
    if as_json:
        emit_json({key: now})
        return
    show(f"{key} = {_plain(now)}")
    if masking is not None:
        show(
            text(
                f"環境變數 {variable} 優先於檔案。",
                f"The variable {variable} wins over the file.",
                after.language,
            )
        )


def _flat(settings: Settings) -> dict[str, Any]:
    """Every key with its value as JSON has it; secrets as whether they are set."""
    found: dict[str, Any] = {}
    for name, value in settings.model_dump(mode="json").items():
        secret = hasattr(getattr(settings, name), "get_secret_value")
        if isinstance(value, dict) and name != "lists":
            found |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            found[name] = "set" if secret else value
    return found


def _known(found: dict[str, Any], key: str) -> Any:
    if key not in found:
        from difflib import get_close_matches

        near = get_close_matches(key, found, 3) or list(found)[:3]
        raise UsageError(
            f"There is no setting '{key}'; the nearest: {', '.join(near)}.",
            zh=f"沒有 '{key}' 這項設定；最接近的是 {'、'.join(near)}。",
        )
    return found[key]


def _typed(value: str, before: Any) -> Any:
    """The value as TOML keeps it: whole numbers and booleans as such, all else as text."""
    if isinstance(before, bool):
        return {"true": True, "false": False}.get(value.lower(), value)
    try:
        return int(value) if isinstance(before, int) else float(value) if isinstance(before, float) else value
    except ValueError:
        return value


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
