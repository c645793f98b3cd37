"""Pronunciations of words that no lexicon has: g2p-en's recurrent network, letters in, phonemes out."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.audio import FloatArray

MAX_PHONEMES = 20
_LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
_END = 3
_START = 2
# ARPAbet vowels in American and British misaki notation; the consonants are common to both.
_VOWELS = {
    "AA": ("ɑ", "ɑː"),
    "AE": ("æ", "a"),
    "AH": ("ʌ", "ʌ"),
    "AO": ("ɔ", "ɔː"),
    "AW": ("W", "W"),
    "AY": ("I", "I"),
    "EH": ("ɛ", "ɛ"),
    "ER": ("ɜɹ", "ɜː"),
    "EY": ("A", "A"),
    "IH": ("ɪ", "ɪ"),
    "IY": ("i", "iː"),
    "OW": ("O", "Q"),
    "OY": ("Y", "Y"),
    "UH": ("ʊ", "ʊ"),
    "UW": ("u", "uː"),
}
_UNSTRESSED = {"AH": ("ə", "ə"), "ER": ("əɹ", "ə"), "IY": ("i", "i")}
_SILENT_R = re.compile("ɹ(?![ˈˌ]?[AIQWYaiuɑɒɔəɛɜɪʊʌ])")
_STRESS = {"0": "", "1": "ˈ", "2": "ˌ"}
_CONSONANTS = {
    "B": "b", "CH": "ʧ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "ʤ", "K": "k", "L": "l", "M": "m",
    "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v", "W": "w", "Y": "j",
    "Z": "z", "ZH": "ʒ",
}  # fmt: skip
# The network's output classes: ARPAbet in alphabetical order, vowels once for each stress ("UW" also without).
_PLAIN = sorted([*_CONSONANTS, "UW", *(vowel + stress for vowel in _VOWELS for stress in _STRESS)])
_SYMBOLS = ["<pad>", "<unk>", "<s>", "</s>", *_PLAIN]


class Guesser:
    """A GRU encoder and decoder (Park and Kim, g2p-en 2.1), in numpy: a few milliseconds a word."""

    def __init__(self, file: Path) -> None:
        """`file` is the published `.npz`."""
        with np.load(file, allow_pickle=False) as arrays:
            self._weights: dict[str, FloatArray] = {name: arrays[name].astype(np.float32) for name in arrays.files}

    def guess(self, word: str, british: bool) -> str:
        """Misaki phonemes of a word of the letters a-z."""
        letters = [_LETTERS.index(letter) for letter in word] + [_LETTERS.index("</s>")]
        hidden = np.zeros(self._weights["enc_w_hh"].shape[1], np.float32)
        for letter in letters:
            hidden = self._advance("enc", letter, hidden)
        symbol, phonemes = _START, ""
        for _ in range(MAX_PHONEMES):
            hidden = self._advance("dec", symbol, hidden)
            symbol = int(np.argmax(self._weights["fc_w"] @ hidden + self._weights["fc_b"]))
            if symbol == _END:
                break
            phonemes += _translate(_SYMBOLS[symbol], british)
        return _SILENT_R.sub("", phonemes) if british else phonemes

    def _advance(self, part: str, symbol: int, hidden: FloatArray) -> FloatArray:
        """One GRU step: hidden `[H]`."""
        weights = self._weights
        from_input = weights[f"{part}_w_ih"] @ weights[f"{part}_emb"][symbol] + weights[f"{part}_b_ih"]
        from_hidden = weights[f"{part}_w_hh"] @ hidden + weights[f"{part}_b_hh"]
        size = len(hidden)
        gates = _sigmoid(from_input[: 2 * size] + from_hidden[: 2 * size])
        reset, update = gates[:size], gates[size:]
        new = np.tanh(from_input[2 * size :] + reset * from_hidden[2 * size :])
        return np.asarray((1 - update) * new + update * hidden)


def _sigmoid(x: FloatArray) -> npt.NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-x)))


def _translate(symbol: str, british: bool) -> str:
    vowel, stress = symbol.rstrip("012"), symbol[-1]
    if vowel not in _VOWELS:
        return _CONSONANTS.get(symbol, "")
    sounds = _UNSTRESSED.get(vowel, _VOWELS[vowel]) if stress == "0" else _VOWELS[vowel]
    return _STRESS.get(stress, "") + sounds[british]
