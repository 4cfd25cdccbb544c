"""Read the configuration from a TOML file and the environment, and say what is wrong with it in plain words.

Environment variables override the file: ``FOCUSD__HTTP__PORT=8471`` sets ``port`` of ``[http]``. A variable
that matches no field is an error, as an unknown key in the file is. Where the settings name no file for a
secret of ``[http]``, it is a credential, if systemd brings one (``LoadCredential=`` in systemd.exec(5)).
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from focusd.config import Config
from focusd.errors import ConfigError

ENVIRONMENT_PREFIX = "FOCUSD__"
HTTP_CREDENTIALS = {
    "token_file": "http-token",
    "read_token_file": "http-read-token",
    "certificate_file": "http-certificate",
    "private_key_file": "http-private-key",
}
"""Fields of ``[http]``, and the credentials that stand in for them."""


def load_config(path: Path) -> Config:
    """Read ``path``, let the environment override it, and check everything.

    Relative paths in the file are taken from the file's own folder.

    Raises:
        ConfigError: with one sentence for every problem found, each naming the field and what it may hold.
    """
    _check_toml(path)
    unknown = list(_unknown_variables(os.environ))
    try:
        settings = _settings_from(path)
    except ValidationError as error:
        problems = [_sentence(detail) for detail in error.errors(include_url=False)]
        raise ConfigError(unknown + problems, source=str(path)) from None
    if unknown:
        raise ConfigError(unknown, source=str(path))
    return _with_paths_from(path.parent, settings)


def _check_toml(path: Path) -> None:
    try:
        tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"cannot be read: {error.strerror}"], source=str(path)) from None
    except UnicodeDecodeError:
        raise ConfigError(["is not UTF-8 text"], source=str(path)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"is not TOML: {error}"], source=str(path)) from None


def _settings_from(path: Path) -> Config:
    class Settings(Config, BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix=ENVIRONMENT_PREFIX,
            env_nested_delimiter="__",
            toml_file=path,
            extra="forbid",
            frozen=True,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            credentials = InitSettingsSource(settings_cls, init_kwargs=_credentials())
            return EnvSettingsSource(settings_cls), TomlConfigSettingsSource(settings_cls), credentials

    settings = Settings()  # type: ignore[call-arg]  # the sources bring the arguments
    return Config(**{name: getattr(settings, name) for name in Config.model_fields})


def _credentials() -> dict[str, Any]:
    """Give the settings that systemd brings as files."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return {}
    paths = {field: Path(directory, name) for field, name in HTTP_CREDENTIALS.items()}
    return {"http": {field: path for field, path in paths.items() if _may_be_there(path)}}


def _may_be_there(path: Path) -> bool:
    """Tell whether there is such a file, or it cannot be told: reading it will then say what is wrong.

    Better no start than an endpoint without its token.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


_HTTP_FILES = ("unix_socket", *HTTP_CREDENTIALS)


def _with_paths_from(folder: Path, config: Config) -> Config:
    """Make the paths of a checked configuration absolute."""
    base = folder.absolute()
    store = config.store.model_copy(update={"directory": base / config.store.directory})
    files = {name: getattr(config.http, name) for name in _HTTP_FILES}
    http = config.http.model_copy(update={name: base / path for name, path in files.items() if path})
    path = config.folder.path
    watched = config.folder.model_copy(update={"path": base / path if path else None})
    return config.model_copy(update={"store": store, "http": http, "folder": watched})


def _unknown_variables(names: Iterable[str]) -> Iterator[str]:
    for name in sorted(names):
        if not name.upper().startswith(ENVIRONMENT_PREFIX):
            continue
        keys = name[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        if _field(keys) is None:
            yield f"environment variable {name}: there is no setting {'.'.join(keys)}"


def _field(keys: Sequence[str | int]) -> FieldInfo | None:
    """Find the field at a path of keys, e.g. ``("http", "port")``."""
    model: type[BaseModel] | None = Config
    field: FieldInfo | None = None
    for key in keys:
        if isinstance(key, int):
            continue
        if model is None or key not in model.model_fields:
            return None
        field = model.model_fields[key]
        model = _model_of(field)
    return field


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _sentence(detail: ErrorDetails) -> str:
    """One problem in plain words: the field, what it may hold, what it held."""
    keys = detail["loc"]
    where = ".".join(str(key) for key in keys) or "configuration"
    if detail["type"] == "missing":
        return f"{where} is required{_meaning(keys)}"
    if detail["type"] == "extra_forbidden":
        return f"{where} is not a setting{_suggestion(keys)}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where} {_demand(keys, message)}, got {detail['input']!r}"


def _demand(keys: Sequence[str | int], message: str) -> str:
    field = _field(keys)
    bounds = _bounds(field) if field else ""
    demand = message.replace("Input should be", "must be", 1)
    return f"{demand} (allowed: {bounds})" if bounds else demand


def _bounds(field: FieldInfo) -> str:
    """The allowed range in words, gathered from the constraints of the field and its parts."""
    signs = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}
    constraints = list(field.metadata)
    for argument in getattr(field.annotation, "__args__", ()):
        constraints.extend(getattr(argument, "__metadata__", ()))
    flat = [
        part for item in constraints for part in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]
    words = [
        f"{sign} {getattr(part, kind.__name__.lower()):g}"
        for part in flat
        for kind, sign in signs.items()
        if isinstance(part, kind)
    ]
    return " and ".join(dict.fromkeys(words))


def _suggestion(keys: Sequence[str | int]) -> str:
    parent = _field(keys[:-1])
    model = _model_of(parent) if parent else Config
    known = list(model.model_fields) if model else []
    close = difflib.get_close_matches(str(keys[-1]), known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def _meaning(keys: Sequence[str | int]) -> str:
    field = _field(keys)
    return f": {field.description}" if field and field.description else ""
