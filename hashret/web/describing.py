"""What the names of the API mean, for its description."""

from __future__ import annotations

import re
from typing import Any

_MEANINGS = {
    "text": "Words, of an index of texts.",
    "image": "An image file, of an index of images: in base64, or in a form as a file.",
    "vector": "Numbers, of an index of vectors; of one of images, all pixels from 0 to 1, by rows.",
    "fields": "What is known of an item: texts, numbers, true, false or null by name; of an index, "
    "their names.",
    "items": "Items; of an index, how many.",
    "kind": "What an index holds: images, text, vectors or codes; of an error, its name.",
    "name": "What it is called.",
    "key": "The name of an item, unique in its index.",
    "code": "Bits in hexadecimal. What is asked for may name its encoder: `fingerprint:code`.",
    "radius": "In how many bits a hit may differ, inclusive. Without it, rings grow until `limit` "
    "hits are in.",
    "limit": "The most hits.",
    "where": "An SQL condition on `key` and the fields, such as `label = 9`.",
    "order": "Of hits at one distance: `row`, as they were added; `key`; or `certainty`, the least "
    "certain bits first. Without it, by row, and in a cluster by key.",
    "rerank": "Whether the nearest are ordered by the exact distance of their features, of an "
    "index that keeps vectors.",
    "shortlist": "How many of the nearest are re-ranked. Without it, ten times the limit, and at "
    "least 100.",
    "reconstruct": "Whether the answer shows what the decoder makes of the query's bits.",
    "queries": "What is looked for; all are answered alike.",
    "answers": "One for each query, in their order.",
    "n_bits": "The length of codes, in bits.",
    "count": "How many hits there are.",
    "complete": "Whether no further item lies within the radius.",
    "reranked": "Whether ranks are by `vector_distance`; rings are by `distance` all the same.",
    "rings": "The hits by distance, ascending; rings without hits are absent.",
    "hits": "Those at this distance, by rank.",
    "rank": "1 for the first hit of the answer.",
    "distance": "In how many bits the code differs from that of the query.",
    "vector_distance": "The distance of the features to those of the query, where re-ranked.",
    "similarity": "The share of bits that agree, from 0 to 1.",
    "flipped": "The bits in which it differs from the query; bit 0 is the first.",
    "row": "The number of the item, in the order of being added.",
    "stats": "How the answer was found.",
    "plan": "How it was searched, in words.",
    "probes": "Looks into hash tables.",
    "candidates": "Codes that were compared.",
    "seconds": "That the search took.",
    "estimated_seconds": "That it was expected to take.",
    "reconstruction": "What the decoder makes of the query's bits; null where it was not asked for "
    "or there is none.",
    "message": "What was expected, and what came.",
    "remedy": "What to do.",
    "writable": "Whether items can be added and removed here.",
    "features": "How values become numbers.",
    "field_indexes": "Fields by which conditions are quick.",
    "keeps_vectors": "Whether features are kept, so that hits can be re-ranked.",
    "encoder": "The fingerprint of what makes codes.",
    "created": "When the index was made.",
    "hashret": "The version that made it.",
    "distinct_codes": "How many different codes there are.",
    "code_sample": "Of how many items the numbers about codes are, where not of all.",
    "mean_sharing": "How many other items have an item's code, in the mean.",
    "largest_bucket": "The most items with one code.",
    "bit_entropy": "Of a bit, in the mean; 1 where half the items have it.",
    "lowest_bit_entropy": "Of the least balanced bit.",
    "bit_correlation": "The absolute correlation of two bits, in the mean.",
    "largest_bit_correlation": "Of the two bits that agree most.",
    "segments": "How many search tables there are.",
    "rows_not_in_a_segment": "Items that are in no search table yet.",
    "bytes": "On disk.",
    "added": "How many items are new.",
    "updated": "How many had another value or other fields.",
    "unchanged": "How many were there alike.",
    "removed": "How many items are gone.",
    "skipped": "Items that could not be used.",
    "reason": "Why it could not be used.",
}

_EXAMPLES: dict[str, dict[str, Any]] = {
    "/api/{index}/query": {"key": "17", "limit": 5},
    "/api/{index}/query_many": {"queries": [{"key": "17"}, {"key": "18"}], "limit": 5},
    "/api/{index}/items": {"items": [{"key": "new", "text": "words", "fields": {"label": 9}}]},
}


def explain(description: dict[str, Any]) -> None:
    """Say what each name means, and give examples, in the words of those who send JSON."""
    _explain(description)
    for place, example in _EXAMPLES.items():
        body = description["paths"].get(place, {}).get("post", {}).get("requestBody", {})
        if body:
            body["content"]["application/json"]["example"] = example


def _explain(schema: Any) -> None:
    if isinstance(schema, list):
        for one in schema:
            _explain(one)
    if not isinstance(schema, dict):
        return
    text = schema.get("description")
    if isinstance(text, str):
        schema["description"] = _plain(text)
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, one in properties.items():
            if name in _MEANINGS and "$ref" not in one:
                one.setdefault("description", _MEANINGS[name])
    for one in schema.values():
        _explain(one)


def _plain(docstring: str) -> str:
    """Without what is for those who read the source: roles, and the attributes, which follow."""
    text = docstring.partition("\n\nAttributes:")[0]
    text = re.sub(r"; see (:\w+:`[^`]*`( and )?)+", "", text)
    return text.replace("``", "`")
