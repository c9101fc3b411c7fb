"""Normalizers keep letters whole in every script and say what they drop."""

import unicodedata

import numpy as np
import pytest

from tf_pcc.data import normalizers, text

HINDI = "\u0939\u093f\u0928\u094d\u0926\u0940"
THAI = "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22"
JAPANESE = "\u304c\u304e \u6f22\u5b57"
ARABIC = "\u0645\u0650\u0646 \u0643\u062a\u0627\u0628"
KOREAN = "\ud55c\uad6d\uc5b4"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
RUSSIAN = "\u0439\u0451\u0436"
SCRIPTS = (HINDI, THAI, JAPANESE, ARABIC, KOREAN, PERSIAN, RUSSIAN)


@pytest.mark.parametrize("given", SCRIPTS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", normalizers.NAMES)
def test_marks_belong_to_letters(given, form, name):
  found = normalizers.get(name)(unicodedata.normalize(form, given) + ", ")
  expected = given if name != "none" else given + ","
  assert found == (expected.upper() if name == "upper" else expected)
  assert normalizers.get(name)(found) == found


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("upper", "EMRE'NIN CAYI 50 AT T NOISE ISLAK"),
    ("lower", "emre'nin \u00e7ay\u0131 50 at t noise islak"),
    ("basic", "emre nin \u00e7ay\u0131 50 at t islak"),
    (
      "none",
      "Emre\u2019nin \u00e7ay\u0131: 50% AT&T [noise] Islak",
    ),
    (
      "tf_pcc.data.normalizers:turkish",
      "emre'nin \u00e7ay\u0131 50 at t noise \u0131slak",
    ),
  ],
)
def test_one_text_by_each(name, expected):
  given = " Emre\u2019nin c\u0327ay\u0131:  50% AT&T [noise]\tIslak"
  assert normalizers.get(name)(given) == expected


def test_the_dotted_capital_is_one_letter():
  for name in ("lower", "basic", "tf_pcc.data.normalizers:turkish"):
    assert normalizers.get(name)("\u0130zmir") == "izmir"


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("capital", "one of upper, lower, basic, none or MODULE:FUNCTION"),
    ("os:system", "not of Python's own library"),
    ("subprocess:getoutput", "not of Python's own library"),
    ("tf_pcc.data.normalizers:nothing", "no attribute 'nothing'"),
    ("no_such_module:f", "No module named 'no_such_module'"),
    ("tf_pcc.data.text:CharacterTokenizer", "must give a string"),
  ],
)
def test_names_that_are_refused(name, message):
  with pytest.raises(ValueError, match=message):
    normalizers.get(name)


def test_what_is_dropped_is_counted():
  dropped = normalizers.Dropped()
  for i, before in enumerate(["50% off", "$5, 5%", "AT&T", "Plain", HINDI]):
    dropped.add(f"u{i}", before, normalizers.upper(before))
  assert dropped.counts == {"%": 2, "$": 1, ",": 1, "&": 1}
  # One example for each new character, not for what is known.
  assert [key for key, _, _ in dropped.examples] == ["u0", "u1", "u2"]
  assert dropped.examples[0] == ("u0", "50% off", "50 OFF")
  assert str(dropped).startswith("2 %, 1 ")
  for i in range(30):
    dropped.add(f"v{i}", chr(0x2200 + i), "")
  assert len(dropped.examples) == 10
  others = len(dropped.counts) - 10
  assert str(dropped).endswith(f"and {others} other characters")


def test_case_by_the_rules_of_turkish_loses_nothing():
  before = "I\u015f\u0131k \u0130ki in"
  dropped = normalizers.Dropped()
  dropped.add("u", before, normalizers.turkish(before))
  assert not dropped.counts
  dropped.add("u", before, normalizers.upper(before))
  assert dropped.counts == {"\u015f": 1, "\u0131": 1}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("text", ["I\u015f\u0131k", "\u0130zmir"])
def test_turkish_texts_want_its_normalizer(text, form):
  text = unicodedata.normalize(form, text)
  for name in ("upper", "lower", "basic"):
    dropped = normalizers.Dropped()
    dropped.add("u", "DI\u015f", normalizers.get(name)("DI\u015f"))
    assert not dropped.advice(name)
    dropped.add("v", text, normalizers.get(name)(text))
    assert "tf_pcc.data.normalizers:turkish" in dropped.advice(name)
  for name in ("none", "tf_pcc.data.normalizers:turkish"):
    assert not dropped.advice(name)


@pytest.mark.parametrize("given", SCRIPTS)
@pytest.mark.parametrize("kind", ["character", "word", "wordpiece"])
def test_vocabularies_are_learnt_and_come_back(given, kind):
  lines = [normalizers.lower(given)]
  size = 2 * len(set(given)) + 4
  tokenizer = text.build_tokenizer(kind, lines, size)
  assert tokenizer.decode(tokenizer.encode(lines[0])) == lines[0]


def test_sentencepieces_of_every_script():
  pytest.importorskip("sentencepiece", reason="needs the extra speech")
  lines = [normalizers.lower(given) for given in SCRIPTS] * 5
  tokenizer = text.build_tokenizer("sentencepiece", lines, 120)
  for line in lines:
    assert tokenizer.decode(tokenizer.encode(line)) == line


@pytest.mark.parametrize("name", normalizers.NAMES)
def test_a_second_time_changes_nothing(name):
  """Records that were normalised are not normalised again."""
  normalize = normalizers.get(name)
  random = np.random.default_rng(0)
  letters = [chr(c) for c in range(32, 0x2FFF) if chr(c).isprintable()]
  lines = ["".join(random.choice(letters, 30)) for _ in range(300)]
  # Another case makes several characters of them.
  for line in [*lines, "\u0149", "\u03b0", "\u00df", "\u0130", "\u1e9e"]:
    once = normalize(line)
    assert normalize(once) == once


def test_signatures():
  found = {normalizers.signature(name) for name in normalizers.NAMES}
  assert len(found) == len(normalizers.NAMES) and "" not in found
  assert normalizers.signature("tf_pcc.data.normalizers:turkish") == ""
