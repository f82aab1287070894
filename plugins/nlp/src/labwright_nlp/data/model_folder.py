"""What data takes from the folder of a pretrained model beside its tokenizer: the configuration, which a run keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from labwright import LabwrightError, Tokens

from labwright_nlp.ports import EncoderTokens
from labwright_nlp.tokenizing import Kind, Tokenizer

_CONFIG = "config.json"


def port(tokens: Tokenizer, length: int, kind: Kind, folder: Path | None) -> Tokens:
    """The tokens of a text, with the folder that says which model a pretrained tokenizer belongs to."""
    if folder is None or kind != "pretrained":
        return Tokens(tokens.size, length, tokens.pad_id)
    return EncoderTokens(tokens.size, length, tokens.pad_id, folder)


def keep(folder: Path | None, kind: Kind, to: Path) -> None:
    """Copy the model's configuration to where a run keeps what its task learned."""
    if folder is not None and kind == "pretrained" and (folder / _CONFIG).is_file():
        shutil.copyfile(folder / _CONFIG, to / _CONFIG)


def kept(folder: Path) -> Path | None:
    """The folder again, if a run kept a configuration in it."""
    return folder if (folder / _CONFIG).is_file() else None


def begin_and_end(folder: Path | None) -> tuple[int, int] | None:
    """The token that a decoder begins with, and the one that ends a text, as the configuration has them.

    None if there is no configuration. Raises LabwrightError if it says nothing of them: it isn't an encoder-decoder's.
    """
    if folder is None or not (folder / _CONFIG).is_file():
        return None
    try:
        config: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        begin, end = (config.get(f"{which}_token_id") for which in ("decoder_start", "eos"))
    except (ValueError, AttributeError) as error:
        raise LabwrightError(f"{folder / _CONFIG} can't be read as a configuration: {error}.") from error
    end = end[0] if isinstance(end, list) and end else end
    if not isinstance(begin, int) or not isinstance(end, int):
        lacking = "decoder_start_token_id" if not isinstance(begin, int) else "eos_token_id"
        written = "begins" if lacking.startswith("decoder") else "ends"
        raise LabwrightError(
            f"{folder / _CONFIG} has no {lacking}, the token that a written text {written} with: it is of "
            f"{config.get('model_type', 'a model')!r}, and no encoder-decoder such as T5 or BART. Give one of those, "
            "or add the line."
        )
    return begin, end
