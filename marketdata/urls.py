"""The addresses of a person's broker accounts."""

from __future__ import annotations

from django.urls import path

from marketdata import views

urlpatterns = [
    path("new/", views.new, name="broker-new"),
    path("<int:pk>/edit/", views.edit, name="broker-edit"),
    path("<int:pk>/", views.account, name="broker-account"),
    path("<int:pk>/login/", views.login, name="broker-login"),
    path("<int:pk>/check/", views.check, name="broker-check"),
    path("<slug:broker>/callback/", views.callback, name="broker-callback"),
]
