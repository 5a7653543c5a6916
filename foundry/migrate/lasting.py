"""What a statement leaves on the session it runs in, read off its text."""

from __future__ import annotations

from collections.abc import Sequence

from foundry.migrate.tokens import Reader, Token, inside, tokens

_LATER = "make an ordinary table, and drop it in a later step"
_LOCAL = (
    "name what it is for in full, or write SET LOCAL and the statement it is for into one text "
    "('SET LOCAL …; ALTER TABLE …')"
)
_OUT = "take it out"
_FIRST = {"listen": "LISTEN", "load": "LOAD", "reset": "RESET"}
_BLOCKS = ("begin", "then", "else", "loop")


def lasting(sql: str) -> tuple[str, str] | None:
    """Return what of a text lasts as long as its session, and what to write instead.

    None where nothing does, as far as the text shows it: a function may do anything.
    """
    found = tokens(sql)
    reader = Reader(found)
    if reader.take("do"):
        bodies = [tokens(inside(token)) for token in reader.rest() if token.kind == "string"]
        parts = [part for body in bodies for part in _parts(body, blocks=True)]
    else:
        created = reader.take("create")
        reader.take("or", "replace")
        if created and reader.one_of("function", "procedure"):
            return None
        parts = _parts(found, blocks=False)
    return next(filter(None, map(_of, parts)), None)


def _parts(found: Sequence[Token], *, blocks: bool) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in found:
        if token.depth == 0 and (token.mark(";") or (blocks and token.word(*_BLOCKS))):
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _of(part: Sequence[Token]) -> tuple[str, str] | None:
    reader = Reader(part)
    if reader.take("set"):
        local = reader.one_of("local", "transaction", "constraints")
        return None if local else ("SET", _LOCAL)
    if reader.take("discard", "all"):
        return "DISCARD ALL", _OUT
    if reader.take("prepare"):
        return None if reader.take("transaction") else ("PREPARE", _OUT)
    word = reader.one_of(*_FIRST)
    if word:
        return _FIRST[word], _LOCAL if word == "reset" else _OUT
    if _is_temporary(part):
        return "CREATE TEMPORARY", _LATER
    return ("set_config", _LOCAL) if _is_configured(part) else None


def _is_temporary(part: Sequence[Token]) -> bool:
    words = [token.text if token.word() else "" for token in part]
    if words[0] == "create":
        dropped = any(words[at : at + 3] == ["on", "commit", "drop"] for at in range(len(words)))
        made = {"temp", "temporary"} & set(words[1:5]) or "pg_temp" in words[1:8]
        return bool(made) and not dropped
    into = [at for at, word in enumerate(words) if word == "into" and words[0] != "insert"]
    return any({"temp", "temporary"} & set(words[at + 1 : at + 3]) for at in into)


def _is_configured(part: Sequence[Token]) -> bool:
    for at, token in enumerate(part[:-1]):
        if token.word("set_config") and part[at + 1].mark("("):
            depth = part[at + 1].depth
            given = []
            for one in part[at + 2 :]:
                if one.mark(")") and one.depth == depth:
                    break
                given.append(one)
            last = [one for one in given if one.depth == depth + 1]
            commas = [n for n, one in enumerate(last) if one.mark(",")]
            local = last[commas[-1] + 1 :] if commas else last
            if len(local) != 1 or local[0].text.strip("'").lower() not in ("true", "t", "on", "1"):
                return True
    return False
