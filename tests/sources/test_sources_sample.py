import numpy as np
import pytest

from hashret.sources import open_source


@pytest.fixture
def sources(image_folder, idx_files, vectors):
    pairs = [(f"k{i}", vector, {"n": i}) for i, vector in enumerate(vectors)]
    return [
        open_source(image_folder),
        open_source(idx_files / "train-images-idx3-ubyte"),
        open_source(pairs),
        open_source(
            [idx_files / "train-images-idx3-ubyte", idx_files / "test-images-idx3-ubyte"],
            key_prefix="{stem}:",
        ),
    ]


def test_a_sample_holds_items_of_the_source_once_each_and_in_order(sources):
    for source in sources:
        keys = [item.key for item in source]
        drawn = list(source.sample(60, np.random.default_rng(0)))
        assert len(drawn) == 60
        places = [keys.index(item.key) for item in drawn]
        assert places == sorted(set(places))
        whole = {item.key: item for item in source}
        for item in drawn:
            assert np.array_equal(item.value, whole[item.key].value)
            assert item.fields == whole[item.key].fields


def test_a_sample_of_all_is_the_source(sources):
    for source in sources:
        drawn = [item.key for item in source.sample(10_000, np.random.default_rng(0))]
        assert drawn == [item.key for item in source]


def test_every_part_of_a_source_may_be_drawn(sources):
    for source in sources:
        keys = {
            item.key
            for seed in range(40)
            for item in source.sample(50, np.random.default_rng(seed))
        }
        assert len(keys) > source.length * 0.9
