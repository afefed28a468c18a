# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""ViTs of big_vision and vit_jax, in files that NumPy alone wrote."""

import io
import re
import zipfile
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

from pali.checkpoints import big_vision, initial, merge, positions
from pali.config import MT5Config, PaLIConfig, PixelConfig, ViTConfig
from pali.models.vit import ViT

# Every size is another number.
D, N, M, PATCH, DEPTH, CLASSES = 6, 2, 10, 4, 3, 5
ATTENTION = "MultiHeadDotProductAttention_0"
CONFIG = ViTConfig(D, DEPTH, M, N, PATCH, image_size=12)


class Drawer:
    """Random arrays, none of them zero."""

    def __init__(self, dtype: Any = np.float32):
        self.rng, self.dtype = np.random.default_rng(0), dtype

    def __call__(self, *shape):
        return self.rng.normal(size=shape).astype(self.dtype)

    def dense(self, inputs, outputs):
        return {"kernel": self(*inputs, *outputs), "bias": self(*outputs)}

    def norm(self):
        return {"scale": self(D), "bias": self(D)}

    def attention(self):
        heads = {name: self.dense((D,), (N, D // N)) for name in ("query", "key", "value")}
        return heads | {"out": self.dense((N, D // N), (D,))}

    def mlp(self):
        return {"Dense_0": self.dense((D,), (M,)), "Dense_1": self.dense((M,), (D,))}

    def block(self):
        return {
            "LayerNorm_0": self.norm(),
            "MultiHeadDotProductAttention_0": self.attention(),
            "LayerNorm_1": self.norm(),
            "MlpBlock_0": self.mlp(),
        }

    def vit(self, positions=9):
        blocks = {f"encoderblock_{i}": self.block() for i in range(DEPTH)}
        return {
            "embedding": self.dense((PATCH, PATCH, 3), (D,)),
            "pos_embedding": self(1, positions, D),
            "Transformer": {**blocks, "encoder_norm": self.norm()},
        }

    def map_head(self):
        attention = {"MultiHeadDotProductAttention_0": self.attention()}
        return {"probe": self(1, 1, D), "LayerNorm_0": self.norm(), "MlpBlock_0": self.mlp()} | (
            attention
        )

    def head(self, outputs=CLASSES):
        return self.dense((D,), (outputs,))


def flat(tree, above=""):
    named = {}
    for key, value in tree.items():
        named |= flat(value, f"{above}{key}/") if isinstance(value, dict) else {above + key: value}
    return named


def stacked(vit):
    """As big_vision has it with `scan=True`."""
    blocks = [flat(vit["Transformer"][f"encoderblock_{i}"]) for i in range(DEPTH)]
    stack = {name: np.stack([block[name] for block in blocks]) for name in blocks[0]}
    return vit | {
        "Transformer": {
            "encoderblock": stack,
            "encoder_norm": vit["Transformer"]["encoder_norm"],
        }
    }


def save(path, tree, write=np.savez):
    write(path, **flat(tree))
    return path


def assert_holds(component, tree, config):
    expected = flat(tree)
    assert component.config == config
    assert component.tensors.keys() == expected.keys()
    for name, tensor in component.tensors.items():
        wanted = expected[name]
        assert (tensor.shape, tensor.dtype) == (wanted.shape, wanted.dtype), name
        for _ in range(2):  # it can be read again
            got = tensor.read()
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), name
            assert got.tobytes() == wanted.tobytes(), name
    # And these are names and shapes of the model.
    picture = np.zeros((1, *config.image_shape, 3), np.uint8)
    model = jax.eval_shape(ViT(config).init, jax.random.key(0), picture)["params"]
    merge.check_shapes(component.tensors, merge.flatten(model))


def with_(config, **changes):
    return ViTConfig(**{**vars(config), **changes})


SIGLIP = with_(CONFIG, pool="map")
MT5 = MT5Config(512, 16, 32, 2, 8, 1, 1)


def test_a_model_that_prepares_pictures_otherwise_takes_it_when_told_to_do_the_same(tmp_path):
    draw = Drawer()
    tower = {"params": {"img": draw.vit() | {"MAPHead_0": draw.map_head()}}}
    path = save(tmp_path / "siglip.npz", tower, np.savez)
    bicubic = with_(SIGLIP, pixels=PixelConfig(resample="bicubic"))
    with pytest.raises(ValueError, match="resample='bilinear'.* not .*resample='bicubic'"):
        initial.take_half(path, "vit", PaLIConfig(bicubic, MT5))
    as_npz_has_it = PaLIConfig(with_(bicubic, pixels=PixelConfig()), MT5)
    assert initial.take_half(path, "vit", as_npz_has_it).count > 0


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_the_image_tower_of_siglip_is_read(tmp_path, write):
    draw = Drawer()
    image = draw.vit() | {"MAPHead_0": draw.map_head()}
    text = {"Embed_0": {"embedding": draw(7, D)}, "Encoder_0": {"encoder_norm": draw.norm()}}
    towers = {"params": {"img": image, "txt": text, "t": draw(1), "b": draw(1)}}
    component = big_vision.read(save(tmp_path / "siglip.npz", towers, write))
    assert_holds(component, image, SIGLIP)
    assert component.origin == f"ViT of big_vision in {tmp_path / 'siglip.npz'}"
    assert component.tokenizer is None
    assert set(component.unused) == {
        *("params/txt/Embed_0/embedding", "params/t", "params/b"),
        *("params/txt/Encoder_0/encoder_norm/scale", "params/txt/Encoder_0/encoder_norm/bias"),
    }


def test_stacked_layers_are_separated_and_slots_passed_over(tmp_path):
    draw = Drawer()
    image = draw.vit() | {"MAPHead_0": draw.map_head()}
    file = {"params": {"img": stacked(image)}, "opt": {"0": {"mu": {"img": draw.vit()}}}}
    component = big_vision.read(save(tmp_path / "scanned.npz", file))
    assert_holds(component, image, SIGLIP)
    assert all(name.startswith("opt/0/mu/img/") for name in component.unused)


def test_the_projection_of_paligemma_is_no_part_of_the_vit(tmp_path):
    draw = Drawer()
    image = draw.vit()
    towers = {"img": stacked(image) | {"head": draw.head(9)}, "llm": {"final_norm": draw.norm()}}
    component = big_vision.read(save(tmp_path / "paligemma.npz", {"params": towers}))
    assert_holds(component, image, CONFIG)
    assert component.unused == (
        *("params/img/head/bias", "params/img/head/kernel"),
        *("params/llm/final_norm/bias", "params/llm/final_norm/scale"),
    )


def test_a_classifier_on_the_pooling_head(tmp_path):
    draw = Drawer()
    vit = draw.vit() | {"MAPHead_0": draw.map_head(), "head": draw.head()}
    component = big_vision.read(save(tmp_path / "vit.npz", {"params": vit}))
    assert_holds(component, vit, with_(SIGLIP, num_classes=CLASSES))
    assert component.unused == ()


def test_bfloat16_stays_bfloat16(tmp_path):
    """NumPy writes it as two bytes of it knows not what."""
    draw = Drawer(ml_dtypes.bfloat16)
    vit = draw.vit() | {"cls": draw(1, 1, D)}
    path = save(tmp_path / "half.npz", {"params": stacked(vit)})
    with np.load(path) as file:
        assert file["params/cls"].dtype == np.dtype("V2")
    assert_holds(big_vision.read(path), vit, with_(CONFIG, class_token=True))


TOKEN = with_(CONFIG, class_token=True, pool="token", num_classes=CLASSES)


@pytest.mark.parametrize("place", ["", "opt/target/"])
@pytest.mark.parametrize("pre_logits", [True, False])
def test_files_of_vit_jax_are_read(tmp_path, place, pre_logits):
    draw = Drawer()
    vit = draw.vit(positions=10) | {"cls": draw(1, 1, D), "head": draw.head()}
    if pre_logits:
        vit["pre_logits"] = draw.dense((D,), (D,))
    old = {**vit, "Transformer": {"encoder_norm": vit["Transformer"]["encoder_norm"]}}
    for i in range(DEPTH):
        block = vit["Transformer"][f"encoderblock_{i}"]
        old["Transformer"][f"encoderblock_{i}"] = {
            "LayerNorm_0": block["LayerNorm_0"],
            "MultiHeadDotProductAttention_1": block["MultiHeadDotProductAttention_0"],
            "LayerNorm_2": block["LayerNorm_1"],
            "MlpBlock_3": block["MlpBlock_0"],
        }
    places = old.pop("pos_embedding")
    old["Transformer"]["posembed_input"] = {"pos_embedding": places}
    np.savez(tmp_path / "augreg.npz", **{place + name: a for name, a in flat(old).items()})
    expected = vit | {"cls": vit["cls"] + places[:, :1], "pos_embedding": places[:, 1:]}
    component = big_vision.read(tmp_path / "augreg.npz")
    assert_holds(component, expected, with_(TOKEN, pre_logits=pre_logits))
    assert component.unused == ()


def test_the_sum_of_class_token_and_its_position_keeps_all_digits(tmp_path):
    draw = Drawer(ml_dtypes.bfloat16)
    vit = draw.vit(positions=10) | {"cls": draw(1, 1, D)}
    cls, first = (a.astype(np.float32) for a in (vit["cls"], vit["pos_embedding"][:, :1]))
    expected = vit | {"cls": cls + first, "pos_embedding": vit["pos_embedding"][:, 1:]}
    path = save(tmp_path / "half.npz", {"params": vit})
    assert_holds(big_vision.read(path), expected, with_(CONFIG, class_token=True))


def test_a_class_token_without_a_position_is_left_as_it_is(tmp_path):
    draw = Drawer()
    vit = draw.vit() | {"cls": draw(1, 1, D), "head": draw.head()}
    assert_holds(big_vision.read(save(tmp_path / "vit.npz", {"params": vit})), vit, TOKEN)


@pytest.mark.parametrize("class_token", [False, True])
def test_positions_that_are_no_square_are_refused(tmp_path, class_token):
    draw = Drawer()
    vit = draw.vit(positions=8) | ({"cls": draw(1, 1, D)} if class_token else {})
    path = save(tmp_path / "wide.npz", {"params": vit})
    with pytest.raises(ValueError, match=r"its 8 positions are no square .*s.resample does"):
        big_vision.read(path)


def test_as_that_message_says_a_square_can_be_made_of_them(tmp_path):
    vit = Drawer().vit(positions=8)
    vit["pos_embedding"] = positions.resample(vit["pos_embedding"], (3, 3), (2, 4))
    assert_holds(big_vision.read(save(tmp_path / "vit.npz", {"params": vit})), vit, CONFIG)


def test_a_square_grid_with_a_class_token(tmp_path):
    draw = Drawer()
    vit = draw.vit(positions=9) | {"cls": draw(1, 1, D)}  # not 2 x 4 and the class token
    path = save(tmp_path / "vit.npz", {"params": vit})
    assert_holds(big_vision.read(path), vit, with_(CONFIG, class_token=True))


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    path = save(tmp_path / "vit.npz", {"params": Drawer().vit()})
    component = big_vision.read(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("params/embedding/kernel.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + info.compress_size] ^= 1
    path.write_bytes(content)
    component.tensors["pos_embedding"].read()
    with pytest.raises(ValueError, match=r"is damaged: params/embedding/kernel\.npy cannot be"):
        component.tensors["embedding/kernel"].read()


def test_pickled_objects_are_refused(tmp_path):
    class Dangerous:
        def __reduce__(self):
            return (pytest.fail, ("this was unpickled",))

    draw = Drawer()
    tree = {"params": draw.vit() | {"extra": np.array([Dangerous()], dtype=object)}}
    path = save(tmp_path / "vit.npz", tree)
    with pytest.raises(ValueError, match=r"params/extra\.npy holds pickled Python objects"):
        big_vision.read(path)


def test_what_is_no_vit_is_explained(tmp_path):
    path = save(tmp_path / "mixer.npz", {"params": {"stem": {"kernel": np.ones(3)}}})
    with pytest.raises(ValueError, match="holds no ViT that pali knows.*It holds params/stem/ker"):
        big_vision.read(path)
    vit = Drawer().vit()
    del vit["pos_embedding"]
    with pytest.raises(ValueError, match="it lacks pos_embedding"):
        big_vision.read(save(tmp_path / "sincos.npz", {"params": vit}))
    vit = Drawer().vit()
    vit["embedding"]["kernel"] = np.ones((4, 2, 3, D), np.float32)
    with pytest.raises(ValueError, match="its patches are 4 x 2 pixels of 3 channels"):
        big_vision.read(save(tmp_path / "oblong.npz", {"params": vit}))
    vit["embedding"]["kernel"] = np.ones((48, D), np.float32)
    with pytest.raises(ValueError, match=r"embedding/kernel has shape \(48, 6\), not 4 axes with"):
        big_vision.read(save(tmp_path / "flat.npz", {"params": vit}))


def test_what_is_no_archive_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no .*nowhere"):
        big_vision.read(tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match="gcloud storage cp"):
        big_vision.read("gs://big_vision/siglip/webli_en_b16_224_63724782.npz")
    with pytest.raises(ValueError, match="is a folder, not the .npz archive"):
        big_vision.read(tmp_path)
    path = save(tmp_path / "vit.npz", {"params": Drawer().vit()})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not the .npz archive.*or it is damaged"):
        big_vision.read(path)


@pytest.mark.parametrize(
    "dtype",
    [
        *("i1", "u1", "i2", "u2", "i4", "i8", "?", "c8", "V1", "V4", "U3", "S2", "M8[s]", "m8[s]"),
        *([("x", "i1"), ("y", "i1")], [("x", "f4")]),
    ],
)
def test_what_is_no_weight_is_harmless_until_it_is_read(tmp_path, dtype):
    vit = Drawer().vit()
    vit["embedding"]["bias"] = np.zeros(D, dtype)
    tensors = big_vision.read(save(tmp_path / "vit.npz", {"params": vit})).tensors
    stored = re.escape(f"params/embedding/bias.npy in {tmp_path / 'vit.npz'} is stored as")
    with pytest.raises(ValueError, match=stored):
        tensors["embedding/bias"].read()
    tensors["embedding/kernel"].read()


@pytest.mark.parametrize("kind", [">f4", ">f8", "f8", "f2"])
def test_other_floating_point_is_read(tmp_path, kind):
    vit = Drawer().vit()
    vit["embedding"]["bias"] = vit["embedding"]["bias"].astype(kind)
    tensor = big_vision.read(save(tmp_path / "vit.npz", {"params": vit})).tensors["embedding/bias"]
    np.testing.assert_array_equal(tensor.read(), vit["embedding"]["bias"])


def test_two_vits_in_a_file_are_refused(tmp_path):
    towers = Drawer().vit() | {"img": Drawer().vit()}
    with pytest.raises(ValueError, match="holds several ViTs, at params/ and params/img/, and"):
        big_vision.read(save(tmp_path / "vit.npz", {"params": towers}))


@pytest.mark.parametrize("stack", [1, 0])
def test_layers_that_are_there_twice_are_refused(tmp_path, stack):
    vit = Drawer().vit()
    parts = {**vit["Transformer"], **stacked(vit)["Transformer"]}
    vit["Transformer"] = dict(list(parts.items())[:: 1 if stack else -1])
    with pytest.raises(ValueError, match=r"holds both .*/encoderblock/.* and .*/encoderblock_0/"):
        big_vision.read(save(tmp_path / "vit.npz", {"params": vit}))


def test_modules_of_two_numberings_are_refused(tmp_path):
    vit = Drawer().vit()
    block = vit["Transformer"]["encoderblock_1"]
    block["LayerNorm_2"] = block["LayerNorm_1"]
    with pytest.raises(ValueError, match="two arrays that are both Transformer/encoderblock_1/Lay"):
        big_vision.read(save(tmp_path / "vit.npz", {"params": vit}))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("cls", (), r"cls has shape \(\), not \(1, 1, 6\)"),
        ("cls", (1,), r"cls has shape \(1,\), not \(1, 1, 6\)"),
        ("cls", (D,), r"cls has shape \(6,\), not \(1, 1, 6\)"),
        ("cls", (1, 1, 1), r"cls has shape \(1, 1, 1\), not \(1, 1, 6\)"),
        ("pos_embedding", (2, 9, D), r"pos_embedding has shape \(2, 9, 6\), not \(1, pos"),
        ("pos_embedding", (1, 9, 1), r"pos_embedding has shape \(1, 9, 1\), not \(1, pos"),
        ("pos_embedding", (1, 0, D), r"pos_embedding has shape \(1, 0, 6\), not 3 axes with"),
        ("embedding/kernel", (0, 0, 3, D), r"kernel has shape \(0, 0, 3, 6\), not 4 axes with"),
        ("embedding/kernel", (D,), r"embedding/kernel has shape \(6,\), not 4 axes"),
        ("Transformer/encoderblock_0/MlpBlock_0/Dense_0/kernel", (D,), r"\(6,\), not 2 axes"),
        (f"Transformer/encoderblock_0/{ATTENTION}/query/kernel", (D,), r"\(6,\), not 3 axes"),
        (f"Transformer/encoderblock_0/{ATTENTION}/query/kernel", (D, 0, 3), "not 3 axes with"),
        (f"Transformer/encoderblock_0/{ATTENTION}/query/kernel", (D, 4, 3), "4 does not divide"),
        ("head/kernel", (D,), r"head/kernel has shape \(6,\), not 2 axes"),
        ("Transformer/encoderblock/MlpBlock_0/x", (), r"has shape \(\), which is no stack"),
        ("Transformer/encoderblock/MlpBlock_0/x", (10_001,), r"\(10001,\), which is no stack"),
    ],
)
def test_shapes_of_no_vit_are_refused(tmp_path, name, shape, message):
    draw = Drawer()
    vit = draw.vit(positions=10) | {"cls": draw(1, 1, D), "head": draw.head()}
    arrays = flat(vit) | {name: np.ones(shape, np.float32)}
    with pytest.raises(ValueError, match=rf"vit.npz.*{message}"):
        big_vision.read(save(tmp_path / "vit.npz", {"params": arrays}))


# Archives that are damaged, or made to deceive.


def member(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def packed(path, changes, **settings):
    """A ViT's archive in which some members are other bytes."""
    arrays = {f"params/{name}.npy": member(a) for name, a in flat(Drawer().vit()).items()}
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name, content in [*(arrays | changes).items()]:
            archive.writestr(name, content)
    return path


BIAS = "params/embedding/bias.npy"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\x93NUMPY", b"nothing", member(np.ones(D, np.float32))[:-1]),
        member(np.ones(D, np.float32)) + b"more",
        member(np.ones(D, np.float32)).replace(b"(6,)", b"(-6,"),
        member(np.ones(D, np.float32)).replace(b"(6,), }          ", b"(1000000000000,)}"),
        member(np.ones(D, np.float32)).replace(b"'<f4'", b"'<x4'"),
        member(np.ones(D, np.float32)).replace(b"{", b"["),
    ],
)
def test_a_damaged_array_is_named(tmp_path, content):
    path = packed(tmp_path / "vit.npz", {BIAS: content})
    with pytest.raises(ValueError, match=rf"vit.npz is damaged: {BIAS} (cannot be read|has )"):
        big_vision.read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", [BIAS, BIAS.removesuffix(".npy")])
def test_two_members_of_one_name_are_refused(tmp_path, again):
    path = packed(tmp_path / "vit.npz", {})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(again, member(np.zeros(D, np.float32)))
    with pytest.raises(ValueError, match="two arrays that are both params/embedding/bias,"):
        big_vision.read(path)


@pytest.mark.parametrize(("place", "value"), [("flag_bits", 1), ("compress_type", 97)])
def test_what_numpy_never_packs_is_refused(tmp_path, place, value):
    path = packed(tmp_path / "vit.npz", {})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(signature, bytes(content)):
            content[found.start() + offset + (2 if place == "compress_type" else 0)] = value
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"vit.npz: params/.*npy is encrypted, or packed as NumPy"):
        big_vision.read(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_to_any_kind_of_packing_is_said(tmp_path, method):
    path = packed(tmp_path / "vit.npz", {}, compression=method)
    assert big_vision.read(path).config == CONFIG
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(BIAS).header_offset + 30 + len(BIAS)
    content = bytearray(path.read_bytes())
    content[start : start + 30] = bytes(range(100, 130))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"vit.npz is damaged: {BIAS} cannot be read"):
        big_vision.read(path)


def test_a_damaged_list_of_arrays_is_said(tmp_path):
    path = packed(tmp_path / "vit.npz", {})
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02")
    path.write_bytes(content[:at] + b"XX" + content[at + 2 :])
    with pytest.raises(ValueError, match="vit.npz is damaged: its list of arrays cannot be read"):
        big_vision.read(path)
