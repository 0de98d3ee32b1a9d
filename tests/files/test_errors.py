"""What a disk that refuses becomes: one line with the file, what is wrong, and the remedy."""

import errno

import pytest

from libhetero.errors import DataError
from libhetero.files import DiskError, first_line, replacing, require_space, writing

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, OSError(errno.EDQUOT, "Disk quota exceeded"), ValueError("No space left")])
def test_a_full_disk_names_the_file_and_the_remedy(tmp_path, error) -> None:
    with pytest.raises(DiskError, match=r"map.mrc: no space left on the disk; go on with --resume\.$"):
        with writing(tmp_path / "map.mrc", "go on with --resume"):
            raise error


def test_other_errors_of_a_disk_are_told_apart(tmp_path) -> None:
    with pytest.raises(DiskError, match=r"map.mrc: /\S+ is not writable \(permission denied\); choose another folder"):
        with writing(tmp_path / "map.mrc"):
            raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(DiskError, match=r"absent/map.mrc: the folder /\S+/absent does not exist; make it first"):
        with replacing(tmp_path / "absent" / "map.mrc") as beside:
            beside.write_text("")
    with pytest.raises(DiskError, match=r"could not be written \(Input/output error\)"):
        with writing(tmp_path / "map.mrc"):
            raise OSError(errno.EIO, "Input/output error")


def test_defects_and_what_is_named_already_pass(tmp_path) -> None:
    for error in (ValueError("ours"), DataError("stack.mrcs: image 3 is gone")):
        with pytest.raises(type(error), match=str(error)), writing(tmp_path / "map.mrc"):
            raise error


def test_the_outermost_name_is_told(tmp_path) -> None:
    with pytest.raises(DiskError, match=r"/set: no space left on the disk; choose another\.$") as raised:
        with writing(tmp_path / "set", "choose another"), replacing(tmp_path / "truth.json"):
            raise FULL
    assert raised.value.__cause__ is FULL


def test_a_file_or_folder_appears_whole_or_not_at_all(tmp_path) -> None:
    for make in ("mkdir", "touch"):
        with pytest.raises(KeyboardInterrupt), replacing(tmp_path / ".set.part") as beside:
            getattr(beside, make)()
            assert beside.parent == tmp_path and beside.name.startswith(".set.") and beside.suffix == ".part"
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []
        with replacing(tmp_path / make) as beside:
            getattr(beside, make)()
            assert not (tmp_path / make).exists()
        assert [path.name for path in tmp_path.iterdir()] == [make]
        (tmp_path / make).rmdir() if make == "mkdir" else (tmp_path / make).unlink()


def test_too_little_room_is_said_beforehand(tmp_path) -> None:
    require_space(tmp_path, 1, "a map", "free some")
    with pytest.raises(DataError, match=r"no space left on the disk for a map: .* GiB needed, .* free; free some\.$"):
        require_space(tmp_path, 2**80, "a map", "free some")


def test_what_an_error_says_is_its_first_line_without_the_systems_number() -> None:
    assert first_line(OSError(errno.EINVAL, "Invalid argument", "a.npz")) == "Invalid argument"
    assert first_line(OSError("Unable to open file")) == "Unable to open file"
    assert first_line(ValueError("one\ntwo")) == "one" and first_line(ValueError()) == "ValueError"
