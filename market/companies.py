"""The 41 companies stockllm knows by name, and how a name becomes a company.

Names resolve among ordinary shares only: a warrant may carry its company's name (研揚 is the share
6579 and also the warrant 084863), so a table of warrants is never consulted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher
from typing import Literal

#: "" stands for a share whose market nobody has told us.
Market = Literal["TWSE", "TPEx", ""]


@dataclass(frozen=True, slots=True)
class Company:
    """One issuer of ordinary shares.

    ``name_zh`` is the everyday name, ``listed_name`` the exchange's short name; they mostly agree.
    ``aliases`` are further names people write. ``listed_since`` is ``date.min`` where unknown.
    """

    code: str
    name_zh: str
    name_en: str
    listed_name: str
    market: Market
    industry: str
    listed_since: date
    isin: str
    aliases: tuple[str, ...] = ()

    @classmethod
    def bare(cls, code: str, name: str = "") -> Company:
        """A listed share of which only the code, and perhaps one name, is known."""
        name = name or code
        return cls(code, name, name, name, "", "", date.min, "")

    def names(self) -> Iterator[str]:
        """Everything this company answers to, the code first."""
        yield from (self.code, self.name_zh, self.name_en, self.listed_name, *self.aliases)


# No company's name is half as long; what is longer is compared and shown no further.
_LONGEST_NAME = 100


class UnknownName(LookupError):
    """A query no ordinary share answers to. ``nearest`` holds the likeliest meant, best first.

    ``str(error)`` says so in English, ``zh`` in Chinese.
    """

    def __init__(self, query: str, nearest: tuple[Company, ...]) -> None:
        self.query = query
        self.nearest = nearest
        meant = ", ".join(f"{c.code} {c.name_zh} {c.name_en}" for c in nearest)
        shown = query if len(query) <= _LONGEST_NAME else f"{query[:_LONGEST_NAME]}…"
        self.zh = f"沒有名為 {shown!r} 的普通股；最接近的是 {meant or '（無）'}。"
        super().__init__(f"No ordinary share is called {shown!r}; the nearest are {meant or 'none'}.")


def _company(line: str) -> Company:
    code, name_zh, name_en, listed_name, market, industry, since, isin, *aliases = line.split("|")
    assert market in ("TWSE", "TPEx")
    return Company(
        code,
        name_zh,
        name_en,
        listed_name or name_zh,
        "TWSE" if market == "TWSE" else "TPEx",
        industry,
        date.fromisoformat(since),
        isin,
        tuple(aliases),
    )


# code | Chinese | English | listed name where it differs | market | industry | listed | ISIN | aliases
_TABLE = """
2301|光寶科|LITEON||TWSE|電腦及週邊設備業|1995-11-17|TW0002301009|光寶|光寶科技|Lite-On Technology
2303|聯電|UMC||TWSE|半導體業|1985-07-16|TW0002303005|聯華電子|United Microelectronics
2308|台達電|Delta Electronics||TWSE|電子零組件業|1988-12-19|TW0002308004|台達|台達電子|Delta
2317|鴻海|Foxconn||TWSE|其他電子業|1991-06-18|TW0002317005|鴻海精密|富士康|Hon Hai|Hon Hai Precision
2324|仁寶|Compal||TWSE|電腦及週邊設備業|1992-02-18|TW0002324001|仁寶電腦|Compal Electronics
2330|台積電|TSMC||TWSE|半導體業|1994-09-05|TW0002330008|台積|台灣積體電路|Taiwan Semiconductor
2353|宏碁|Acer||TWSE|電腦及週邊設備業|1996-09-18|TW0002353000
2356|英業達|Inventec||TWSE|電腦及週邊設備業|1996-11-13|TW0002356003
2357|華碩|ASUS||TWSE|電腦及週邊設備業|1996-11-14|TW0002357001|華碩電腦|ASUSTeK
2359|所羅門|Solomon||TWSE|其他電子業|1996-12-19|TW0002359007
2376|技嘉|GIGABYTE||TWSE|電腦及週邊設備業|1998-09-24|TW0002376001|技嘉科技
2377|微星|MSI||TWSE|電腦及週邊設備業|1998-10-31|TW0002377009|微星科技|Micro-Star
2382|廣達|Quanta||TWSE|電腦及週邊設備業|1999-01-08|TW0002382009|廣達電腦|Quanta Computer
2395|研華|Advantech||TWSE|電腦及週邊設備業|1999-12-13|TW0002395001|研華科技
2417|圓剛|AVerMedia||TWSE|電腦及週邊設備業|2000-09-11|TW0002417003|圓剛科技
2454|聯發科|MediaTek||TWSE|半導體業|2001-07-23|TW0002454006|聯發科技
2465|麗臺|Leadtek||TWSE|電腦及週邊設備業|2001-09-19|TW0002465002|麗臺科技
3030|德律|TRI||TWSE|其他電子業|2002-10-29|TW0003030003|德律科技|Test Research
3037|欣興|Unimicron||TWSE|電子零組件業|2002-08-26|TW0003037008|欣興電子
3048|益登科技|EDOM|益登|TWSE|電子通路業|2002-10-01|TW0003048005|EDOM Technology
3088|艾訊|Axiomtek||TPEx|電腦及週邊設備業|2005-04-28|TW0003088001
3231|緯創|Wistron||TWSE|電腦及週邊設備業|2003-08-19|TW0003231007|緯創資通
3515|華擎|ASRock||TWSE|電腦及週邊設備業|2007-11-08|TW0003515003|華擎科技
3540|曜越|Thermaltake||TPEx|電腦及週邊設備業|2007-12-12|TW0003540001|曜越科技
3706|神達|MiTAC||TWSE|電腦及週邊設備業|2013-09-12|TW0003706008|神達控股
3711|日月光|ASE|日月光投控|TWSE|半導體業|2018-04-30|TW0003711008|日月光投資控股|日月光半導體|ASE Technology
4938|和碩|Pegatron||TWSE|電腦及週邊設備業|2010-06-24|TW0004938006|和碩聯合
5371|中光電|Coretronic||TPEx|光電業|1999-01-20|TW0005371009|中強光電
5474|聰泰|YUAN||TPEx|電腦及週邊設備業|2001-03-20|TW0005474001|聰泰科技
5484|慧友|EverFocus||TWSE|光電業|2003-08-25|TW0005484000|慧友電子
6117|迎廣|InWin||TWSE|電腦及週邊設備業|2003-08-25|TW0006117005|迎廣科技|In Win
6125|廣運|Kenmec||TPEx|光電業|2002-01-23|TW0006125008|廣運機械
6166|凌華|ADLINK||TWSE|電腦及週邊設備業|2004-11-08|TW0006166002|凌華科技
6206|飛捷|Flytech||TWSE|電腦及週邊設備業|2004-08-03|TW0006206006|飛捷科技
6245|立端|Lanner||TPEx|通信網路業|2003-05-19|TW0006245004|立端科技
6569|醫揚|Onyx Healthcare||TPEx|生技醫療業|2016-12-21|TW0006569007|醫揚科技|Onyx
6579|研揚|AAEON||TWSE|電腦及週邊設備業|2017-08-21|TW0006579006|研揚科技
6669|緯穎|Wiwynn||TWSE|電腦及週邊設備業|2019-03-27|TW0006669005|緯穎科技
8210|勤誠|Chenbro||TWSE|電腦及週邊設備業|2011-12-01|TW0008210006|勤誠興業
8234|新漢|NEXCOM||TPEx|電腦及週邊設備業|2007-06-07|TW0008234006
9921|巨大|Giant||TWSE|運動休閒|1994-12-29|TW0009921007|巨大機械
"""

#: The 41 companies, by code.
COMPANIES: tuple[Company, ...] = tuple(_company(line) for line in _TABLE.strip().splitlines())

_ORDINARY_SHARE = re.compile(r"(?!91)[1-9]\d{3}")
_TICKER_SUFFIX = re.compile(r"(?<=\d)\.(tw|two)$")
_COMPANY_SUFFIX = re.compile(r"(股份有限公司|有限公司|公司)$")
_SEPARATORS = re.compile(r"[\s\-_.,&·・]+")


def is_ordinary_share(code: str) -> bool:
    """Whether ``code`` has the form of an ordinary share's: four digits, the first not zero.

    ETFs start with 0; warrants, preferred shares and bonds are longer. Depositary receipts have four
    digits too, or six, and begin with 91.

    >>> is_ordinary_share("2330"), is_ordinary_share("9105"), is_ordinary_share("0050")
    (True, False, False)
    """
    return _ORDINARY_SHARE.fullmatch(code) is not None


def normalise(name: str) -> str:
    """``name`` as names are compared: one width, one case, 台 for 臺, no spaces or hyphens."""
    text = unicodedata.normalize("NFKC", name).casefold().strip().replace("臺", "台")
    text = _COMPANY_SUFFIX.sub("", _TICKER_SUFFIX.sub("", text))
    return _SEPARATORS.sub("", text)


def resolve(query: str, companies: Iterable[Company] = COMPANIES) -> Company:
    """The company that ``query`` names: its code, Chinese, English or listed name, or an alias.

    Codes win over names and main names over aliases. Raises `UnknownName` with the nearest.
    """
    wanted = normalise(query[:_LONGEST_NAME])
    known = tuple(companies)
    if wanted and len(query) <= _LONGEST_NAME:
        for names in (
            lambda c: (c.code,),
            lambda c: (c.name_zh, c.name_en, c.listed_name),
            lambda c: c.aliases,
        ):
            for company in known:
                if wanted in map(normalise, names(company)):
                    return company
    raise UnknownName(query, nearest(query, known))


def nearest(query: str, companies: Iterable[Company] = COMPANIES, limit: int = 3) -> tuple[Company, ...]:
    """The companies whose names or codes look most like ``query``, best first."""
    wanted = normalise(query[:_LONGEST_NAME])
    scored = []
    for company in companies:
        score = max(SequenceMatcher(None, wanted, normalise(name)).ratio() for name in company.names())
        scored.append((-score, company.code, company))
    return tuple(company for score, _, company in sorted(scored, key=lambda s: s[:2])[:limit] if score < 0)


def display(company: Company, language: str) -> str:
    """The company's everyday name in ``language`` ("zh" or "en"), without its code."""
    return company.name_en if language == "en" else company.name_zh
