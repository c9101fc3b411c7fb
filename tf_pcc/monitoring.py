"""What the clipping does, in the progress bar, TensorBoard and CSV files."""

import keras

from tf_pcc.optimizer import PerCoreClipping


class ClippingMonitor(keras.callbacks.Callback):
  """Adds the clipping's statistics to the logs of every batch and epoch.

  The names are `core_norm_min`, `core_norm_median`, `core_norm_mean`,
  `core_norm_max`, `clip_bound`, `clipped_fraction`, `live_cores`,
  `dead_core_steps`, `skipped_steps`, `skipped_in_a_row` and, when tracked,
  `update_cosine` (see `Clipper.statistics`). Other callbacks find them in
  `logs`: put the monitor before them in the list. At an epoch's end they are
  those of its last step; `dead_core_steps` and `skipped_steps` count from the
  start.

  With APCC every core but the smallest is clipped in every step, so
  `clipped_fraction` says little: look at the norms, the bound and the cosine.

  Args:
    every: int, read the statistics at every so many batches; reading makes the
      host wait for the device.

  Raises:
    ValueError: If `every` is below 1, or at the start of training when the
      model's optimizer does not clip per core.

  Example:

  >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
  >>> model.compile(PerCoreClipping("adam", bound=2.5), loss="mse")
  >>> x, y = keras.ops.ones((8, 2)), keras.ops.ones((8, 1))
  >>> history = model.fit(x, y, callbacks=[ClippingMonitor()], verbose=0)
  >>> history.history["clip_bound"]
  [2.5]
  """

  def __init__(self, every: int = 1):
    super().__init__()
    if every < 1:
      raise ValueError(f"every must be at least 1. Received: every={every}")
    self.every = every
    self._last = {}

  def _optimizer(self) -> PerCoreClipping:
    optimizer = self.model.optimizer if self.model is not None else None
    if not isinstance(optimizer, PerCoreClipping):
      raise ValueError(
        "ClippingMonitor needs a model that clips per core: compile it with "
        "tf_pcc.PerCoreClipping(...) or, for a PerCoreModel, clipping=. "
        f"Received: optimizer={type(optimizer).__name__}"
      )
    return optimizer

  def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
    """Refuses a model that does not clip.

    Args:
      logs: ignored.
    """
    self._optimizer()

  def on_train_batch_end(
    self, batch: int, logs: dict[str, float] | None = None
  ) -> None:
    """Adds the statistics of the step to the logs.

    Args:
      batch: number of the batch.
      logs: dict of figures, which is added to.
    """
    if not self._last or batch % self.every == 0:
      self._last = self._optimizer().statistics()
    if logs is not None:
      logs.update(self._last)

  def on_epoch_end(
    self, epoch: int, logs: dict[str, float] | None = None
  ) -> None:
    """Adds the statistics of the last step to the logs.

    Args:
      epoch: number of the epoch.
      logs: dict of figures, which is added to.
    """
    self._last = self._optimizer().statistics()
    if logs is not None:
      logs.update(self._last)
