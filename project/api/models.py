"""Whom a program speaks for, and what it was told."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class ApiToken(models.Model):
    """Lets a program act for its user. Its secret is known only to whoever copied it when it was made."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=60, help_text="What it is for.")
    prefix = models.CharField(max_length=12, db_index=True, help_text="How the secret begins.")
    hash = models.CharField(max_length=64, help_text="SHA-256 of the secret, which has 256 random bits.")
    read_only = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, help_text="To the minute.")
    expires_at = models.DateTimeField(null=True, help_text="Empty: never.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("user", "name"), name="one_api_token_per_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class StoredAnswer(models.Model):
    """What a write with an ``Idempotency-Key`` was answered, committed together with what it changed."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    key = models.CharField(max_length=128)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, address and body.")
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("user", "key"), name="one_answer_per_key"),
        ]
        indexes: ClassVar = [models.Index(fields=("user", "created_at"))]

    def __str__(self) -> str:
        return f"{self.key}: {self.status}"
