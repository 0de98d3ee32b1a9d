"""Figures of an earlier call go with the vector files that it drew; a user's own of the same names stay."""

from __future__ import annotations

from pathlib import Path

from libhetero.files import CREATOR, remove_figures, replacing_set


def test_a_users_own_vector_files_stay(tmp_path: Path) -> None:
    for name in ("region_01.png", "region_01.svg", "region_[2].pdf", "other.pdf"):
        (tmp_path / name).write_text(f"by {CREATOR}")
    for name in ("region_01.pdf", "region_[2].svg"):
        (tmp_path / name).write_text("by a user")
    (tmp_path / "region_3.pdf").mkdir()
    with replacing_set(tmp_path):
        remove_figures(tmp_path, "region_*.png")
    left = {"other.pdf", "region_01.pdf", "region_[2].svg", "region_3.pdf"}
    assert {path.name for path in tmp_path.iterdir()} == left
