"""sentence-transformers: embeddings only, with no training; what encoding alone costs.

Its modules are put together here, so that any encoder's folder will do.
"""

from common import Timer, parse_options, read_rows, text_of, write_result
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

options = parse_options()
rows = read_rows(options, "test")
encoder = Transformer(options.encoder)
pooling = Pooling(encoder.get_embedding_dimension(), "mean")
model = SentenceTransformer(modules=[encoder, pooling, Normalize()], device="cpu")
texts = [text_of(row) for row in rows]
model.encode(texts[: options.batch_size])  # the others come warm from their training
with Timer() as predicting:
    embeddings = model.encode(texts, batch_size=options.batch_size)
assert embeddings.shape[0] == len(rows)
write_result(
    options,
    "sentence_transformers",
    ["sentence-transformers", "transformers", "torch"],
    train=None,
    predict=predicting.result(len(rows)),
    answers=[{"intent": None, "slots": None} for _ in rows],
    note="Embeddings only, the encoder as it is; encode() sorts by length.",
)
