"""Whether there is room on a disk, asked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from libhetero.errors import DataError
from libhetero.files import require_space


def test_what_is_free_may_be_used_and_not_a_byte_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
    require_space(tmp_path, 2**20, "a stack", "free some")
    with pytest.raises(DataError) as refusal:
        require_space(tmp_path, 2**20 + 1, "a stack", "free some")
    assert (
        str(refusal.value) == f"{tmp_path}: no space left on the disk for a stack: 1 MiB needed, 1 MiB free; free some."
    )
