"""Real data through the command: every row in, every filter answered at the default ef, recall@10 by distance >= 0.99.

With the whole data set beside the repository (../shared/data/debpkg, or $VELTA_DATA) that is 61,436 rows, 1,000
held-out queries and five filters whose exact answers come with it. Without it, only the committed
slice is used (which is said), with numpy's exact answers. A found row counts when it matches the filter and its
similarity is at least the k-th exact one's, to 1e-6.
"""
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from command import DATA, SLICE, run_tests, velta  # noqa: E402

K = 10
FLOOR = 0.99

SLICE_FILTERS = {
    '': lambda row: True,
    'installed_kb >= 10000': lambda row: row['installed_kb'] >= 10000,
    "section = 'science'": lambda row: row['section'] == 'science',
    "section = 'games' AND depends < 5": lambda row: row['section'] == 'games' and row['depends'] < 5,
    'installed_kb > 400000': lambda row: row['installed_kb'] > 400000,
}


def unit(vectors):
    vectors = vectors.astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def recall(base, queries, found, matching, bounds):
    """Share of the wanted rows that were found; a row that does not match, or comes twice, fails at once."""
    good = wanted = 0
    allowed = np.zeros(len(base), bool)
    allowed[matching] = True
    for query, rows, bound in zip(queries, found, bounds):
        expected = min(K, len(matching))
        rows = rows[rows >= 0]
        assert len(rows) == expected, 'found %d rows of %d' % (len(rows), expected)
        assert allowed[rows].all() and len(set(rows)) == len(rows)
        good += int((base[rows] @ query >= bound - 1e-6).sum())
        wanted += expected
    return good / wanted


def check(folder, source, queries_file, cases):
    """cases: filter -> (matching rows, exact rows: queries x at least K)."""
    store = folder / 'packages.velta'
    velta('import', '--table', 'packages', '--vectors', 'embedding=%s' % (source / 'vectors.npy'),
          source / 'rows.jsonl', store, fast=True)
    velta('verify', store, fast=True)
    base, queries = unit(np.load(source / 'vectors.npy')), unit(np.load(queries_file))
    failures = []
    for where, (matching, exact) in cases.items():
        velta('search', '--table', 'packages', '--vectors', queries_file, '--k', K, '--where', where, '--out',
              folder / 'ids.npy', store, fast=True)
        found = np.load(folder / 'ids.npy')
        assert found.shape == (len(queries), K) and found.dtype == np.int32
        last = min(K, len(matching)) - 1
        bounds = np.einsum('ij,ij->i', base[exact[:, last]], queries)
        share = recall(base, queries, found, matching, bounds)
        print('%-36s %6d rows  recall@%d %.4f' % (where or '(no filter)', len(matching), K, share))
        if share < FLOOR:
            failures.append((where, share))
    assert not failures, 'below %.2f: %s' % (FLOOR, failures)


def matching_rows(rows, where):
    test = SLICE_FILTERS[where]
    return np.array([i for i, row in enumerate(rows) if test(row)])


def read_rows(path):
    with open(path, encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def test_whole_data_set(folder):
    if not (DATA / 'vectors.npy').exists():
        print('the whole data set is not at %s: only the slice of the demo is tested' % DATA)
        return
    rows = read_rows(DATA / 'rows.jsonl')
    cases = {}
    for item in json.loads((DATA / 'queries' / 'filters.json').read_text()):
        matching = matching_rows(rows, item['filter'])
        assert len(matching) == item['matching_rows']
        cases[item['filter']] = (matching, np.load(DATA / 'queries' / item['exact']))
    assert len(cases) == 5 and len(rows) == 61436
    check(folder, DATA, DATA / 'queries' / 'queries.npy', cases)


def test_slice_of_the_demo(folder):
    rows = read_rows(SLICE / 'rows.jsonl')
    vectors = np.load(SLICE / 'vectors.npy')
    assert len(rows) == len(vectors)
    # Queries that are no rows: rows moved by a quarter towards any other row, and the typed ones.
    pairs = np.random.default_rng(5).integers(0, len(vectors), (200, 2))
    queries = np.vstack([unit(3 * unit(vectors[pairs[:, 0]]) + unit(vectors[pairs[:, 1]])),
                         unit(np.load(SLICE / 'queries.npy'))])
    np.save(folder / 'queries.npy', queries)
    cases = {}
    for where in SLICE_FILTERS:
        matching = matching_rows(rows, where)
        similarity = queries @ unit(vectors)[matching].T
        cases[where] = (matching, matching[np.argsort(-similarity, axis=1, kind='stable')[:, :K]])
    check(folder, SLICE, folder / 'queries.npy', cases)


if __name__ == '__main__':
    run_tests(globals())
