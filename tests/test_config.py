# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pali.config import (
    Config,
    DataConfig,
    MT5Config,
    OptimConfig,
    PaLIConfig,
    ViTConfig,
    from_json,
    to_json,
)
from pali.models.presets import DEMO

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def demo(**changes):
    """The config of the embedded model, changed."""
    path = next(path for path in CONFIGS if path.stem == "demo")
    return dataclasses.replace(load(path).get_config(), **changes)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_file_survives_json_and_opens_with_its_command(path):
    module = load(path)
    variants = getattr(module, "VARIANTS", ())
    configs = [module.get_config(), *map(module.get_config, variants)]
    for config in configs:
        assert from_json(Config, to_json(config)) == config
    assert not variants or configs[0] in configs[1:]
    assert f"pali train configs/{path.name}" in module.__doc__


def test_an_int_in_json_is_a_float_where_one_is_due():
    text = to_json(Config(model=DEMO, data=DataConfig("x"))).replace('"z_loss": 0.0', '"z_loss": 0')
    assert isinstance(from_json(Config, text).z_loss, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widht": 8}, "ViTConfig has no field 'widht'; did you mean 'width'?"),
        ({"depth": "two"}, "ViTConfig.depth is 'two'; it must be of type int"),
        ({"depth": True}, "ViTConfig.depth is True"),
        (
            {"pool": "mean"},
            r"ViTConfig.pool is 'mean'; it must be one of \('none', 'map', 'token'\)",
        ),
        ({"scan": None}, "ViTConfig.scan is None"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(change, message):
    fields = json.loads(to_json(DEMO.vit)) | change
    with pytest.raises(ValueError, match=message):
        from_json(ViTConfig, json.dumps(fields))


def test_rematerialisation_before_it_had_names_is_understood():
    fields = json.loads(to_json(DEMO))
    fields["vit"]["remat"], fields["mt5"]["remat"] = False, True
    config = from_json(PaLIConfig, json.dumps(fields))
    assert (config.vit.remat, config.mt5.remat) == ("none", "full")


def test_a_missing_field_is_named_by_its_path():
    fields = json.loads(to_json(DEMO))
    del fields["mt5"]["head_dim"]
    with pytest.raises(ValueError, match="PaLIConfig.mt5 lacks head_dim"):
        from_json(PaLIConfig, json.dumps(fields))
    with pytest.raises(ValueError, match="must be an object with the fields of MT5Config"):
        from_json(PaLIConfig, json.dumps(fields | {"mt5": 3}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 100}, "the nearest sizes are 96 and 108"),
        ({"image_size": 11, "cut_rest": True}, "the nearest sizes are 12"),
        ({"num_heads": 5}, "num_heads 5 does not divide width 192"),
        ({"pool": "none"}, 'num_classes 343 needs pool="map"'),
        ({"remat": "dot"}, "remat is 'dot'; did you mean 'dots'? There are none, dots, mi"),
        ({"remat": "save"}, "remat is 'save'; there are none, dots, minimal, full, every"),
    ],
)
def test_an_impossible_vit_is_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        dataclasses.replace(DEMO.vit, **change)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MT5Config(387, 16, 32, 2, 0, 1, 1), "head_dim is 0; it must be at least 1"),
        (
            lambda: MT5Config(387, 16, 32, 2, 8, 1, 1, relative_max_distance=16),
            "relative_max_distance is 16; it must be at least 17",
        ),
        (lambda: DataConfig("m", batch_size=-4), "batch_size is -4; it must be at least 1"),
        (
            lambda: DataConfig("m", inputs_length=16, targets_length=24, short=((8, 8), (17, 4))),
            "short has (17, 4); prompt and target lengths must be from 1 to (16, 24)",
        ),
        (lambda: DataConfig("m", short=((8, 0),)), "short has (8, 0); prompt and target"),
        (lambda: demo(weigh="targets", contrast_weight=-1.0), "contrast_weight is -1.0"),
        (lambda: demo(class_weight=math.inf), "class_weight is inf; it must be finite"),
        (lambda: OptimConfig(learning_rate=math.nan), "learning_rate is nan; it must be finite"),
        (lambda: OptimConfig(b2=1.0), "b2 is 1.0; it must be at least 0 and below 1"),
        (
            lambda: OptimConfig(clip_norm=0.0),
            "clip_norm is 0.0; it must be finite and above 0",
        ),
        (lambda: OptimConfig("adafactor", weight_decay=0.1), "weight_decay is 0.1; Adafactor"),
        (lambda: demo(accumulate=7), "accumulate 7 does not divide data.batch_size"),
        (lambda: demo(accumulate=2, contrast_weight=0.1), "contrast_weight compares each picture"),
        (lambda: demo(steps=0), "steps is 0; it must be at least 1"),
        (lambda: demo(log_every=0), "log_every is 0; it must be at least 1"),
        (lambda: demo(keep_checkpoints=0), "keep_checkpoints is 0"),
        (lambda: DataConfig("m", visual_token_views=2), "views 2 are kept in visual_token_cache"),
        (lambda: demo(seed=2**32), "seed is 4294967296; it must be at least 0 and below"),
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("name", ["class_weight", "contrast_weight", "patch_weight"])
def test_what_teaches_the_vit_needs_pixels(name):
    assert demo(data=DataConfig("m"), **{name: 0.5})
    with pytest.raises(ValueError, match=f"{name} teaches the ViT, and needs pictures as pixels"):
        demo(data=DataConfig("m", visual_token_cache="folder"), **{name: 0.5})


def test_the_vit_alone_has_patches_beside_its_classes_and_nothing_else():
    assert demo(data=DataConfig("m"), objective="classify", patch_weight=0.5)
    for name in ("class_weight", "contrast_weight"):
        with pytest.raises(ValueError, match=f'{name} is of objective "generate"'):
            demo(data=DataConfig("m"), objective="classify", **{name: 0.5})


def test_classes_need_a_head():
    model = dataclasses.replace(DEMO, vit=dataclasses.replace(DEMO.vit, num_classes=0, pool="none"))
    with pytest.raises(ValueError, match='class_weight needs a ViT with pool="map"'):
        demo(data=DataConfig("m"), model=model, class_weight=0.5)


def test_short_lengths_survive_json():
    config = demo(data=DataConfig("m", short=((8, 4), (16, 9))))
    assert from_json(Config, to_json(config)) == config
    text = to_json(config).replace('"inputs_length": 16', '"inputs_length": 15')
    with pytest.raises(ValueError, match=r"^Config\.data: short has \(16, 9\)"):
        from_json(Config, text)
    data = json.loads(to_json(config.data)) | {"short": [[8, 4, 2]]}
    with pytest.raises(ValueError, match=r"short\[0\] is \[8, 4, 2\]; it must have 2 elements"):
        from_json(DataConfig, json.dumps(data))


def test_an_impossible_number_in_json_is_named_by_its_path():
    text = to_json(demo()).replace('"head_dim": 64', '"head_dim": 0')
    with pytest.raises(ValueError, match=r"^Config\.model\.mt5: head_dim is 0"):
        from_json(Config, text)


def test_configs_need_no_jax():
    code = "import sys, pali.config, pali.models.presets; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_config_of_an_mt5_alone_is_typed():
    assert from_json(MT5Config, to_json(DEMO.mt5)) == DEMO.mt5
