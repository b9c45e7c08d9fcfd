"""What extraction costs a user, end to end: rates, waiting times, the price of types, memory.

Texts are made up (`documents`). Where only cost is measured the outputs are given, as in `decode`: then a
model that says more when it is asked for more types changes nothing.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import DebertaV2Config, DebertaV2Model

from ucuie.extract.extractor import Extractor
from ucuie.lab.bench.decode import led_generator
from ucuie.lab.bench.documents import NUM_USED_TYPES, make_documents, schema_of
from ucuie.lab.bench.options import ExtractOptions
from ucuie.lab.bench.timing import interleaved, settings_of
from ucuie.model.folder import EMBEDDED, load_model

NUMBERS_OF_TYPES = (5, 10, 20, 50)
DOCUMENT_LENGTHS = (10_000, 1_000_000)
"""Characters of the documents whose peak memory is compared."""
ENCODER_TOKENS = 56
"""What an encoder such as GLiNER reads of a text of 25 words and five types."""
_MEMORY_PROGRAM = """
import resource, sys
from pathlib import Path
import torch
from ucuie import Extractor
from ucuie.lab.bench.documents import schema_of
torch.set_num_threads(int(sys.argv[2]))
extractor = Extractor.from_pretrained(sys.argv[1])
extractor.extract(sys.stdin.read(), schema_of(5))
status = Path("/proc/self/status")
if status.exists():
    # `getrusage` starts from the peak of the process that started this one.
    peak = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak)
"""


def bench_extract(options: ExtractOptions) -> dict[str, Any]:
    """Time extraction from made-up texts, and measure its memory in processes of their own.

    Every round runs each contender once, after one round that does not count; process time adds up what
    threads use.

    Returns:
        `texts_per_second` and `characters_per_second` of what the model itself writes, with five types;
        `milliseconds_per_text` by number of types and `time_50_types_over_5`, outputs given;
        `first_result_milliseconds` of a stream of all texts, and of one text alone;
        `texts_over_encoder`, the rate over that of a DeBERTa-v3-small-shaped encoder of the same texts;
        `peak_memory_mb` by length and `peak_memory_1m_over_10k`, the ratio of the two; `settings`.
    """
    model, num_texts, batch_size = options.model or EMBEDDED, options.num_texts, options.batch_size
    loaded = load_model(model, device=options.device)
    where = next(loaded.model.parameters()).device
    texts = [text for text, _ in make_documents(num_texts, words=options.words)]
    schema = schema_of(NUM_USED_TYPES)
    extractor = Extractor(loaded, batch_size=batch_size)
    works: dict[str, Callable[[], object]] = {
        "batch": lambda: extractor.extract_batch(texts, schema),
        "encoder": _encoding(num_texts, batch_size, where),
        "first of a stream": lambda: next(extractor.extract_iter(texts, schema)),
        "one text": lambda: extractor.extract(texts[0], schema),
    }
    for num in NUMBERS_OF_TYPES:
        # It finds what is in the documents, at the price of the model; nobody else needs such an extractor.
        led = Extractor(loaded, batch_size=batch_size)
        led._generator, _ = led_generator(loaded, num_texts, options.words, num, batch_size=batch_size)
        works[f"{num} types"] = partial(led.extract_batch, texts, schema_of(num))
    seconds = interleaved(works, where, repeats=options.repeats, num_threads=options.num_threads)
    by_types = {num: 1000 * seconds[f"{num} types"] / num_texts for num in NUMBERS_OF_TYPES}
    fewest, most = by_types[NUMBERS_OF_TYPES[0]], by_types[NUMBERS_OF_TYPES[-1]]
    report = {
        "texts_per_second": num_texts / seconds["batch"],
        "characters_per_second": sum(map(len, texts)) / seconds["batch"],
        "texts_over_encoder": seconds["encoder"] / seconds["batch"],
        "milliseconds_per_text": by_types,
        "time_50_types_over_5": most / fewest,
        "first_result_milliseconds": {
            "stream": 1000 * seconds["first of a stream"],
            "one text": 1000 * seconds["one text"],
        },
        "seconds": seconds,
        "settings": settings_of(options, where, model=loaded.name),
    }
    if options.memory:
        peaks = {size: _peak_memory(model, size, options.num_threads) for size in DOCUMENT_LENGTHS}
        report["peak_memory_mb"] = peaks
        report["peak_memory_1m_over_10k"] = peaks[DOCUMENT_LENGTHS[1]] / peaks[DOCUMENT_LENGTHS[0]]
    return report


def _encoding(num_texts: int, batch_size: int, device: torch.device) -> Callable[[], object]:
    """The encoder of GLiNER-small, with random weights: what a tagger of the same texts has to compute."""
    config = DebertaV2Config(
        hidden_size=768,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=3072,
        # Few, since looking tokens up costs the same whatever their number.
        vocab_size=1000,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        max_relative_positions=-1,
        position_biased_input=False,
        type_vocab_size=0,
    )
    model: Any = DebertaV2Model(config).eval().to(device)
    tokens = torch.ones(num_texts, ENCODER_TOKENS, dtype=torch.long, device=device)

    @torch.inference_mode()
    def work() -> None:
        for batch in torch.split(tokens, batch_size):
            model(input_ids=batch)

    return work


def _peak_memory(model: str | Path, characters: int, num_threads: int) -> float:
    """Megabytes that a process held at most which extracted from one document of this length."""
    # The process that is measured does not make the document: making it takes memory of its own.
    ((text, _),) = make_documents(1, words=characters // 4)
    command = [sys.executable, "-c", _MEMORY_PROGRAM, str(model), str(num_threads)]
    kilobytes = subprocess.check_output(command, input=text[:characters], text=True)  # noqa: S603
    return int(kilobytes) / 1000
