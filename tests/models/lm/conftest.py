"""Checkpoints and models that the tests of language models share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.lm.conversion import huggingface_form
from models.lm.model import LanguageModel
from models.lm.tokens import Tokenizer, load
from tests.models.lm import checkpoints

CAPACITY = 6
CONTEXT = 96


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    checkpoints.write(directory)
    return directory


@pytest.fixture(scope="session")
def loaded(tiny: Path) -> LanguageModel:
    return LanguageModel(tiny, CAPACITY, CONTEXT, dtype=torch.float32)


@pytest.fixture
def model(loaded: LanguageModel) -> LanguageModel:
    for slot in range(CAPACITY):
        loaded.open(slot, {})
    return loaded


@pytest.fixture(scope="session")
def smollm2(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def smollm2_tokenizer(smollm2: Path) -> Tokenizer:
    return load(huggingface_form(smollm2))
