"""``hashret encode`` and ``reconstruct``: from values to codes and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hashret.cli.messages import say
from hashret.cli.options import index_option, open_index
from hashret.cli.output import Output, output_options
from hashret.cli.progress_display import ProgressDisplay
from hashret.cli.source_options import source_options
from hashret.cli.telling import SKIPPED_EXIT_CODE, tell_skipped
from hashret.errors import HashretError, UsageError


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@index_option
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE.npy",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the codes as an array, uint8, (n, bits / 8), instead of printing them.",
)
@source_options
@click.option("--strict", is_flag=True, help="Exit with 3 when an input was skipped.")
@output_options()
@click.pass_context
def encode(
    context: click.Context,
    sources: tuple[str, ...],
    index_name: str | None,
    file: Path | None,
    opening: dict[str, Any],
    strict: bool,
) -> None:
    """Print the codes an index gives to SOURCE, in hexadecimal; nothing is stored."""
    from hashret.codes import to_hex
    from hashret.sources import open_paths

    if file is not None and file.suffix != ".npy":
        raise UsageError(f"-o takes the name of a .npy file, got {str(file)!r}.")
    if file is not None and Output.of(context).format != "table":
        raise UsageError("-o writes an array; leave out the format, or -o.")
    with open_index(index_name) as index, ProgressDisplay() as progress:
        source = open_paths(sources, kind=index.kind, earlier=index.columns_taken, **opening)
        keys, codes, skipped = index.encoder.encode_source(source, progress)
        fingerprint = index.fingerprint
    tell_skipped(skipped)
    if file is None:
        Output.of(context).write(
            (
                {"key": key, "code": to_hex(code), "encoder": fingerprint}
                for key, code in zip(keys, codes, strict=True)
            ),
            ["key", "code", "encoder"],
        )
    else:
        import io

        import numpy as np

        from hashret.files import write_durably

        content = io.BytesIO()
        np.save(content, codes, allow_pickle=False)
        try:
            write_durably(file, content.getbuffer())
        except OSError as error:
            raise HashretError(f"{file} cannot be written ({error.strerror or error}).") from error
        say(f"{len(codes):,} codes in {file}")
    if strict and skipped:
        context.exit(SKIPPED_EXIT_CODE)


@click.command()
@click.argument("value", required=False)
@index_option
@click.option("--key", help="Start from the item that has this key.")
@click.option("--code", metavar="HEX", help="Start from a code in hexadecimal.")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the reconstruction: a .png, or a .npy of the feature row. May be left out "
    "for texts with the features tfidf or counts, whose most likely words are printed; wordllama's "
    "embeddings cannot be put into words.",
)
def reconstruct(
    value: str | None, index_name: str | None, key: str | None, code: str | None, file: Path | None
) -> None:
    """Write what the bits of VALUE, of a stored item or of a code keep of it."""
    if sum(given is not None for given in (value, key, code)) != 1:
        raise UsageError("Give one of VALUE, --key and --code.")
    from hashret.codes import to_hex

    if file is not None and file.suffix not in (".png", ".npy"):
        raise UsageError(f"-o takes the name of a .png or a .npy file, got {str(file)!r}.")
    with open_index(index_name) as index:
        if file is None and index.kind != "text":
            raise UsageError("Name a .png or a .npy file with -o; only texts can be printed.")
        if file is not None and file.suffix == ".png" and index.kind != "images":
            raise UsageError(
                f"Only images become a picture; this index holds {index.kind}: write a .npy."
            )
        if key is not None:
            packed = index[key].code
        elif code is not None:
            packed = index.encoder.own_code(code)
        else:
            packed = index.encode([value])[0]
        row = index.reconstruct(packed)[0]
        if file is None:
            for word in index.encoder.top_words(row):
                click.echo(word)
            return
        try:
            if file.suffix == ".png":
                index.encoder.picture(row).save(file)
            else:
                import numpy as np

                np.save(file, row, allow_pickle=False)
        except OSError as error:
            raise HashretError(f"{file} cannot be written ({error.strerror or error}).") from error
    say(f"{to_hex(packed)} -> {file}")
