"""Users with a password."""

from __future__ import annotations

from functools import cache

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

PASSWORD = "a-password-for-tests"


def new_user(name: str, email: str = "", password: str = PASSWORD, **rights: bool) -> User:
    """Return a new user, who can log in."""
    return User.objects.create(username=name, email=email, password=_hashed(password), **rights)


@cache
def _hashed(password: str) -> str:
    """Hash a password once: it takes a third of a second, and most tests have a user."""
    return make_password(password)
