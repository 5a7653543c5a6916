"""Which extensions the models and objects of a schema use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peewee import Model

from foundry import requirements
from foundry.declare import Schema, needs

# Field classes whose type comes with an extension.
_TYPES = {"pgvector": "vector"}


def used_extensions(
    schema: Schema, models: Sequence[type[Model]], *, absent: Callable[[object], bool]
) -> dict[str, tuple[str, ...]]:
    """Return the extensions that are used; with themselves where all that uses one is optional."""
    things: list[Any] = [o for o in schema.objects if not absent(o)]
    for model in models:
        things += [f for f in model._meta.sorted_fields if not absent(f)]
        things += [i for i in model._meta.fields_to_index() if not absent(i)]
    found: dict[str, tuple[str, ...]] = {}
    for thing in things:
        pairs = [requirements.parse(n) for n in needs(thing)]
        optional = {name for kind, name in pairs if kind == "extension"}
        used = {e for package, e in _TYPES.items() if type(thing).__module__.startswith(package)}
        if getattr(thing, "field_type", "") == "HSTORE":
            used.add("hstore")
        for name in optional | used:
            itself = (f"extension:{name}",) if name in optional else ()
            found[name] = itself and found.get(name, itself)
    return found
