"""A request that is refused, in the shape in which OpenAI's interface says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """An answer other than what was asked for: `message` says what is wrong and what to do, `param` where it is."""

    def __init__(
        self, status: int, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.headers = status, param, headers
        self.message = message.encode("utf-8", "backslashreplace").decode()  # it may quote what isn't Unicode

    def body(self) -> dict[str, dict[str, str | int | None]]:
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.status}}

    def response(self) -> JSONResponse:
        from starlette.responses import JSONResponse  # what prints runs in a terminal goes without it

        return JSONResponse(self.body(), self.status, self.headers)
