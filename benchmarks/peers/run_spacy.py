"""spaCy: a pipeline of transformer, text classifier and entity recogniser.

The pipeline is the one that `spacy init config --gpu --optimize accuracy` gives (its name for a
transformer pipeline; it runs on processors too), with the same encoder put in. Its losses have no
weights: the entity recogniser's gradients are hundreds of times the text classifier's, and the
encoder learns little else in a few hundred steps.
"""

import random

import common
import spacy
from spacy.cli.init_config import init_config
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch
from thinc.api import Adam, warmup_linear

DROPOUT = 0.1  # the config's


def main() -> None:
    options, train_rows, test_rows = common.options_and_rows()
    fix_random_seed(options.seed)
    intents, _ = common.label_lists(train_rows)

    # The text classifier comes last: in any other place it fails for want of a gradient, which only
    # the last one that listens to the transformer is given.
    config = init_config(
        lang="en", pipeline=["ner", "textcat"], optimize="accuracy", gpu=True, silent=True
    )
    config["components"]["transformer"]["model"]["name"] = options.encoder
    nlp = spacy.util.load_model_from_config(config, auto_fill=True, validate=True)
    examples = [example_of(nlp, row, intents) for row in train_rows]
    nlp.initialize(lambda: examples)
    steps = options.epochs * -(-len(examples) // options.batch_size)
    optimizer = Adam(
        L2_is_weight_decay=True,
        L2=0.01,
        grad_clip=1.0,
        use_averages=False,
        learn_rate=warmup_linear(common.LEARNING_RATE, int(common.WARMUP * steps), steps),
    )
    with common.Timer() as training:
        for _ in range(options.epochs):
            random.shuffle(examples)
            for batch in minibatch(examples, options.batch_size):
                nlp.update(batch, sgd=optimizer, drop=DROPOUT)
                optimizer.step_schedules()

    with common.Timer() as predicting:
        # Words are given, so that spaCy's tokenizer can't split them anew.
        docs = [Doc(nlp.vocab, words=row["tokens"]) for row in test_rows]
        docs = list(nlp.pipe(docs, batch_size=options.batch_size))
    common.write_result(
        options,
        ["spacy", "spacy-transformers", "transformers", "torch"],
        train=training.result(len(examples) * options.epochs),
        predict=predicting.result(len(docs)),
        answers=[answer_of(doc) for doc in docs],
        note=(
            "One encoder, one pass; a transition-based entity recogniser, whose gradients outweigh "
            "the text classifier's."
        ),
    )


def example_of(nlp, row: dict, intents: list[str]) -> Example:
    reference = Doc(nlp.vocab, words=row["tokens"], ents=common.bio_tags(row))
    reference.cats = {intent: float(intent == row["intent"]) for intent in intents}
    return Example(Doc(nlp.vocab, words=row["tokens"]), reference)


def answer_of(doc: Doc) -> dict:
    spans = [(span.start, span.end, span.label_) for span in doc.ents]
    return {"intent": max(doc.cats, key=doc.cats.get), "slots": common.tags_of(len(doc), spans)}


if __name__ == "__main__":
    main()
