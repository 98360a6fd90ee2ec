"""The one exception a user's mistake raises."""


class LandslideError(Exception):
    """Bad input or usage, told in one line: which file, what was found, what was expected, what to do.

    The command line prints it as ``error: …`` and exits with status 2; a caller of the Python API catches it.
    """


def first_line(error: BaseException) -> str:
    """What another library's exception says, on one line."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def nearest(name: str, known, what: str) -> str:
    """One line refusing ``name``, with the nearest known name where one is close, else all of them."""
    from difflib import get_close_matches

    known = sorted(known)
    close = get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    return f"unknown {what} {name!r}; {hint}"
