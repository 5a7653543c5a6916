"""What a run works on: the models, the directory of files, the history table, the switches."""

from __future__ import annotations

import importlib
import os
import sys
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from peewee import Model

from foundry.declare import Schema
from foundry.errors import DeclarationError
from foundry.migrate.runner import Settings

DEFAULT_MODELS = "foundry.schema"
_KEYS = ("models", "directory", "table", "wait", "options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A declared schema and the settings its migrations run with."""

    models: str
    schema: Schema
    settings: Settings


def load(
    *,
    models: str | None = None,
    directory: str | Path | None = None,
    table: str | None = None,
    wait: float | None = None,
    config: str | Path | None = None,
) -> Project:
    """Return the project these options and a `[foundry]` section describe; options win.

    `config` is an ini file (default: setup.cfg of the working directory, if it is there).
    `models` is `module[:ATTR]`, by default foundry.schema with its packaged migrations.
    """
    section = _section(config)
    spec = models or section.get("models") or DEFAULT_MODELS
    schema, module = _schema(spec)
    own = spec.partition(":")[0] == DEFAULT_MODELS
    packaged = Path(str(module.__file__)).parent / "migrations"
    folder = Path(directory or section.get("directory") or (packaged if own else "migrations"))
    history = "foundry_migration" if own and folder == packaged else "schema_migration"
    if wait is None:
        wait = _seconds(section.get("wait", "600"))
    return Project(
        models=spec,
        schema=schema,
        settings=Settings(
            directory=folder,
            table=table or section.get("table") or history,
            externals=schema.externals,
            options=frozenset(section.get("options", "").replace(",", " ").split()),
            wait=wait,
        ),
    )


def _section(config: str | Path | None) -> dict[str, str]:
    path = Path(config or "setup.cfg")
    if not path.is_file():
        if config is not None:
            raise DeclarationError(f'there is no file "{path}": name an ini file with --config')
        return {}
    parser = ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (ConfigError, UnicodeDecodeError) as error:
        raise DeclarationError(f'"{path}" is not a readable ini file: correct it') from error
    section = dict(parser["foundry"]) if parser.has_section("foundry") else {}
    for key in section:
        if key not in _KEYS:
            raise DeclarationError(
                f'"{path}" [foundry]: unknown key "{key}"; there are {", ".join(_KEYS)}'
                + ("; the URL belongs into DATABASE_URL or .env" if key == "database" else "")
            )
    return section


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise DeclarationError(f'"{text}" is not a number of seconds')
    return seconds


def _schema(spec: str) -> tuple[Schema, ModuleType]:
    name, _, attribute = spec.partition(":")
    module = _import(name)
    if attribute:
        value = getattr(module, attribute, None)
        if value is None:
            raise DeclarationError(f'module "{name}" has no "{attribute}"')
    else:
        value = getattr(module, "SCHEMA", None) or _models_of(module)
    if isinstance(value, Schema):
        return value, module
    if isinstance(value, (list, tuple, set)) and value and all(map(_is_model, value)):
        return Schema(models=tuple(value)), module
    raise DeclarationError(f'"{spec}" is neither a Schema nor a list of models')


def _import(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        what = (str(error).strip().splitlines() or [""])[0]
        raise DeclarationError(
            f'models module "{name}" cannot be imported: {type(error).__name__}: {what}'
        ) from error


def _models_of(module: ModuleType) -> tuple[type[Model], ...]:
    # A base class that only carries Meta has no table: it has subclasses in the module.
    found = [v for v in vars(module).values() if _is_model(v) and v is not Model]
    return tuple(
        dict.fromkeys(m for m in found if not any(m in other.__mro__[1:] for other in found))
    )


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Model)
