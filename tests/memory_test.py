"""What a test traces is freed."""

import gc
import weakref

import numpy as np
import tensorflow as tf

import tf_pcc
from tests import apis, memory


def graphs():
  """The graphs of functions that are alive."""
  kind = type(tf.function(lambda: 0).get_concrete_function().graph)
  gc.collect()
  return {g for g in gc.get_objects() if isinstance(g, kind)}


def test_a_fit_on_two_cores_leaves_no_graph(make_strategy):
  before = weakref.WeakSet(graphs())
  model = apis.compiled("model", make_strategy(2), 3, tf_pcc.FixedBound(1.0))
  model.fit(apis.batches(np.ones((1, 2, 3))), verbose=0)
  del model
  kept = graphs() - set(before)
  assert "one_step_on_data" in {graph.name for graph in kept}
  kept.clear()
  memory.forget_graphs()
  assert not graphs() - set(before)
