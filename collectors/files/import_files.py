"""Looks at files that are to be imported: what each is, found out by its content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stockllm.collectors.files import company_list, news_json, prices_csv, prices_parquet, sheets
from stockllm.collectors.files.limits import DEFAULT, Limits, decode, head_of, is_binary, read_json
from stockllm.data.errors import ImportFailed, UnknownCompany

if TYPE_CHECKING:
    from stockllm.collectors.files.adjusted import Basis
    from stockllm.data.sentences import Sentence
    from stockllm.data.store import Store
    from stockllm.market.companies import Company

#: What a file of text and one of JSON may have of the size that a parquet may have.
TEXT_PART, JSON_PART = 2, 8

_SUFFIXES = frozenset({".csv", ".json", ".parquet"})
_CODES = re.compile(r"(?<![A-Za-z0-9])\d{4,6}[A-Z]?(?![A-Za-z0-9])")
_YEAR = re.compile(r"(19|20)\d\d((0[1-9]|1[0-2]))?")
_WHAT = "prices, world prices or index futures (CSV or parquet), a company list (JSON) or news (JSON)"
_WHAT_ZH = "股價、國際行情或指數期貨（CSV 或 parquet）、公司清單（JSON）或新聞（JSON）"

Kind = Literal["csv", "parquet", "companies", "news", "world", "futures"]


@dataclass(frozen=True)
class ImportFile:
    """A file that was looked at: ``source`` is folder and name, ``rows`` how many it holds.

    Prices are ``adjusted`` or traded, and ``why`` says what told; ``flows`` says whether the file has
    the institutions' purchases too.
    """

    path: Path
    source: str
    kind: Kind
    rows: int
    code: str = ""
    companies: tuple[Company, ...] = ()
    adjusted: bool = False
    why: Sentence | None = None
    flows: bool = False
    limits: Limits = DEFAULT


def files_of(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            found = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file()
            )
            if not found:
                raise ImportFailed(
                    f"The folder {path} holds no CSV, JSON or parquet file: name one that does.",
                    zh=f"資料夾 {path} 裡沒有 CSV、JSON 或 parquet 檔：請指定有這些檔案的資料夾。",
                )
            return found
        if not path.exists():
            raise ImportFailed(
                f"There is no file or folder {path}: check the path.",
                zh=f"沒有 {path} 這個檔案或資料夾：請檢查路徑。",
            )
    except OSError as error:
        raise ImportFailed(
            f"{path} cannot be read ({error.strerror}): check its permissions.",
            zh=f"{path} 無法讀取（{error.strerror}）：請檢查其權限。",
        ) from error
    if not path.is_file():
        raise ImportFailed(
            f"{path} is neither a file nor a folder: name {_WHAT}.",
            zh=f"{path} 不是檔案也不是資料夾：請指定{_WHAT_ZH}。",
        )
    return [path]


def look_at(path: Path, store: Store, basis: Basis | None, limits: Limits = DEFAULT) -> ImportFile:
    """Find out what a file is. ImportFailed where it is nothing that can be taken in."""
    from stockllm.collectors.files.adjusted import TickGrid

    absolute = path.absolute()
    source = f"{absolute.parent.name}/{absolute.name}" if absolute.parent.name else absolute.name
    head = head_of(path, str(path))
    if head.startswith(b"PAR1"):
        prices_parquet.check_limits(path, limits, name=str(path))
        header = sheets.header_of_parquet(path)
        if kind := sheets.kind_of(header):
            limits.check_rows(prices_parquet.rows_of(path, name=str(path)), str(path), text=True)
            return ImportFile(
                path, source, kind, len(sheets.sheet_of_parquet(path, kind, str(path))), limits=limits
            )
        rows = prices_parquet.count(path, name=str(path))
        grid = TickGrid()
        for code, prices in prices_parquet.prices_by_code(path, name=str(path)):
            grid.see(code, prices)
        found, why = grid.basis(basis)
        flows = prices_csv.find_flows(header) is not None
        return ImportFile(
            path, source, "parquet", rows, adjusted=found == "adjusted", why=why, flows=flows, limits=limits
        )
    if is_binary(head):
        raise _no_text(path)
    opening = head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1]
    text = text_of(path, limits, part=JSON_PART if opening in (b"[", b"{") else TEXT_PART)
    if text.lstrip()[:1] in ("[", "{"):
        document = json_of(path, text)
        news = news_json.news_entries(document)
        if news is not None:
            articles = sum(len(entry.get(key) or ()) for entry in news for key in news_json.NEWS_KEYS)
            return ImportFile(path, source, "news", articles, limits=limits)
        companies = company_list.company_entries(document)
        if companies is not None:
            resolved = company_list.resolve_entries(companies, store, str(path))
            return ImportFile(path, source, "companies", len(companies), companies=tuple(resolved))
        raise ImportFailed(
            f"{path} is JSON but neither a company list, such as "
            '[{"name_zh": "台積電"}, {"code": 3711}], nor news with articles under '
            f"{', '.join(news_json.NEWS_KEYS)}: correct it.",
            zh=(
                f"{path} 是 JSON，但既不是公司清單，也不是在 {', '.join(news_json.NEWS_KEYS)} 之"
                "下列出文章的新聞：請修正。"
            ),
        )
    header = sheets.header_of_text(text)
    limits.check_columns(len(header), str(path))
    if kind := sheets.kind_of(header):
        rows = len(sheets.sheet_of_text(text, kind, str(path), limits))
        return ImportFile(path, source, kind, rows, limits=limits)
    prices_csv.check_header(text, str(path))  # before a file that holds no prices is asked for a code
    code = _code(path, store)
    raw = prices_csv.read(text, code=code, source=source, name=str(path), limits=limits)
    grid = TickGrid()
    grid.see(code, raw.prices)
    found, why = grid.basis(basis)
    return ImportFile(
        path,
        source,
        "csv",
        len(raw),
        code,
        adjusted=found == "adjusted",
        why=why,
        flows=raw.flows is not None,
        limits=limits,
    )


def text_of(path: Path, limits: Limits, *, part: int) -> str:
    """A text file as a whole, at most the ``part``-th of what a file may have."""
    try:
        with path.open("rb") as file:
            limits.check_size(path.stat().st_size, str(path), part=part)
            data = file.read()
    except OSError as error:
        raise ImportFailed(
            f"{path} cannot be read ({error.strerror}): check its permissions.",
            zh=f"{path} 無法讀取（{error.strerror}）：請檢查其權限。",
        ) from error
    text = decode(data)
    if text is None:
        raise _no_text(path)
    return text


def _no_text(path: Path) -> ImportFailed:
    return ImportFailed(
        f"{path} is neither text nor parquet: name {_WHAT}.",
        zh=f"{path} 既不是文字檔也不是 parquet：請指定{_WHAT_ZH}。",
    )


def json_of(path: Path, text: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise ImportFailed(
            f"{path} is not valid JSON ({error}): export it again.",
            zh=f"{path} 不是正確的 JSON（{error}）：請重新匯出。",
        ) from error


def _code(path: Path, store: Store) -> str:
    """The code in a prices file's name: 2330.csv, 2330.TW.csv, 2330_2025.csv, or 台積電.csv.

    Where two numbers may be codes, none is guessed.
    """
    found: list[str] = list(dict.fromkeys(_CODES.findall(path.stem)))
    if len(found) == 1:
        return str(found[0])
    if found:
        if not _YEAR.fullmatch(found[0]) and all(map(_YEAR.fullmatch, found[1:])):
            return str(found[0])
        raise ImportFailed(
            f"The name of {path} holds {' and '.join(found)}, each of which may be a company's code: name a "
            "prices file by its code alone, such as 2330.csv.",
            zh=f"檔名 {path} 有 {'、'.join(found)}，都可能是股票代號：請只以代號命名股價檔，例如 2330.csv。",
        )
    try:
        return store.resolve(path.stem).code
    except UnknownCompany as error:
        raise ImportFailed(
            f"The name of {path} gives no company's code: name a prices file by it, such as 2330.csv.",
            zh=f"從檔名 {path} 看不出股票代號：請以代號命名股價檔，例如 2330.csv。",
        ) from error
