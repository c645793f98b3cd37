"""The real SmolLM2-135M-Instruct."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from models.lm import weights
from models.lm.conversion import huggingface_form
from models.lm.decoder import Decoder
from models.lm.gguf_file import GgufFile
from models.lm.model import LanguageModel
from models.lm.tokens import Tokenizer
from tests.models.lm.replies import ask, finish, text


@pytest.fixture(scope="module")
def model(smollm2: Path) -> LanguageModel:
    return LanguageModel(smollm2, capacity=3, context=512)


def test_answers(model: LanguageModel) -> None:
    questions = {
        0: ("What is the largest ocean on Earth?", "Pacific"),
        1: ("What colour is the sky on a clear day?", "blue"),
        2: ("Name the planet that we live on.", "Earth"),
    }
    for slot, (question, _) in questions.items():
        ask(model, slot, question, temperature=0.0, max_tokens=40)
    outputs = finish(model)
    for slot, (_, answer) in questions.items():
        assert answer in text(outputs[slot])
    assert outputs[0][-1].meta["reason"] == "stop"


@pytest.mark.slow
def test_dequantised_logits_are_those_of_transformers(smollm2: Path, smollm2_tokenizer: Tokenizer) -> None:
    """From the same file, before ours are rounded to bf16."""
    (path,) = smollm2.glob("*.gguf")
    theirs: Any = AutoModelForCausalLM.from_pretrained(smollm2, gguf_file=path.name, dtype=torch.float32)
    question = [{"role": "user", "content": "Why is the sky blue? Explain in one line."}]
    tokens = smollm2_tokenizer.encode(smollm2_tokenizer.render(question))
    file = GgufFile(path)
    ours = Decoder(file.config, dict(file.tensors()), 1, 64)
    row = torch.tensor([tokens])
    with torch.inference_mode():
        wanted = theirs(row).logits[:, -1]
    got = ours.logits(ours.forward(ours.embed(row), [0], [0]))
    torch.testing.assert_close(got, wanted, atol=2e-3, rtol=0)


def test_dequantised_once(smollm2: Path, tmp_path: Path) -> None:
    (file,) = smollm2.glob("*.gguf")
    link = tmp_path / file.name
    link.symlink_to(file)
    converted = huggingface_form(tmp_path)
    made = (converted / "model.safetensors").stat().st_mtime_ns
    assert huggingface_form(tmp_path) == converted
    assert (converted / "model.safetensors").stat().st_mtime_ns == made
    _, first = weights.load(converted)
    link.touch()
    huggingface_form(tmp_path)
    assert (converted / "model.safetensors").stat().st_mtime_ns > made
    _, second = weights.load(converted)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_context_beyond_what_the_network_was_made_for(smollm2: Path) -> None:
    with pytest.raises(ValueError, match="at most the network's 8192 positions"):
        LanguageModel(smollm2, capacity=1, context=8193)
