from __future__ import annotations

import os
import signal

import redis

from tests.support.processes import Process, manage, python


def _url(process: Process) -> str:
    return process.wait_for("ready").split()[-1]


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def test_it_serves_until_it_is_told_to_stop() -> None:
    with manage("embedded_redis") as process:
        url = _url(process)
        assert _answers(url)
        assert process.stop() == 0
    assert not _answers(url)


def test_it_ends_with_the_process_it_watches() -> None:
    with (
        python("-c", "import time; time.sleep(60)") as parent,
        manage("embedded_redis", "--parent", str(parent.pid)) as process,
    ):
        url = _url(process)
        parent.kill()
        assert process.wait() == 0
    assert not _answers(url)


def test_a_dead_server_ends_it_with_an_error() -> None:
    with manage("embedded_redis") as process:
        with redis.Redis.from_url(_url(process)) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        assert process.wait() == 1
        assert "Valkey ended by itself" in process.output


def test_a_taken_port_is_named() -> None:
    with manage("embedded_redis") as first:
        port = _url(first).rsplit(":", 1)[1].split("/")[0]
        with manage("embedded_redis", "--port", port) as second:
            assert second.wait() == 1
            assert port in second.output
    assert first.returncode is not None
