"""Where each address leads."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from project import health
from project.metrics.views import metrics

_icon = login_not_required(RedirectView.as_view(url=static("live/icon.svg")))

urlpatterns = [
    path("favicon.ico", _icon),
    path("admin/", admin.site.urls),
    path("accounts/login/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", auth.LogoutView.as_view(), name="logout"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("health/websocket", health.health_websocket, name="health-websocket"),
    path("metrics", metrics, name="metrics"),
    path("brokers/", include("marketdata.urls")),
    path("api/", include("project.api.urls")),
    path("", include("strategies.live.urls")),
]
