"""ONNX Runtime sessions that leave the other cores alone."""

from pathlib import Path

import onnxruntime


def open_session(network: Path | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """Load a network, from its file or its bytes, for `threads` threads of the CPU, the calling one included.

    Nothing spins, and inputs of changing lengths do not make the process grow.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def with_output(network: bytes, name: str) -> bytes:
    """A serialised ONNX model that also puts out its inner tensor `name`.

    Protocol buffers merge: a `graph` (field 7 of ModelProto) appended to a model adds to the graph that is there, and
    this one has nothing but an `output` (field 12 of GraphProto) with a name (field 1 of ValueInfoProto).
    """
    return network + _field(7, _field(12, _field(1, name.encode())))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field; `content` is shorter than 128 bytes."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content
