"""One answer from any OpenAI-compatible chat endpoint: OpenAI's own, vLLM, llama.cpp, Ollama and the like.

A system and a user message go in, the answer's text comes out. What is asked is not known here.
"""

import json
import os
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from ucuie.errors import ConfigError, UserError, show

API_KEY_VARIABLES = ("UCUIE_ENDPOINT_KEY", "OPENAI_API_KEY")
MAX_REPLY_BYTES = 1_000_000
MAX_WAIT_SECONDS = 60.0

TRANSIENT_STATUSES = {408, 409, 425, 429}


class EndpointError(UserError):
    """A chat endpoint cannot be reached, refuses, or does not answer as it should."""


class Endpoint(BaseModel):
    """Where a chat model is and how patiently it is asked.

    Args:
        base_url: up to and without `/chat/completions`, such as "http://localhost:8000/v1".
        model: the name that the endpoint knows the model by.
        api_key: sent as bearer token; None takes the environment variable UCUIE_ENDPOINT_KEY or
            OPENAI_API_KEY, the first that is set, and sends none without them.
        temperature: of the model's sampling; None leaves it to the endpoint.
        timeout_seconds: for one attempt.
        max_attempts: the first one included.
        backoff_seconds: the wait after the first failed attempt; it doubles with each, up to a minute.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(pattern=r"^https?://[^\s/]")
    model: str = Field(min_length=1)
    api_key: SecretStr | None = None
    temperature: float | None = Field(default=1.0, ge=0)
    timeout_seconds: float = Field(default=60.0, gt=0)
    max_attempts: int = Field(default=5, ge=1)
    backoff_seconds: float = Field(default=1.0, ge=0)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The endpoint with these values.

        Raises:
            ConfigError: some are impossible or unknown; all of them at once.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise ConfigError("; ".join(map(_explain, error.errors(include_url=False)))) from None


def _explain(fault: Any) -> str:
    name = str(fault["loc"][0]) if fault["loc"] else "endpoint"
    # A key is shown nowhere, not even a wrong one.
    value = "" if name == "api_key" else f" {show(fault['input'])}"
    hint = "; it begins with http:// or https://" if name == "base_url" else ""
    return f"{name}{value}: {fault['msg']}{hint}"


def ask(endpoint: Endpoint, *, system: str, user: str) -> str:
    """The text that the model answers; empty if it answers without text, as when it refuses.

    Timeouts, lost connections, busy or failing servers and unreadable answers are tried again.

    Raises:
        ConfigError: the API key or URL cannot be sent as they are.
        EndpointError: the endpoint refuses the request, or all attempts failed; says why.
    """
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    payload: dict[str, object] = {"model": endpoint.model, "messages": messages}
    if endpoint.temperature is not None:
        payload["temperature"] = endpoint.temperature
    url = endpoint.base_url.rstrip("/") + "/chat/completions"
    for attempt in range(endpoint.max_attempts):
        try:
            return _attempt(endpoint, url, payload)
        except TransientError as error:
            fault = error
        if attempt + 1 < endpoint.max_attempts:
            backoff = endpoint.backoff_seconds * 2**attempt
            time.sleep(min(max(backoff, fault.wait_seconds), MAX_WAIT_SECONDS))
    raise EndpointError(f"{show(url)} failed {endpoint.max_attempts} times, at last so: {fault}")


class TransientError(Exception):
    """A failure that may pass, at the earliest after `wait_seconds`."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def _attempt(endpoint: Endpoint, url: str, payload: dict[str, object]) -> str:
    deadline = time.monotonic() + endpoint.timeout_seconds
    body = bytearray()
    try:
        with httpx.stream(
            "POST", url, json=payload, headers=authorization(endpoint), timeout=endpoint.timeout_seconds
        ) as response:
            for chunk in response.iter_bytes():
                body += chunk
                # httpx limits the wait for each byte, not for all of them.
                if time.monotonic() > deadline:
                    raise TransientError(f"no complete answer in {endpoint.timeout_seconds:g} seconds")
                if len(body) > MAX_REPLY_BYTES:
                    raise EndpointError(f"{show(url)} answers with more than {MAX_REPLY_BYTES:,} bytes")
    except httpx.TimeoutException:
        raise TransientError(f"no answer in {endpoint.timeout_seconds:g} seconds") from None
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise TransientError(f"{type(error).__name__}: {error}") from None
    except httpx.InvalidURL as error:
        raise ConfigError(f"base_url {show(endpoint.base_url)} is not a URL: {error}") from None
    if not response.is_success:
        reason = f"status {response.status_code}, {show(body.decode(errors='replace').strip())}"
        if response.status_code in TRANSIENT_STATUSES or response.is_server_error:
            raise TransientError(reason, retry_after_seconds(response))
        raise EndpointError(f"{show(url)} refuses: {reason}; check base_url, model and API key")
    return _answer(bytes(body))


def api_key(endpoint: Endpoint) -> str:
    """The key that the endpoint is sent; empty for none."""
    if endpoint.api_key is not None:
        return endpoint.api_key.get_secret_value()
    return next((key for name in API_KEY_VARIABLES if (key := os.environ.get(name))), "")


def authorization(endpoint: Endpoint) -> dict[str, str]:
    """The headers that carry the API key, if there is one.

    Raises:
        ConfigError: the key cannot be sent as it is.
    """
    key = api_key(endpoint)
    if not key:
        return {}
    # Said without the key: messages end up in logs.
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("the API key has line breaks or other characters that no key has")
    return {"Authorization": f"Bearer {key}"}


def retry_after_seconds(response: httpx.Response) -> float:
    """How long the server asks to wait, in seconds or until a date; 0 where it does not."""
    value = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,6}", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    # A date without a zone is in UTC, as all of HTTP.
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)


def _answer(body: bytes) -> str:
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        value = show(body.decode(errors="replace"))
        raise TransientError(f"the answer is not a chat completion: {value}") from None
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TransientError(f"the answer's content is not text: {show(content)}")
    return content
