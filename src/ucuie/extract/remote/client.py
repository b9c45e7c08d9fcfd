"""Asks an OpenAI-compatible chat endpoint, many questions at a time and each as often as it takes.

Messages and the fields of a request go in, the text of the answer comes out. What is asked is not known here.
"""

import asyncio
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, NoReturn, Self

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from ucuie.errors import ConfigError, UserError, show

API_KEY_VARIABLES = ("UCUIE_ENDPOINT_KEY", "OPENAI_API_KEY")
MAX_WAIT_SECONDS = 60.0
MAX_REPLY_BYTES = 10_000_000
"""More than the longest answer with the probabilities of its tokens."""

Messages = Sequence[Mapping[str, str]]
"""Of a chat: each with its role and content."""

# What some endpoints call otherwise, or do not let be chosen; None leaves the field out.
_SUBSTITUTES: dict[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "temperature": None,
    "logprobs": None,
}
_HINTS = {
    401: "check the API key in UCUIE_ENDPOINT_KEY or OPENAI_API_KEY",
    403: "check the API key in UCUIE_ENDPOINT_KEY or OPENAI_API_KEY, and what it may be used for",
    404: "check the base URL, which ends with /v1 at most servers, and the name of the model",
    429: "ask for fewer texts at the same time, or look at the limits of the account",
}
_IS_IT_THERE = "is a server running there, and is this its base URL?"
_LOST_FOR_ALL = {401, 403, 404}
_TRANSIENT_STATUSES = {408, 409, 425}


class EndpointError(UserError):
    """A chat endpoint cannot be reached, refuses, or does not answer as it should."""


class RefusedError(EndpointError):
    """The endpoint works, but does not answer this question: the reason says why."""


class SilentError(RefusedError):
    """It did not answer this question in time, however often it was asked."""


def _with_usable_port(url: str) -> str:
    port = re.match(r"https?://[^/?#]*:0*([0-9]+)(?=[/?#]|$)", url)
    if port and (len(port[1]) > 5 or int(port[1]) > 65_535):
        raise ValueError("ports go up to 65535")
    return url


class Endpoint(BaseModel):
    """The place of a chat model, and how patiently it is asked.

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

    base_url: Annotated[str, AfterValidator(_with_usable_port)] = Field(pattern=r"^https?://[^\s/]")
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
    hint = "; it begins with http:// or https://" if fault["type"] == "string_pattern_mismatch" else ""
    return f"{name}{value}: {fault['msg'].removeprefix('Value error, ')}{hint}"


@dataclass(frozen=True)
class Token:
    """A token of an answer and the logarithm of its probability."""

    text: str
    log_probability: float


@dataclass(frozen=True)
class Reply:
    """The answer of a model.

    Args:
        content: its text, without lone surrogates; empty where it answers without text.
        is_cut: the limit of tokens was reached.
        refusal: what it says instead of an answer, where the endpoint marks that.
        tokens: those of `content`, where they were asked for and given.
    """

    content: str
    is_cut: bool = False
    refusal: str = ""
    tokens: tuple[Token, ...] = ()


@dataclass(eq=False)
class _TransientError(Exception):
    """A failure that may pass, at the earliest after `wait_seconds`; else it is a `lasting` one."""

    reason: str
    wait_seconds: float = 0.0
    lasting: type[EndpointError] = RefusedError
    hint: str = ""


class ChatClient:
    """One endpoint, asked at most so many things at a time; within the event loop that `http` belongs to."""

    def __init__(self, endpoint: Endpoint, num_concurrent: int) -> None:
        self.endpoint = endpoint
        self.address = re.sub(r"//[^/]*@", "//", endpoint.base_url.rstrip("/"))
        """Of the endpoint, for messages and files: without a password."""
        self._url = endpoint.base_url.rstrip("/") + "/chat/completions"
        self._key = _api_key(endpoint)
        self.num_concurrent = num_concurrent
        # Once: it reads some hundred certificates.
        self._tls = httpx.create_ssl_context()
        self._substitutes: dict[str, str | None] = {}
        """Those that this endpoint needs."""
        self._num_answered = 0
        """Questions of all askers."""

    def open(self) -> httpx.AsyncClient:
        """The connections, to be closed by the caller."""
        limits = httpx.Limits(max_connections=self.num_concurrent)
        # The wait for a free connection is not the server's.
        timeout = httpx.Timeout(self.endpoint.timeout_seconds, pool=None)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return httpx.AsyncClient(headers=headers, limits=limits, timeout=timeout, verify=self._tls)

    async def ask(
        self,
        http: httpx.AsyncClient,
        messages: Messages,
        fields: Mapping[str, Any],
        *,
        max_attempts: int | None = None,
    ) -> Reply:
        """The answer to some messages.

        Timeouts, lost connections, busy or failing servers and unreadable answers are tried again; a server
        that is busy (429) with answering others for as long as it does that.

        Args:
            http: the connections.
            messages: the chat so far.
            fields: of the request, beside model, messages and temperature.
            max_attempts: instead of the endpoint's.

        Raises:
            RefusedError: the endpoint refuses this question, or fails at it again and again.
            SilentError: no answer came in time, however often it was asked.
            EndpointError: it will answer no question: not reached, no such model, the key is not good.
            ConfigError: the URL is none.
        """
        max_attempts = max_attempts or self.endpoint.max_attempts
        payload = {"model": self.endpoint.model, "messages": list(messages), **fields}
        if self.endpoint.temperature is not None:
            payload["temperature"] = self.endpoint.temperature
        num_failures, num_answered = 0, self._num_answered
        while True:
            try:
                reply = await self._adapted(http, payload)
                self._num_answered += 1
                return reply
            except _TransientError as error:
                fault = error
            # Many askers at the limit of an account: each gets its turn, as long as any does.
            is_with_others = fault.hint == _HINTS[429] and self._num_answered > num_answered
            num_failures = 0 if is_with_others else num_failures + 1
            num_answered = self._num_answered
            if num_failures == max_attempts:
                times = "once" if max_attempts == 1 else f"{max_attempts} times, at last"
                message = f"{show(self.address)} failed {times} so: {fault.reason}"
                raise fault.lasting("; ".join(filter(None, (message, fault.hint))))
            backoff = self.endpoint.backoff_seconds * 2 ** max(num_failures - 1, 0)
            await asyncio.sleep(min(max(backoff, fault.wait_seconds), MAX_WAIT_SECONDS))

    async def _adapted(self, http: httpx.AsyncClient, payload: Mapping[str, Any]) -> Reply:
        """The answer, with fields named as this endpoint wants them."""
        substitutes = dict(self._substitutes)
        while True:
            names = {name: substitutes.get(name, name) for name in payload}
            renamed = {own: payload[name] for name, own in names.items() if own is not None}
            try:
                reply = await self._attempt(http, renamed)
            except RefusedError as error:
                unwanted = [
                    name
                    for name in _SUBSTITUTES
                    if name in payload and name not in substitutes and re.search(rf"\b{name}\b", str(error))
                ]
                if not unwanted:
                    raise
                substitutes[unwanted[0]] = _SUBSTITUTES[unwanted[0]]
                continue
            # Only what has helped: of a request that is wrong otherwise, any field may be blamed.
            self._substitutes |= substitutes
            return reply

    async def _attempt(self, http: httpx.AsyncClient, payload: Mapping[str, Any]) -> Reply:
        seconds = self.endpoint.timeout_seconds
        body = bytearray()
        try:
            # httpx limits the wait for each byte, not for all of them.
            async with asyncio.timeout(seconds), http.stream("POST", self._url, json=payload) as response:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_REPLY_BYTES:
                        raise RefusedError(
                            f"{show(self.address)} answers with more than {MAX_REPLY_BYTES:,} bytes"
                        )
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
            reason = f"no complete answer in {seconds:g} seconds; a larger timeout_seconds waits longer"
            raise _TransientError(reason, lasting=SilentError) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = f"{type(error).__name__}: {self._said(str(error))}"
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
                raise _TransientError(reason, lasting=EndpointError, hint=_IS_IT_THERE) from None
            raise _TransientError(reason) from None
        except httpx.InvalidURL as error:
            raise ConfigError(f"the base URL {show(self.address)} is not a URL: {error}") from None
        if not response.is_success:
            self._refuse(response, body)
        return self._reply(bytes(body))

    def _refuse(self, response: httpx.Response, body: bytearray) -> NoReturn:
        status = response.status_code
        reason = f"status {status}, {self._said(body.decode(errors='replace').strip())}"
        if status == 429:
            wait = _retry_after_seconds(response)
            raise _TransientError(reason, wait_seconds=wait, lasting=EndpointError, hint=_HINTS[429])
        if status in _TRANSIENT_STATUSES or response.is_server_error:
            raise _TransientError(reason, wait_seconds=_retry_after_seconds(response))
        message = f"{show(self.address)} refuses: {reason}"
        if status in _LOST_FOR_ALL or response.is_redirect:
            hint = _HINTS.get(status, "the base URL leads elsewhere; give the one it leads to")
            raise EndpointError(f"{message}; {hint}")
        raise RefusedError(message)

    def _said(self, text: str) -> str:
        """What a server says, cut, and without the key that it may repeat."""
        text = text.replace(self._key, "(the API key)") if self._key else text
        return repr(text if len(text) <= 300 else text[:297] + "...")

    def _reply(self, body: bytes) -> Reply:
        try:
            choice = json.loads(body)["choices"][0]
            message = choice["message"]
            content, refusal = message.get("content"), message.get("refusal")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            said = self._said(body[:1000].decode(errors="replace"))
            raise _TransientError(f"the answer is not a chat completion: {said}") from None
        if content is not None and not isinstance(content, str):
            raise _TransientError(
                f"the content of the answer is not text: {self._said(repr(content)[:1000])}"
            )
        return Reply(
            without_surrogates(content or ""),
            choice.get("finish_reason") == "length",
            without_surrogates(refusal) if isinstance(refusal, str) else "",
            _tokens(choice.get("logprobs")),
        )


def _api_key(endpoint: Endpoint) -> str:
    """The key that the endpoint is sent; empty for none.

    Raises:
        ConfigError: it cannot be sent as it is.
    """
    if endpoint.api_key is not None:
        key = endpoint.api_key.get_secret_value()
    else:
        key = next(filter(None, map(os.environ.get, API_KEY_VARIABLES)), "")
    # Said without the key: messages end up in logs.
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("the API key has line breaks or other characters that no key has")
    return key


def _retry_after_seconds(response: httpx.Response) -> float:
    """How long the server asks to wait, in seconds or until a date; 0 where it does not."""
    value = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]+", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        # A date without a zone is in UTC, as all of HTTP.
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max((date - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """The tokens of an answer; none where any of them is not as it should be."""
    try:
        tokens = [Token(item["token"], min(float(item["logprob"]), 0.0)) for item in logprobs["content"]]
    except (LookupError, TypeError, ValueError, OverflowError):
        return ()
    is_wrong = any(not isinstance(one.text, str) or math.isnan(one.log_probability) for one in tokens)
    return () if is_wrong else tuple(tokens)


def without_surrogates(text: str) -> str:
    """A text with lone surrogates, which JSON can write and UTF-8 cannot, as they are written."""
    return text.encode(errors="backslashreplace").decode()
