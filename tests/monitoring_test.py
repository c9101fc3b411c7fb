"""The callback: what it adds to the logs, when, and to which models."""

import keras
import pytest

import tf_pcc
from tests.apis import APIS, batches, compiled

STEPS = [[[3, 4], [0.6, 0.8]], [[0, 0], [0, 0]], [[6, 8], [0, 0]]]
NAMES = {
  "core_norm_min",
  "core_norm_median",
  "core_norm_mean",
  "core_norm_max",
  "clip_bound",
  "clipped_fraction",
  "live_cores",
  "dead_core_steps",
  "skipped_steps",
  "skipped_in_a_row",
}


class Reads(keras.callbacks.Callback):
  """Keeps the logs of every batch."""

  def __init__(self):
    super().__init__()
    self.batches = []

  def on_train_batch_end(self, batch, logs=None):
    self.batches.append(dict(logs))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("cosine", [False, True])
def test_logs_of_batches_and_epochs(api, cosine, make_strategy):
  model = compiled(
    api,
    make_strategy(2),
    2,
    tf_pcc.MinBound(),
    clipping={"track_cosine": cosine},
  )
  reads = Reads()
  history = model.fit(
    batches(STEPS),
    epochs=2,
    verbose=0,
    callbacks=[tf_pcc.ClippingMonitor(), reads],
  ).history
  names = NAMES | ({"update_cosine"} if cosine else set())
  assert history.keys() == names | {"loss"}
  assert all(names <= logs.keys() for logs in reads.batches)

  def column(name):
    return [logs[name] for logs in reads.batches]

  assert column("clip_bound") == [1.0, 0.0, 10.0] * 2
  assert column("live_cores") == [2, 0, 1] * 2
  assert column("clipped_fraction") == [0.5, 0.0, 0.0] * 2
  assert column("skipped_steps") == [0, 1, 1, 1, 2, 2]
  assert column("skipped_in_a_row") == [0, 1, 0] * 2
  assert column("dead_core_steps") == [0, 2, 3, 3, 5, 6]
  assert column("core_norm_max") == [5.0, 0.0, 10.0] * 2
  assert history["skipped_steps"] == [1, 2]
  assert history["clip_bound"] == [10.0, 10.0]


def test_every_so_many_batches(make_strategy):
  model = compiled("optimizer", make_strategy(2), 2, tf_pcc.MinBound())
  reads = Reads()
  history = model.fit(
    batches(STEPS),
    verbose=0,
    callbacks=[tf_pcc.ClippingMonitor(every=2), reads],
  ).history
  # Between two readings the logs keep the last one.
  assert [logs["clip_bound"] for logs in reads.batches] == [1.0, 1.0, 10.0]
  assert history["skipped_steps"] == [1]


@pytest.mark.parametrize("every", [0, -3])
def test_every_must_be_positive(every):
  with pytest.raises(ValueError, match=f"Received: every={every}"):
    tf_pcc.ClippingMonitor(every)


@pytest.mark.parametrize("api", APIS)
def test_a_model_that_does_not_clip_is_refused(api, make_strategy):
  model = compiled(api, make_strategy(1), 2, None)
  with pytest.raises(ValueError, match="Received: optimizer=SGD"):
    model.fit(
      batches([[[3, 4]]]),
      verbose=0,
      callbacks=[tf_pcc.ClippingMonitor()],
    )
