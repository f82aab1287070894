"""What shells call: `python -P -m labwright_instruments.completion bash LINE`, or zsh or fish and the words so far.

`members` in place of a shell adds the members of families to what is offered, which imports their libraries.
"""

from __future__ import annotations

import shlex
import sys


def main(shell: str, *given: str) -> None:
    """Print a line for each candidate: what the word may become, a tab, and what that is."""
    from labwright_instruments.completion.candidates import candidates
    from labwright_instruments.completion.menu import Menu, fill

    if shell == "members":
        fill()
        return
    words = split(given[0]) if shell == "bash" else list(given)
    menu = Menu.kept()
    if menu.lacks(words):
        menu.fill_later()
    for candidate, about in candidates(menu, words[1:-1], words[-1]):
        sys.stdout.write(f"{candidate}\t{' '.join(about.split())}\n")


def split(line: str) -> list[str]:
    """The words of a line as a shell sees them; the last, which is completed, may be "" or lack its closing quote."""
    for quote in ("", "'", '"', "\\"):
        try:
            words = shlex.split(line + quote)
        except ValueError:
            continue
        return words if words and (quote or not line[-1:].isspace()) else [*words, ""]
    return [line, ""]


if __name__ == "__main__":
    main(*sys.argv[1:])
