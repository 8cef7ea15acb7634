"""What others wrote and browsers get from us is what it says it is."""

from __future__ import annotations

import hashlib
import json

from tests.environment import ROOT

VENDOR = ROOT / "strategies" / "static" / "vendor"


def test_vendored_files_are_listed_unchanged_and_come_with_their_licence() -> None:
    listed = json.loads((VENDOR / "vendor.json").read_text())
    for one in listed:
        folder = VENDOR / f"{one['name']}-{one['version']}"
        assert (folder / "LICENSE").is_file()
        for path, digest in one["files"].items():
            assert hashlib.sha256((VENDOR / path).read_bytes()).hexdigest() == digest, path
    folders = {path.name for path in VENDOR.iterdir() if path.is_dir()}
    assert folders == {f"{one['name']}-{one['version']}" for one in listed}
