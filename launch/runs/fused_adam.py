"""Adam whose update of a variable is one operation."""

from collections.abc import Sequence

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tf_pcc_launch")
class FusedAdam(keras.optimizers.Adam):
  """`keras.optimizers.Adam` by TensorFlow's own operation.

  Keras writes the update as some 27 operations a variable, on every core.
  TensorFlow has one that computes the same formula. A step of many variables
  on many cores is traced, optimised and run in less time; the numbers differ by
  rounding only. The variables have the names and the order of Keras' Adam, so
  that each restores what the other saved. Sparse gradients and `amsgrad` take
  Keras' own update.

  Args:
    *args: As of `keras.optimizers.Adam`.
    **kwargs: As of `keras.optimizers.Adam`.

  Example:
    >>> optimizer = FusedAdam(1e-3)
    >>> weight = keras.Variable([1.0, 2.0])
    >>> optimizer.apply([keras.ops.array([0.5, -0.5])], [weight])
    >>> print(weight.numpy().round(3))
    [0.999 2.001]

  References:
    Kingma and Ba, arXiv 1412.6980, algorithm 1 in the form that ends
    section 2.
  """

  def build(self, var_list: Sequence[keras.Variable]) -> None:
    super().build(var_list)
    # By their names: Keras' own lists are not part of its API.
    self._of_gradients, self._of_squares = (
      [v for v in self.variables if v.name.endswith(f"_{name}")]
      for name in ("momentum", "velocity")
    )

  def update_step(
    self,
    gradient: tf.Tensor | tf.IndexedSlices,
    variable: tf.Variable | keras.Variable,
    learning_rate: tf.Tensor,
  ) -> None:
    """Updates one variable and its two moments.

    Args:
      gradient: float tensor or `tf.IndexedSlices`, of the variable's shape.
      variable: `tf.Variable`, or `keras.Variable`.
      learning_rate: float scalar tensor.
    """
    if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
      super().update_step(gradient, variable, learning_rate)
      return
    index = self._get_variable_index(variable)
    if isinstance(variable, keras.Variable):
      variable = variable.value
    dtype = variable.dtype
    step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
    beta_1, beta_2 = (tf.cast(b, dtype) for b in (self.beta_1, self.beta_2))
    tf.raw_ops.ResourceApplyAdam(
      var=variable.handle,
      m=self._of_gradients[index].value.handle,
      v=self._of_squares[index].value.handle,
      beta1_power=tf.pow(beta_1, step),
      beta2_power=tf.pow(beta_2, step),
      lr=tf.cast(learning_rate, dtype),
      beta1=beta_1,
      beta2=beta_2,
      epsilon=tf.cast(self.epsilon, dtype),
      grad=tf.cast(gradient, dtype),
    )
