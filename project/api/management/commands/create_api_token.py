"""``manage.py create_api_token USER --name N``: a token without a browser."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from project.api.tokens import NameTaken, issue

NOT_DONE = 1


class Command(BaseCommand):
    help = "Make a token of the REST API and print its secret, this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="whom programs act for with it")
        parser.add_argument("--name", required=True, help="what it is for")
        parser.add_argument("--days", type=int, help="how long it is accepted (default: until it is revoked)")
        parser.add_argument("--read-only", action="store_true", help="it may look and not touch")

    def handle(
        self, *args: Any, user: str, name: str, days: int | None, read_only: bool, **options: Any
    ) -> None:
        owner = get_user_model().objects.filter(username=user).first()
        if owner is None:
            raise CommandError(f"There is no user {user}: nothing was made.", returncode=NOT_DONE)
        if not 0 < len(name) <= 60:
            raise CommandError(f"--name {name!r}: 1 to 60 characters.", returncode=2)
        if days is not None and days < 1:
            raise CommandError(f"--days {days}: at least 1.", returncode=2)
        lasts = None if days is None else timedelta(days=days)
        try:
            _, secret = issue(owner, name, timezone.now(), lasts=lasts, read_only=read_only)
        except NameTaken as exc:
            raise CommandError(str(exc), returncode=NOT_DONE) from exc
        self.stdout.write(secret.reveal())
