"""What may happen inside a transaction: nothing that waits for anything but the database."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.environment import ROOT

TALKATIVE = {
    "aiohttp", "asyncio", "httpx", "redis", "requests", "socket", "ssl", "subprocess", "urllib", "websockets",
}  # fmt: skip


def sources() -> Iterator[Path]:
    for app in ("marketdata", "strategies", "project"):
        yield from (path for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts)


def transactions(tree: ast.AST) -> Iterator[ast.With | ast.AsyncWith]:
    for node in ast.walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith):
            names = (ast.unparse(item.context_expr) for item in node.items)
            if any("atomic(" in name for name in names):
                yield node


def test_nothing_waits_or_talks_inside_a_transaction() -> None:
    found = 0
    for path in sources():
        tree = ast.parse(path.read_text())
        for block in transactions(tree):
            found += 1
            where = f"{path}:{block.lineno}"
            inside = list(ast.walk(block))
            assert not any(isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) for node in inside), (
                where
            )
            called = {ast.unparse(node.func) for node in inside if isinstance(node, ast.Call)}
            talks = {name for name in called if name.split(".")[0] in TALKATIVE or name.endswith("sleep")}
            assert not talks, where
    assert found > 15
