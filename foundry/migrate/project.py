"""What a run works on: the models, the directory of files, the history table, the switches."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from peewee import DeferredForeignKey, Model

from foundry.declare import Schema
from foundry.errors import DeclarationError
from foundry.migrate.failure import told
from foundry.migrate.settings import Settings

DEFAULT_MODELS = "foundry.schema"
_KEYS = ("models", "directory", "table", "wait", "batch", "pause", "options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A declared schema and the settings its migrations run with."""

    models: str
    schema: Schema
    settings: Settings
    passed_over: Path | None = None
    """A folder of migrations that is here, and that nothing names."""


def packaged() -> Project:
    """Return foundry's own models and migrations, whatever the working directory says."""
    schema, folder = _schema(DEFAULT_MODELS), _packaged_folder()
    settings = Settings(
        directory=folder, table="foundry_migration", externals=tuple(schema.externals)
    )
    return Project(models=DEFAULT_MODELS, schema=schema, settings=settings)


def _packaged_folder() -> Path:
    return Path(str(import_module(DEFAULT_MODELS).__file__)).parent / "migrations"


def load(
    *,
    models: str | None = None,
    directory: str | Path | None = None,
    table: str | None = None,
    wait: float | None = None,
    pause: float | None = None,
    config: str | Path | None = None,
) -> Project:
    """Return the project these options and a `[foundry]` section describe; options win.

    `config` is an ini file (default: setup.cfg of the working directory, if it is there).
    `models` is `module[:ATTR]`, by default foundry.schema with its packaged migrations, or
    none at all when a directory is named.
    """
    section = _section(config)
    _stated({"models": models, "directory": directory, "table": table}, section)
    spec = models or section.get("models") or ""
    named = directory or section.get("directory")
    # Files of one's own and no models: then foundry's tables are not wanted either.
    own = spec.partition(":")[0] == DEFAULT_MODELS or not (spec or named)
    spec = spec or (DEFAULT_MODELS if own else "")
    schema = _schema(spec) if spec else Schema(models=())
    folder = Path(named or (_packaged_folder() if own else "migrations"))
    is_packaged = own and folder == _packaged_folder()
    history = "foundry_migration" if is_packaged else "schema_migration"
    chosen = Settings(
        directory=folder,
        table=table or section.get("table") or history,
        externals=schema.externals,
        options=frozenset(section.get("options", "").replace(",", " ").split()),
    )
    options = {"wait": wait, "pause": pause}
    given = _numbers(section) | {k: v for k, v in options.items() if v is not None}
    here = Path("migrations")
    return Project(
        models=spec,
        schema=schema,
        settings=replace(chosen, **given),
        passed_over=here if is_packaged and not named and here.is_dir() else None,
    )


def _section(config: str | Path | None) -> dict[str, str]:
    if config == "":
        raise DeclarationError("--config is empty: name a file, or leave it out")
    path = Path(config or "setup.cfg")
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        if config is None and isinstance(error, FileNotFoundError):
            return {}
        raise DeclarationError(f'"{path}" cannot be read: {error.strerror}') from error
    except (ConfigError, UnicodeDecodeError) as error:
        raise DeclarationError(f'"{path}" is not a readable ini file: correct it') from error
    if config is not None and not parser.has_section("foundry"):
        raise DeclarationError(f'"{path}" has no section [foundry]: write one')
    section = dict(parser["foundry"]) if parser.has_section("foundry") else {}
    for key in section:
        if key not in _KEYS:
            raise DeclarationError(
                f'"{path}" [foundry]: unknown key "{key}"; there are {", ".join(_KEYS)}'
                + ("; the URL belongs into DATABASE_URL or .env" if key == "database" else "")
            )
    return section


def _numbers(section: Mapping[str, str]) -> dict[str, Any]:
    """Return the section's numbers; what range they may be in, the settings know."""
    wanted: dict[str, tuple[type, str]] = {
        "wait": (float, "a number of seconds: write one, as 2.5"),
        "pause": (float, "a number of seconds: write one, as 2.5"),
        "batch": (int, "a number of rows: write one from 1, as 5000"),
    }
    found = {}
    for key, (number, remedy) in wanted.items():
        if key in section:
            try:
                found[key] = number(section[key])
            except ValueError:
                raise DeclarationError(
                    f'[foundry]: "{key}" is "{section[key]}", not {remedy}'
                ) from None
    return found


def _stated(options: Mapping[str, object], section: Mapping[str, str]) -> None:
    """Refuse what is named and empty: an unset variable of a shell is no default."""
    for key in ("models", "directory", "table"):
        if options[key] == "":
            raise DeclarationError(f"--{key} is empty: name something, or leave it out")
        if options[key] is None and section.get(key) == "":
            raise DeclarationError(f'[foundry]: "{key}" is empty: name something, or leave it out')


def _schema(spec: str) -> Schema:
    name, _, attribute = spec.partition(":")
    module = _import(name)
    if attribute:
        value = getattr(module, attribute, None)
        if value is None:
            raise DeclarationError(f'module "{name}" has no "{attribute}"')
    else:
        value = getattr(module, "SCHEMA", None) or _models_of(module)
    if isinstance(value, (list, tuple, set)) and not value:
        raise DeclarationError(f'"{spec}" has no models: put them into it')
    if isinstance(value, (list, tuple, set)) and all(map(_is_model, value)):
        value = Schema(models=tuple(value), whole=False)
    if not isinstance(value, Schema):
        raise DeclarationError(f'"{spec}" is neither a Schema nor a list of models')
    _refuse_unresolved(value.models)
    return value


def _refuse_unresolved(models: Iterable[type[Model]]) -> None:
    for model in models:
        for field in model._meta.sorted_fields:
            if isinstance(field, DeferredForeignKey):
                raise DeclarationError(
                    f'"{model.__name__}.{field.name}" refers to "{field.rel_model_name}", a '
                    f"model that nobody defines: import it, or correct the name"
                )


def _import(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        if "/" in name or name.endswith(".py"):
            dotted = name.removesuffix(".py").strip("./").replace("/", ".")
            raise DeclarationError(
                f'models module "{name}" is a path: name the module, such as "{dotted}"'
            ) from error
        # What foundry itself says of a declaration holds no secret.
        raise DeclarationError(
            f'models module "{name}" cannot be imported: {told(error)}{_line_of(error)}'
        ) from error


def _line_of(error: BaseException) -> str:
    """Say which line of somebody's own file an error came from, where one did."""
    known = [sysconfig.get_path(key) for key in ("stdlib", "purelib", "platlib")]
    known += [str(Path(__file__).parents[1]), "<"]
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(tuple(known))]
    return f" (line {own[-1].lineno} of {Path(own[-1].filename).name})" if own else ""


def _models_of(module: ModuleType) -> tuple[type[Model], ...]:
    found = [v for v in vars(module).values() if _is_model(v) and v is not Model]
    return tuple(dict.fromkeys(m for m in found if not _only_a_base(m, found)))


def _only_a_base(model: type[Model], found: Sequence[type[Model]]) -> bool:
    # A class that only carries Meta has subclasses and no field but the implicit id.
    fields = model._meta.sorted_fields
    bare = [f.name for f in fields] == ["id"]
    return bare and any(model in other.__mro__[1:] for other in found)


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Model)
