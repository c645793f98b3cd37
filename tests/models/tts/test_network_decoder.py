"""The decoder against the published graph with its 8-bit arithmetic replaced by float32."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.numpy import load_file
from torchaudio.transforms import MelSpectrogram

from models.tts import voices
from models.tts.checkpoint import Checkpoint
from models.tts.decoder import Decoder
from models.tts.network import FRAME_SAMPLES

FILE = "kokoro-v1.0.int8.onnx"
DECODER = "/decoder/decoder/"
INPUTS = (
    "/encoder/MatMul_1_output_0",
    "/encoder/Reshape_output_0",
    "/encoder/Reshape_1_output_0",
    "/decoder/Slice_output_0",
)
SPECTRUM = "/decoder/decoder/generator/Concat_3_output_0"
SYMBOLS = [0, 50, 157, 43, 135, 16, 53, 135, 46, 16, 43, 102, 16, 56, 156, 57, 135, 6, 4, 0]
FLOOR = 1e-3


class Reference(NamedTuple):
    """What the float32 graph makes of its inner inputs."""

    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
    source: torch.Tensor
    audio: torch.Tensor


def in_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with dequantised weights in its decoder, whose activations are no longer quantised either."""
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}

    def array(name: str) -> npt.NDArray[np.float32]:
        return numpy_helper.to_array(tensors[name]).astype(np.float32)

    replaced, added = set(), []
    for node in graph.node:
        if node.op_type not in ("ConvInteger", "MatMulInteger") or not node.name.startswith(DECODER):
            continue
        path = node.name.removesuffix("_quant")
        output = node.output[0].removesuffix("_output_quantized")
        scale = array(node.input[1].removesuffix("quantized") + "scale")
        weight = f"{path}_float"
        values = (array(node.input[1]) - array(node.input[3])) * scale
        graph.initializer.append(numpy_helper.from_array(values, weight))
        inputs = [makers[node.input[0]].input[0], weight]
        bias = path.removesuffix("/Conv").replace("/asr_res/", "/").strip("/").replace("/", ".") + ".bias"
        if node.op_type == "ConvInteger" and bias in tensors:
            inputs.append(bias)
        added.append(helper.make_node(node.op_type.removesuffix("Integer"), inputs, [output], path))
        added[-1].attribute.extend(node.attribute)
        replaced.add(makers[output].name)
    kept = [node for node in graph.node if node.name not in replaced]
    del graph.node[:]
    constants = {tensor.name for tensor in graph.initializer}
    graph.node.extend(sorted_nodes([*kept, *added], constants | {"tokens", "style", "speed", ""}))
    return model


def sorted_nodes(nodes: list[onnx.NodeProto], known: set[str]) -> list[onnx.NodeProto]:
    """Each after the nodes that it reads from."""
    placed = []
    while nodes:
        ready = [node for node in nodes if known.issuperset(node.input)]
        assert ready
        placed += ready
        known |= {output for node in ready for output in node.output}
        nodes = [node for node in nodes if not known.issuperset(node.output)]
    return placed


@pytest.fixture(scope="module")
def file(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("kokoro") / FILE


@pytest.fixture(scope="module")
def reference(file: Path) -> Reference:
    model = in_float(onnx.load(file))
    names = [*INPUTS, SPECTRUM]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    styles = load_file(Path(voices.__file__).with_name("voices.safetensors"))["am_michael"]
    wanted = styles[len(SYMBOLS) - 3].reshape(1, -1).astype(np.float32)
    feeds = {"tokens": np.array([SYMBOLS]), "style": wanted, "speed": np.ones(1, np.float32)}
    audio, *inner = (torch.from_numpy(array) for array in session.run(["audio", *names], feeds))
    phonemes, pitch, loudness, style, source = inner
    return Reference((phonemes, pitch, loudness, style), source[0].t(), audio)


@pytest.fixture(scope="module")
def exact(file: Path) -> Decoder:
    return Decoder(Checkpoint(file), torch.float32)


@pytest.fixture(scope="module")
def half(file: Path) -> Decoder:
    return Decoder(Checkpoint(file), torch.bfloat16)


def likeness_db(expected: torch.Tensor, value: torch.Tensor) -> float:
    """Signal-to-noise ratio of `value` as a copy of `expected`."""
    return (10 * torch.log10(expected.abs().square().sum() / (expected - value).abs().square().sum())).item()


def log_mel(audio: torch.Tensor) -> torch.Tensor:
    mel: torch.Tensor = MelSpectrogram(24_000, 1024, hop_length=256, n_mels=80)(audio)
    return mel.clamp_min(FLOOR).log()


def test_float32_is_the_graph(exact: Decoder, reference: Reference) -> None:
    audio = exact.filter(*reference.inputs, reference.source)
    assert audio.shape == reference.audio.shape == (FRAME_SAMPLES * reference.inputs[0].shape[2],)
    assert likeness_db(reference.audio, audio) > 70


def test_bfloat16_sounds_like_it(half: Decoder, reference: Reference) -> None:
    audio = half.filter(*reference.inputs, reference.source)
    assert likeness_db(reference.audio, audio) > 24
    assert (log_mel(audio) - log_mel(reference.audio)).abs().mean() < 0.08


def test_source_is_that_of_the_graph(exact: Decoder, reference: Reference) -> None:
    """As complex numbers: the phases of bins that hold nothing are arbitrary."""
    expected, spectrum = (torch.polar(*s.chunk(2, 1)) for s in (reference.source, exact.source(reference.inputs[1])))
    assert likeness_db(expected, spectrum) > 40


def test_the_same_frames_make_the_same_audio(half: Decoder, reference: Reference) -> None:
    assert torch.equal(half(*reference.inputs), half(*reference.inputs))


def test_parameters_left_over_are_named(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "decoder.decoder.extra.bias"))
    onnx.save(model, tmp_path / FILE)
    with pytest.raises(ValueError, match=r"no use for decoder\.decoder\.extra\.bias$"):
        Decoder(Checkpoint(tmp_path / FILE), torch.float32)


def test_missing_parameters_are_named(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    alpha = "decoder.decoder.generator.resblocks.0.alpha1.0"
    model.graph.initializer.remove(next(tensor for tensor in model.graph.initializer if tensor.name == alpha))
    onnx.save(model, tmp_path / FILE)
    with pytest.raises(ValueError, match=f"no initializer {alpha}$"):
        Decoder(Checkpoint(tmp_path / FILE), torch.float32)
