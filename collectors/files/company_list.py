"""Company lists as the reference writes them: ``[{"name_zh": "台積電"}, {"code": 3711}]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockllm.collectors.files.limits import DEFAULT, cut, read_json
from stockllm.data.errors import ImportFailed, UnknownCompany
from stockllm.market.companies import Company, is_ordinary_share, normalise

if TYPE_CHECKING:
    from stockllm.data.store import Store

NAME_KEYS = ("name_zh", "name_en", "listed_name", "name")


def resolve_company_list(path: Path, store: Store) -> list[Company]:
    """The companies that the file at ``path`` lists, each once, in its order; writes nothing.

    ImportFailed where the file is absent or no company list, UnknownCompany, with the nearest,
    where an entry names nothing that can be resolved.
    """
    path = Path(path)
    return resolve_entries(_read(path), store, path.name)


def check_company_list(path: Path, store: Store, prices: Path) -> None:
    """Refuse a list that importing the folder ``prices`` cannot make right; writes nothing.

    An import makes codes known, and names where there are company lists among its files. Raises what
    `resolve_company_list` raises.
    """
    path = Path(path)
    entries = _read(path)
    if any(prices.rglob("*.json")):
        return
    named = [entry for entry in entries if not is_ordinary_share(code_of(entry))]
    resolve_entries(named, store, path.name)


def _read(path: Path) -> list[Mapping[str, Any]]:
    """The entries of the company list at ``path``; ImportFailed where it is none."""
    try:
        DEFAULT.check_size(path.stat().st_size, str(path), part=8)
        document = read_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ImportFailed(
            f"The company list {path} cannot be read ({error.strerror}): check the path.",
            zh=f"公司清單 {path} 無法讀取（{error.strerror}）：請檢查路徑。",
        ) from error
    except ValueError as error:
        raise ImportFailed(
            f"The company list {path} is not valid JSON ({error}): correct it.",
            zh=f"公司清單 {path} 不是正確的 JSON（{error}）：請修正。",
        ) from error
    entries = company_entries(document)
    if entries is None:
        raise ImportFailed(
            f"{path} is no company list: it takes a JSON list of objects such as "
            '{"name_zh": "台積電"} or {"code": 3711}.',
            zh=(
                f'{path} 不是公司清單：內容應為 JSON 物件的清單，例如 {{"name_zh": "台積電"}} 或'
                ' {"code": 3711}。'
            ),
        )
    return entries


def company_entries(document: object) -> list[Mapping[str, Any]] | None:
    """The entries of a company list, None where ``document`` is something else."""
    if not isinstance(document, list) or not document:
        return None
    if not all(isinstance(entry, dict) and (names_of(entry) or code_of(entry)) for entry in document):
        return None
    return document


def resolve_entries(entries: Sequence[Mapping[str, Any]], store: Store, name: str) -> list[Company]:
    """The company of every entry, each once. ``name`` is what errors call the file."""
    found: dict[str, Company] = {}
    for number, entry in enumerate(entries, start=1):
        company = _resolve(entry, store, f"{name}, entry {number}")
        found.setdefault(company.code, company)
    return list(found.values())


def names_of(entry: Mapping[str, Any]) -> list[str]:
    """The names an entry gives, the Chinese one first."""
    given = [entry.get(key) for key in NAME_KEYS]
    return [name.strip() for name in given if isinstance(name, str) and name.strip()]


def code_of(entry: Mapping[str, Any]) -> str:
    """The code an entry gives, as text; "" where it gives none."""
    code = entry.get("code")
    if isinstance(code, bool) or not isinstance(code, int | float | str):
        return ""
    return re.sub(r"\.0$", "", str(code)).strip()


def by_name(names: Sequence[str], store: Store) -> Company | None:
    """The company that the first of ``names`` to resolve means."""
    for name in names:
        try:
            return store.resolve(name)
        except UnknownCompany:
            continue
    return None


def _resolve(entry: Mapping[str, Any], store: Store, where: str) -> Company:
    names, code = names_of(entry), code_of(entry)
    company = by_name(names, store)
    if company is not None:
        # A code that is no ordinary share's is a warrant's of the same name: the name is right.
        if is_ordinary_share(code) and code != company.code:
            raise ImportFailed(
                f"{where}: {cut(names[0])} is {company.code}, but the entry says {code}: correct one.",
                zh=f"{where}：{cut(names[0])} 是 {company.code}，但該筆寫的是 {code}：請修正其中之一。",
            )
        return company
    try:
        company = store.resolve(code or names[0])
    except UnknownCompany as error:
        if is_ordinary_share(code) and names:
            return _from_facts(entry, code)
        raise UnknownCompany(f"{where}: {error}", zh=f"{where}：{error.sentence('zh')}") from error
    # Of a stock that has bars but was never named, only the code is known.
    return _from_facts(entry, code) if names and normalise(company.name_zh) == company.code else company


def _from_facts(entry: Mapping[str, Any], code: str) -> Company:
    """A company beyond those known, described by the list itself."""

    def fact(*keys: str) -> str:
        given = (entry.get(key) for key in keys)
        return next((text.strip() for text in given if isinstance(text, str) and text.strip()), "")

    market = fact("market")
    try:
        since = date.fromisoformat(fact("listed_since").replace("/", "-"))
    except ValueError:
        since = date.min
    return Company(
        code=code,
        name_zh=fact("name_zh", "name", "listed_name", "name_en"),
        name_en=fact("name_en", "name", "name_zh", "listed_name"),
        listed_name=fact("listed_name", "name_zh", "name", "name_en"),
        market="TWSE" if market == "TWSE" else "TPEx" if market in ("TPEx", "OTC") else "",
        industry=fact("industry"),
        listed_since=since,
        isin=fact("isin"),
    )
