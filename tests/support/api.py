"""A program that uses the API, in a test."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from project.api.tokens import issue


class Program:
    """Sends requests with a token of one user's; ``heard`` is the last answer."""

    def __init__(
        self, user: User, name: str = "robot", *, lasts: timedelta | None = None, read_only: bool = False
    ) -> None:
        self.token, secret = issue(user, name, timezone.now(), lasts=lasts, read_only=read_only)
        self.headers = {"Authorization": f"Bearer {secret.reveal()}"}
        self.heard: Any = None

    def get(self, path: str, **query: Any) -> Any:
        self.heard = Client().get(f"/api/v1/{path}", query, headers=self.headers)
        return self.told()

    def post(self, path: str, body: Any = None, key: str = "") -> Any:
        return self.send("post", path, body, key)

    def send(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = {**self.headers, **({"Idempotency-Key": key} if key else {})}
        data = body if isinstance(body, (str, bytes)) else "" if body is None else json.dumps(body)
        address = f"/api/v1/{path}"
        self.heard = Client().generic(method.upper(), address, data, "application/json", headers=headers)
        return self.told()

    def told(self) -> Any:
        return json.loads(self.heard.content) if self.heard.content else None

    def refused(self) -> tuple[int, str, str]:
        """Return status, code and words of a refusal."""
        error = self.told()["error"]
        return self.heard.status_code, error["code"], error["message"]
