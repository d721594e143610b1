#!/usr/bin/python3
"""Makes demo/data from the whole debpkg data set: the packages of some sections, and a few typed queries as vectors.

usage: demo/make_slice.py DEBPKG
Needs Debian's python3-numpy. The same data gives the same files.
"""
import json
import pathlib
import re
import sys

import numpy as np

SECTIONS = {"games", "science", "editors", "graphics", "sound", "video", "web", "vcs", "shells", "education", "text",
            "utils", "mail", "database", "math"}
QUERIES = ["chess playing engine", "align dna sequences", "static site generator", "compress and extract archives",
           "version control system", "computer algebra system", "molecular dynamics simulation", "telescope",
           "spell checker", "midi sequencer", "image viewer", "text editor for programmers", "sql database client",
           "convert video between formats", "burn a cd", "file search tool", "shell", "mail reader"]

source = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parent / "data"
out.mkdir(exist_ok=True)

lines = (source / "rows.jsonl").read_text().splitlines()
kept = [i for i, line in enumerate(lines) if json.loads(line)["section"] in SECTIONS]
(out / "rows.jsonl").write_text("".join(lines[i] + "\n" for i in kept))
np.save(out / "vectors.npy", np.load(source / "vectors.npy")[kept])


def encode(text):
    """A typed text as a vector: tf-idf of its known terms, projected, of length 1."""
    terms = {term: i for i, term in enumerate((source / "encoder/terms.txt").read_text().split("\n")) if term}
    stop_words = set(json.loads((source / "encoder/stop_words.json").read_text()))
    idf = np.load(source / "encoder/idf.npy")
    weights = np.zeros(len(idf), np.float32)
    for token in re.findall(r"[a-zA-Z][a-zA-Z0-9+]+", text.lower()):
        if token in terms and token not in stop_words:
            weights[terms[token]] += 1
    known = weights > 0
    weights[known] = (1 + np.log(weights[known])) * idf[known]
    vector = (weights / np.linalg.norm(weights)) @ np.load(source / "encoder/projection.npy").astype(np.float32)
    return vector / np.linalg.norm(vector)


queries = np.array([encode(text) for text in QUERIES], np.float32).astype(np.float16)
np.save(out / "queries.npy", queries)
# A thumbs-up for xboard as an answer to the first query: its vector moves towards the query's.
step = [round(2.5 * float(x), 5) for x in queries[0]]
delta = {"vectorId": "xboard", "operation": {"type": "dense", "vector": step}, "metadata": {"why": "thumbs up"}}
(out / "thumbs-up.jsonl").write_text(json.dumps(delta) + "\n")
(out / "queries.txt").write_text("".join(text + "\n" for text in QUERIES))
print(f"{len(kept)} rows, {len(QUERIES)} queries")
