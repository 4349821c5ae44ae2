"""Samples: of the built-in text, of a file, and of what the model writes itself, by the model's own tokenizer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelpress.calibrate import samples, self_text
from modelpress.calibrate.default_text import Part
from modelpress.calibrate.samples import Samples, batches, load_samples, samples_of
from modelpress.calibrate.script import Script
from modelpress.domain.calibration import Calibration, CalibrationSource
from modelpress.errors import BadCalibration, BadSource, OutOfMemory, Unsupported
from modelpress.tensors.checkpoint import Document, open_checkpoint
from modelpress.tensors.folder import LocalFolder

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role') }}{% endif %}[{{ message.role }}]{{ message.content }}{% endfor %}"
)
SPECIAL = ("<bos>", "<eos>", "<pad>")
ROWS = 256 + len(SPECIAL)


def make_tokenizer(folder: Path, *, bos: bool = True, template: str | None = TEMPLATE) -> None:
    """A token for each byte; a beginning before every text if ``bos``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", chat_template=template
    )
    made.save_pretrained(folder)


def make_config(folder: Path, **told: Any) -> None:
    facts = {"model_type": "llama", "vocab_size": ROWS, "max_position_embeddings": 512, **told}
    (folder / "config.json").write_text(json.dumps(facts))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    make_tokenizer(folder)
    make_config(folder)
    return folder


@pytest.fixture
def little_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built-in text of a few documents."""
    parts = (
        Part(name="much", percent=40, documents=("m" * 3000, "m" * 1000)),
        Part(name="some", percent=30, documents=("s" * 1200,)),
        Part(name="little", percent=30, documents=("l" * 600,)),
    )
    monkeypatch.setattr(samples, "default_parts", lambda: parts)


def of_file(model: Path, *records: Any, count: int = 4, length: int = 40, field: str | None = None) -> Samples:
    path = model.parent / "data.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    calibration = Calibration(
        source=CalibrationSource.OBJECT, num_samples=count, max_length=length, text_field=field, object_path="-"
    )
    return load_samples(model, calibration, file=path)


def told(sample: np.ndarray[Any, np.dtype[np.int64]]) -> str:
    """A sample as text; ``^`` is the beginning, ``$`` the end."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    back: dict[str, str | int | None] = {"Ġ": " ", "Ċ": "\n"}
    return "".join(("^", "$", "_", *alphabet)[token] for token in sample).translate(str.maketrans(back))


# --- the built-in text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_the_built_in_text_has_all_its_parts_in_any_number_of_samples(model: Path, count: int) -> None:
    found = load_samples(model, Calibration(num_samples=count, max_length=500))
    assert [len(sample) for sample in found.ids] == [500] * count
    # Three bytes, so three tokens, a Chinese character; the share of Chinese is 30 % of all tokens, marks among them.
    chinese = found.coverage.scripts[Script.HAN] / found.coverage.tokens
    assert 0.18 < chinese < 0.34
    assert "Nearly all" not in " ".join(found.coverage.sentences())


@pytest.mark.usefixtures("little_text")
def test_the_same_text_and_model_give_the_same_samples_and_others_others(model: Path) -> None:
    digests = [
        load_samples(model, Calibration(num_samples=count, max_length=length)).digest
        for count, length in ((3, 64), (3, 64), (3, 65), (4, 64))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.usefixtures("little_text")
def test_built_in_text_that_is_used_up_ends_and_says_so(model: Path) -> None:
    found = load_samples(model, Calibration(num_samples=1000, max_length=101))
    letters = "".join(map(told, found.ids))
    counts = {letter: letters.count(letter) for letter in "msl"}
    assert counts["s"] == pytest.approx(1200, abs=100)
    assert counts["l"] == pytest.approx(1200, abs=100)
    assert counts["m"] == pytest.approx(1600, abs=100)
    assert "little was read 2.0 times over, to have its share." in found.coverage.notes


# --- files --------------------------------------------------------------------------------------------------


def test_documents_share_a_window_and_none_is_padded(model: Path) -> None:
    found = of_file(model, {"text": "aaaa"}, {"text": "bb"}, {"text": ""}, count=2, length=16)
    assert [told(sample) for sample in found.ids] in (["^aaaa^bb"], ["^bb^aaaa"])
    assert (found.coverage.documents, found.coverage.empty, found.coverage.truncated) == (2, 1, 0)


def test_without_a_beginning_documents_are_parted_by_the_end(model: Path) -> None:
    make_tokenizer(model, bos=False)
    found = of_file(model, {"text": "aaaa"}, {"text": "bb"}, count=1, length=16)
    assert told(found.ids[0]) in ("aaaa$bb", "bb$aaaa")


def test_each_document_gives_its_beginning_before_any_gives_more(model: Path) -> None:
    documents = [{"text": letter + letter.upper() * 38 + letter + "." * 78} for letter in "abcd"]
    found = of_file(model, *documents, count=3, length=40)
    assert sorted(told(sample)[1] for sample in found.ids) == sorted(set("abcd") & {told(s)[1] for s in found.ids})
    assert found.coverage.truncated == 3
    more = of_file(model, *documents, count=6, length=40)
    assert sum("." in told(sample) for sample in more.ids) == 2
    assert more.coverage.documents == 4


def test_conversations_are_written_as_the_model_knows_them_with_one_beginning(model: Path) -> None:
    talk = {"messages": [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "so"}]}
    assert told(of_file(model, talk).ids[0]) == "^[user]why?[assistant]so"
    make_tokenizer(model, bos=False, template=TEMPLATE.removeprefix("{{ bos_token }}"))
    assert told(of_file(model, talk, talk, count=1, length=100).ids[0]) == "[user]why?[assistant]so" * 2


def test_a_template_that_tells_the_day_tells_the_same_one_each_day(model: Path) -> None:
    make_tokenizer(model, template="{{ strftime_now('%d %b %Y') }}: {{ messages[0].content }}")
    assert told(of_file(model, {"messages": [{"role": "user", "content": "why?"}]}).ids[0]) == "^01 Jan 2025: why?"


def test_without_a_chat_template_the_messages_are_taken_as_text_which_is_told(model: Path) -> None:
    make_tokenizer(model, template=None)
    (model / "chat_template.jinja").unlink()
    talk = {"messages": [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "so"}]}
    found = of_file(model, talk)
    assert told(found.ids[0]) == "^why?\n\nso"
    assert "no chat template" in " ".join(found.coverage.sentences())


def test_a_conversation_that_the_template_refuses_is_told_with_its_line(model: Path) -> None:
    with pytest.raises(BadCalibration, match=r"line 1: the model's chat template refuses .*unknown role"):
        of_file(model, {"messages": [{"role": "nobody", "content": "?"}]})


def test_a_sample_is_no_longer_than_the_model_has_positions(model: Path) -> None:
    make_config(model, max_position_embeddings=20)
    found = of_file(model, {"text": "a" * 100}, count=2, length=50)
    assert [len(sample) for sample in found.ids] == [20, 20]
    assert "A sample has 20 tokens, not 50: the model has no more positions." in found.coverage.notes


def test_a_text_of_many_parts_loses_nothing_between_them(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelpress.calibrate import tokenizer

    monkeypatch.setattr(tokenizer, "_CHARACTERS_AT_ONCE", 7)
    text = "one line\n\nanother, longer line\nend"
    assert told(of_file(model, {"text": text}, count=1, length=100).ids[0]) == f"^{text}"


# --- the tokenizer ------------------------------------------------------------------------------------------


def test_models_without_a_tokenizer_are_refused_by_name(tmp_path: Path) -> None:
    make_config(tmp_path)
    with pytest.raises(Unsupported, match=r"the source has no tokenizer\.json"):
        load_samples(tmp_path, Calibration())
    (tmp_path / "model.gguf").touch()
    with pytest.raises(Unsupported, match="the source is a GGUF file"):
        load_samples(tmp_path, Calibration())


def test_broken_tokenizers_and_those_with_code_are_refused(model: Path) -> None:
    (model / "tokenizer.json").write_text('{"model": {"type": "none"}}')
    with pytest.raises(BadSource, match="tokenizer cannot be read"):
        load_samples(model, Calibration())
    (model / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["own.Own", null]}}')
    (model / "own.py").write_text("raise SystemExit('was run')")
    (model / "config.json").write_text('{"model_type": "own"}')
    with pytest.raises(Unsupported, match="code that comes with the model, which is not run"):
        load_samples(model, Calibration())


@pytest.mark.usefixtures("little_text")
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(model: Path) -> None:
    make_config(model, vocab_size=40)
    with pytest.raises(BadSource, match=r"makes token \d+, but the model's vocabulary has 40"):
        load_samples(model, Calibration(num_samples=1))


@pytest.mark.usefixtures("little_text")
def test_a_checkpoints_tokenizer_is_read_through_its_folder_or_from_what_was_made_of_its_metadata(writer: Path) -> None:
    calibration = Calibration(num_samples=3, max_length=64)
    checkpoint = open_checkpoint(LocalFolder(writer))
    found = samples_of(checkpoint, calibration)
    assert found.digest == load_samples(writer, calibration).digest
    made = tuple(
        Document(name=side_file.name, content=(writer / side_file.name).read_bytes())
        for side_file in checkpoint.side_files
    )
    elsewhere = replace(checkpoint, side_files=(), documents=made)
    assert samples_of(elsewhere, calibration).digest == found.digest
    with pytest.raises(Unsupported, match="has no tokenizer"):
        samples_of(replace(checkpoint, side_files=()), calibration)


# --- batches ------------------------------------------------------------------------------------------------


@given(lengths=st.lists(st.integers(1, 9), max_size=20), tokens=st.integers(1, 30))
def test_batches_have_one_length_each_and_all_samples_once(lengths: list[int], tokens: int) -> None:
    ids = [np.full(length, number, dtype=np.int64) for number, length in enumerate(lengths)]
    made = batches(ids, tokens_per_batch=tokens)
    assert all(len(batch) == 1 or batch.numel() <= tokens for batch in made)
    assert sorted(int(row[0]) for batch in made for row in batch) == list(range(len(lengths)))
    assert all(row.tolist() == ids[int(row[0])].tolist() for batch in made for row in batch)


# --- what the model writes ----------------------------------------------------------------------------------


@pytest.fixture
def writer(model: Path) -> Path:
    """A model of random weights that can be run."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=ROWS,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(model)
    return model


def test_a_model_writes_its_own_text_the_same_each_time(writer: Path) -> None:
    state = torch.random.get_rng_state()
    calibration = Calibration(source=CalibrationSource.SELF, num_samples=20, max_length=24)
    found = load_samples(writer, calibration)
    assert found.digest == load_samples(writer, calibration).digest
    assert [len(sample) for sample in found.ids] == [24] * 20
    assert len({told(sample) for sample in found.ids}) > 15
    assert found.coverage.title == "text that the model wrote"
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_model_that_does_not_fit_as_a_whole_is_not_loaded(writer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_text, "available_bytes", lambda _: 1000)
    with pytest.raises(OutOfMemory, match=r"the whole model must fit: \d+ bytes, and 1000 are available"):
        load_samples(writer, Calibration(source=CalibrationSource.SELF, num_samples=1, max_length=24))
