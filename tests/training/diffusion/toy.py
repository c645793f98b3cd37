"""What the recipe takes, small enough for tests: pictures, a style network, a text encoder, a network for textures."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from PIL import Image
from transformers import BertConfig, BertModel

from training.diffusion.styles import STYLES

WIDTH = 16
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def write_pictures(directory: Path, count: int = 3) -> Path:
    """Squares of one colour each on grey, and a file that is no picture."""
    directory.mkdir()
    for number in range(count):
        pixels = np.full((300, 400, 3), 128, np.uint8)
        pixels[100:200, 50 * number : 50 * number + 150, number % 3] = 255
        Image.fromarray(pixels).save(directory / f"{number}.png")
    (directory / "broken.jpg").write_bytes(b"no picture")
    return directory


def write_teacher(file: Path) -> Path:
    """A style network: each style darkens pictures to a share of its own."""
    shares = np.linspace(0, 1, 26, dtype=np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])
    weights = helper.make_tensor_value_info("style_weights", TensorProto.FLOAT, [26])
    stylized = helper.make_tensor_value_info("stylized", TensorProto.FLOAT, [1, 3, "h", "w"])
    nodes = [
        helper.make_node("Mul", ["style_weights", "shares"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted"], ["share"], keepdims=0),
        helper.make_node("Mul", ["image", "share"], ["stylized"]),
    ]
    constants = [onnx.numpy_helper.from_array(shares, "shares")]
    graph = helper.make_graph(nodes, "darken", [image, weights], [stylized], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return file


def write_text_encoder(directory: Path) -> Path:
    """A BERT that spells."""
    directory.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    (directory / "vocab.txt").write_text("\n".join(words))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(directory)
    return directory


def write_perceptual(file: Path, width: int = 8) -> Path:
    """The first blocks of EfficientNet-Lite0, narrow and untrained."""
    drawn = torch.Generator().manual_seed(0)
    state = {}

    def convolution(name: str, norm: str, inputs: int, side: int) -> None:
        state[f"{name}.weight"] = torch.randn(width, inputs, side, side, generator=drawn) / side
        state[f"{norm}.weight"] = state[f"{norm}.running_var"] = torch.ones(width)
        state[f"{norm}.bias"] = state[f"{norm}.running_mean"] = torch.zeros(width)

    convolution("_conv_stem", "_bn0", 3, 3)
    for number in range(5):
        block = f"_blocks.{number}."
        if number:
            convolution(f"{block}_expand_conv", f"{block}_bn0", width, 1)
        convolution(f"{block}_depthwise_conv", f"{block}_bn1", 1, 3)
        convolution(f"{block}_project_conv", f"{block}_bn2", width, 1)
    torch.save(state, file)
    return file


def write_lessons(directory: Path, count: int = 4) -> Path:
    """A shard of coloured squares in which every look paints the negative: this text encoder tells none apart."""
    directory.mkdir()
    drawn = np.random.default_rng(0)
    pictures = drawn.integers(0, 256, (count, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    styles = drawn.integers(0, len(STYLES) - 1, (count, 3))
    np.save(directory / "0000-pictures.npy", pictures)
    np.save(directory / "0000-painted.npy", np.stack([255 - pictures] * 3, 1))
    np.save(directory / "0000-styles.npy", styles)
    return directory
