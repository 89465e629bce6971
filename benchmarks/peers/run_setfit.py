"""SetFit: the intent only, by contrastive training of the encoder and a logistic regression on it.

SetFit learns from pairs, of which 2,000 rows have two million. It gets as many as encode as many
sentences as the others' epochs do; its learning rate is its own default.
"""

import tempfile

import common
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from setfit import SetFitModel, Trainer, TrainingArguments
from sklearn.linear_model import LogisticRegression


def main() -> None:
    options, train_rows, test_rows = common.options_and_rows()
    # As SetFitModel.from_pretrained does, but of any encoder's folder.
    encoder = Transformer(options.encoder)
    pooling = Pooling(encoder.get_embedding_dimension(), "mean")
    body = SentenceTransformer(modules=[encoder, pooling], device="cpu")
    model = SetFitModel(model_body=body, model_head=LogisticRegression())
    data = Dataset.from_list(
        [{"text": common.text_of(row), "label": row["intent"]} for row in train_rows]
    )
    sentences = len(train_rows) * options.epochs
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            batch_size=options.batch_size // 2,  # pairs, so as many sentences
            num_epochs=1,
            max_steps=max(1, sentences // options.batch_size),
            seed=options.seed,
            save_strategy="no",
            report_to="none",
            show_progress_bar=False,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=data)
        with common.Timer() as training:
            trainer.train()
    texts = [common.text_of(row) for row in test_rows]
    with common.Timer() as predicting:
        labels = model.predict(texts, batch_size=options.batch_size)
    common.write_result(
        options,
        ["setfit", "sentence-transformers", "transformers", "torch"],
        train=training.result(sentences),
        predict=predicting.result(len(texts)),
        answers=[{"intent": str(label), "slots": None} for label in labels],
        note=(
            "Intent only. Pairs for as many sentences as the epochs have, half a batch of pairs a "
            "step, learning rate 2e-5 (its default), then logistic regression."
        ),
    )


if __name__ == "__main__":
    main()
