"""Kokoro's ONNX file taken apart: a network that ends where the decoder begins, and the decoder's parameters.

The file quantises weights to 8 bits and activations as it goes. The decoder, nineteen twentieths of the work, runs
faster and without rounded activations from dequantised weights (`decoder`).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

_DECODER = "/decoder/decoder"
_PARAMETER = re.compile(
    r"decoder\.decoder\..*(bias|weight_quantized|alpha\d\.\d)|/decoder/decoder/.*Mul(_\d+)?_output_0(_quantized)?"
)


class Convolution(NamedTuple):
    """A 1-D convolution: weight `[out, in, kernel]`, bias `[out]`."""

    weight: Tensor
    bias: Tensor
    stride: int
    padding: int
    dilation: int


class Linear(NamedTuple):
    """Weight `[in, out]`, bias `[out]`."""

    weight: Tensor
    bias: Tensor


class Checkpoint:
    """The parsed file. Modules of the decoder are called by their path in the graph:
    `generator/resblocks.0/convs1.2`."""

    def __init__(self, file: Path) -> None:
        self._model = onnx.load(file)
        graph = self._model.graph
        self._nodes = {node.name: node for node in graph.node}
        self._makers = {output: node for node in graph.node for output in node.output}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._unread = {name for name in self._tensors if _PARAMETER.fullmatch(name)}

    def until(self, outputs: Sequence[str]) -> bytes:
        """A serialised network with these inner tensors as outputs and nothing that they do not need."""
        graph = self._model.graph
        needed: set[str] = set()
        waiting = list(outputs)
        while waiting:
            maker = self._makers.get(waiting.pop())
            if maker is not None and maker.name not in needed:
                needed.add(maker.name)
                waiting += maker.input
        nodes = [node for node in graph.node if node.name in needed]
        read = {name for node in nodes for name in node.input}
        part = onnx.GraphProto(
            name=graph.name,
            node=nodes,
            input=graph.input,
            output=[onnx.ValueInfoProto(name=name) for name in outputs],
            initializer=[tensor for tensor in graph.initializer if tensor.name in read],
        )
        model = onnx.ModelProto(ir_version=self._model.ir_version, opset_import=self._model.opset_import, graph=part)
        serialised: bytes = model.SerializeToString()
        return serialised

    def convolution(self, path: str) -> Convolution:
        """A quantised convolution."""
        node = self._node(f"{path}/Conv_quant")
        weight = self._dequantised(node.input[1], node.input[3])
        return Convolution(weight, self._bias(path, len(weight)), *_geometry(node))

    def plain_convolution(self, path: str, kind: str = "Conv") -> Convolution:
        """A convolution that is not quantised, or a `ConvTranspose`."""
        node = self._node(f"{path}/{kind}")
        weight, bias = (torch.tensor(self._array(tensor)) for tensor in node.input[1:])
        return Convolution(weight, bias, *_geometry(node))

    def linear(self, path: str) -> Linear:
        """A quantised linear layer."""
        node = self._node(f"{path}/Gemm_MatMul_quant")
        return Linear(self._dequantised(node.input[1], node.input[3]), self.tensor(path, "bias"))

    def plain_linear(self, path: str) -> Linear:
        """A linear layer that is not quantised."""
        return Linear(torch.tensor(self._array(self._node(f"{path}/MatMul").input[1])), self.tensor(path, "bias"))

    def tensor(self, path: str, name: str) -> Tensor:
        """A parameter that is not quantised."""
        return torch.tensor(self._array(_name(path, name)))

    def check_all_read(self) -> None:
        """Raise ValueError if the decoder has parameters that nobody asked for."""
        if self._unread:
            raise ValueError(f"the decoder has no use for {', '.join(sorted(self._unread))}")

    def _node(self, path: str) -> onnx.NodeProto:
        name = f"{_DECODER}/{path}"
        if name not in self._nodes:
            raise ValueError(f"the network has no node {name}")
        node: onnx.NodeProto = self._nodes[name]
        return node

    def _bias(self, path: str, outputs: int) -> Tensor:
        return self.tensor(path, "bias") if _name(path, "bias") in self._tensors else torch.zeros(outputs)

    def _dequantised(self, values: str, zero: str) -> Tensor:
        centred = self._array(values).astype(np.float32) - self._array(zero).astype(np.float32)
        return torch.tensor(centred * self._array(values.removesuffix("quantized") + "scale"))

    def _array(self, name: str) -> npt.NDArray[np.float32]:
        if name not in self._tensors:
            raise ValueError(f"the network has no initializer {name}")
        self._unread.discard(name)
        return numpy_helper.to_array(self._tensors[name])


def _name(path: str, parameter: str) -> str:
    """A child of a sequence repeats its name in the path: `asr_res/asr_res.0`."""
    return re.sub(r"(\w+)/\1\.", r"\1.", f"{_DECODER}/{path}/{parameter}".lstrip("/")).replace("/", ".")


def _geometry(node: onnx.NodeProto) -> tuple[int, int, int]:
    """Stride, padding and dilation."""
    first = {attribute.name: attribute.ints[0] for attribute in node.attribute if attribute.ints}
    return first["strides"], first["pads"], first["dilations"]
