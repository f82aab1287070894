"""The texts behind Python's `help()`, for language modelling without any file."""

from __future__ import annotations

from labwright_nlp.data.corpus import Between, Case, Context, Corpus
from labwright_nlp.data.texts import Share
from labwright_nlp.tokenizing import Kind, Pretrained, Vocabulary


class Pydoc(Corpus):
    """The topics of Python's own `help()`: about 465,000 characters of English prose about Python and code.

    They follow each other in alphabetical order, and differ a little between versions of Python; with `between =
    "token"` each topic is a document.
    """

    source = "The Python Language Reference, as the module pydoc_data.topics has it"
    licence = "Python Software Foundation License 2"

    def __init__(
        self,
        *,
        context: Context = 64,
        valid: Share = 0.05,
        test: Share = 0.05,
        tokenizer: Kind = "char",
        vocabulary: Vocabulary = 8192,
        pretrained: Pretrained = None,
        case: Case = "keep",
        between: Between = "blank-line",
    ) -> None:
        super().__init__(
            context=context,
            valid=valid,
            test=test,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            between=between,
        )

    def documents(self) -> tuple[list[str], str]:
        from pydoc_data.topics import topics

        texts = [topics[name] for name in sorted(topics)]
        return texts if self.between == "token" else ["\n\n".join(texts)], "pydoc_data.topics"
