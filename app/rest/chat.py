"""`POST /v1/chat/completions`: the language model by itself."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.errors import ApiError
from app.gateway import Gateway, gateway_of
from app.rest.background import (
    BACKGROUND_SLACK_S,
    StreamedResponse,
    background_work,
    begun,
    failure,
    sse_data,
    sse_error,
    unless_gone,
)
from app.rest.chat_answer import Answer
from app.rest.chat_request import ChatRequest
from app.rest.json_body import read_json
from workers.broker.envelope import Envelope

OPENAI_MODELS = "gpt-"
"""This server's language model answers to every name that begins so: stock clients ask for many, and ever new ones."""
SECOND_TURN = 1
"""Of it, only the end is wanted."""


async def chat_completions(request: Request) -> Response:
    """Answer the conversation."""
    gateway = gateway_of(request)
    wanted = await read_json(request, ChatRequest)
    model = gateway.settings.language_model
    if wanted.model != model and not wanted.model.startswith(OPENAI_MODELS):
        raise ApiError(404, "model_not_found", f"model: there is no model {wanted.model!r}", "model")
    outputs = _outputs(gateway, wanted.generate(), one_call=wanted.parallel_tool_calls is False)
    answer = Answer(model)
    if not wanted.stream:
        return await unless_gone(request, _whole(outputs, answer))
    usage = wanted.stream_options is not None and wanted.stream_options.include_usage
    return await unless_gone(request, _streamed(outputs, answer, usage, gateway.settings.send_timeout_s))


async def _outputs(gateway: Gateway, generate: dict[str, Any], one_call: bool) -> AsyncGenerator[Envelope, None]:
    """The model's outputs; the last is `done`, which comes at a second call if there shall be but one. Raises
    ApiError.
    """
    async with background_work(gateway, "think", {}) as work:
        work.stream.push("generate", meta=generate, slack_s=BACKGROUND_SLACK_S)
        output: Envelope | None = None
        while output is None or output.kind != "done":
            output = await work.output()
            if output.meta.get("error"):
                raise failure(output.meta["error"])
            if one_call and output.kind == "call" and output.meta["index"] > 0:
                work.stream.cancel(SECOND_TURN)
            else:
                yield output


async def _whole(outputs: AsyncGenerator[Envelope, None], answer: Answer) -> Response:
    async with aclosing(outputs):
        async for output in outputs:
            answer.take(output)
    return JSONResponse(answer.completion())


async def _streamed(
    outputs: AsyncGenerator[Envelope, None], answer: Answer, usage: bool, patience_s: float
) -> Response:
    return StreamedResponse(_server_sent(await begun(outputs), answer, usage), "text/event-stream", patience_s)


async def _server_sent(
    outputs: AsyncGenerator[Envelope, None], answer: Answer, usage: bool
) -> AsyncGenerator[bytes, None]:
    nothing_yet = {"usage": None} if usage else {}
    try:
        yield sse_data(answer.chunk({"role": "assistant", "content": ""}) | nothing_yet)
        async with aclosing(outputs):
            async for output in outputs:
                for delta in answer.take(output):
                    yield sse_data(answer.chunk(delta) | nothing_yet)
        yield sse_data(answer.chunk({}, answer.finish_reason) | nothing_yet)
        if usage:
            yield sse_data(answer.usage_chunk())
        yield b"data: [DONE]\n\n"
    except ApiError as error:
        yield sse_error(error)
