"""Files that a library opens by their names: looked at before, for a pipe would be waited for."""

from __future__ import annotations

import errno
import os
import stat


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is not a regular file.

    It is looked at, not opened: to close a file lets go of all locks that the process has on it,
    those of an SQLite connection among them.

    Raises:
        OSError: it is not there, or is not a regular file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116, a Path would be of no more use
        raise OSError(errno.EINVAL, "not a regular file")
