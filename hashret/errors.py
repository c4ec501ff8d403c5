"""The errors hashret raises: what was expected, what came, what to do."""

from __future__ import annotations


class HashretError(Exception):
    """Anything that hashret refuses or that goes wrong in a foreseen way.

    The message is written for the person who reads it: it says what was expected, what came, and
    what to do next. The command line prints it alone and exits with ``exit_code``.
    """

    exit_code = 1


class UsageError(HashretError, ValueError):
    """An argument makes no sense by itself, whatever the data: mend the call."""

    exit_code = 2


class IndexChangedError(HashretError):
    """An index was changed while it was read by someone who may not lock it; ask again."""


class NoEncoderError(UsageError):
    """An index of ready codes was asked for what only an encoder can do."""

    def __init__(self) -> None:
        """Say what such an index can do."""
        super().__init__(
            "This index was made from ready codes and has no encoder: it is queried with --key or "
            "--code (query_key, query_code), and takes more codes with --codes (add_codes)."
        )


class InputError(HashretError, ValueError):
    """Data from outside cannot be used: unreadable, of another shape, not finite."""


class NotFittedError(HashretError, ValueError, AttributeError):
    """A hasher was asked to encode before it learned."""


class EncoderMismatchError(HashretError, ValueError):
    """A code or an encoder belongs to another index: the fingerprints or lengths differ."""


class IndexNotFoundError(HashretError, FileNotFoundError):
    """There is no index at this place."""


class IndexExistsError(HashretError, FileExistsError):
    """An index is already at this place."""


class DamagedIndexError(HashretError):
    """A file of an index is missing, cut short or altered; the message names it and the remedy."""


class UnsafeIndexError(HashretError):
    """A part of an index could lead outside of it, as a link does; the message names it."""


class UnknownFormatError(DamagedIndexError):
    """A file has a format that this hashret does not read.

    Attributes:
        is_newer: whether a newer hashret may have written it; otherwise it is too old, or none.
    """

    def __init__(
        self, what: str, found: object, reads: tuple[int, int], remedy: str, maker: object = None
    ) -> None:
        """Say which version is needed.

        Args:
            what: the file, and what in it has the format.
            found: the format that it has.
            reads: the oldest and the newest format that this hashret reads.
            remedy: what to do.
            maker: the version of hashret that made it, where the file tells.
        """
        from importlib.metadata import version

        oldest, newest = reads
        known = f"formats {oldest} to {newest}" if oldest < newest else f"format {newest}"
        made = f", made by hashret {maker}" if isinstance(maker, str) else ""
        self.is_newer = isinstance(found, int) and found > newest
        if self.is_newer:
            made += ", and needs a newer hashret"
        super().__init__(
            f"{what} has format {found!r}{made}; this is hashret {version('hashret')}, which reads "
            f"{known}. {remedy}"
        )


class IndexLockedError(HashretError):
    """Another process is writing to this index; the message gives its process id."""


class KeyNotFoundError(HashretError, KeyError):
    """No item has this key.

    Attributes:
        key: the key, where it is known.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        """Say what to do, and which key it is."""
        super().__init__(message)
        self.key = key

    # KeyError shows the repr of its argument, which would put quotes around a whole sentence.
    __str__ = Exception.__str__


class ShardUnavailableError(HashretError):
    """A shard of a cluster answers on none of its replicas; the message names it.

    Attributes:
        shards: the names of all shards that do not answer.
    """

    def __init__(self, message: str, shards: tuple[str, ...] = ()) -> None:
        """Say which shards, and what to do."""
        super().__init__(message)
        self.shards = shards


def error_of(kind: object, message: str) -> HashretError | None:
    """The error of this class name and message, as another process met it, or as near as there is.

    None where there is no such class.
    """
    known = globals().get(str(kind))
    if not (isinstance(known, type) and issubclass(known, HashretError)):
        return None
    # These two word their own messages.
    if known is NoEncoderError:
        known = UsageError
    if known is UnknownFormatError:
        known = DamagedIndexError
    return known(message)


ASKED_WRONGLY = (UsageError, InputError, KeyNotFoundError, EncoderMismatchError)
"""Errors of a question: whoever else is asked would raise them too."""
