"""The live page's addresses."""

from __future__ import annotations

from django.urls import path

from strategies.live import editing, reaching, starting, views

urlpatterns = [
    path("", views.live, name="live"),
    path("start/", starting.start, name="start"),
    path("start/lists/<int:pk>/", starting.load_list, name="list-load"),
    path("watch/", views.watch, name="watch"),
    path("instruments/", views.instruments, name="instruments"),
    path("chart/", views.chart, name="chart"),
    path("unwatch/", views.unwatch, name="unwatch"),
    path("strategies/new/", editing.new, name="strategy-new"),
    path("strategies/<int:pk>/edit/", editing.edit, name="strategy-edit"),
    path("strategies/<int:pk>/stop-price/", editing.move_stop, name="strategy-move"),
    path("strategies/<int:pk>/", views.timeline, name="timeline"),
    path("strategies/<int:pk>/export.json", views.export, name="strategy-export"),
    path("strategies/<int:pk>/start/", views.start, name="strategy-start"),
    path("strategies/<int:pk>/stop/", views.stop, name="strategy-stop"),
    path("strategies/<int:pk>/exit/", views.exit_now, name="strategy-exit"),
    path("exits/<int:pk>/retry/", views.retry_exit, name="exit-retry"),
    path("exits/<int:pk>/abandon/", views.abandon_exit, name="exit-abandon"),
    path("alerts/channels/", reaching.channels, name="alert-channels"),
    path("alerts/channels/<int:pk>/", reaching.channel, name="alert-channel"),
    path("alerts/channels/<int:pk>/test/", reaching.test, name="alert-channel-test"),
    path("alerts/channels/<int:pk>/delete/", reaching.delete, name="alert-channel-delete"),
    path("alerts/acknowledge/", views.acknowledge, name="alerts-acknowledge"),
    path("alerts/<int:pk>/acknowledge/", views.acknowledge, name="alert-acknowledge"),
]
