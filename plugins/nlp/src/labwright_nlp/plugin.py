"""What labwright-nlp brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    data = "labwright_nlp.data"
    yield lw.Component(
        "task", "nlp/answers", "labwright_nlp.answering:Answering", "the answer to a question, in a text"
    )
    yield lw.Component(
        "task",
        "nlp/masked-language-model",
        "labwright_nlp.masked_language:MaskedLanguageModel",
        "tokens that are hidden, told from those around them",
    )
    yield lw.Component("data", "nlp/text-files", f"{data}.text_files:TextFiles", "your own texts with labels")
    yield lw.Component(
        "data", "nlp/parquet", f"{data}.parquet_texts:ParquetTexts", "your own labelled texts, in Parquet of any size"
    )
    yield lw.Component("data", "nlp/datasets", f"{data}.hub:Datasets", "labelled texts of the Hugging Face hub")
    yield lw.Component(
        "data", "nlp/languages", f"{data}.languages:Languages", "names in 30 European languages, out of Babel"
    )
    yield lw.Component("data", "nlp/plain-text", f"{data}.plain_text:PlainText", "your own running text")
    yield lw.Component("data", "nlp/tokens", f"{data}.token_files:TokenFiles", "token ids in files of any size")
    yield lw.Component(
        "data", "nlp/corrupted-spans", f"{data}.corrupted_spans:CorruptedSpans", "running text with spans taken out"
    )
    yield lw.Component("data", "nlp/text-pairs", f"{data}.text_pairs:TextPairs", "your own texts and translations")
    yield lw.Component(
        "data", "nlp/territories", f"{data}.territories:Territories", "names in two languages, out of Babel"
    )
    yield lw.Component("data", "nlp/alike-texts", f"{data}.alike_texts:AlikeTexts", "your own texts that are alike")
    yield lw.Component("data", "nlp/tagged-texts", f"{data}.tagged_texts:TaggedTexts", "your own words with tags")
    yield lw.Component(
        "data", "nlp/synthetic-tags", f"{data}.synthetic_tags:SyntheticTags", "made sentences with tags, out of Babel"
    )
    yield lw.Component(
        "data", "nlp/synthetic-questions", f"{data}.synthetic_questions:SyntheticQuestions", "made questions, offline"
    )
    yield lw.Component("data", "nlp/questions", f"{data}.questions:Questions", "your own questions about texts")
    yield lw.Component(
        "data",
        "nlp/instructions",
        f"{data}.instructions:Instructions",
        "your own conversations, whose answers are learned",
    )
    yield lw.Component("data", "nlp/pydoc", f"{data}.pydoc:Pydoc", "the texts behind Python's help()")
    yield from _models()
    yield from _metrics()
    suggesting = "labwright_nlp.suggesting"
    yield lw.Component("suggester", "nlp/labelled-texts", f"{suggesting}:labelled_texts", "a table of texts and labels")
    yield lw.Component("suggester", "nlp/text-pairs", f"{suggesting}:text_pairs", "a table of texts in pairs")
    yield lw.Component("suggester", "nlp/tagged-words", f"{suggesting}:tagged_words", "words with a tag each")
    yield lw.Component("suggester", "nlp/running-text", f"{suggesting}:running_text", "a text file")


def _models() -> Iterator[lw.Component]:
    models = "labwright_nlp.models"
    yield lw.Component("model", "nlp/bag", f"{models}.bag:Bag", "bag of n-grams")
    yield lw.Component("model", "nlp/text-cnn", f"{models}.text_cnn:TextCNN", "convolutions over a text")
    yield lw.Component("model", "nlp/lstm", f"{models}.recurrent:LSTM", "long short-term memory over a text")
    yield lw.Component("model", "nlp/gru", f"{models}.recurrent:GRU", "gated recurrent units over a text")
    yield lw.Component("model", "nlp/encoder", f"{models}.encoder:Encoder", "any encoder of transformers")
    yield lw.Component(
        "model",
        "nlp/transformer-encoder",
        f"{models}.transformer_encoder:TransformerEncoder",
        "transformer that reads both ways, from random weights",
    )
    yield lw.Component("model", "nlp/decoder", f"{models}.decoder:Decoder", "any decoder of transformers")
    yield lw.Component(
        "model",
        "nlp/encoder-decoder",
        f"{models}.encoder_decoder:EncoderDecoder",
        "any encoder-decoder of transformers",
    )
    yield lw.Component("model", "nlp/tagger", f"{models}.tagger:Tagger", "letters, words and a chain of labels")
    yield lw.Component("model", "nlp/gpt", f"{models}.gpt:GPT", "decoder-only transformer, a language model")
    yield lw.Component(
        "model", "nlp/transformer", f"{models}.transformer:Transformer", "encoder-decoder, one text out of another"
    )


def _metrics() -> Iterator[lw.Component]:
    here = "labwright_nlp.text_metrics"
    yield lw.Component("metric", "nlp/bleu", f"{here}:BLEU", "n-grams of words shared with what was meant")
    yield lw.Component("metric", "nlp/cer", f"{here}:CharacterErrors", "wrong characters per character meant")
    yield lw.Component("metric", "nlp/chrf", f"{here}:ChrF", "n-grams of characters shared with what was meant")
    yield lw.Component("metric", "nlp/rouge", f"{here}:Rouge", "words and pairs of words shared with a summary")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    yield lw.Verb("chat", "labwright_nlp.chatting:verb", "talk with the language model of a run", "Train", trains=True)


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    folder = Path(__file__).parent / "recipes"
    for name, summary in (
        ("alike-texts", "which of your own texts mean the same, by their vectors"),
        ("answers-base", "answers by an encoder of base size, such as BERT's"),
        ("answers-minilm", "answers to your own questions, by a pretrained encoder"),
        ("bert-base", "BERT's network of base size, from scratch"),
        ("characters", "a better GPT on your own text, character by character"),
        ("gpt-base", "GPT-2's smallest size in the form of today, from scratch"),
        ("instructions", "a pretrained decoder, tuned on your own prompts and responses"),
        ("instructions-gpt", "a small GPT on your own prompts and responses, from scratch"),
        ("languages", "telling 30 languages apart, offline"),
        ("lstm-seed", "the plainest recurrent network on your own labelled texts"),
        ("pydoc", "a small GPT on the texts behind Python's help(), offline"),
        ("pydoc-masked", "an encoder that tells hidden tokens of the same texts, offline"),
        ("polarity-bag", "a bag of n-grams on your own labelled texts"),
        ("polarity-cnn", "convolutions on your own labelled texts"),
        ("polarity-lstm", "a bidirectional LSTM on your own labelled texts"),
        ("polarity-minilm", "a pretrained encoder, trained further on your own labelled texts"),
        ("polarity-minilm-lora", "a pretrained encoder, of which adapters are trained"),
        ("shakespeare", "a small GPT on your own text, character by character"),
        ("summaries-base", "T5 or BART, trained further on pairs of texts"),
        ("synthetic-questions", "answers to made questions, from scratch, offline"),
        ("synthetic-tags", "dates, sums and countries in made sentences, offline"),
        ("tags", "names and other entities in your own sentences, from scratch"),
        ("tags-base", "names and other entities by an encoder of base size"),
        ("tags-minilm", "names and other entities, by a pretrained encoder"),
        ("texts-base", "an encoder of base size on your own labelled texts"),
        ("territories", "names of territories from English to German, offline"),
        ("translation", "a small encoder-decoder on your own pairs of texts"),
        ("translation-base", "the base size of 2017 on your own pairs of texts"),
    ):
        yield lw.Recipe(f"nlp/{name}", folder / f"{name}.toml", summary)
