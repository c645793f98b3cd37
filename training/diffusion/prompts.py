"""What training says for a look."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertConfig, BertModel, BertTokenizer

from training.diffusion.styles import STYLES

WINDOW = 24
"""Tokens of a prompt."""
_SETTINGS = ("a portrait of a man, {}", "a woman at her desk, {}", "my room, {}", "a street, {}", "this scene: {}")
_SET = 0.25
"""How often a phrase stands beside a subject."""


def read_text_encoder(directory: Path) -> tuple[BertTokenizer, BertModel]:
    """A BERT, with the settings that diffusers' pipelines look for."""
    tokenizer = BertTokenizer.from_pretrained(directory, model_max_length=WINDOW)
    config = BertConfig.from_pretrained(directory, use_attention_mask=True)
    encoder = BertModel.from_pretrained(directory, config=config, add_pooling_layer=False)
    return tokenizer, encoder.train(False)


@torch.inference_mode()
def embed(tokenizer: BertTokenizer, encoder: BertModel, prompts: Sequence[str]) -> Tensor:
    """`[B, 24, width]`, as a pipeline gives them to the UNet."""
    options = {"padding": "max_length", "truncation": True, "max_length": WINDOW, "return_tensors": "pt"}
    tokens = tokenizer(list(prompts), **options)
    return torch.as_tensor(encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]).clone()


class Phrasebook:
    """The embeddings of everything that is said."""

    def __init__(self, directory: Path, seed: int) -> None:
        tokenizer, encoder = read_text_encoder(directory)
        settings = ("{}", *_SETTINGS)
        self._said = [
            [embed(tokenizer, encoder, [setting.format(p) for p in style.phrases]) for setting in settings]
            for style in STYLES
        ]
        self._drawn = random.Random(seed)

    def say(self, styles: Tensor) -> Tensor:
        """A phrase for each of the looks `[B]`: `[B, 24, width]`."""
        return torch.stack([self._phrase(self._said[style]) for style in styles.tolist()])

    def _phrase(self, settings: Sequence[Tensor]) -> Tensor:
        said = settings[self._drawn.randrange(1, len(settings)) if self._drawn.random() < _SET else 0]
        return said[self._drawn.randrange(len(said))]
