"""A word n-gram language model, from a file in ARPA form, by kenlm.

kenlm comes from PyPI as source and is compiled on installation: an extra.
"""

import math
import os
from typing import Any

from tf_pcc import extras

_LN10 = math.log(10.0)


class NgramModel:
  r"""Log-probabilities of words, one after another.

  Words are looked up as they are written: transcripts are upper case, so the
  file's words must be. A word that the file does not have gets the probability
  of `<unk>`, or 1e-100 where that is missing too.

  Args:
    path: file in ARPA form, of bigrams or longer, or a binary of kenlm's.

  Raises:
    ImportError: If kenlm is not installed.
    ValueError: If the file cannot be read as a language model.

  Example:

  >>> import pathlib, tempfile
  >>> path = pathlib.Path(tempfile.mkdtemp(), "bigram.arpa")
  >>> lines = [
  ...   *("\\data\\", "ngram 1=4", "ngram 2=2", ""),
  ...   *("\\1-grams:", "-1\t<unk>", "-99\t<s>\t0", "-1\t</s>", "-1\tHELLO\t0"),
  ...   *("", "\\2-grams:", "-0.5\t<s> HELLO", "-0.5\tHELLO </s>"),
  ...   *("", "\\end\\", ""),
  ... ]
  >>> _ = path.write_text("\n".join(lines))
  >>> model = NgramModel(path)
  >>> state = model.start()
  >>> log_p, state = model.advance(state, "HELLO")
  >>> round(log_p + model.end(state), 3)  # ln(10 ** -0.5) twice
  -2.303

  References:
    Heafield, "KenLM: Faster and Smaller Language Model Queries", WMT 2011.
  """

  def __init__(self, path: str | os.PathLike[str]):
    if not os.path.isfile(path):
      raise ValueError(
        "arpa must be a file on this machine, an n-gram language model in ARPA "
        f"form. Received: arpa={path}"
      )
    kenlm = _kenlm_module()
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
      self._model = kenlm.Model(str(path), config)
    except (OSError, RuntimeError) as error:
      raise ValueError(
        "arpa must be an n-gram language model in ARPA form: "
        f"{error}. Received: arpa={path}"
      ) from error
    self._state = kenlm.State

  @property
  def order(self) -> int:
    """The n of n-gram."""
    return self._model.order

  def start(self) -> Any:
    """The state before a sentence's first word."""
    state = self._state()
    self._model.BeginSentenceWrite(state)
    return state

  def advance(self, state: Any, word: str) -> tuple[float, Any]:
    """Says a word.

    Args:
      state: what `start` or the last `advance` returned; it is not changed.
      word: string.

    Returns:
      The word's log-probability (natural), a float, and the next state.
    """
    after = self._state()
    return self._model.BaseScore(state, word, after) * _LN10, after

  def end(self, state: Any) -> float:
    """Log-probability (natural) that the sentence ends here, a float.

    Args:
      state: what `start` or the last `advance` returned.

    Returns:
      The log-probability.
    """
    return self.advance(state, "</s>")[0]


def _kenlm_module():
  # No wheel: pip compiles it.
  return extras.load("kenlm", "A language model", "lm")
