"""Checkpoints of transformers whose networks are told a language, with random weights."""

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from torch import Tensor

from tests.models.asr.fastconformer import small

hf: Any = transformers
TAGS = ("<en-US>", "<de-DE>", "<fr-CA>")
BLANK = small.VOCABULARY + len(TAGS)
PROMPTS = {"en-US": 3, "en": 3, "en-GB": 1, "enGB": 1, "de-DE": 2, "fr-CA": 4, "fr-FR": 0, "qu-PE": 0, "auto": 6}
NUMBERS: dict[str | None, int] = {"en": 3, "de": 2, "fr": 4, None: 6}
"""Of the languages that it has tags for; the first of two French ones is that of Canada."""
SCALES = {"embedding": 2.0, "encoder_projector": 0.6, "decoder_projector": 0.8, "joint": 0.5}
BLANK_BIAS, TAG_BIAS = 10.0, 2.0


@torch.no_grad()
def network(mels: Tensor) -> Any:
    """Transformers' own, made for mels `[B, frames, mel_bins]`: what it hears varies with sound and language."""
    torch.manual_seed(3)
    encoder = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "subsampling_conv_channels": 8, "num_mel_bins": mels.shape[2], "scale_input": False,
    }  # fmt: skip
    config = hf.Nemotron3_5AsrConfig(
        vocab_size=BLANK + 1, blank_token_id=BLANK, pad_token_id=BLANK, decoder_hidden_size=24, num_decoder_layers=1,
        max_symbols_per_step=3, encoder_config=encoder, num_prompts=7, prompt_intermediate_size=40, default_prompt_id=6,
    )  # fmt: skip
    model = hf.Nemotron3_5AsrForRNNT(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "norm" not in name and "bias" not in name:
            parameter.normal_(std=next((std for part, std in SCALES.items() if part in name), 0.3))
    encoded = model.encoder(mels[:1].expand(7, -1, -1)).last_hidden_state
    prompts = torch.eye(7)[:, None].expand(-1, encoded.shape[1], -1)
    projector = model.prompt_projector
    projector.linear_1.bias.normal_(std=0.3)
    projector.linear_1.weight[:, -7:] *= 3
    told = projector(torch.cat([encoded, prompts], -1)).flatten(0, 1)
    projector.linear_2.weight /= told.std(0)[:, None]
    projector.linear_2.bias.sub_(told.mean(0)).div_(told.std(0))
    model.joint.head.bias[-1] += BLANK_BIAS
    model.joint.head.bias[small.VOCABULARY : -1] += TAG_BIAS
    model.generation_config.decoder_start_token_id = BLANK
    return model


def vocabulary() -> tokenizers.Tokenizer:
    """With tags, and without a blank."""
    tokenizer = tokenizers.Tokenizer.from_str(small.vocabulary().serialised())
    tokenizer.add_special_tokens(list(TAGS))
    return tokenizer


def write(directory: Path, model: Any) -> Path:
    """Its checkpoint, with a tokenizer that has tags."""
    model.save_pretrained(directory)
    tokenizer = hf.ParakeetTokenizer(tokenizer_object=vocabulary())
    tokenizer.add_tokens([tokenizers.AddedToken("<blank>", normalized=False, special=True)])
    tokenizer.add_special_tokens({"pad_token": "<blank>"})
    features = hf.NemotronAsrStreamingFeatureExtractor(feature_size=model.config.encoder_config.num_mel_bins)
    processor = hf.Nemotron3_5AsrProcessor(
        features, tokenizer, default_num_lookahead_tokens=1, prompt_dictionary=PROMPTS, num_prompts=7
    )
    processor.save_pretrained(directory)
    return directory
