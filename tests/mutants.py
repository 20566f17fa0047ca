"""Input that is almost right: documents as they should be, bent in a few places."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

# What parsers stumble over: numbers that are none, ends of ranges, halves of characters.
TOKENS = [
    *(
        "",
        "0",
        "-1",
        "1e999",
        "NaN",
        "inf",
        "1_000",
        "9" * 40,
        "0x10",
        "１２",
        "٣",
        "2330",
        "台積電",
        "2025-02-30",
    ),
    *(
        "9999-12-31",
        "10000-01-01",
        "0001-01-01",
        "114/01/02",
        "=cmd|'/c'!A1",
        "../..",
        "null",
        "true",
        "[]",
        "{}",
    ),
    *(
        "{}",
        "2330",
        '"',
        "'",
        ",",
        ";",
        "%00",
        "&",
        "=",
        "\ud83d",
        "\u202e",
        "\x00",
        "\x1b[2J",
        "\n",
        "\r",
        "\ufeff",
    ),
]
_TOKEN_BYTES = [token.encode("utf-8", "surrogatepass") for token in TOKENS]


@st.composite
def bent(draw: Any, *seeds: bytes) -> bytes:
    """One of the ``seeds`` with up to six places overwritten, cut out, doubled or filled with junk."""
    text = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 24)))
        twice = st.just(bytes(text[at:end]) * 2)
        new = draw(st.one_of(st.sampled_from(_TOKEN_BYTES), st.binary(max_size=8), twice))
        text[at:end] = new
    return bytes(text)


def values(leaf: Any = None) -> Any:
    """Any JSON value, small."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(TOKENS), st.text(max_size=8)
    )
    return st.recursive(
        leaves if leaf is None else st.one_of(leaf, leaves),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(TOKENS), inner, max_size=3)
        ),
        max_leaves=6,
    )


@st.composite
def bent_json(draw: Any, *seeds: Any) -> bytes:
    """One of the documents with up to four of its values replaced, taken out or doubled; or its text bent."""
    document = json.loads(json.dumps(draw(st.sampled_from(seeds))))
    box = [document]
    for _ in range(draw(st.integers(0, 4))):
        part: Any = box
        while True:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(part[key], dict | list) and part[key] and draw(st.integers(0, 3)):
                part = part[key]
                continue
            match draw(st.integers(0, 3)):
                case 0 if part is not box:
                    del part[key]
                case 1 if isinstance(part, list) and part is not box:
                    part.insert(key, part[key])
                case _:
                    part[key] = draw(values())
            break
    text = json.dumps(box[0]).encode()
    return draw(bent(text)) if draw(st.integers(0, 4)) == 0 else text
