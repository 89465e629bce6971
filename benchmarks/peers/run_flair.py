"""Flair: a MultitaskModel of a text classifier and a sequence tagger over one shared encoder.

Both tasks of a sentence are trained in one step (`use_all_tasks`), which spares a second pass. The
tagger is the one that Flair recommends for fine-tuning: neither RNN nor CRF on the encoder.
"""

import tempfile

import common
import flair
from flair.data import Corpus, Sentence
from flair.datasets import FlairDatapointDataset
from flair.embeddings import TransformerWordEmbeddings
from flair.models import MultitaskModel, SequenceTagger, TextClassifier
from flair.trainers import ModelTrainer

TASKS = ["intent", "slots"]


def main() -> None:
    options, train_rows, test_rows = common.options_and_rows()
    flair.set_seed(options.seed)
    corpus = Corpus(
        train=FlairDatapointDataset([labelled(row) for row in train_rows]),
        sample_missing_splits=False,
    )
    embeddings = TransformerWordEmbeddings(
        options.encoder, fine_tune=True, is_document_embedding=True
    )
    classifier = TextClassifier(
        embeddings,
        label_type="intent",
        label_dictionary=corpus.make_label_dictionary("intent", add_unk=False),
    )
    tagger = SequenceTagger(
        embeddings,
        tag_dictionary=corpus.make_label_dictionary("slots", add_unk=False),
        tag_type="slots",
        use_rnn=False,
        use_crf=False,
        reproject_embeddings=False,
    )
    model = MultitaskModel([classifier, tagger], task_ids=TASKS, use_all_tasks=True)
    with tempfile.TemporaryDirectory() as folder, common.Timer() as training:
        ModelTrainer(model, corpus).fine_tune(
            folder,
            learning_rate=common.LEARNING_RATE,
            warmup_fraction=common.WARMUP,
            mini_batch_size=options.batch_size,
            max_epochs=options.epochs,
            save_final_model=False,
            create_file_logs=False,
            create_loss_file=False,
        )

    with common.Timer() as predicting:
        # Words are given, so that Flair's tokenizer can't split them anew.
        sentences = [Sentence(row["tokens"]) for row in test_rows]
        model.predict(sentences, mini_batch_size=options.batch_size)
    common.write_result(
        options,
        ["flair", "transformers", "torch"],
        train=training.result(len(train_rows) * options.epochs),
        predict=predicting.result(len(sentences)),
        answers=[answer_of(sentence) for sentence in sentences],
        note="One encoder, both tasks in a step; predict() asks one task after the other.",
    )


def labelled(row: dict) -> Sentence:
    sentence = Sentence(row["tokens"])
    sentence.add_label("intent", row["intent"])
    for first, last, kind in common.spans_of(row["slots"]):
        sentence[first:last].add_label("slots", kind)
    for task in TASKS:
        sentence.add_label("multitask_id", task)
    return sentence


def answer_of(sentence: Sentence) -> dict:
    spans = [
        (span.tokens[0].idx - 1, span.tokens[-1].idx, span.get_label("slots").value)
        for span in sentence.get_spans("slots")
    ]
    return {
        "intent": sentence.get_label("intent").value,
        "slots": common.tags_of(len(sentence), spans),
    }


if __name__ == "__main__":
    main()
