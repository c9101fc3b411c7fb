"""Model classes that can be made of inputs and outputs."""

import functools

import keras


@functools.cache
def base() -> type:
  """Keras' functional model class, which has no public name."""
  inputs = keras.Input(())
  # Before 3.13 Keras refuses a model without a layer.
  outputs = keras.layers.Identity(name="same")(inputs)
  return type(keras.Model(inputs, outputs))


@functools.cache
def twin(cls: type) -> type:
  """A model class with Keras' functional model behind it, of the same name.

  Args:
    cls: subclass of `keras.Model`.

  Returns:
    A subclass of both, one for each `cls`.
  """
  made = type(
    cls.__name__,
    (cls, base()),
    {"__module__": cls.__module__, "__qualname__": cls.__qualname__},
  )
  package, found, name = keras.saving.get_registered_name(cls).partition(">")
  if found:
    keras.saving.register_keras_serializable(package, name)(made)
  return made
