"""The limits of a server and who may ask it: one frozen object, whose defaults the command's help shows."""

import os
from ipaddress import ip_address
from pathlib import Path

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from ucuie.config import Config
from ucuie.errors import ConfigError, show, validation_faults

API_KEYS_VARIABLE = "UCUIE_API_KEYS"
MIN_KEY_LENGTH = 16


class ServerSettings(Config):
    """The limits of a server, and who may ask it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of this machine."""

    batch_size: int = Field(default=32, ge=1)
    """Texts of different requests that the model reads together."""

    queue_size: int = Field(default=256, ge=1)
    """Texts that may wait; a request that would need more is answered with 429."""

    max_requests: int = Field(default=256, ge=1)
    """Requests that are worked on at once, waiting ones included; more get 429."""

    max_texts: int = Field(default=128, ge=1)
    """Texts of one request."""

    max_stream_texts: int = Field(default=10_000, ge=1)
    """Texts of one streamed request."""

    max_text_characters: int = Field(default=20_000, ge=1)
    """Characters of one text."""

    max_elements: int = Field(default=1_000, ge=1)
    """Spans of one text that the task associating links."""

    max_schema_names: int = Field(default=500, ge=1)
    """Frames and slots of one schema."""

    max_schema_characters: int = Field(default=50_000, ge=1)
    """Characters of one schema, written as JSON or YAML."""

    max_body_bytes: int = Field(default=4 * 2**20, ge=1)
    """Bytes of one request."""

    request_seconds: float = Field(default=60.0, gt=0)
    """From the whole request to its answer; of a stream, for each text. As long an answer may lie unread."""

    receive_seconds: float = Field(default=10.0, gt=0)
    """For the body of a request, and for an idle connection."""

    api_keys: tuple[str, ...] = ()
    """Whoever sends none of them gets 401; empty lets everyone in."""

    cors_origins: tuple[str, ...] = ()
    """Web page origin that may read answers, such as https://example.org; left out, none."""

    allowed_hosts: tuple[str, ...] = ()
    """Name that the server goes by; left out, only localhost where only this machine can reach the server, so
    that no web page does by a name of its own, and all otherwise."""

    log_texts: bool = False
    """Write the texts into the log too, and messages that may quote them."""

    @field_validator("api_keys")
    @classmethod
    def _keys_are_long(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for number, key in enumerate(keys, start=1):
            # The key itself is a secret: messages count it instead of showing it.
            if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
                raise ValueError(
                    f"API key {number} is not {MIN_KEY_LENGTH} or more printable ASCII characters without "
                    "blanks; make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
                )
        return keys

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, separator, rest = origin.partition("://")
            if origin != "*" and (not separator or not scheme or not rest or "/" in rest):
                raise ValueError(
                    f"{show(origin)} is not an origin such as https://example.org, without a path"
                )
        return origins

    @model_validator(mode="after")
    def _a_request_fits_the_queue(self) -> "ServerSettings":
        if self.max_texts > self.queue_size:
            raise ValueError(
                f"a request may have {self.max_texts:,} texts, only {self.queue_size:,} may wait; "
                "raise queue_size or lower max_texts"
            )
        return self

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach the server."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.casefold() == "localhost"


def make_settings(**values: object) -> ServerSettings:
    """Settings from the values given.

    Raises:
        ConfigError: values are impossible; all faults at once, no API key in them.
    """
    try:
        return ServerSettings.model_validate(values)
    except ValidationError as error:
        faults = validation_faults(error, separator="\n  ")
        raise ConfigError(f"in the server's options\n  {faults}") from None


def read_api_keys(path: Path | None) -> tuple[str, ...]:
    """The API keys of a file, one a line, `#` begins a comment; and those of the environment.

    Raises:
        ConfigError: the file cannot be read, or holds no key.
    """
    keys = [key.strip() for key in os.environ.get(API_KEYS_VARIABLE, "").split(",")]
    if path is not None:
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"the API keys in {show(str(path))} cannot be read: {reason}") from None
        from_file = [line.partition("#")[0].strip() for line in lines]
        if not any(from_file):
            # Without this an empty file would let everyone in.
            raise ConfigError(
                f"{show(str(path))} holds no API key; write one a line, or leave the option out"
            )
        keys += from_file
    return tuple(dict.fromkeys(key for key in keys if key))
