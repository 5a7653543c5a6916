"""Which module may know which other one; the imports are read with ast."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"foundry": "foundry", "foundry.schema": "schema", "foundry.fixtures": "fixtures"}

# (importer, imported, why not); a name stands for everything below it too.
WRONG_WAY = (
    ("foundry.store", "foundry.migrate", "an application does not migrate as it stores"),
    ("foundry.migrate", "foundry.store", "the schema tool knows no application"),
    ("foundry.migrate", "foundry.schema", "the schema tool works on anybody's models"),
    ("foundry.schema", "foundry.store", "store -> schema"),
    ("foundry.store.strict", "foundry.schema", "a value is checked by its type alone"),
    ("foundry.schema", "foundry.migrate", "models declare, they do not migrate"),
    ("foundry.fields", "foundry.schema", "schema -> fields"),
    ("foundry.declare", "foundry.schema", "schema -> declare"),
    ("foundry.fields", "foundry.migrate", "fields are declarations"),
    ("foundry.declare", "foundry.migrate", "migrate -> declare"),
    ("foundry", "foundry.fixtures", "test material is for users' tests"),
)

# Of two modules named here, the one further down imports the other and never the reverse.
LEVELS = (
    {"queries", "settings", "files", "interrupt", "objects", "wording", "tokens"},
    {"spelling"},
    {"updates"},
    {"statements"},
    {"undoing", "instant", "lasting"},
    {"snapshot"},
    {"steps", "modes", "casts", "calls", "compare", "recipes"},
    {"survival", "retyping"},
    {"recipes.move", "recipes.serials", "recipes.values"},
    {"recipes.columns"},
    {"recipes.tables", "recipes.types", "recipes.programs"},
    {"recipes.keys", "recipes.alone"},
    {"recipes.swapping"},
    {"swaps"},
    {"renaming", "refusals", "scope", "stages", "victims", "checks", "advice"},
    {"plan"},
    {"subjects"},
    {"rules"},
    {"hazards"},
    {"render", "difference"},
    {"reading", "recorded"},
    {"assemble"},
    {"catalog"},
    {"handed", "failure", "history", "lock", "externals", "batches", "blockers", "leftovers"},
    {"constraints", "session", "offending", "outcome"},
    {"watching"},
    {"patience", "limits", "showing", "reach"},
    {"collecting"},
    {"course"},
    {"stepwise"},
    {"takeback"},
    {"execution"},
    {"begun", "planning"},
    {"declared", "scratch", "extensions"},
    {"stubs"},
    {"script"},
    {"parts"},
    {"portion", "plain"},
    {"fills"},
    {"wants"},
    {"shadow"},
    {"preflight", "replay", "locked", "pooling"},
    {"space"},
    {"readiness"},
    {"runner"},
    {"survey"},
    {"project"},
    {"verify"},
    {"proposal"},
    {"printing"},
    {"cli"},
    {"__main__"},
)
# Values in, values out: no database, no connection.
PURE = {
    *("settings", "files", "failure", "objects", "steps", "wording", "reading", "assemble"),
    *("modes", "spelling", "casts", "compare", "renaming", "scope", "stages", "victims", "checks"),
    *("recipes.move", "recipes.serials", "recipes.values", "recipes.columns", "recipes.tables"),
    *("recipes.types", "recipes.programs", "recipes.keys", "plan", "retyping", "rules", "hazards"),
    *("render", "difference", "survival", "advice", "recipes.alone", "recipes.swapping", "swaps"),
}
WORLD = {"history", "lock", "externals", "runner", "cli"}
WORLD |= {"scratch", "shadow", "catalog"}
PURE |= {"recorded", "snapshot"}
PURE |= {"modes", "retyping", "rules", "hazards", "render", "difference"}
WORLD |= {"preflight", "replay", "proposal", "pooling", "readiness"}
PURE |= {"locked", "space", "tokens", "updates", "statements", "undoing", "lasting"}
WORLD |= {"offending", "batches", "blockers", "watching", "patience", "collecting", "leftovers"}
PURE |= {"instant"}
WORLD |= {
    "stepwise",
    "takeback",
    "execution",
    "begun",
    "constraints",
    "session",
    "limits",
    "showing",
}

# What a call of the store is, whoever runs it; and what one thread or another loop runs it on.
STEPS = (
    "conversing",
    "embedding",
    "analyses",
    "protocolling",
    "listing",
    "trail",
    "searching",
    "fusing",
    "filters",
    "choosing",
    "tuning",
    "rows",
    "strict",
)
TRANSPORTS = {"foundry.store.blocking", "foundry.store.copying", "foundry.database", "psycopg2"}
TRANSPORTS |= {"asyncpg"}

HEAVY = ("langgraph", "docker", "numpy", "hypothesis", "pytest", "asyncpg")


def modules() -> dict[str, Path]:
    """Every module of the distribution by its import name."""
    found = {}
    for package, room in ROOMS.items():
        for path in (ROOT / room).rglob("*.py"):
            inside = path.relative_to(ROOT / room)
            if room == "foundry" and inside.parts[0] in {"schema", "fixtures"}:
                continue
            parts = inside.with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(importer: str, path: Path) -> Iterator[str]:
    """What the module imports, at its top or inside a function, for types or to run."""
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES or inner in ROOMS else base


IMPORTS = {name: set(imported(name, path)) - {name} for name, path in MODULES.items()}


def within(name: str, room: str) -> bool:
    """Whether a module is that package or below it."""
    return name == room or name.startswith(f"{room}.")


def level(name: str) -> int | None:
    """The place of a module of foundry.migrate in LEVELS, if it has one."""
    inside = name.removeprefix("foundry.migrate.")
    return next((number for number, names in enumerate(LEVELS) if inside in names), None)


def test_the_imports_are_found() -> None:
    """An empty graph would pass every test below."""
    assert "foundry.fields" in IMPORTS["foundry.schema.base"] | IMPORTS["foundry.schema.protocols"]


@pytest.mark.parametrize(("importer", "target", "reason"), WRONG_WAY)
def test_no_arrow_goes_the_wrong_way(importer: str, target: str, reason: str) -> None:
    """The rooms of the house know each other in one direction."""
    wrong = [
        f"{name} -> {other}: {reason}"
        for name, others in IMPORTS.items()
        for other in others
        if within(name, importer) and within(other, target)
        if not within(name, target)
    ]
    assert [] == wrong


def test_errors_know_nothing() -> None:
    """Every module may raise one."""
    assert set() == {name for name in IMPORTS["foundry.errors"] if within(name, "foundry")}


def test_every_module_of_the_schema_tool_has_its_place() -> None:
    """A name that is no module any more would guard nothing."""
    there = {
        name.removeprefix("foundry.migrate.") for name in MODULES if "foundry.migrate." in name
    }
    assert set().union(*LEVELS) == there
    assert PURE | WORLD <= there


def test_the_parts_of_the_schema_tool_are_stacked() -> None:
    """From the command line down to the files."""
    wrong = [
        f"{name} -> {other}"
        for name, others in IMPORTS.items()
        for other in others
        if within(name, "foundry.migrate") and within(other, "foundry.migrate")
        if (here := level(name)) is not None and (there := level(other)) is not None
        if here < there
    ]
    assert [] == wrong


def test_pure_parts_touch_no_database() -> None:
    """What computes takes values; what reads or writes is given its result."""
    world = {f"foundry.migrate.{name}" for name in WORLD}
    world |= {"foundry.database", "foundry.embedded"}
    wrong = {name: IMPORTS.get(f"foundry.migrate.{name}", set()) & world for name in sorted(PURE)}
    assert {} == {name: others for name, others in wrong.items() if others}


@pytest.mark.parametrize("name", STEPS)
def test_a_call_of_the_store_knows_no_transport(name: str) -> None:
    """The same steps are run by threads and by an event loop."""
    known = IMPORTS[f"foundry.store.{name}"]
    assert set() == known & TRANSPORTS
    assert not [other for other in known if within(other, "foundry.store.aio")]


def test_no_two_modules_import_each_other() -> None:
    """Not around three corners either."""
    graph = {name: others & MODULES.keys() for name, others in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nobody_imports_the_folders_as_packages_of_their_own() -> None:
    """From a checkout that works, and gives classes other than foundry.schema's."""
    wrong = [
        f"{name} -> {other}"
        for name, others in IMPORTS.items()
        for other in others
        if other.partition(".")[0] in {"schema", "fixtures"}
    ]
    assert [] == wrong


def fresh(program: str) -> set[str]:
    """The modules that an interpreter has loaded after running the program."""
    show = "import sys; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; {show}"], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "program",
    [
        "import foundry",
        "import foundry; [getattr(foundry, name) for name in foundry.__all__]",
        "from foundry.store import conversations, maintenance, protocols, search",
    ],
    ids=["import", "every public name", "the store"],
)
def test_importing_foundry_loads_nothing_heavy(program: str) -> None:
    """Extras and test tools are loaded by what uses them."""
    assert set() == fresh(program) & set(HEAVY)


def test_the_models_are_loaded_once() -> None:
    """As foundry.schema, and not a second time under the folder's name."""
    loaded = fresh("import foundry.schema, foundry.fixtures")
    assert {"foundry.schema", "foundry.fixtures"} <= loaded
    assert set() == loaded & {"schema", "fixtures"}
