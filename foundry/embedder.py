"""A deterministic embedder without a model, for demos and tests."""

from __future__ import annotations

import math
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from foundry.errors import InvalidValue


class HashingEmbedder:
    """Finds shared words and shared letters, not meaning: "sad" and "unhappy" are strangers.

    Words and character trigrams are hashed onto signed dimensions and the sum is
    normalised to length 1. The same text gives the same float32 values on every machine;
    only letters that entered Unicode after version 13 depend on the Python that reads them.
    """

    name = "hashing (non-semantic)"

    def __init__(self, dimensions: int = 384) -> None:
        if dimensions < 1:
            raise InvalidValue(f'an embedding needs at least one dimension, not "{dimensions}"')
        self.dimensions = dimensions

    def embed(self, texts: Iterable[str]) -> list[list[float]]:
        """One unit vector per text, in order; text without a letter or digit gets a fixed one."""
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        counts = [0] * self.dimensions
        for feature, weight in _features(text):
            digest = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "little")
            counts[(digest >> 1) % self.dimensions] += weight if digest & 1 else -weight
        if not any(counts):
            counts[0] = 1
        # The sum of whole numbers has no rounding, so its order cannot change the result.
        length = math.sqrt(sum(count * count for count in counts))
        return [_float32(count / length) for count in counts]


def _features(text: str) -> Iterator[tuple[str, int]]:
    """A whole word says more than one of its trigrams, so it weighs three times as much."""
    for word in _words(text):
        yield f"word:{word}", 3
        padded = f" {word} "
        for start in range(len(padded) - 2):
            yield f"trigram:{padded[start : start + 3]}", 1


def _words(text: str) -> list[str]:
    """Runs of letters, marks and digits; marks belong to words in Arabic and Devanagari.

    Lone surrogates are punctuation here, because no encoding could hash them.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    spaced = (char if unicodedata.category(char)[0] in "LMN" else " " for char in folded)
    return "".join(spaced).split()


def _float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])
