#!/usr/bin/python3
"""Makes demo/encoder from the encoder of the whole debpkg data set: small enough to be kept here and sent to a page.

usage: demo/make_encoder.py DEBPKG
Kept are the terms that a summary or name in demo/data uses, and those that at least 20 packages of the whole use; each
term's row of the projection is rounded to int8 with a scale of its own. Prints what that costs: how near the vectors
of queries are to those of the whole encoder, and how many of the ten nearest packages are the same.
Needs Debian's python3-numpy. The same data gives the same files.

  terms.txt        one term a line, commonest first (in demo/data, then in the whole)
  weights.npy      float32: of each term, idf times the scale of its row
  projection.npy   int8, terms x 256
  stop_words.json  words that count for nothing
A query's vector is the sum over its terms of (1 + ln count) * weight * row, brought to length 1.
"""
import json
import pathlib
import re
import sys

import numpy as np

source = pathlib.Path(sys.argv[1])
here = pathlib.Path(__file__).parent
out = here / "encoder"
COMMON = 20  # packages

terms = (source / "encoder/terms.txt").read_text().split()
index_of = {term: i for i, term in enumerate(terms)}
idf = np.load(source / "encoder/idf.npy")
projection = np.load(source / "encoder/projection.npy").astype(np.float32)
stop_words = set(json.loads((source / "encoder/stop_words.json").read_text()))
rows = [json.loads(line) for line in (here / "data/rows.jsonl").read_text().splitlines()]
whole_count = sum(1 for _ in open(source / "rows.jsonl"))


def tokens(text):
    return re.findall(r"[a-zA-Z][a-zA-Z0-9+]+", text.lower())


def encode(text, known, weight, matrix):
    """The vector of a text with the terms that are known, or None where there is none."""
    counts = {}
    for token in tokens(text):
        i = index_of.get(token)
        if i is not None and token not in stop_words and known[i]:
            counts[i] = counts.get(i, 0) + 1
    if not counts:
        return None
    chosen = np.array(list(counts))
    vector = ((1 + np.log(np.array(list(counts.values())))) * weight[chosen]) @ matrix[chosen].astype(np.float32)
    return vector / np.linalg.norm(vector)


def queries_like_people_s():
    """Lists of queries by name: typed ones, and summaries of packages that the data hold back, whole and in part."""
    held = [json.loads(line) for line in (source / "queries/queries.jsonl").read_text().splitlines()]
    sections = {row["section"] for row in rows}
    held = [row["summary"] for row in held if row["section"] in sections]
    random = np.random.default_rng(1)
    short = []
    for summary in held:
        words = [word for word in tokens(summary) if word in index_of and word not in stop_words]
        if len(words) > 1:
            short.append(" ".join(random.choice(words, min(int(random.integers(1, 4)), len(words)), replace=False)))
    return {"typed": (here / "data/queries.txt").read_text().splitlines(), "summaries held back": held,
            "one to three words of them": short}


def report(kept, weight, small):
    vectors = np.load(here / "data/vectors.npy").astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    everything = np.ones(len(terms), bool)

    def nearest(vector):
        return set(np.argsort(-(vectors @ vector), kind="stable")[:10])

    for name, texts in queries_like_people_s().items():
        cosines, same = [], []
        for text in texts:
            whole = encode(text, everything, idf, projection)
            part = encode(text, kept, weight, small)
            cosines.append(0 if part is None else float(whole @ part))
            same.append(0 if part is None else len(nearest(whole) & nearest(part)) / 10)
        print(f"{name}: {len(texts)} queries, cosine {np.mean(cosines):.4f} on average (the lowest twentieth "
              f"{np.percentile(cosines, 5):.4f}), {100 * np.mean(same):.1f} % of the ten nearest the same, "
              f"{cosines.count(0)} with no term left")


used = np.zeros(len(terms), int)
for row in rows:
    for token in set(tokens(row["name"].replace("-", " ") + " " + row["summary"])):
        if token in index_of:
            used[index_of[token]] += 1
packages = (whole_count + 1) / np.exp(idf - 1)  # what the idf was made of, near enough
kept = ((used > 0) | (packages >= COMMON)) & ~np.isin(terms, list(stop_words))
order = sorted(np.flatnonzero(kept), key=lambda i: (-used[i], idf[i], terms[i]))

scale = np.abs(projection).max(axis=1) / 127
rounded = np.round(projection / scale[:, None]).astype(np.int8)
out.mkdir(exist_ok=True)
(out / "terms.txt").write_text("".join(terms[i] + "\n" for i in order))
np.save(out / "weights.npy", (idf * scale)[order].astype(np.float32))
np.save(out / "projection.npy", rounded[order])
(out / "stop_words.json").write_text(json.dumps(sorted(stop_words)) + "\n")
size = sum(path.stat().st_size for path in out.iterdir())
print(f"{len(order)} of {len(terms)} terms, {size} bytes")
report(kept, idf * scale, rounded)
