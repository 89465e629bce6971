"""sentence-transformers: embeddings only, with no training; what encoding alone costs.

Its modules are put together here, so that any encoder's folder will do.
"""

import common
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

options, _, rows = common.options_and_rows()
encoder = Transformer(options.encoder)
pooling = Pooling(encoder.get_embedding_dimension(), "mean")
model = SentenceTransformer(modules=[encoder, pooling, Normalize()], device="cpu")
texts = [common.text_of(row) for row in rows]
model.encode(texts[: options.batch_size])  # the others come warm from their training
with common.Timer() as predicting:
    embeddings = model.encode(texts, batch_size=options.batch_size)
assert embeddings.shape[0] == len(rows)
common.write_result(
    options,
    ["sentence-transformers", "transformers", "torch"],
    train=None,
    predict=predicting.result(len(rows)),
    answers=[{"intent": None, "slots": None} for _ in rows],
    note="Embeddings only, the encoder as it is; encode() sorts by length.",
)
