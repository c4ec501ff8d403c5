"""The figures of a cluster as tables in Markdown."""

from __future__ import annotations

from typing import Any

from benchmarking.results import seconds


def tables(facts: dict[str, Any]) -> str:
    """All that was measured."""
    makers = (_same, _faults, _indexing_faults, _throughput, _fanout, _bounds)
    parts = [part for maker in makers if (part := maker(facts))]
    return "\n\n".join(parts) + "\n"


def _table(head: str, align: str, rows: list[str]) -> str:
    return "\n".join([head, align, *rows])


def _same(facts: dict[str, Any]) -> str:
    same, made = facts.get("same"), facts.get("indexing")
    rows = []
    if made:
        rate, storing = made["items_a_second"], made["storing_seconds"]
        rows += [
            f"| {made['added']:,} images into {facts['shards']} shards on 3 nodes | "
            f"{made['seconds']:,.0f} s |",
            f"| of it after learning | {storing:,.0f} s, {rate:,.0f} a second |",
        ]
    if same:
        memory = list(same["memory"].values())
        rows += [
            f"| stored codes that differ from those encoded here | {same['codes_wrong']} of "
            f"{same['codes_checked']:,} |",
            f"| answers that differ from those of one index | {same['different']} of "
            f"{same['queries']:,}, with {same['hits']:,} hits |",
            f"| memory of a reader | {min(memory) / 1e6:,.0f} to {max(memory) / 1e6:,.0f} MB |",
        ]
    return _table("| what | measured |", "|---|---|", rows) if rows else ""


def _faults(facts: dict[str, Any]) -> str:
    if "faults" not in facts:
        return ""
    rows = [
        f"| a {name} killed | {one['batches']:,} | {one['wrong']} | {one['refused']} | "
        f"{seconds(one['usual_batch_seconds'])} | {seconds(one['next_asked_right_seconds'])} | "
        f"{seconds(one['longest_batch_seconds'])} | {seconds(one['all_back_seconds'])} |"
        for name, one in facts["faults"].items()
    ]
    return _table(
        "| 2 replicas, batches of 50 | batches | wrong | refused | usual | next right after | "
        "longest | all readers back |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        rows,
    )


def _indexing_faults(facts: dict[str, Any]) -> str:
    if "indexing_faults" not in facts:
        return ""
    rows = [
        f"| {name.replace('_', ' ')} | {one['items']:,} | {one['stored']:,} | {one['keys']:,} | "
        f"{one['lost_or_wrong']} | {one['runs']} | {one['seconds']:,.1f} s |"
        for name, one in facts["indexing_faults"].items()
    ]
    return _table(
        "| indexing | items | stored | different keys | lost or wrong | runs | took |",
        "|---|---:|---:|---:|---:|---:|---:|",
        rows,
    )


def _throughput(facts: dict[str, Any]) -> str:
    if "throughput" not in facts:
        return ""
    found = facts["throughput"]
    batch = found["batch"]
    rows = []
    for name, times in found["seconds"].items():
        middle = sorted(times)[len(times) // 2]
        ratio = found["ratio"].get(name)
        low, high = found["ratio_range"].get(name, (0, 0))
        share = "" if ratio is None else f"{ratio:.2f} x ({low:.2f} to {high:.2f})"
        rows.append(f"| {name} | {seconds(middle)} | {batch / middle:,.0f} | {share} |")
    return _table(
        f"| batches of {batch:,} images, {found['limit']} nearest | a batch | queries/s | "
        "2 shards, of its rate |",
        "|---|---:|---:|---:|",
        rows,
    )


def _fanout(facts: dict[str, Any]) -> str:
    if "fanout" not in facts:
        return ""
    rows = [
        f"| {one['shards']} | {one['items_a_shard']:,} | {_times(one['shard_alone'])} | "
        f"{_times(one['empty_round'])} | {_times(one['single'])} | "
        f"{one['processor_seconds']['asking'] * 1e3:.1f} + "
        f"{one['processor_seconds']['reading'] * 1e3:.1f} ms | "
        f"{one['batch'] / one['batch_seconds']:,.0f} |"
        for one in facts["fanout"]
    ]
    return _table(
        "| shards | items of each | one shard in process, p50, p99 | a round that asks nothing | "
        "a query by its code | of processors, asking + reading | batches, queries/s |",
        "|---:|---:|---:|---:|---:|---:|---:|",
        rows,
    )


def _bounds(facts: dict[str, Any]) -> str:
    found = [one for some in facts.get("fanout", []) for one in some["bounds"]]
    rows = [
        f"| {one['batch']:,} | {one['limit']:,} | {seconds(one['one_round_seconds'])} | "
        f"{seconds(one['two_rounds_seconds'])} | "
        f"{one['one_round_seconds'] / one['two_rounds_seconds']:.2f} x | "
        f"{one['rule_takes_two']:.0%} |"
        for one in found
    ]
    return (
        _table(
            "| codes, 8 shards | nearest | one round | distances first | faster by | "
            "the rule asks for them |",
            "|---:|---:|---:|---:|---:|---:|",
            rows,
        )
        if rows
        else ""
    )


def _times(one: dict[str, float]) -> str:
    return f"{one['p50_ms']:.2f}, {one['p99_ms']:.2f} ms"
