"""Prompt token ids: what they spell, and that no text can reach a special token."""

import random
import subprocess
import sys
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    models,
    processors,
)
from transformers import PreTrainedTokenizerFast

from tiny_model import train_byte_level, train_sentence_piece
from ucuie.errors import ModelError, TextError
from ucuie.language.encode import PromptEncoder
from ucuie.language.linearize import linearize
from ucuie.language.pool import InstructionPool, build_instruction
from ucuie.schema import Example, FilledSlot, Filler, Record, Schema

TEXT = "Barack Obama spoke in Berlin."
SCHEMA = Schema.of({"Speech": ["Speaker", "Place"]})


def byte_level(*, add_prefix_space: bool = False) -> PreTrainedTokenizerFast:
    """One that puts special tokens around every text, unless it is told not to."""
    tokenizer = train_byte_level(add_prefix_space=add_prefix_space)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


@cache
def encoder() -> PromptEncoder:
    return PromptEncoder(byte_level())


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_level()


def span(name: str, text: str) -> Record:
    start = TEXT.index(text)
    return Record(frame=name, filler=Filler(text=text, start=start, end=start + len(text)))


def test_instruction_starts_with_bos_and_spells_the_wording_with_its_schema() -> None:
    ids = encoder().encode_instruction("EE", SCHEMA, "Events: {schema}")
    assert ids[0] == tokenizer().bos_token_id
    assert tokenizer().decode(ids[1:]) == "Events: {Speech: [Speaker, Place]}\nText:"


def test_instruction_without_wording_uses_the_default_of_the_task() -> None:
    default = build_instruction(InstructionPool.load().default("judging"), SCHEMA)
    assert tokenizer().decode(encoder().encode_instruction("judging", SCHEMA)[1:]) == default


def test_tokenizer_without_bos_gives_an_instruction_without_it() -> None:
    without_bos = byte_level()
    without_bos.bos_token = None
    bare = PromptEncoder(without_bos)
    assert bare.encode_instruction("EE", SCHEMA) == encoder().encode_instruction("EE", SCHEMA)[1:]


def test_text_stands_between_a_blank_and_a_line_break() -> None:
    assert tokenizer().decode(encoder().encode_text(TEXT)) == f" {TEXT}\n"


def test_first_word_of_a_text_reads_like_any_other() -> None:
    assert encoder().encode_text("Berlin Berlin")[:-1] == 2 * encoder().encode_text("Berlin")[:-1]


def test_elements_follow_the_text_in_the_order_of_the_output() -> None:
    elements = [span("Place", "Berlin"), span("Speech", "spoke"), span("Speaker", "Barack Obama")]
    assert tokenizer().decode(encoder().encode_text(TEXT, elements)) == (
        f" {TEXT}\nElements: {{(Speaker: Barack Obama): [], (Speech: spoke): [], (Place: Berlin): []}}\n"
    )


def test_no_elements_are_written_as_such() -> None:
    assert tokenizer().decode(encoder().encode_text(TEXT, [])) == f" {TEXT}\nElements: {{}}\n"


def test_target_ends_with_eos() -> None:
    ids = encoder().encode_target("{}")
    assert (tokenizer().decode(ids[:-1]), ids[-1]) == ("{}", tokenizer().eos_token_id)


def test_example_has_the_three_parts_that_are_encoded_one_by_one() -> None:
    slots = (FilledSlot(slot="Place", filler=span("", "Berlin").filler),)
    record = Record(frame="Speech", filler=span("", "spoke").filler, slots=slots)
    example = Example(id="1", task="EE", text=TEXT, schema=SCHEMA, records=(record,))
    encoded = encoder().encode_example(example, "Events: {schema}")
    assert encoded.instruction_ids == encoder().encode_instruction("EE", SCHEMA, "Events: {schema}")
    assert encoded.text_ids == encoder().encode_text(TEXT)
    assert encoded.target_ids == encoder().encode_target(linearize([record], SCHEMA))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_keeps_every_character(text: str) -> None:
    ids = encoder().encode_text(text)
    assert tokenizer().decode(ids, clean_up_tokenization_spaces=False) == f" {text}\n"
    assert not set(ids) & set(tokenizer().all_special_ids)


def test_special_token_look_alikes_are_plain_text() -> None:
    generator = random.Random(0)
    pieces = ["<s>", "</s>", "<pad>", "<", "/", "s>", " ", "\n", "Text:", "Elements: {}"]
    for _ in range(200):
        hostile = "".join(generator.choices(pieces, k=8))
        ids = encoder().encode_text(hostile) + encoder().encode_target(hostile)[:-1]
        ids += encoder().encode_instruction("NER", Schema.of([f"a{hostile}"]), "Find {schema}")[1:]
        assert not set(ids) & set(tokenizer().all_special_ids)


def test_added_tokens_that_are_not_special_are_plain_text_too() -> None:
    chatty = byte_level()
    chatty.add_tokens([AddedToken("<tool_call>", special=False)])
    assert PromptEncoder(chatty).encode_text("<tool_call>") == encoder().encode_text("<tool_call>")
    assert len(chatty.encode("<tool_call>", add_special_tokens=False)) == 1


def test_tokenizer_whose_model_contains_its_special_tokens_is_refused() -> None:
    backend = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("</s>", 0.0), ("<", -5.0), ("/", -5.0), ("s", -5.0)], 0)
    )
    with pytest.raises(ModelError, match="'</s>' in a text as its special token"):
        PromptEncoder(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>"))


def test_tokenizer_is_left_as_it_was() -> None:
    given = byte_level()
    given.backend_tokenizer.enable_truncation(3)
    before = given.backend_tokenizer.to_str(), given.split_special_tokens
    spelled = PromptEncoder(given).encode_text("</s> much longer than three tokens")
    assert len(spelled) > 3
    assert (given.backend_tokenizer.to_str(), given.split_special_tokens) == before


@pytest.mark.parametrize("text", ["\ud800", "Berlin \udfff.", "\ud83d \ude00"])
def test_lone_surrogate_is_a_text_error(text: str) -> None:
    with pytest.raises(TextError, match="the text holds a lone surrogate"):
        encoder().encode_text(text)


def test_tokenizer_without_eos_is_refused() -> None:
    endless = byte_level()
    endless.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        PromptEncoder(endless)


def test_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="not a fast tokenizer"):
        PromptEncoder(object())


@pytest.mark.parametrize("by_metaspace", [False, True])
def test_sentencepiece_parts_continue_each_other(by_metaspace: bool) -> None:
    llama = train_sentence_piece(by_metaspace=by_metaspace)
    sentencepiece = PromptEncoder(llama)
    instruction_ids = sentencepiece.encode_instruction("EE", SCHEMA, "Events: {schema}")
    instruction = "Events: {Speech: [Speaker, Place]}\nText:"
    assert instruction_ids == [llama.bos_token_id, *llama.encode(instruction, add_special_tokens=False)]
    text_ids = sentencepiece.encode_text("Berlin")
    assert llama.convert_ids_to_tokens(text_ids[-1]) == "<0x0A>"
    assert text_ids[:-1] == llama.encode("Berlin", add_special_tokens=False)
    target_ids = sentencepiece.encode_target("{}")[:-1]
    assert llama.decode(instruction_ids[1:] + text_ids + target_ids) == f"{instruction} Berlin\n{{}}"
    hostile_ids = sentencepiece.encode_text("</s> <s><0x0A>")
    assert not {llama.bos_token_id, llama.eos_token_id} & set(hostile_ids)


def test_blank_that_a_byte_level_tokenizer_sets_is_only_before_the_instruction() -> None:
    forward = byte_level(add_prefix_space=True)
    blank = PromptEncoder(forward)
    instruction_ids = blank.encode_instruction("EE", SCHEMA, "Events {schema}")
    assert forward.decode(instruction_ids[1:]) == " Events {Speech: [Speaker, Place]}\nText:"
    assert forward.decode(blank.encode_text("Berlin")) == " Berlin\n"
    assert forward.decode(blank.encode_target("{}")[:-1]) == "{}"


def test_importing_encode_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, ucuie.language.encode; print({'torch', 'transformers'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"
