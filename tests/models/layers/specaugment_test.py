"""SpecAugment: where masks may fall, and that they differ."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers import specaugment

LENGTHS = np.array([200, 120, 40, 1, 0], np.int32)


def _masked(**arguments):
  """Masks of one draw, as bool [B, T, F]."""
  layer = specaugment.SpecAugment(**arguments)
  ones = tf.ones([len(LENGTHS), 200, 80])
  return layer(ones, LENGTHS, training=True).numpy() == 0


def _longest_run(line):
  edges = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]])))
  return max(edges[1::2] - edges[::2], default=0)


def test_inference_changes_nothing():
  x = tf.random.stateless_normal([5, 200, 80], [1, 2])
  got = specaugment.SpecAugment()(x, LENGTHS, training=False)
  np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize("seed", range(5))
def test_time_masks_stay_within_the_utterance_and_the_limit(seed):
  masked = _masked(
    frequency_masks=0, time_masks=1, time_ratio=0.3, time_width=30, seed=seed
  )
  assert (masked.all(2) == masked.any(2)).all()
  for utterance, length in zip(masked.all(2), LENGTHS):
    assert not utterance[length:].any()
    assert _longest_run(utterance) <= min(30, 0.3 * length)


@pytest.mark.parametrize("seed", range(5))
def test_frequency_masks_keep_the_width(seed):
  masked = _masked(
    frequency_masks=1, frequency_width=27, time_masks=0, seed=seed
  )
  assert (masked.all(1) == masked.any(1)).all()
  assert max(_longest_run(bands) for bands in masked.all(1)) <= 27


def test_widths_and_starts_are_uniform():
  layer = specaugment.SpecAugment(
    frequency_masks=1, frequency_width=4, time_masks=0, seed=1
  )
  x, lengths = tf.ones([4000, 1, 6]), tf.ones([4000], tf.int32)
  masked = layer(x, lengths, training=True).numpy()[:, 0] == 0
  widths = masked.sum(1)
  share = np.bincount(widths, minlength=5) / len(widths)
  np.testing.assert_allclose(share, 0.2, atol=0.03)
  starts = masked[widths == 3].argmax(1)
  np.testing.assert_allclose(np.bincount(starts) / len(starts), 0.25, atol=0.06)


def test_new_masks_every_step_and_the_same_for_the_same_seed():
  x = tf.ones([5, 200, 80])
  layer, again = (specaugment.SpecAugment(seed=9) for _ in range(2))
  first = layer(x, LENGTHS, training=True)
  second = layer(x, LENGTHS, training=True)
  assert np.any(first != second)
  np.testing.assert_array_equal(first, again(x, LENGTHS, training=True))
  other = specaugment.SpecAugment(seed=10)(x, LENGTHS, training=True)
  assert np.any(first != other)


def test_utterances_of_a_batch_differ():
  masked = _masked(time_masks=0, frequency_masks=2)
  assert len({utterance[0].tobytes() for utterance in masked}) > 1


def test_replicas_differ_and_a_replay_repeats(make_strategy):
  def run():
    strategy = make_strategy(4)
    with strategy.scope():
      layer = specaugment.SpecAugment(seed=3)

    @tf.function
    def step():
      def masks():
        return layer(tf.ones([5, 200, 80]), LENGTHS, training=True)

      return strategy.run(masks)

    return [
      [
        replica.numpy()
        for replica in strategy.experimental_local_results(step())
      ]
      for _ in range(2)
    ]

  steps = run()
  flat = [masks.tobytes() for step in steps for masks in step]
  assert len(set(flat)) == len(flat) == 8
  assert [masks.tobytes() for step in run() for masks in step] == flat


def test_xla_compiles_and_repeats_itself():
  def draws():
    layer = specaugment.SpecAugment(time_ratio=0.5, seed=4)

    @tf.function(jit_compile=True)
    def run():
      return layer(tf.ones([5, 200, 80]), LENGTHS, training=True)

    return [run().numpy() for _ in range(2)]

  first, second = draws()
  assert (first != second).any()
  np.testing.assert_array_equal([first, second], draws())
  for masked, length in zip(first == 0, LENGTHS):
    assert not masked.all(1)[length:].any()


def test_bad_arguments():
  with pytest.raises(ValueError, match="time_masks.*Received: time_masks=-1"):
    specaugment.SpecAugment(time_masks=-1)
  with pytest.raises(ValueError, match="Received: time_ratio=1.5"):
    specaugment.SpecAugment(time_ratio=1.5)


def test_config_round_trip():
  layer = specaugment.SpecAugment(time_width=7, seed=2)
  again = specaugment.SpecAugment.from_config(layer.get_config())
  assert again.get_config() == layer.get_config()
