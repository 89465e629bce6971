"""Ends a run whose metric no longer improves."""

from transformers import EarlyStoppingCallback


class EarlyStopping(EarlyStoppingCallback):
    """Like `EarlyStoppingCallback`, but a resumed run has waited as long as when it was saved
    (`Trainer` restores that with the patience of then, or not at all), and a test split has no
    say."""

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        # A checkpoint of a run without it has no entry, which `Trainer` would look for.
        saved = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        waited = saved["attributes"]["early_stopping_patience_counter"]
        self.early_stopping_patience_counter = waited

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        if any(key.startswith("eval_") for key in metrics):
            super().on_evaluate(args, state, control, metrics, **kwargs)
