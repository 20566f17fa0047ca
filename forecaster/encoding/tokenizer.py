"""The embedded model's tokenizer: Llama-3's special tokens, bytes, and one token per compact number.

It reads any text (bytes are the last resort, so nothing is unknown), reads the words of both prompt
styles as whole tokens, and reads every number of the compact style as one. Numbers elsewhere are
read digit by digit.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from stockllm.forecaster.encoding.codec import BOUND, VOLUME_BUCKETS
from stockllm.forecaster.encoding.words import LETTERS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerFast

BEGIN_OF_TEXT = "<|begin_of_text|>"
END_OF_TEXT = "<|end_of_text|>"
END_OF_TURN = "<|eot_id|>"
PADDING = "<|finetune_right_pad_id|>"
SPECIAL_TOKENS = [
    BEGIN_OF_TEXT,
    END_OF_TEXT,
    PADDING,
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    END_OF_TURN,
    "<|python_tag|>",
]

#: Llama-3's chat format: header, blank line, trimmed content, end of turn. ``begin`` is what an answer
#: begins with where a client knows it; servers hand it on from ``chat_template_kwargs``.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{% if begin is defined %}{{ begin }}{% endif %}"
    "{% endif %}"
)

#: A line of the first compact style is five pieces: "+12", " +45", " -30", " +20", " 3\n"; one of the
#: second is nine: "n", " k", " m", " c", " +12", " -3", " 4", " 0", " h\n". The look-aheads keep the
#: dashes of dates out; a percentage with two decimals is one piece; digits stand alone.
SPLIT_PATTERN = (
    r" [+-]\d{1,3}(?= )"
    r"|[+-]\d{1,3}(?= [+-]\d)"
    r"|(?<=[+-]\d|[+-]\d\d|[+-]\d\d\d) \d{1,2}(?:\n|\z)"
    r"|(?<=\d) \d{1,3}(?= )"
    r"|(?<=\d) [a-y](?:\n|\z)"
    r"|\d{1,2}\.\d\d%"
    r"| ?\p{L}+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+"
    r"|\s*[\r\n]|\s+"
)

VOLATILITY_GRID_SIZE = 64


@lru_cache(maxsize=1)
def volatility_labels() -> tuple[str, ...]:
    """The volatilities a compact prompt can name, 0.50% to 10.00% in equal ratios."""
    ratio = (10.0 / 0.5) ** (1 / (VOLATILITY_GRID_SIZE - 1))
    return tuple(f"{0.5 * ratio**i:.2f}%" for i in range(VOLATILITY_GRID_SIZE))


def compact_pieces() -> list[str]:
    """Every piece of a compact line, in the order of its value, position by position."""
    numbers = [f"{n:+d}" for n in range(-BOUND, BOUND + 1)]
    letters = [*LETTERS, UNKNOWN]
    return [
        *numbers,
        *(f" {n}" for n in numbers),
        *(f" {n}" for n in range(BOUND + 1)),
        *(f" {v}\n" for v in range(VOLUME_BUCKETS)),
        *volatility_labels(),
        *letters,
        *(f" {one}" for one in letters),
        *(f" {one}\n" for one in LETTERS),
    ]


def build_tokenizer(corpus: Iterator[str], merges: int = 512) -> PreTrainedTokenizerFast:
    """A tokenizer whose words come from ``corpus`` (sample prompts) and whose numbers are given.

    ``merges`` bounds how many words and word pieces are learned on top of the 256 bytes.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = split
    learner.train_from_iterator(
        corpus,
        trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False),
    )
    learned = json.loads(learner.to_str())["model"]
    bytelevel = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = ["".join(part for part, _ in bytelevel.pre_tokenize_str(p)) for p in compact_pieces()]
    # Special tokens first, then the numbers in order of value, so that a range of values is a
    # range of ids; then what was learned.
    vocabulary: dict[str, int] = {}
    for token in [*SPECIAL_TOKENS, *pieces, *sorted(learned["vocab"], key=learned["vocab"].get)]:
        vocabulary.setdefault(token, len(vocabulary))
    merge_pairs = [tuple(pair) for pair in learned["merges"]]
    # With ignore_merges a whole piece that is a word of the vocabulary is taken as it stands,
    # as Llama-3's own tokenizer does; that is what makes "+12" one token.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merge_pairs, ignore_merges=True))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN_OF_TEXT,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
