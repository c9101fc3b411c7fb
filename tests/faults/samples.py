"""The tiny experiment and its speech, imported where they are used.

The fixtures of pytest set up TensorFlow's devices at import, and a process that
is to be forked must not.
"""


def tones(count, seed):
  """Pairs (`Utterance`, waveform), as the tests of launch have them."""
  from tests.launch import conftest

  return conftest._tones(count, seed)


def tiny_config(folder):
  """The tests' tiny experiment on the records in a folder, a `ConfigDict`."""
  from tests.launch import conftest

  return conftest._tiny_config(folder)
