# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Visual tokens on disk: what was written is read, and nothing else."""

import json
import shutil

import hypothesis
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest

from pali.data.visual_token_store import ENTRY, Origin, Store, Writer, decode_row, encode_rows

TOKENS, WIDTH = 3, 5


def origin(dtype="bfloat16", params="a"):
    return Origin(params, "{}", TOKENS, WIDTH, dtype)


def key(number):
    return number.to_bytes(16, "big")


def tokens(*numbers):
    values = [np.random.default_rng(i).normal(size=(TOKENS, WIDTH)) for i in numbers]
    return np.stack(values).astype(np.float32)


def write(folder, *numbers, of=None):
    with Writer(folder, of or origin()) as writer:
        writer.add([key(i) for i in numbers], list(numbers), tokens(*numbers))


def shard(folder, suffix):
    (path,) = folder.glob(f"*.{suffix}")
    return path


def is_there(store, number):
    np.testing.assert_array_equal(
        store.tokens(store.find(key(number))), tokens(number)[0].astype(ml_dtypes.bfloat16)
    )


def test_rows_of_several_writers_are_found_by_their_keys(tmp_path):
    with Writer(tmp_path, origin()) as first, Writer(tmp_path, origin()) as second:
        for writer, numbers in ((first, (9, 2)), (second, (5, 2)), (first, (2**80 + 9,))):
            writer.add([key(i) for i in numbers], [i % 2**64 for i in numbers], tokens(*numbers))
        first.add_unusable(key(7), "picture", "7 is broken")
        store = Store(tmp_path, origin())  # While both go on.
    assert (store.count, store.lost) == (5, 0)
    for number in (9, 2, 5, 2**80 + 9):
        is_there(store, number)
    assert store.pixels(store.find(key(5))) == 5
    assert key(7) in store
    assert store.unusable[key(7)] == ("picture", "7 is broken")
    assert key(4) not in store
    assert store.find(key(2**80)) is None


@hypothesis.given(scale=st.floats(1e-20, 1e20), seed=st.integers(0, 9))
@hypothesis.settings(max_examples=20)
def test_the_error_is_what_the_stored_row_is_off(scale, seed):
    values = np.random.default_rng(seed).normal(size=(2, 7, 64)).astype(np.float32)
    values[1] *= np.float32(scale)
    values[0, 3] = 0
    for dtype, limit in (("bfloat16", 2**-8), ("int8", 0.012)):
        rows, errors = encode_rows(values, dtype)
        for row, value, error in zip(rows, values.astype(np.float64), errors, strict=True):
            kept = decode_row(row, dtype, 7)
            assert kept.dtype == ml_dtypes.bfloat16
            off = np.sqrt(((kept.astype(np.float64) - value) ** 2).sum() / (value**2).sum())
            np.testing.assert_allclose(error, off, rtol=1e-3)
            assert 0 < error < limit
            assert not kept[3].any() or value[3].any()
        assert rows.shape[1] == Origin("", "", 7, 64, dtype).row_bytes


def test_tokens_that_are_no_numbers_are_not_kept():
    values = tokens(1)
    values[0, 1, 2] = np.inf
    with pytest.raises(ValueError, match="visual tokens that are no numbers"):
        encode_rows(values, "int8")


@pytest.mark.parametrize("cut", [1, ENTRY.itemsize - 1])
def test_an_entry_that_the_writer_was_killed_over_was_not_written(tmp_path, cut):
    write(tmp_path, 1, 2)
    path = shard(tmp_path, "index")
    path.write_bytes(path.read_bytes()[:-cut])
    store = Store(tmp_path, origin())
    assert (store.count, store.lost) == (1, 0)
    is_there(store, 1)


def test_rows_that_are_gone_are_known_to_be_lost(tmp_path):
    write(tmp_path, 1, 2, 3)
    path = shard(tmp_path, "tokens")
    path.write_bytes(path.read_bytes()[: 2 * origin().row_bytes - 1])
    store = Store(tmp_path, origin())
    assert (store.count, store.lost) == (1, 2)
    is_there(store, 1)
    path.unlink()
    assert Store(tmp_path, origin()).lost == 3


def test_every_flipped_byte_is_noticed(tmp_path):
    write(tmp_path / "whole", 1, 2)
    for suffix in ("index", "tokens"):
        size = shard(tmp_path / "whole", suffix).stat().st_size
        for place in range(0, size, 3):
            shutil.copytree(tmp_path / "whole", tmp_path / "flipped")
            path = shard(tmp_path / "flipped", suffix)
            content = bytearray(path.read_bytes())
            content[place] ^= 0x10
            path.write_bytes(content)
            store = Store(tmp_path / "flipped", origin())
            there = [i for i in (1, 2) if key(i) in store]
            if suffix == "index":
                assert (len(there), store.lost) == (1, 1)
            else:
                damaged = 1 + place // origin().row_bytes
                with pytest.raises(ValueError, match=r"tokens is damaged: row \d .* Delete this"):
                    store.tokens(store.find(key(damaged)))
                there.remove(damaged)
            is_there(store, *there)
            shutil.rmtree(tmp_path / "flipped")


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path):
    write(tmp_path, 1, 2)
    store = Store(tmp_path, origin())
    shard(tmp_path, "tokens").write_bytes(b"")
    with pytest.raises(ValueError, match="is damaged: row 1"):
        store.tokens(store.find(key(2)))


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', "other"])
def test_a_folder_of_something_else_is_refused(tmp_path, text):
    with pytest.raises(FileNotFoundError, match="holds no visual tokens"):
        Store(tmp_path, origin())
    write(tmp_path, 1)
    if text == "other":
        said = json.loads((tmp_path / "cache.json").read_text())
        text = json.dumps(said | {"params": "b"})
    (tmp_path / "cache.json").write_text(text)
    with pytest.raises(ValueError, match="is damaged, or of other visual tokens"):
        Store(tmp_path, origin())


def test_each_origin_has_a_folder_of_its_own():
    others = [origin(), origin("int8"), origin(params="b"), Origin("a", "{ }", 3, 5, "int8")]
    assert len({one.name for one in others}) == 4


def test_a_long_shard_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr("pali.data.visual_token_store.SHARD_BYTES", 40)
    with Writer(tmp_path, origin()) as writer:
        for i in range(5):
            writer.add([key(i)], [i], tokens(i))
    assert len(list(tmp_path.glob("*.tokens"))) == 3
    store = Store(tmp_path, origin())
    for i in range(5):
        is_there(store, i)
