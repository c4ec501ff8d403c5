import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import hashret
from hashret.encoder.baselines import RandomHyperplanes
from hashret.errors import InputError, UsageError
from hashret.sources import archive_files, is_gone, open_source, read_value
from hashret.sources.archives import ImageArchive


def png(level=0):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = {
    "photos/cat/1.png": png(1),
    "photos/cat/2.png": png(2),
    "photos/dog/1.png": png(3),
    "photos/readme.txt": b"no image",
    "photos/.hidden/4.png": png(4),
    "__MACOSX/._1.png": b"",
}


def make_zip(path, files=PICTURES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path, files=PICTURES):
    mode = {".gz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{mode}") as archive:
        for name, content in files.items():
            add(archive, name, content)
    return path


def add(archive, name, content=b"", **settings):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for setting, value in settings.items():
        setattr(info, setting, value)
    archive.addfile(info, io.BytesIO(content))


def make(path, files=PICTURES):
    return (make_zip if path.suffix == ".zip" else make_tar)(path, files)


@pytest.fixture(params=["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def archive(tmp_path, request):
    return make(tmp_path / request.param)


def test_images_are_read_with_keys_and_labels(archive):
    source = open_source(archive)
    assert [(item.key, item.value, item.fields) for item in source] == [
        (f"{archive}/photos/cat/1.png", png(1), {"label": "cat"}),
        (f"{archive}/photos/cat/2.png", png(2), {"label": "cat"}),
        (f"{archive}/photos/dog/1.png", png(3), {"label": "dog"}),
    ]
    assert source.skipped == []
    assert (source.kind, source.length, source.ignored) == ("images", 3, 1)
    assert source.description == (
        f"3 images in {archive.name}, labelled by 2 folders; 1 other file ignored (1 .txt)"
    )


def test_each_value_is_read_again_by_its_key(archive):
    for item in reversed(list(open_source(archive))):
        assert read_value(item.key) == item.value


def test_an_archive_stays_open_for_the_next_value(archive, monkeypatch):
    opened = []
    monkeypatch.setattr(archive_files, "ArchiveFile", spy(archive_files.ArchiveFile, opened))
    archive_files._opened.cache_clear()
    for item in open_source(archive):
        read_value(item.key)
    assert len(opened) == 1


def spy(original, calls):
    def call(*arguments):
        calls.append(arguments)
        return original(*arguments)

    return call


def test_an_archive_that_was_written_anew_is_read_anew(archive):
    key = f"{archive}/a.png"
    list(open_source(archive))
    make(archive, {"a.png": png(9)})
    assert read_value(key) == png(9)


def test_names_that_lead_elsewhere_are_only_names(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    path = make(tmp_path / "a.zip", {"../secret.png": png(1), "/etc/x.png": png(2)})
    items = list(open_source(path))
    assert [item.key for item in items] == [f"{path}/../secret.png", f"{path}//etc/x.png"]
    assert [read_value(item.key) for item in items] == [png(1), png(2)]


def test_links_and_devices_in_a_tar_are_skipped_and_named(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "ok.png", png(1))
        add(archive, "soft.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "hard.png", type=tarfile.LNKTYPE, linkname="ok.png")
        add(archive, "pipe.png", type=tarfile.FIFOTYPE)
    source = open_source(path)
    assert [item.key for item in source] == [f"{path}/ok.png"]
    assert [(one.name, one.reason) for one in source.skipped] == [
        (f"{path}/soft.png", "a link, which is not followed in an archive"),
        (f"{path}/hard.png", "a link, which is not followed in an archive"),
        (f"{path}/pipe.png", "not a file"),
    ]


def test_an_encrypted_member_is_skipped_and_named(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    source = open_source(path)
    assert [item.value for item in source] == [png(2)]
    assert source.skipped[0].reason == "encrypted; unpack it first"


def test_a_damaged_member_is_skipped_and_named(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2)})
    content = bytearray(path.read_bytes())
    content[40:60] = bytes(20)
    path.write_bytes(content)
    source = open_source(path)
    assert [item.value for item in source] == [png(2)]
    assert source.skipped[0].name == f"{path}/a.png"
    assert source.skipped[0].reason.startswith("damaged in its archive")


def test_too_large_a_member_is_not_read(archive, monkeypatch):
    monkeypatch.setattr(archive_files, "MAX_MEMBER_BYTES", 4096)
    make(archive, {"a.png": png(1), "bomb.png": bytes(5000)})
    source = open_source(archive)
    assert [item.value for item in source] == [png(1)]
    assert "trap" in source.skipped[0].reason


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_a_truncated_tar_gives_what_is_whole_and_says_so(tmp_path, name):
    random = np.random.default_rng(0)
    files = {f"{n}.png": random.bytes(300_000) for n in range(5)}
    path = make_tar(tmp_path / name, files)
    path.write_bytes(path.read_bytes()[:1_000_000])
    source = open_source(path)
    read = [item.value for item in source]
    assert len(read) >= 2
    assert read == list(files.values())[: len(read)]
    assert any(one.name == str(path) and "get it again" in one.reason for one in source.skipped)


def test_a_tar_with_a_damaged_header_says_where_it_ends(tmp_path):
    path = make_tar(tmp_path / "a.tar", {"a.png": png(1), "b.png": png(2)})
    content = bytearray(path.read_bytes())
    content[1024:1100] = b"x" * 76
    path.write_bytes(content)
    source = open_source(path)
    assert [item.value for item in source] == [png(1)]
    assert source.skipped[0].reason.startswith("ends after 1 files")


def test_a_header_that_asks_for_much_memory_gets_none(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_files, "MAX_MEMBER_BYTES", 4096)
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "a.png", png(1))
        add(archive, "x" * 10_000 + ".png", png(2))
    source = open_source(path)
    assert [item.value for item in source] == [png(1)]
    assert "memory" in source.skipped[0].reason


def test_a_tar_that_unpacks_without_end_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_files, "MAX_RATIO_FROM", 1 << 16)
    monkeypatch.setattr(archive_files, "MAX_RATIO", 10)
    files = {"a.png": png(1), "zeros": bytes(1 << 20), "b.png": png(2)}
    source = open_source(make_tar(tmp_path / "a.tar.xz", files))
    assert [item.value for item in source] == [png(1)]
    assert "trap" in source.skipped[0].reason


def test_of_two_files_of_one_name_the_later_counts(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "a.png", png(1))
        add(archive, "a.png", png(2))
    source = open_source(path)
    assert [item.value for item in source] == [png(2)]
    assert "follows" in source.skipped[0].reason


def test_a_name_that_is_no_text_is_skipped(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "a.png", png(1))
        add(archive, "\udcff.png", png(2))
    source = open_source(path)
    assert [item.value for item in source] == [png(1)]
    assert "rename it" in source.skipped[0].reason


def test_a_sample_reads_only_what_was_drawn(archive):
    items = list(open_source(archive).sample(2, np.random.default_rng(0)))
    assert [read_value(item.key) for item in items] == [item.value for item in items]
    assert len(items) == 2


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_what_is_no_archive_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(InputError, match="damaged or not an archive"):
        open_source(tmp_path / name)


def test_an_archive_without_images_is_refused(archive):
    make(archive, {"a.txt": b"text"})
    with pytest.raises(InputError, match=r"No images in .*1 other file ignored \(1 .txt\)"):
        open_source(archive)


def test_what_means_nothing_for_an_archive_is_refused(archive):
    with pytest.raises(UsageError, match="key_prefix"):
        open_source(archive, key_prefix="a")
    with pytest.raises(InputError, match="vectors"):
        open_source(archive, kind="vectors")
    with pytest.raises(InputError, match=f"give {archive}"):
        open_source(archive / "photos/cat/1.png")


def test_a_missing_file_in_an_archive_is_named(archive):
    with pytest.raises(InputError, match="There is no file b.png"):
        read_value(f"{archive}/b.png")


def test_what_lies_in_an_archive_goes_with_it(archive):
    key = f"{archive}/photos/cat/1.png"
    assert not is_gone(key)
    assert ImageArchive(str(archive), str(archive)).holds(key)
    assert not ImageArchive(str(archive), str(archive)).holds(f"{archive}/x.png")
    archive.unlink()
    assert is_gone(key)


def test_an_archive_is_indexed_pruned_and_its_outliers_found(tmp_path):
    random = np.random.default_rng(0)

    def picture():
        buffer = io.BytesIO()
        Image.fromarray(random.integers(256, size=(8, 8), dtype=np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    files = {f"{'ab'[n % 2]}/{n}.png": picture() for n in range(40)}
    files["a/broken.png"] = b"no image"
    path = make_zip(tmp_path / "p.zip", files)
    index = hashret.create(tmp_path / "i", path, n_bits=16, epochs=1, random_state=0)
    assert len(index) == 40
    key = f"{path}/b/7.png"
    assert index.query(key, limit=None, radius=0, where="label = 'b'")
    assert index[key].location == key
    outliers = index.outliers(limit=3)
    assert (outliers.measured, outliers.skipped) == (40, [])
    (tmp_path / "other.png").write_bytes(picture())
    report = index.add(tmp_path / "other.png")
    assert index.add(tmp_path, prune=True).pruned == 0
    del files["b/7.png"]
    report = index.add(make_zip(path, files), prune=True)
    assert (report.pruned, report.unchanged) == (1, 39)
    path.unlink()
    assert index.add(tmp_path, prune=True).pruned == 39


@pytest.mark.parametrize(("kept", "files"), [(4 * 1024, 4), (4 * 1024 + 700, 5)])
def test_a_tar_that_is_cut_is_told_and_prunes_nothing(tmp_path, kept, files):
    path = make_tar(tmp_path / "a.tar", {f"{n}.png": png(n) for n in range(8)})
    with hashret.create(tmp_path / "i", path, hasher=RandomHyperplanes(8)) as index:
        path.write_bytes(path.read_bytes()[:kept])
        report = index.add(path, prune=True)
        assert report.skipped[0].reason.startswith(f"ends after {files} files")
        assert report.pruned == 0
        assert len(index) == 8


def test_what_is_no_longer_in_a_whole_archive_is_pruned(archive):
    make(archive, {f"{n}.png": png(n) for n in range(8)})
    with hashret.create(archive.parent / "i", archive, hasher=RandomHyperplanes(8)) as index:
        make(archive, {f"{n}.png": png(n) for n in range(3)})
        assert index.add(archive, prune=True).pruned == 5
