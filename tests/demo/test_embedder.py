"""The hashing embedder is deterministic, of unit length and finds shared words."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from hashlib import sha256

import pytest

from foundry.embedder import HashingEmbedder
from foundry.errors import InvalidValue

GOLDEN_TEXTS = ["", "Hello", "🙃", "naïve STRASSE straße \ufb01ne हिन्दी سلام 夜", "\ud800"]
GOLDEN = "22e4c09c3c4f22fe352783bdc371947cfe7da4bd5227162fd6e1f0e70abfb935"
SCRIPT = """
import hashlib, struct
from foundry.embedder import HashingEmbedder
vectors = HashingEmbedder().embed(["one two three", "सलाम 夜 سلام"])
print(hashlib.sha256(b"".join(struct.pack("<384f", *v) for v in vectors)).hexdigest())
"""


def cosine(one: str, other: str) -> float:
    """Cosine similarity of two texts."""
    first, second = HashingEmbedder().embed([one, other])
    return sum(a * b for a, b in zip(first, second, strict=True))


def test_the_vectors_are_those_of_the_day_it_was_written() -> None:
    """The golden digest was computed once: stored embeddings must stay comparable."""
    vectors = HashingEmbedder().embed(GOLDEN_TEXTS)
    assert GOLDEN == sha256(b"".join(struct.pack("<384f", *v) for v in vectors)).hexdigest()


def test_the_hash_seed_of_the_process_changes_nothing() -> None:
    """Two processes with different PYTHONHASHSEED compute the same vectors."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert 1 == len(digests)


@pytest.mark.parametrize("text", ["", " \n", "🙃", "...", "\ud800", "a", "夜", "word " * 5000])
def test_every_text_gets_a_unit_vector(text: str) -> None:
    """No vector is zero, whose cosine distance would be NaN."""
    [vector] = HashingEmbedder().embed([text])
    assert 384 == len(vector)
    assert pytest.approx(1.0, abs=1e-6) == sum(value * value for value in vector)


def test_the_values_are_exact_float32() -> None:
    """What pgvector stores is what was computed."""
    [vector] = HashingEmbedder().embed(["exactly this"])
    assert vector == list(struct.unpack("<384f", struct.pack("<384f", *vector)))


def test_texts_without_words_share_one_fixed_vector() -> None:
    """Emptiness is always found next to emptiness."""
    empty, blank, emoji = HashingEmbedder().embed(["", "  ", "🙃"])
    assert [1.0] + [0.0] * 383 == empty == blank == emoji


def test_case_width_and_composition_do_not_matter() -> None:
    """Casefold and NFKC come before hashing."""
    assert pytest.approx(1.0) == cosine("STRASSE Café", "straße cafe\u0301")
    assert pytest.approx(1.0) == cosine("ＡＢＣ １２", "abc 12")  # noqa: RUF001


def test_shared_words_are_nearer_than_other_words() -> None:
    """It finds words and parts of words in every script."""
    assert cosine("she did not answer", "why did she not answer me") > 0.6
    assert cosine("answering", "answered") > 0.2
    assert cosine("रात को नींद नहीं आई", "नींद नहीं आई") > 0.6
    assert abs(cosine("she did not answer", "purple hippopotamus tyre")) < 0.2


def test_it_does_not_know_what_words_mean() -> None:
    """It says so in its name, and synonyms are strangers to it."""
    assert "hashing (non-semantic)" == HashingEmbedder().name
    assert abs(cosine("sad", "unhappy")) < 0.3


def test_a_vector_has_the_dimensions_that_were_asked_for() -> None:
    """At least one; none is refused by name."""
    assert [8, 8] == [len(vector) for vector in HashingEmbedder(8).embed(["one", "two"])]
    with pytest.raises(InvalidValue, match='not "0"'):
        HashingEmbedder(0)
