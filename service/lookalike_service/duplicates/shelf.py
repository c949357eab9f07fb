"""Which photos may be the same picture: those that share rare words, a word being a kind of key point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_service.duplicates.fingerprints import LEVELS, NUMBERS

__all__ = ["Shelf", "Vocabulary", "Words", "train"]

Codes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.int32]

HALVES: Final = 2
# Kinds of each half of a code; a word is a pair of them, so there are 262,144 words to tell photos apart by.
KINDS: Final = 512
CODES_PER_KIND: Final = 16
ROUNDS: Final = 8
# What more than this share of all photos have says nothing.
COMMON: Final = 0.05
# The cosine below which two photos share nothing to speak of; of made pairs one in a hundred lies there.
LEAST_SHARED: Final = 0.02
# Keeps photos of very few words from being near to everything.
FEW_WORDS: Final = 3.0


class Vocabulary:
    """The kinds of key points; `kinds` is (2, k, 64) float32, the middles of the halves of codes, as levels 0-3."""

    def __init__(self, kinds: npt.NDArray[np.float32]) -> None:
        self._kinds = kinds
        self._half_squares = (kinds**2).sum(axis=2) / 2
        self.size: int = kinds.shape[1] ** HALVES

    def words(self, codes: Codes) -> Words:
        """The word of each code: (n, 48) uint8 -> (n,) int32."""
        bits = _halves(codes)
        kinds = [(bits[half] @ self._kinds[half].T - self._half_squares[half]).argmax(axis=1) for half in range(HALVES)]
        return np.asarray(kinds[0] * self._kinds.shape[1] + kinds[1], np.int32)


def train(codes: Codes) -> Vocabulary:
    """Find the kinds in a sample (n, 48) of a catalog's codes, n > 0; the same sample gives the same kinds."""
    count = int(np.clip(len(codes) // CODES_PER_KIND, 1, KINDS))
    enough = (cv2.TERM_CRITERIA_COUNT, ROUNDS, 0.0)
    cv2.setRNGSeed(0)
    kinds = [cv2.kmeans(half, count, None, enough, 1, cv2.KMEANS_RANDOM_CENTERS)[2] for half in _halves(codes)]  # type: ignore[call-overload]
    return Vocabulary(np.stack(kinds))


def _halves(codes: Codes) -> list[npt.NDArray[np.float32]]:
    levels = np.unpackbits(codes, axis=1).reshape(-1, len(LEVELS), NUMBERS).sum(axis=1, dtype=np.float32)
    return [np.ascontiguousarray(half) for half in np.split(levels, HALVES, axis=1)]


class Shelf:
    """Photos in memory by their words, half a kilobyte each; numbered as they were given."""

    def __init__(self, photos: Sequence[Words], vocabulary: Vocabulary) -> None:
        """`photos` are the words of each photo."""
        distinct = [np.unique(words) for words in photos]
        self.photos = len(distinct)
        words = np.concatenate(distinct) if distinct else np.zeros(0, np.int32)
        owners = np.repeat(np.arange(self.photos, dtype=np.int32), [len(each) for each in distinct])
        self._owners = owners[np.argsort(words, kind="stable")]
        counts = np.bincount(words, minlength=vocabulary.size)
        self._begin = np.concatenate(([0], np.cumsum(counts)))
        weights = np.log1p(self.photos / np.maximum(counts, 1)) ** 2
        # A word of everybody's is left out, unless there are so few photos that it need not be.
        weights[counts > max(COMMON * self.photos, 200)] = 0
        self._weights = weights.astype(np.float32)
        self._lengths = np.array([np.sqrt(self._weights[each].sum()) for each in distinct], np.float32) + FEW_WORDS

    def nearest(self, words: Words, *, count: int) -> npt.NDArray[np.intp]:
        """The numbers of the photos that share the most with these words: `count` at most, and none with too little."""
        asked = np.unique(words)
        asked = asked[self._weights[asked] > 0]
        if not len(asked):
            return np.zeros(0, np.intp)
        owners = np.concatenate([self._owners[self._begin[word] : self._begin[word + 1]] for word in asked])
        weights = np.repeat(self._weights[asked], self._begin[asked + 1] - self._begin[asked])
        length = np.sqrt(self._weights[asked].sum()) + FEW_WORDS
        scores = np.bincount(owners, weights, minlength=self.photos) / (self._lengths * length)
        best = np.argpartition(-scores, min(count, self.photos) - 1)[:count]
        best = best[scores[best] > LEAST_SHARED]
        return np.asarray(best[np.argsort(-scores[best], kind="stable")], np.intp)
