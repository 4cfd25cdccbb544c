"""Routes, finding one, and what a handler is given and gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

from focusd.api.hangup import Hangup
from focusd.api.problems import INVALID_REQUEST, METHOD_NOT_ALLOWED, NO_SUCH_PATH, ProblemError
from focusd.api.schemas import LARGEST_ID, Request
from focusd.api.tokens import Scope
from focusd.api.verbs import Verbs

QueryT = TypeVar("QueryT", bound=Request)
BodyT = TypeVar("BodyT")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers: a JSON value, or nothing with status 204."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call(Generic[QueryT, BodyT]):
    """One request as a handler sees it: checked, and nothing of HTTP left in it."""

    verbs: Verbs
    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    hangup: Hangup

    def path_id(self, name: str) -> int:
        """Give an id from the path.

        Raises:
            ProblemError: it is no integer from 1 to 2**63 - 1.
        """
        text = self.path[name]
        # Longer ones would cost time to convert before they are refused.
        if text.isascii() and text.isdecimal() and len(text) <= 19 and 1 <= int(text) <= LARGEST_ID:
            return int(text)
        raise ProblemError(INVALID_REQUEST, f"{name}: must be an integer from 1 to {LARGEST_ID}", field=name)

    async def hold(self, work: Awaitable[T]) -> T:
        """Wait for ``work`` while the client is there and focusd is not stopping; see ``Hangup.hold``."""
        return await self.hangup.hold(work)


@dataclass(frozen=True, slots=True)
class Route(Generic[QueryT, BodyT]):
    """One row of the route table.

    Attributes:
        method: HTTP method.
        path: ``{name}`` in it stands for one segment.
        handler: Answers.
        query: What the query may hold.
        body: What the body may hold.
        scope: What the token must open; by default READ for a GET, else CONTROL.
        is_change: Whether it is one of the requests whose rate is bounded.
    """

    method: str
    path: str
    handler: Callable[[Call[QueryT, BodyT]], Awaitable[Answer]]
    query: type[QueryT]
    body: type[BodyT]
    scope: Scope = Scope.CONTROL
    is_change: bool = False

    def __post_init__(self) -> None:
        if self.method == "GET" and self.scope is Scope.CONTROL:
            object.__setattr__(self, "scope", Scope.READ)

    def values(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """Give the values of the path's names, ``None`` if the path is another."""
        mine = self.path.split("/")
        if len(mine) != len(segments):
            return None
        pairs = list(zip(mine, segments, strict=True))
        if any(not part or part != own for own, part in pairs[1:] if not own.startswith("{")):
            return None
        return {own[1:-1]: part for own, part in pairs if own.startswith("{")}


AnyRoute = Route[Any, Any]


class Router:
    """Finds the route of a request; the first row that fits wins."""

    def __init__(self, routes: Iterable[AnyRoute]) -> None:
        self._routes = tuple(routes)
        self._open = frozenset(route.path for route in self._routes if route.scope is Scope.NOTHING)
        # Most requests are for a path without names, and those are known beforehand.
        plain = {route.path for route in self._routes if "{" not in route.path}
        self._known = {path: tuple(self._search(path)) for path in plain}

    def is_open(self, raw_path: str) -> bool:
        """Whether a path needs no token."""
        return raw_path in self._open

    def find(self, method: str, raw_path: str) -> tuple[AnyRoute, dict[str, str]]:
        """Give the route and the values of its path's names; HEAD is answered as GET.

        Raises:
            ProblemError: 404 if nothing is at that path, 405 if something is but not for that method.
        """
        fitting = self._known.get(raw_path) or tuple(self._search(raw_path))
        wanted = "GET" if method == "HEAD" else method
        for route, values in fitting:
            if route.method == wanted:
                return route, values
        if not fitting:
            raise ProblemError(NO_SUCH_PATH, "see /v1/status for a path that exists")
        methods = {route.method for route, _ in fitting}
        allowed = sorted(methods | ({"HEAD"} if "GET" in methods else set()))
        raise ProblemError(
            METHOD_NOT_ALLOWED,
            f"this path takes {', '.join(allowed)}",
            headers={"Allow": ", ".join(allowed)},
            allowed=allowed,
        )

    def _search(self, raw_path: str) -> Iterable[tuple[AnyRoute, dict[str, str]]]:
        try:
            segments = tuple(unquote(part, errors="strict") for part in raw_path.split("/"))
        except UnicodeDecodeError:
            return
        for route in self._routes:
            values = route.values(segments)
            if values is not None and all(values.values()):
                yield route, values
