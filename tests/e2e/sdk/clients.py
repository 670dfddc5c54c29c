"""The official Python clients of model providers, unchanged, against the gateway: only base URL and key differ.

Each check is a function; the names of those that ran are printed. A client that is not installed is told and counts
as skipped; anything else ends the run.
"""

import importlib.util
import os
import sys

BASE = os.environ["GATEWAY"]
KEY = os.environ["GATEWAY_KEY"]
SAYS = "Grüße, world!"
TOKENS = (11, 7)
TOOL = {"name": "weather", "description": "The weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


def openai_chat(model):
    from openai import OpenAI

    client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY)
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    assert answer.choices[0].message.content == SAYS, answer
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == TOKENS, answer
    assert answer.model == model
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hi"}], stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == SAYS, text
    assert chunks[-1].usage.completion_tokens == TOKENS[1], chunks[-1]
    called = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "call the tool"}], tools=[{"type": "function", "function": TOOL}]
    )
    assert called.choices[0].message.tool_calls[0].function.name == "weather", called


def openai_others():
    from openai import AuthenticationError, NotFoundError, OpenAI

    client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0)
    assert client.embeddings.create(model="gpt", input=["a", "b"]).data[1].embedding == [0.5, 1.0]
    assert "gpt" in [model.id for model in client.models.list()]
    answer = client.responses.create(model="gpt", input="hi")
    assert answer.output_text == SAYS, answer
    with client.responses.stream(model="gpt", input="hi") as stream:
        assert any(event.type == "response.completed" for event in stream)
    sound = ("hello.wav", b"RIFF\r\n--\x00\xff", "audio/wav")
    assert client.audio.transcriptions.create(model="gpt", file=sound).text == SAYS
    try:
        client.chat.completions.create(model="nothing", messages=[{"role": "user", "content": "hi"}])
        raise SystemExit("an unknown model was served")
    except NotFoundError as error:
        assert error.code == "model_not_found", error
    try:
        OpenAI(base_url=f"{BASE}/v1", api_key="wrong", max_retries=0).models.list()
        raise SystemExit("a wrong key was served")
    except AuthenticationError:
        pass


def anthropic():
    from anthropic import Anthropic, AuthenticationError

    client = Anthropic(base_url=BASE, api_key=KEY, max_retries=0)
    message = {"role": "user", "content": "hi"}
    answer = client.messages.create(model="claude", max_tokens=64, messages=[message])
    assert answer.content[0].text == SAYS, answer
    with client.messages.stream(model="claude", max_tokens=64, messages=[message]) as stream:
        assert "".join(stream.text_stream) == SAYS
    assert client.messages.count_tokens(model="claude", messages=[message]).input_tokens == 11
    try:
        Anthropic(base_url=BASE, api_key="wrong", max_retries=0).messages.create(
            model="claude", max_tokens=64, messages=[message]
        )
        raise SystemExit("a wrong key was served")
    except AuthenticationError:
        pass


def google():
    from google import genai
    from google.genai import types

    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=BASE))
    answer = client.models.generate_content(model="gemini", contents="hi")
    assert answer.text == SAYS, answer
    text = "".join(part.text or "" for part in client.models.generate_content_stream(model="gemini", contents="hi"))
    assert text == SAYS, text


def mistral():
    from mistralai.client import Mistral

    client = Mistral(server_url=BASE, api_key=KEY)
    message = {"role": "user", "content": "hi"}
    answer = client.chat.complete(model="mistral", messages=[message])
    assert answer.choices[0].message.content == SAYS, answer
    text = "".join(event.data.choices[0].delta.content or "" for event in client.chat.stream(model="mistral", messages=[message]) if event.data.choices)
    assert text == SAYS, text
    assert client.embeddings.create(model="mistral", inputs=["a", "b"]).data[1].embedding == [0.5, 1.0]


def dashscope():
    import dashscope as client

    client.base_http_api_url = f"{BASE}/api/v1"
    ask = dict(api_key=KEY, model="qwen", messages=[{"role": "user", "content": "hi"}], result_format="message")
    answer = client.Generation.call(**ask)
    assert answer.status_code == 200, answer
    assert answer.output.choices[0].message.content == SAYS, answer
    parts = list(client.Generation.call(**ask, stream=True, incremental_output=True))
    text = "".join(part.output.choices[0].message.content for part in parts)
    assert text == SAYS, text


CHECKS = [
    ("openai", "openai to OpenAI", lambda: openai_chat("gpt")),
    ("openai", "openai to Anthropic", lambda: openai_chat("claude")),
    ("openai", "openai to Gemini", lambda: openai_chat("gemini")),
    ("openai", "openai to Mistral", lambda: openai_chat("mistral")),
    ("openai", "openai to DashScope", lambda: openai_chat("qwen")),
    ("openai", "openai to Ollama", lambda: openai_chat("llama")),
    ("openai", "openai: embeddings, models, responses, a form with a file, errors", openai_others),
    ("anthropic", "anthropic", anthropic),
    ("google.genai", "google-genai", google),
    ("mistralai", "mistralai", mistral),
    ("dashscope", "dashscope", dashscope),
]


def main():
    failed = 0
    for module, name, check in CHECKS:
        try:
            known = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            known = False
        if not known:
            print(f"skipped: {name}: {module} is not installed")
            continue
        try:
            check()
            print(f"ok: {name}")
        except Exception as error:  # noqa: BLE001 - every failure is told, the last line counts them
            failed += 1
            print(f"FAILED: {name}: {type(error).__name__}: {str(error)[:2000]}")
    sys.exit(1 if failed else 0)


main()
