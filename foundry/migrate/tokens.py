"""SQL text as the server's lexer sees it: words, names, strings and single characters.

Strings are read as in a session with standard_conforming_strings.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

# The lexer works on bytes: every byte outside ASCII is part of an identifier, of a
# no-break space too.
_FIRST = r"A-Za-z_\x80-\U0010ffff"
# Strings that are parted by white space with a line end in it are one string, and the
# later parts are read like the first one.
_GAP = r"(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*"
_PLAIN = r"'[^']*(?:''[^']*)*(?:'(?!')|\Z)"
_ESCAPED = r"'[^'\\]*(?:(?:\\.?|'')[^'\\]*)*(?:'(?!')|\Z)"

# What is not closed goes on to the end of the text: the server will refuse it.
_TOKEN = re.compile(
    rf"""
    (?P<gap> [ \t\n\r\f\v]+ | --[^\n\r]* )
    | (?P<string>
        [eE]{_ESCAPED}(?:{_GAP}{_ESCAPED})*
        | (?:[bBxXnN]|[uU]&)?{_PLAIN}(?:{_GAP}{_PLAIN})*
        | \$(?P<tag>(?:[{_FIRST}][{_FIRST}0-9]*)?)\$.*?(?:\$(?P=tag)\$|\Z) )
    | (?P<name> (?:[uU]&)?"[^"]*(?:""[^"]*)*(?:"(?!")|\Z) )
    | (?P<word> [{_FIRST}][{_FIRST}0-9$]* )
    | (?P<number> [0-9][A-Za-z0-9_.]* | \$[0-9]+ )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")

# Identifiers are folded as in a database in UTF-8: nothing but ASCII.
_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_LONGEST = 63

Name = tuple[str, ...]
"""A name as it is written: with or without its namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of a text; white space and comments are none."""

    kind: str
    """string, name (in double quotes), word (a keyword or a name), number or mark."""
    text: str
    """The identifier that a word or name means; anything else as it is written."""
    start: int
    end: int
    depth: int
    """How many parentheses and brackets it stands in."""

    def word(self, *texts: str) -> bool:
        """True for one of these words, or any at all, not in quotes."""
        return self.kind == "word" and (not texts or self.text in texts)

    def mark(self, text: str) -> bool:
        """True for this character, outside of strings and names."""
        return self.kind == "mark" and self.text == text

    @property
    def identifier(self) -> bool:
        """True for what may be a name."""
        return self.kind in ("word", "name")


def tokens(sql: str) -> tuple[Token, ...]:
    """Return the tokens of a text."""
    found: list[Token] = []
    depth = 0
    for kind, start, end in _pieces(sql):
        text = sql[start:end]
        depth -= kind == "mark" and text in ")]" and depth > 0
        if kind in ("word", "name"):
            text = _identifier(kind, text)
        found.append(Token(kind=kind, text=text, start=start, end=end, depth=depth))
        depth += kind == "mark" and text in "(["
    return _with_escapes(sql, found)


def listed(found: Sequence[Token]) -> list[list[Token]]:
    """Return what stands between commas."""
    items: list[list[Token]] = [[]]
    for token in found:
        if token.mark(",") and token.depth == 0:
            items.append([])
        else:
            items[-1].append(token)
    return items if found else []


def inside(token: Token) -> str:
    """Return what stands between the quotes of a string; escapes stay as they are."""
    if token.text.startswith("$"):
        mark = token.text[: token.text.index("$", 1) + 1]
        return token.text[len(mark) :].removesuffix(mark)
    return token.text.partition("'")[2].removesuffix("'").replace("''", "'")


def _pieces(sql: str) -> Iterator[tuple[str, int, int]]:
    at = 0
    while at < len(sql):
        if sql.startswith("/*", at):
            at = _after_comment(sql, at)
            continue
        match = _TOKEN.match(sql, at)
        assert match  # the last alternative takes any character
        if match.lastgroup != "gap":
            yield str(match.lastgroup), at, match.end()
        at = match.end()


def _after_comment(sql: str, at: int) -> int:
    depth = 0
    for match in _COMMENT.finditer(sql, at):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(sql)


def _identifier(kind: str, text: str) -> str:
    if kind == "word":
        return _cut(text.translate(_FOLD))
    if text[0] == '"':
        return _cut(text[1:-1].replace('""', '"'))
    # Its escape character may be named behind it, so it is not cut yet.
    return text[3:-1].replace('""', '"')


def _cut(text: str) -> str:
    return text.encode("utf-8", "surrogatepass")[:_LONGEST].decode("utf-8", "ignore")


def _with_escapes(sql: str, found: Sequence[Token]) -> tuple[Token, ...]:
    """Decode the names that are written U&"…", and take UESCAPE and its string away."""
    kept: list[Token] = []
    left = list(reversed(found))
    while left:
        token = left.pop()
        if token.kind == "name" and sql[token.start] != '"':
            escape = "\\"
            if len(left) > 1 and left[-1].word("uescape") and left[-2].kind == "string":
                left.pop()
                escape = left.pop().text[1:-1]
            token = replace(token, text=_cut(_unescaped(token.text, escape)))
        kept.append(token)
    return tuple(kept)


def _unescaped(text: str, escape: str) -> str:
    mark = re.escape(escape)
    pattern = rf"{mark}(?:({mark})|\+([0-9a-fA-F]{{6}})|([0-9a-fA-F]{{4}}))"

    def meant(match: re.Match[str]) -> str:
        same, six, four = match.groups()
        return str(same) if same else chr(min(int(six or four, 16), 0x10FFFF))

    # Two escapes may be the halves of one character.
    decoded = re.sub(pattern, meant, text)
    return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Reader:
    """Takes tokens from the front of a statement."""

    def __init__(self, found: Sequence[Token]) -> None:
        self.tokens = found
        self.at = 0

    def peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def coming(self, *words: str) -> bool:
        """True when these words come next."""
        found = self.tokens[self.at : self.at + len(words)]
        return [t.text for t in found if t.word()] == list(words)

    def take(self, *words: str) -> bool:
        """Take these words if they all come next."""
        taken = self.coming(*words)
        self.at += taken and len(words)
        return taken

    def take_mark(self, text: str) -> bool:
        token = self.peek()
        taken = token is not None and token.mark(text)
        self.at += taken
        return taken

    def one_of(self, *words: str) -> str:
        """Take the next word if it is one of these; empty if not."""
        return next((word for word in words if self.take(word)), "")

    def name(self) -> Name:
        """Take a name with its namespace; empty where there is none."""
        parts: list[str] = []
        while (token := self.peek()) and token.identifier:
            parts.append(token.text)
            self.at += 1
            if not self.take_mark("."):
                break
        return tuple(parts)

    def relation(self) -> Name:
        """Take a table as ALTER TABLE and CREATE INDEX name one."""
        only = self.take("only")
        opened = only and self.take_mark("(")
        name = self.name()
        if opened:
            self.take_mark(")")
        self.take_mark("*")
        return name

    def options(self) -> dict[str, bool]:
        """Take options in parentheses; of each only whether it is off is asked for."""
        if not self.take_mark("("):
            return {}
        items: list[list[str]] = [[]]
        while (token := self.peek()) and not (token.mark(")") and token.depth == 0):
            self.at += 1
            if token.mark(","):
                items.append([])
            elif not token.mark("="):
                items[-1].append(token.text.strip("'").lower())
        self.take_mark(")")
        return {item[0]: item[-1] not in ("false", "off", "0") for item in items if item}

    def rest(self) -> Sequence[Token]:
        return self.tokens[self.at :]
