"""ONNX Runtime sessions that leave the other cores alone."""

from pathlib import Path

import onnxruntime


def open_session(network: Path | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """Load a network, from its file or its bytes, for `threads` threads of the CPU, the calling one included.

    Nothing spins, inputs of changing lengths do not make the process grow, and 8-bit products do not saturate on
    processors without VNNI, so that a network judges alike everywhere.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
