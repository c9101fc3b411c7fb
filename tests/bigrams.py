"""Estimates a word bigram model from the transcripts of records.

  python -m tests.bigrams RECORDS OUT.arpa

Absolute discounting, interpolated with unigrams: enough for a measurement, and
no replacement for a real estimator such as KenLM's lmplz.
"""

import collections
import math
import sys

DISCOUNT = 0.7


def write_arpa(texts, path):
  """Writes the bigram model of texts in ARPA form.

  Args:
    texts: iterable of strings, words separated by spaces.
    path: file.
  """
  pairs, contexts = collections.Counter(), collections.Counter()
  for text in texts:
    words = ["<s>", *text.split(), "</s>"]
    pairs.update(zip(words, words[1:]))
  for (before, _), count in pairs.items():
    contexts[before] += count
  ends = collections.Counter()
  for (_, after), count in pairs.items():
    ends[after] += count
  # One more of everything, of which <unk> gets one.
  total = sum(ends.values()) + len(ends) + 1
  unigrams = {word: (count + 1) / total for word, count in ends.items()}
  unigrams["<unk>"] = 1 / total
  kinds = collections.Counter(before for before, _ in pairs)
  rest = {w: DISCOUNT * kinds[w] / count for w, count in contexts.items()}
  bigrams = {
    (a, b): (count - DISCOUNT) / contexts[a] + rest[a] * unigrams[b]
    for (a, b), count in pairs.items()
  }
  with open(path, "w", encoding="utf-8") as file:
    file.write(f"\\data\\\nngram 1={len(unigrams) + 1}\n")
    file.write(f"ngram 2={len(bigrams)}\n\n\\1-grams:\n")
    for word, p in sorted({**unigrams, "<s>": 1e-99}.items()):
      back_off = math.log10(rest[word]) if word in rest else 0.0
      file.write(f"{math.log10(p):.6f}\t{word}\t{back_off:.6f}\n")
    file.write("\n\\2-grams:\n")
    for pair, p in sorted(bigrams.items()):
      file.write(f"{math.log10(p):.6f}\t{' '.join(pair)}\n")
    file.write("\n\\end\\\n")


def main():
  from tf_pcc.data import records

  write_arpa(records.Records(sys.argv[1]).texts, sys.argv[2])


if __name__ == "__main__":
  main()
