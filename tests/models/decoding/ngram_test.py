"""The n-gram model against values computed by hand."""

import math
import sys

import pytest

from models.decoding import ngram
from tests import bigrams

# Words upper case, as transcripts are; A B has a bigram, B A backs off.
ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-0.7\t<s>\t-0.3
-0.6\t</s>
-0.5\tA\t-0.2
-0.8\tB\t-0.4
-1.5\t<unk>

\\2-grams:
-0.2\t<s> A
-0.3\tA B
-0.4\tB </s>

\\end\\
"""


@pytest.fixture
def model(tmp_path):
  pytest.importorskip("kenlm", reason="language models are read by kenlm")
  path = tmp_path / "bigram.arpa"
  path.write_text(ARPA)
  return ngram.NgramModel(path)


def _log10(model, words):
  state, total = model.start(), 0.0
  for word in words:
    log_p, state = model.advance(state, word)
    total += log_p
  return (total + model.end(state)) / math.log(10)


@pytest.mark.parametrize(
  ("text", "log10"),
  [
    ("A B", -0.2 - 0.3 - 0.4),
    ("", -0.3 - 0.6),  # <s> backs off to the unigram of </s>
    ("B A", (-0.3 - 0.8) + (-0.4 - 0.5) + (-0.2 - 0.6)),
    ("A A", -0.2 + (-0.2 - 0.5) + (-0.2 - 0.6)),
    ("B Q", (-0.3 - 0.8) + (-0.4 - 1.5) - 0.6),
    ("a", (-0.3 - 1.5) - 0.6),
  ],
)
def test_back_off_by_hand(model, text, log10):
  assert model.order == 2
  assert _log10(model, text.split()) == pytest.approx(log10, abs=1e-5)


def test_states_can_be_used_again(model):
  start = model.start()
  first, after = model.advance(start, "A")
  model.advance(after, "B")
  assert model.advance(start, "A")[0] == first
  assert model.advance(after, "B")[0] == pytest.approx(-0.3 * math.log(10))


@pytest.mark.parametrize("content", [None, "not a model", ARPA[:90]])
def test_what_is_no_model_is_refused(model, tmp_path, content):
  path = tmp_path / "other.arpa"
  if content is not None:
    path.write_text(content)
  with pytest.raises(ValueError, match="ARPA form.*other.arpa"):
    ngram.NgramModel(path)


def test_without_kenlm_it_is_said_how_to_get_it(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, "kenlm", None)
  (tmp_path / "bigram.arpa").write_text(ARPA)
  with pytest.raises(ImportError, match="pip install"):
    ngram.NgramModel(tmp_path / "bigram.arpa")


def test_an_estimated_model_gives_every_context_probability_one(tmp_path):
  pytest.importorskip("kenlm", reason="language models are read by kenlm")
  texts = ["A B C", "A B", "B B A", "C", ""]
  bigrams.write_arpa(texts, tmp_path / "estimated.arpa")
  model = ngram.NgramModel(tmp_path / "estimated.arpa")
  for context in ([], ["A"], ["A", "B"], ["C"]):
    state = model.start()
    for word in context:
      _, state = model.advance(state, word)
    choices = ("A", "B", "C", "</s>", "<unk>")
    total = sum(math.exp(model.advance(state, word)[0]) for word in choices)
    assert total == pytest.approx(1, abs=1e-4)
  likely, unlikely = _log10(model, ["A", "B"]), _log10(model, ["B", "C"])
  assert likely > unlikely
