"""What a user may set, in ``settings.toml`` or as ``STOCKLLM_*`` variables."""

from __future__ import annotations

import tomllib
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stockllm.data.errors import UsageError
from stockllm.data.paths import Home


class Settings(BaseSettings):
    """The settings, each with its default. A variable wins over the file."""

    model_config = SettingsConfigDict(env_prefix="STOCKLLM_", extra="forbid", frozen=True)

    language: Literal["zh", "en"] = "zh"
    """Language of the screens, charts and tables."""

    up_colour: Literal["red", "green"] = "red"
    """Colour of a rise; a fall takes the other. Taiwan's screens show rises in red."""

    model: str = Field(default="auto", min_length=1)
    """The model that forecasts where none is named."""

    newsapi_key: SecretStr | None = None
    """The key to newsapi.org, needed only to fetch news."""

    @field_validator("newsapi_key", mode="after")
    @classmethod
    def _blank_is_absent(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value and value.get_secret_value().strip() else None

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
            raise UsageError(f"{path} cannot be read as TOML ({error}): correct it or delete it.") from error
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"The setting {key!r} is wrong ({first['msg']}): "
                f"correct it in {path} or in the variable STOCKLLM_{key.upper()}."
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
