"""Numbers of images: equal for equal images alone."""

import numpy as np

from libhetero.io.uids import image_uids, text_uids

ZERO = np.zeros(1, int)
RULE = 5651199919445825281  # BLAKE2b, 8 bytes, of path, NUL, 12, NUL, 0, as a little-endian number


def uid(file, index=0, times=0):
    return image_uids([file], ZERO, np.array([index]), np.array([times]))[0]


def test_a_uid_is_the_same_in_every_list(tmp_path, monkeypatch):
    """Whatever else is in the list, by any name of the file, and from any folder."""
    file = tmp_path / "a.mrcs"
    file.touch()
    (tmp_path / "link.mrcs").symlink_to(file)
    first = uid(str(file), 7)
    several = image_uids(["/x/b.mrcs", str(file)], np.array([0, 1, 1]), np.array([7, 6, 7]), np.zeros(3, int))
    assert first == several[2] == uid(str(tmp_path / "link.mrcs"), 7)
    monkeypatch.chdir(tmp_path)
    assert uid("a.mrcs", 7) == first


def test_the_rule_stays_as_it_is():
    """A table written today is joined with one written in a year."""
    assert uid("/data/stack.mrcs", 12) == RULE and uid("/data/stack.mrcs", 12).dtype == np.uint64


def test_other_images_have_other_uids():
    count = 50_000
    file_id, index = np.divmod(np.arange(count), 100)
    files = [f"/data/{i}.mrcs" for i in range(500)]
    uids = image_uids(files, file_id, index, np.zeros(count, int))
    assert len(np.unique(uids)) == count
    assert uid("/a/x.mrcs") != uid("/b/x.mrcs") and uid("/a/x.mrcs", times=1) != uid("/a/x.mrcs")
    assert uid("/a/x.mrcs", 11, 1) != uid("/a/x.mrcs", 1, 11) and uid("/a/x", 1) != uid("/a/x1")


def test_texts():
    numbers = text_uids(np.array(["a", "b", "a"], object))
    assert numbers[0] == numbers[2] != numbers[1] and numbers.dtype == np.uint64
