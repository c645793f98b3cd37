"""Kokoro's ONNX file taken apart: a network that ends where the vocoder begins, and the vocoder's parameters.

The file quantises weights to 8 bits and activations as it goes. The vocoder, nine tenths of the work, runs faster and
without rounded activations from dequantised weights (`vocoder`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

_VOCODER = "/decoder/decoder/generator"


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
    """The parsed file. Modules of the vocoder are called by their path in the graph: `resblocks.0/convs1.2`."""

    def __init__(self, file: Path) -> None:
        self._model = onnx.load(file)
        graph = self._model.graph
        self._nodes = {node.name: node for node in graph.node}
        self._makers = {output: node for node in graph.node for output in node.output}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}

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
        """A quantised convolution of the vocoder."""
        node = self._nodes[f"{_VOCODER}/{path}/Conv_quant"]
        scales = self._makers[_name(path, "bias_scale")].input
        (scale,) = [tensor for tensor in scales if tensor in self._tensors]
        weight = self._dequantised(node.input[1], node.input[3], scale)
        return Convolution(weight, self.tensor(path, "bias"), *_geometry(node))

    def plain_convolution(self, path: str, kind: str = "Conv") -> Convolution:
        """A convolution of the vocoder that is not quantised, or a `ConvTranspose`."""
        node = self._nodes[f"{_VOCODER}/{path}/{kind}"]
        weight, bias = (torch.tensor(self._array(tensor)) for tensor in node.input[1:])
        return Convolution(weight, bias, *_geometry(node))

    def linear(self, path: str) -> Linear:
        """A quantised linear layer of the vocoder."""
        node = self._nodes[f"{_VOCODER}/{path}/Gemm_MatMul_quant"]
        weight = self._dequantised(node.input[1], node.input[3], _name(path, "weight_scale"))
        return Linear(weight, self.tensor(path, "bias"))

    def tensor(self, path: str, name: str) -> Tensor:
        """A parameter of the vocoder that is not quantised."""
        return torch.tensor(self._array(_name(path, name)))

    def _dequantised(self, values: str, zero: str, scale: str) -> Tensor:
        centred = self._array(values).astype(np.float32) - self._array(zero).astype(np.float32)
        return torch.tensor(centred * self._array(scale))

    def _array(self, name: str) -> npt.NDArray[np.float32]:
        return numpy_helper.to_array(self._tensors[name])


def _name(path: str, parameter: str) -> str:
    return f"{_VOCODER}/{path}/{parameter}".strip("/").replace("/", ".")


def _geometry(node: onnx.NodeProto) -> tuple[int, int, int]:
    """Stride, padding and dilation."""
    first = {attribute.name: attribute.ints[0] for attribute in node.attribute if attribute.ints}
    return first["strides"], first["pads"], first["dilations"]
