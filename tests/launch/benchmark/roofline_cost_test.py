"""The share that a step reaches, and a profile of what is known."""

import numpy as np
import tensorflow as tf

from launch.benchmark import attention_cost, profile, roofline_cost


def test_a_profile_names_the_kinds_that_ran():
  left = tf.random.stateless_normal([512, 512], [0, 0])

  @tf.function(autograph=False)
  def work():
    # Not constants, which TensorFlow would fold.
    product = tf.matmul(left + tf.random.uniform([]), left)
    return tf.reduce_sum(tf.sort(tf.reshape(product, [-1])[:4]))

  work()
  found = profile.seconds_by_kind(work, 3)
  assert {"MatMul", "TopKV2"} <= set(found)
  assert found["MatMul"] > found["TopKV2"] > 0
  assert list(found.values()) == sorted(found.values(), reverse=True)
  assert not {"PartitionedCall", "StatefulPartitionedCall"} & set(found)


def test_what_is_no_op_is_left_out():
  space = profile._message("Space")()
  plane = space.planes.add()
  names = [
    "a/b:MatMul",
    "c:_MklMatMul",
    "ExecutorState::Process",
    "run",
    "f:While",
  ]
  line = plane.lines.add()
  for key, name in enumerate(names):
    entry = plane.event_metadata.add(key=key)
    entry.value.name = name
    line.events.add(metadata_id=key, duration_ps=10**12)
  assert profile.of_space(space.SerializeToString()) == {"MatMul": 2.0}


def test_a_product_has_its_operations():
  product, operations = roofline_cost.make_product(8)
  product()
  assert operations == 2 * 8**3


def test_measure():
  found = roofline_cost.measure("tiny", 2, 1.0, 3)
  low, high = found["share_quartiles"]
  assert 0 < low <= found["share"] <= high < 2
  np.testing.assert_allclose(
    found["step_rate"], found["operations"] / found["step_seconds"]
  )
  assert len(found["kinds"]) == 5
  assert sum(row["share"] for row in found["kinds"]) <= 1
  # Which product comes first depends on what else the machine does.
  assert any("MatMul" in row["kind"] for row in found["kinds"])


def test_operations_grow_with_the_batch():
  model = attention_cost.make_models({"size": "tiny"})["layer"]
  one, more = (roofline_cost.step_operations(model, n, 1.0) for n in (2, 4))
  # All but the product of the positions is for every utterance.
  assert 1.8 < more / one <= 2
