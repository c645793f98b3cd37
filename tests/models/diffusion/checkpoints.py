"""A tiny latent diffusion checkpoint with random weights, in diffusers' form."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIZE = 64
_WIDTH = 16
_START, _END = "<|startoftext|>", "<|endoftext|>"


def pipeline(directory: Path) -> StableDiffusionPipeline:
    """Random, and always the same."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    channels = (8,) * 4
    vae = AutoencoderTiny(
        encoder_block_out_channels=channels, decoder_block_out_channels=channels, scaling_factor=300.0
    )
    for layer in (*unet.modules(), *vae.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)  # with diffusers' own, outputs hardly depend on inputs
    with torch.no_grad():
        unet.conv_out.weight /= unet(torch.randn(1, 4, 8, 8), 500, torch.randn(1, 24, _WIDTH)).sample.std()
        latents = vae.encode(torch.rand(1, 3, SIZE, SIZE) * 2 - 1).latents
        vae.register_to_config(scaling_factor=1 / float(latents.std()))
        vae.decoder.layers[-1].weight /= 2 * vae.decode(latents).sample.std()
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789,."]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), _START, _END]
    directory.mkdir(exist_ok=True)
    (directory / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"), model_max_length=24)
    text = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=_WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=len(vocabulary) - 2,
        eos_token_id=len(vocabulary) - 1,
        pad_token_id=len(vocabulary) - 1,
    )
    scheduler = LCMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    return StableDiffusionPipeline(
        vae,
        CLIPTextModel(text).train(False),
        tokenizer,
        unet.eval(),
        scheduler,
        None,
        None,
        requires_safety_checker=False,
    )


def write(directory: Path) -> Path:
    """The pipeline as a directory."""
    pipeline(directory / "tokenizer-files").save_pretrained(directory / "pipeline")
    return directory / "pipeline"
