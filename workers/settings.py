"""What every Millstream process is told: from the environment (`MILLSTREAM_...`) or `millstream.toml`."""

from pathlib import Path
from typing import Self

from platformdirs import user_cache_path
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


class CommonSettings(BaseSettings):
    """Settings of workers and gateways alike. The environment overrides the file."""

    model_config = SettingsConfigDict(env_prefix="MILLSTREAM_", toml_file="millstream.toml", extra="ignore")

    redis_url: str | None = Field(None, description="Redis or Valkey; `serve` starts its own if unset.")
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("millstream"), description="Where checkpoints are kept."
    )
    catalog: Path | None = Field(None, description="A catalogue of your own checkpoints, added to the built-in one.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


class WorkerSettings(CommonSettings):
    """Settings of a worker process."""

    slots: int = Field(16, ge=1, le=1024, description="Streams that one worker serves at once.")
    threads: int = Field(1, ge=1, le=256, description="Threads of each network on a CPU.")
    vad_model: str = Field("silero-vad", description="Checkpoint of the voice activity detector.")
    turn_model: str = Field("smart-turn", description="Checkpoint of the end-of-turn model.")
    asr_model: str = Field("whisper-base", description="Checkpoint of the speech recogniser.")
    asr_final_model: str | None = Field(
        "whisper-base",
        description="Checkpoint that gives the final texts if `asr_model` is a FastConformer; none if empty.",
    )
    asr_lookahead_ms: int = Field(
        80, ge=0, description="How far a FastConformer looks ahead, at least, where a session does not say."
    )
    tts_model: str = Field("kokoro", description="Checkpoint of the speech synthesiser.")
    tts_voices: str = Field("kokoro-voices", description="Checkpoint of its voices.")
    restyle_model: str = Field(
        "restyle-small", description="Checkpoint that restyles video: a diffusers pipeline of few steps."
    )
    restyle_loras: dict[str, float] = Field({}, description="Checkpoints of LoRA weights that go into it, with scales.")
    restyle_height: int = Field(256, ge=64, le=2048, description="Height of its pictures.")
    restyle_width: int = Field(256, ge=64, le=2048, description="Width of its pictures.")
    lm_model: str = Field("smollm2-135m-instruct", description="Checkpoint of the language model.")
    lm_context: int = Field(2048, ge=64, description="Tokens of a conversation that the language model sees.")
    lm_temperature: float = Field(0.2, ge=0, le=10, description="Its sampling temperature, where a request has none.")
    lm_top_p: float = Field(0.9, gt=0, le=1, description="Its nucleus, where a request has none.")
    lm_frequency_penalty: float = Field(
        0.5, ge=-2, le=2, description="How much it avoids what it has said, where a request does not say."
    )
    llm_url: str | None = Field(
        None, description="Base URL of an OpenAI-compatible endpoint that replies instead of `lm_model`."
    )
    llm_model: str | None = Field(None, description="The endpoint's name of the model; needed with `llm_url`.")
    llm_api_key: SecretStr | None = Field(None, description="The endpoint's key.")
    llm_first_token_timeout_s: float = Field(20.0, gt=0, description="How long the endpoint may take to begin a reply.")
    llm_token_timeout_s: float = Field(10.0, gt=0, description="How long it may pause within a reply.")
    llm_retries: int = Field(2, ge=0, le=10, description="How often a request it refuses for now is repeated.")

    @model_validator(mode="after")
    def _name_the_model(self) -> Self:
        if self.llm_url is not None and not self.llm_model:
            raise ValueError("llm_url needs llm_model: the name of the endpoint's model")
        return self
