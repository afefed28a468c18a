# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import io
import itertools
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import pali
from pali import generation, looking, prompts
from pali.decoding import LengthPenalty, score
from pali.generation import batches
from pali.image import ImageError, load_image
from pali.models.pali import PaLI
from pali.predict import Decoding, Text, VisualTokens


@pytest.fixture(scope="module")
def model(tiny_model):
    return pali.load(tiny_model)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
    return list(blocks.repeat(8, axis=1).repeat(8, axis=2))


def test_caption_of_one_picture_is_a_dict_by_language(model, pictures):
    captions = model.caption(pictures[0], langs=["sw", "Hindi", "en"])
    assert list(captions) == ["sw", "hi", "en"]
    for text in captions.values():
        assert isinstance(text, str)
        assert text.log_prob < 0
        assert 1 <= text.num_tokens <= 64


def test_captions_of_many_pictures_are_a_list_in_their_order(model, pictures):
    together = model.caption(pictures, "en,fr")
    apart = [model.caption(picture, "en,fr") for picture in pictures]
    assert together == apart
    assert len({captions["en"] for captions in together}) > 1, "pictures must matter here"


def test_languages_lead_to_different_answers(model, pictures):
    assert len(set(model.caption(pictures[0], "all").values())) > 1


def test_every_kind_of_picture(model, pictures, tmp_path):
    image = Image.fromarray(pictures[0])
    path = tmp_path / "a.png"
    image.save(path)
    expected = model.caption(pictures[0])
    assert list(expected) == ["en"]
    for one in (image, path, str(path), path.read_bytes()):
        assert model.caption(one) == expected
        assert model.caption([one]) == [expected]
    assert model.caption(np.stack(pictures[:2]))[0] == expected
    assert model.caption(path for _ in range(2)) == [expected, expected]
    assert model.caption([]) == []


def test_the_vit_runs_once_for_all_languages(model, pictures, monkeypatch):
    seen = []
    original = looking.see
    monkeypatch.setattr(looking, "see", lambda *args: seen.append(len(args[2])) or original(*args))
    model.caption(pictures[:2], "all")
    assert seen == [2]


def test_visual_tokens_can_be_reused(model, pictures):
    tokens = model.look(pictures[:3])
    assert isinstance(tokens, VisualTokens)
    assert len(tokens) == 3
    assert tokens.array.shape == (3, 16, 16)
    assert tokens.array.dtype == np.float32
    assert model.look(tokens) is tokens
    assert model.caption(tokens, "sw") == model.caption(pictures[:3], "sw")
    assert model.look([]).array.shape == (0, 16, 16)


def test_look_is_the_vit_on_the_resized_picture(model, pictures):
    pixels = jnp.asarray(load_image(pictures[0], 32))[None]
    expected = PaLI(model.config).apply({"params": model.params}, pixels, method="look")
    np.testing.assert_allclose(model.look(pictures[0]).array, expected, atol=1e-4)


def test_caption_is_generate_with_the_caption_prompt(model, pictures):
    captions = model.caption(pictures[0], "sw,th")
    texts = model.generate(pictures[0], [prompts.caption("sw"), prompts.caption("th")])
    assert texts == list(captions.values())


def test_log_prob_is_that_of_the_text_under_teacher_forcing(model, pictures):
    """The whole model at once, without a cache, finds each token the likeliest in its place."""
    prompt = prompts.caption("sw")
    (text,) = model.generate(pictures[0], prompt)
    batch = {
        "image": load_image(pictures[0], 32)[None],
        "image_mask": np.ones(1, bool),
        "encoder_input_tokens": np.array([[*model.tokenizer.encode(prompt), 1]]),
    }
    forward = jax.jit(lambda batch: PaLI(model.config).apply({"params": model.params}, batch))
    ids = np.zeros((1, 65), np.int32)
    for position in range(text.num_tokens):  # What follows a position does not change it.
        logits = forward(batch | {"decoder_input_tokens": ids[:, :-1]})
        ids[0, position + 1] = logits[0, position].argmax()
    targets = jnp.asarray(ids[:, 1:])
    assert targets[0, text.num_tokens - 1] == 1 or text.num_tokens == 64
    assert model.tokenizer.decode(targets[0].tolist()) == text
    assert text.log_prob == pytest.approx(float(score(logits, targets)[0]), abs=1e-3)


def test_generate_pairs_pictures_and_prompts(model, pictures):
    sw, th = prompts.caption("sw"), prompts.caption("th")
    paired = model.generate(pictures[:2], [sw, th])
    captions = model.caption(pictures[:2], "sw,th")
    assert paired == [captions[0]["sw"], captions[1]["th"]]
    assert model.generate(pictures[:2], th) == [c["th"] for c in captions]
    assert model.generate(pictures[0], [th, sw]) == [captions[0]["th"], captions[0]["sw"]]
    with pytest.raises(ValueError, match="3 pictures and 2 prompts"):
        model.generate(pictures[:3], [sw, th])


def test_max_length_cuts(model, pictures):
    (text,) = model.generate(pictures[0], prompts.caption("sw"), max_length=2)
    assert text.num_tokens <= 2


def test_long_and_short_prompts_mix(model, pictures):
    """Padding to the longest prompt of a batch changes no answer."""
    short, long = "a dog", "a dog and a cat " * 4
    together = model.generate(pictures[0], [short, long])
    assert together[0] == model.generate(pictures[0], short)[0]


def test_sampling_is_by_seed_and_not_by_batch(model, pictures):
    def draw(seed, images=pictures):
        return model.generate(
            images, "a dog", decoding=Decoding("sample", temperature=2.0, seed=seed)
        )

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(1, pictures[:3]) == draw(1)[:3]


def test_another_seed_compiles_nothing(model, pictures):
    def programs_after(seed):
        model.generate(pictures, "a dog", decoding=Decoding("sample", temperature=2.0, seed=seed))
        return generation._answer._cache_size()

    assert programs_after(seed=3) == programs_after(seed=4)


def test_beam_of_one_with_the_penalty_of_hugging_face_is_greedy(model, pictures):
    beam = Decoding("beam", beam_size=1, length_penalty=LengthPenalty("huggingface", 1.0))
    assert model.caption(pictures, "en", decoding=beam) == model.caption(pictures, "en")


def test_beam_search_finds_likelier_answers(model, pictures):
    beam = Decoding("beam", beam_size=4, length_penalty=LengthPenalty("t5x", 0.0))
    greedy = model.caption(pictures, "en")
    found = model.caption(pictures, "en", decoding=beam)
    gains = [a["en"].log_prob - b["en"].log_prob for a, b in zip(found, greedy, strict=True)]
    assert min(gains) > -1e-3
    assert max(gains) > 1e-3


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_captions_keep_to_so_many_characters(model, pictures, method):
    langs = ("en", "fr", "th", "zh", "ar", "hi")
    free = model.caption(pictures[0], langs, decoding=Decoding(method))
    most = max(map(len, free.values())) - 1
    short = model.caption(pictures[0], langs, decoding=Decoding(method, max_chars=most))
    assert max(map(len, short.values())) <= most


def test_real_captions_are_as_long_as_asked(pictures):
    model, langs = pali.load(), ("en", "de", "th", "zh", "ar", "hi")
    free = model.caption(pictures[0], langs)
    most = max(map(len, free.values())) - 1
    short = model.caption(pictures[0], langs, decoding=Decoding(max_chars=most))
    assert max(map(len, short.values())) <= most
    same = [lang for lang, text in free.items() if short[lang] == text]
    assert set(same) >= {lang for lang, text in free.items() if len(text) < most}
    long = model.caption(pictures[0], langs, decoding=Decoding(min_chars=most + 5))
    assert min(map(len, long.values())) >= most + 5


def test_captions_begin_as_asked_and_say_how_likely_that_was(model, pictures):
    plain = model.caption(pictures[0], "en")["en"]
    begun = model.caption(pictures[0], "en", decoding=Decoding(prefix="a red"))["en"]
    assert begun.startswith("a red")
    assert begun.log_prob < plain.log_prob
    (scores,) = model.rank(pictures[0], begun.prompt, [str(begun)])
    if tuple(model.tokenizer.encode(begun)) == begun.tokens[:-1]:
        assert begun.log_prob == pytest.approx(scores[0], abs=1e-3)
    with pytest.raises(ValueError, match="'a red thing' has 3 tokens|'a red thing' has"):
        model.generate(
            pictures[0], plain.prompt, max_length=2, decoding=Decoding(prefix="a red thing")
        )


def test_nothing_is_said_twice_where_that_is_forbidden(model, pictures):
    decoding = Decoding(min_length=20, no_repeat_ngram=2)
    (text,) = model.generate(pictures[0], "a dog and a cat", decoding=decoding)
    pairs = list(itertools.pairwise(text.tokens))
    assert len(pairs) >= 20
    assert len(set(pairs)) == len(pairs)
    loose = model.generate(pictures[0], "a dog and a cat", decoding=Decoding(min_length=20))
    pairs = list(itertools.pairwise(loose[0].tokens))
    assert len(set(pairs)) < len(pairs)


def test_the_best_of_several_answers_comes_first(model, pictures):
    beam = Decoding("beam", beam_size=4, length_penalty=LengthPenalty("huggingface", 0.0))
    best = model.caption(pictures, "en", decoding=dataclasses.replace(beam, n_best=3))
    alone = model.caption(pictures, "en", decoding=beam)
    for several, one in zip(best, alone, strict=True):
        first = several["en"]
        assert (first, first.tokens) == (one["en"], one["en"].tokens)
        every = [first, *first.others]
        assert len({text.tokens for text in every}) == 3
        assert [text.log_prob for text in every] == sorted(
            (text.log_prob for text in every), reverse=True
        )
        assert {text.prompt for text in every} == {first.prompt}
    drawn = Decoding("sample", temperature=2.0, n_best=5)
    (text,) = model.generate(pictures[0], "a dog", decoding=drawn)
    every = [text, *text.others]
    assert len(every) == 5
    assert text.log_prob == max(other.log_prob for other in every) > every[-1].log_prob


def test_confidence_is_the_mean_probability_of_a_token(model, pictures):
    text = model.caption(pictures[0], "en")["en"]
    assert text.confidence == pytest.approx(np.exp(text.log_prob / len(text.tokens)))
    assert 0 < text.confidence <= 1
    assert generation.Text("nobody wrote this").confidence == 0


def test_a_bad_picture_is_named(model, pictures, tmp_path):
    with pytest.raises(ImageError, match=r"no\.png: no such file"):
        model.caption([pictures[0], tmp_path / "no.png"])
    with pytest.raises(ImageError, match="picture 2 is not a picture but a text file"):
        model.caption([pictures[0], b"hello"])


def test_unknown_languages(model, pictures):
    with pytest.raises(
        ValueError, match=r"unknown language 'swahilli'; did you mean Swahili \(sw\)"
    ):
        model.caption(pictures[0], "swahilli")
    with pytest.raises(ValueError, match=r"Quechua \(qu\) is not among"):
        model.caption(pictures[0], "qu")


def test_batches_cover_every_row_once_with_little_filler():
    for total in range(300):
        covered = []
        for start, count, size in batches(total):
            covered += range(start, start + count)
            assert 0 < count <= size <= 64
            assert size & (size - 1) == 0
            assert (size - count) * 4 <= size
        assert covered == list(range(total))
    assert list(batches(7)) == [(0, 7, 8)]
    assert list(batches(36)) == [(0, 32, 32), (32, 4, 4)]
    assert list(batches(100)) == [(0, 64, 64), (64, 32, 32), (96, 4, 4)]


def test_text_is_a_string_that_survives_pickling():
    text = Text("mbwa", log_prob=-0.5, tokens=[7, 1], prompt="a dog")
    copy = pickle.loads(pickle.dumps(text))
    assert copy == "mbwa"
    assert copy.log_prob == -0.5
    assert (copy.tokens, copy.num_tokens, copy.prompt) == ((7, 1), 2, "a dog")
    assert f"{text}" == "mbwa"
    assert repr(text) == "'mbwa'"


def test_params_are_where_jax_computes(model):
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(model.params))


def test_loading_and_captioning_import_nothing_heavy_and_keep_what_they_compile(
    tiny_model, tmp_path
):
    """Two fresh processes: the second compiles nothing, and neither imports the training stack."""
    picture = tmp_path / "a.png"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(picture)
    program = f"""
import sys, pali
assert "jax" not in sys.modules and "numpy" not in sys.modules, "import pali must be light"
from jax import monitoring
missed = []
monitoring.register_event_listener(lambda e, **_: missed.append(e) if "cache_misses" in e else None)
print(pali.load({str(tiny_model)!r}).caption({str(picture)!r}))
heavy = ("tensorflow", "seqio", "torch", "transformers", "optax", "orbax", "grain")
print([name for name in heavy if name in sys.modules], len(missed))
"""
    environment = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(done.stdout.splitlines())
        assert "[]" in outputs[-1][1], outputs[-1][1]
        assert done.stderr == ""
    assert outputs[0][0] == outputs[1][0]
    assert int(outputs[0][1].split()[-1]) > 0
    assert outputs[1][1].split()[-1] == "0"
    assert any((tmp_path / "pali" / "xla").iterdir())


def test_bytes_of_a_gif(model):
    buffer = io.BytesIO()
    Image.new("RGB", (5, 5)).save(buffer, "GIF")
    assert set(model.caption(buffer.getvalue(), "en,sw")) == {"en", "sw"}
