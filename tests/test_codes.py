import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hashret import codes
from hashret.errors import InputError, UsageError

bit_rows = st.integers(1, 16).flatmap(
    lambda n: hnp.arrays(np.uint8, (3, n * 8), elements=st.integers(0, 1))
)


@given(bit_rows)
def test_unpack_undoes_pack(bits):
    assert np.array_equal(codes.unpack(codes.pack(bits)), bits)


def test_bit_0_is_the_most_significant_bit_of_byte_0():
    assert codes.pack([1, *[0] * 15]).tolist() == [128, 0]


@given(bit_rows)
def test_hamming_counts_the_bits_that_differ(bits):
    packed = codes.pack(bits)
    expected = (bits[:, None, :] != bits[None, :, :]).sum(axis=2)
    assert np.array_equal(codes.hamming(packed[:, None], packed[None]), expected)
    assert len(codes.differing_bits(packed[0], packed[1])) == expected[0, 1]


@given(bit_rows, st.data())
def test_flipping_the_differing_bits_leads_from_one_code_to_the_other(bits, data):
    a, b = codes.pack(bits[0]), codes.pack(bits[1])
    assert np.array_equal(codes.flip(a, codes.differing_bits(a, b)), b)


@given(hnp.arrays(np.uint8, st.integers(1, 128)))
def test_hex_text_round_trip(code):
    assert np.array_equal(codes.from_hex(codes.to_hex(code), code.size * 8), code)


@pytest.mark.parametrize("text", ["", "0", "zz", "00ff00", "0x00ff"])
def test_other_text_is_no_code(text):
    with pytest.raises(InputError, match="hexadecimal"):
        codes.from_hex(text, 16)


@pytest.mark.parametrize("n_bits", [0, 7, 12, 1032, -8, 64.0, True, "64", None])
def test_other_lengths_are_refused(n_bits):
    with pytest.raises(UsageError, match="multiple of 8 from 8 to 1024"):
        codes.check_n_bits(n_bits)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 8)), "float64"),
        (np.zeros((2, 2, 8), np.uint8), r"\(2, 2, 8\)"),
        (np.zeros((2, 4), np.uint8), "64 bits, got 32"),
    ],
)
def test_arrays_that_are_no_codes_are_refused_by_name(array, message):
    with pytest.raises(InputError, match=message):
        codes.as_codes(array, 64)
