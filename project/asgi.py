"""The web process: `daphne project.asgi:application`."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
http = get_asgi_application()  # before anything that touches a model

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from project.access_log import leave_queries_out  # noqa: E402
from project.cockpit.routing import cockpit_urlpatterns  # noqa: E402
from project.webwatch import begin_with_server  # noqa: E402
from strategies.live.access import SameOrigin  # noqa: E402
from strategies.live.routing import websocket_urlpatterns  # noqa: E402

leave_queries_out()
begin_with_server()
application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": SameOrigin(
            AuthMiddlewareStack(URLRouter([*cockpit_urlpatterns, *websocket_urlpatterns]))
        ),
    }
)
