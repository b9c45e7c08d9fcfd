"""HTTP/1.1 of uvicorn, less patient: a header has to end, and nonsense is refused with a problem document."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ucuie.server.problems import MALFORMED, Problem


class PatientProtocol(H11Protocol):
    """One connection; a header may take as long as an idle connection is kept."""

    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._time_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """It has sent something."""
        super().data_received(data)
        self._time_header()

    def send_400_response(self, msg: str) -> None:
        """What it sent is not HTTP."""
        problem = Problem(MALFORMED, "that is not HTTP/1.1; the API is described at /openapi.json")
        response = problem.response()
        for event in (
            h11.Response(
                status_code=response.status_code, headers=[*response.raw_headers, (b"connection", b"close")]
            ),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _time_header(self) -> None:
        """Runs from the connection, or the first byte of a later header, to the end of the header."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
