"""What a user may set, in ``settings.toml`` or as ``STOCKLLM_*`` variables."""

from __future__ import annotations

import os
import tomllib
from datetime import date, time
from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stockllm.data.errors import StockllmError, UsageError
from stockllm.data.paths import Home


class DashboardSettings(BaseModel):
    """Where the user was in the dashboard, which writes this itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # of another version's keys none is in the way

    tab: str = "market"
    """The tab that was open."""

    list: str = ""
    """The own list that was shown; empty for all companies."""

    company: str = ""
    """The code of the selected company."""

    order: Literal["code", "name", "close", "change"] = "code"
    """What the watchlist is sorted by."""

    descending: bool = False
    """Whether it is sorted from the highest to the lowest."""

    spacing: int | None = None
    """Cells a session takes in the chart; the width decides where it is absent."""

    period: Literal["day", "week", "month", "quarter"] = "day"
    """The days one candle stands for."""

    span: Literal["", "1m", "3m", "1y", "all"] = ""
    """The stretch of time in view, whatever the width; empty where the zoom decides."""


class TradeSettings(BaseModel):
    """How ``stockllm trade`` decides where its options do not say; docs/trading.md has the limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    broker: Literal["local", "ncku"] = "local"
    """Who takes the orders: the store's own exchange, or a server with the university's protocol."""

    account: str = ""
    """The account to trade for."""

    nightly: bool = False
    """Whether a refresh trades for the account after the signals."""

    strategy: str = "edge"
    """Whose verdicts are acted upon."""

    position_cap: Decimal = Field(default=Decimal("0.10"), gt=0, le=1)
    """The part of the equity that one purchase may take."""

    cash_floor: Decimal = Field(default=Decimal("0.05"), ge=0, le=1)
    """The part of the equity that purchases must leave in cash."""

    stop: Decimal = Field(default=Decimal("0.20"), gt=0, le=1)
    """The fall of the equity from its peak at which everything is sold."""

    minimum_edge: Decimal | Literal["off"] = Decimal(0)
    """By how much a forecast's mean gain must exceed the round trip's cost; off does not ask."""

    odd_lots: bool = True
    """Whether less than a lot may be ordered."""


class Settings(BaseSettings):
    """The settings, each with its default. A variable wins over the file."""

    model_config = SettingsConfigDict(env_prefix="STOCKLLM_", extra="forbid", frozen=True)

    language: Literal["zh", "en"] = "zh"
    """Language of the screens, charts and tables."""

    up_colour: Literal["red", "green"] = "red"
    """Colour of a rise; a fall takes the other. Taiwan's screens show rises in red."""

    theme: Literal["dark", "light", "contrast", "colour-blind"] = "dark"
    """Colours of the dashboard."""

    charset: Literal["blocks", "ascii"] = "blocks"
    """Glyphs of the dashboard; ``ascii`` for terminals that draw lines and blocks two cells wide."""

    lists: dict[str, tuple[str, ...]] = {}
    """The user's own lists of companies: a name, and the codes in their order."""

    dashboard: DashboardSettings = DashboardSettings()
    """What the dashboard remembers."""

    trade: TradeSettings = TradeSettings()
    """How to trade."""

    model: str = Field(default="auto", min_length=1)
    """The model that forecasts where none is named."""

    newsapi_key: SecretStr | None = None
    """The key to newsapi.org, needed only to fetch news."""

    twse_url: str = "https://www.twse.com.tw"
    """Where the Taiwan Stock Exchange answers; another address for a mirror."""

    twse_openapi_url: str = "https://openapi.twse.com.tw/v1"
    """Where the same exchange serves its open data, the fallback for the latest day."""

    tpex_url: str = "https://www.tpex.org.tw"
    """Where the Taipei Exchange answers."""

    tpex_openapi_url: str = "https://www.tpex.org.tw/openapi/v1"
    """Where the same exchange serves its open data."""

    newsapi_url: str = "https://newsapi.org"
    """Where NewsAPI answers."""

    taifex_url: str = "https://www.taifex.com.tw"
    """Where the Taiwan Futures Exchange answers."""

    taifex_openapi_url: str = "https://openapi.taifex.com.tw/v1"
    """Where the same exchange serves its open data, which hold the latest day alone."""

    yahoo_url: str = "https://query1.finance.yahoo.com"
    """Where Yahoo Finance serves New York's indices and shares, or another server with its charts."""

    world_symbols: tuple[str, ...] = ("SOX", "SPX", "IXIC", "TSM")
    """The indices and shares of New York to ask for, one request each a day."""

    ncku_url: str = "https://ciot.imis.ncku.edu.tw/stock/trading_api"
    """Where the university's trading simulator answers, or another server with its protocol."""

    ncku_password: SecretStr | None = None
    """The password of the account there. Over http:// it travels unencrypted."""

    openai_key: SecretStr | None = None
    """The key that a server named as openai:URL#NAME wants; never logged, sent to that server alone."""

    openai_timeout: float = Field(default=120.0, gt=0, le=3600)
    """Seconds such a server may take for one request, from the first byte to the last."""

    openai_retries: int = Field(default=3, ge=0, le=10)
    """How often a request is sent again that found it busy, failing or out of reach."""

    openai_parallel: int = Field(default=4, ge=1, le=64)
    """Requests that it is sent at a time."""

    hf_token: SecretStr | None = None
    """The token of the Hugging Face hub that export --push writes with; HF_TOKEN wins over it."""

    request_interval: float = Field(default=3.0, ge=0, le=3600)
    """Seconds between two requests to one site. Sooner, and the exchanges bar the caller."""

    request_timeout: float = Field(default=15.0, gt=0, le=600)
    """Seconds a site may take to connect, and to send the next part of its answer."""

    answer_timeout: float = Field(default=60.0, gt=0, le=3600)
    """Seconds one answer may take as a whole, however steadily it drips."""

    request_retries: int = Field(default=2, ge=0, le=10)
    """How often a request that failed is sent again before its job is left for the next run."""

    fewest_shares: int = Field(default=400, ge=1)
    """A market's list of a day with fewer shares than this is taken for cut off."""

    newsapi_requests_per_day: int = Field(default=100, ge=1)
    """Requests that NewsAPI's plan allows in 24 hours; the free one allows 100."""

    import_megabytes: int = Field(default=128, ge=1, le=65_536)
    """The largest file that is imported; of CSV half of it, of JSON an eighth."""

    import_rows: int = Field(default=5_000_000, ge=1000)
    """The most rows of a parquet file that is imported; of CSV a tenth of it."""

    import_columns: int = Field(default=1000, ge=20)
    """The most columns of a table that is imported."""

    prices_from: date = date(2024, 12, 1)
    """The first day a refresh sees to; what is missing from here on is asked for."""

    refresh_at: time = time(18, 30)
    """When the schedule refreshes, in Taipei; the Taipei Exchange publishes until 17:00."""

    dashboard_schedule: bool = False
    """Whether the dashboard refreshes by the schedule while it is open, where nobody else does."""

    @field_validator("newsapi_key", "ncku_password", "openai_key", "hf_token", mode="after")
    @classmethod
    def _blank_is_absent(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value and value.get_secret_value().strip() else None

    @field_validator(
        "twse_url",
        "twse_openapi_url",
        "tpex_url",
        "tpex_openapi_url",
        "newsapi_url",
        "taifex_url",
        "taifex_openapi_url",
        "yahoo_url",
    )
    @classmethod
    def _address(cls, value: str) -> str:
        """An address without its last slash; unencrypted only on this machine itself."""
        parts = urlsplit(value.strip())
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("an address such as https://example.org is needed")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("the address must begin with https://")
        return value.strip().rstrip("/")

    @field_validator("ncku_url")
    @classmethod
    def _server(cls, value: str) -> str:
        """An address without its last slash; the university's own server knows no encryption."""
        parts = urlsplit(value.strip())
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
            raise ValueError("an address such as https://example.org/stock/api/v1 is needed")
        return value.strip().rstrip("/")

    @field_validator("refresh_at")
    @classmethod
    def _evening(cls, value: time) -> time:
        if value.tzinfo is not None or value < time(17):
            raise ValueError("a time from 17:00 to 23:59 in Taipei is needed, when prices are out")
        return value

    @classmethod
    def load(cls, home: Home) -> Settings:
        """The settings of ``home``. UsageError, with the key at fault, where they cannot be read."""
        path = home.settings_file
        try:
            with path.open("rb") as file:
                given = tomllib.load(file)
        except (FileNotFoundError, NotADirectoryError):  # a home that is a file: whoever opens it says so
            given = {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(
                f"{path} cannot be read as TOML ({error}): correct it or delete it.",
                zh=f"{path} 不是正確的 TOML（{error}）：請修正或刪除它。",
            ) from error
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"The setting {key!r} is wrong ({first['msg']}): "
                f"correct it in {path} or in the variable STOCKLLM_{key.upper()}.",
                zh=(
                    f"設定 {key!r} 不正確（{first['msg']}）：請在 {path} 或環境變數 STOCKLLM_"
                    f"{key.upper()} 中修正。"
                ),
            ) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables first: what ``load`` read from the file arrives as arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def spoken() -> Literal["zh", "en"]:
    """The language to say a failure in; whatever can be learned where the settings cannot be read."""
    try:
        return Settings.load(Home.locate()).language
    except StockllmError:
        return "en" if os.environ.get("STOCKLLM_LANGUAGE") == "en" else "zh"
