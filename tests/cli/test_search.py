"""velta search, apply, tag, compact, export, verify, inspect and bench as users meet them, against numpy's answers."""
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from command import (CHECKED, exported, facts, run_tests, small_rows, small_store, unit_vectors,  # noqa: E402
                     velta, write_rows)

COMMANDS = ['import', 'search', 'apply', 'inspect', 'verify', 'salvage', 'compact', 'export', 'tag', 'bench']


def nearest(vectors, query, k, among=None):
    """Rows by cosine distance, ties by row."""
    distances = 1 - vectors.astype(np.float64) @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    rows = np.arange(len(vectors)) if among is None else np.asarray(among)
    return rows[np.lexsort((rows, distances[rows]))][:k], distances


def apply(folder, store, deltas, **options):
    path = folder / 'deltas.jsonl'
    path.write_text(''.join(json.dumps(delta) + '\n' for delta in deltas))
    return velta('apply', path, store, **options)


def vector_of(store, key, *options):
    got = velta('search', '--where', "id = '%s'" % key, '--select', 'v', '--json', *options, store).json_lines()
    return np.float32(got[0]['v']) if got else None


def found(store, *options):
    return [line['row'] for line in velta('search', '--json', *options, store).json_lines()]


def test_query_vectors_to_a_file(folder):
    store, vectors = small_store(folder)
    queries = unit_vectors(7, 8, seed=2)
    np.save(folder / 'q.npy', queries)
    velta('search', '--vectors', folder / 'q.npy', '--k', 12, '--where', "group = 'red' AND number > 20", '--out',
          folder / 'o.npy', store)
    out = np.load(folder / 'o.npy')
    assert out.dtype == np.int32 and out.shape == (7, 12)
    among = [i for i, row in enumerate(small_rows(60)) if row['group'] == 'red' and row['number'] > 20]
    assert len(among) == 10
    for query, rows in zip(queries, out):
        assert list(rows[:10]) == list(nearest(vectors, query, 12, among)[0]) and list(rows[10:]) == [-1, -1]
    velta('search', '--vectors', folder / 'q.npy', '--where', 'number > 9999', '--out', folder / 'o.npy', store)
    assert (np.load(folder / 'o.npy') == -1).all()
    velta('search', '--vectors', folder / 'q.npy', '--out', folder / 'no' / 'o.npy', store, code=1, says='o.npy')


def test_json_table_select_query_and_explain(folder):
    store, vectors = small_store(folder)
    np.save(folder / 'q.npy', vectors[[3, 9]])
    lines = velta('search', '--vectors', folder / 'q.npy', '--k', 2, '--select', 'note,number', '--json',
                  store).json_lines()
    assert [(line['query'], line['row']) for line in lines][::2] == [(0, 3), (1, 9)]
    assert lines[0]['note'] == 'näme 3' and lines[0]['number'] == 2 and abs(lines[0]['distance']) < 1e-6
    expected = nearest(vectors, vectors[3], 2)
    assert lines[1]['row'] == expected[0][1]
    assert abs(lines[1]['distance'] - expected[1][expected[0][1]]) < 1e-5
    ran = velta('search', '--vectors', folder / 'q.npy', '--query', 1, '--k', 3, '--select', 'id,note', '--explain',
                store, says='60 rows match')
    rows = ran.out.splitlines()
    assert rows[0].split() == ['row', 'distance', 'id', 'note'] and len(rows) == 4
    assert rows[1].split() == ['9', '0.000000', 'row-9', 'näme', '9'] or rows[1].split()[1] == '-0.000000'
    assert found(store, '--vectors', folder / 'q.npy', '--query', 0, '--exact', '--k', 4) == \
        found(store, '--vectors', folder / 'q.npy', '--query', 0, '--ef', 60, '--k', 4)
    velta('search', '--vectors', folder / 'q.npy', '--query', 2, store, code=1, says='no query 2')


def test_like_leaves_the_row_itself_out(folder):
    store, vectors = small_store(folder)
    expected = [row for row in nearest(vectors, vectors[4], 6)[0] if row != 4]
    assert found(store, '--like', 'row-4', '--k', 5) == expected
    among = [i for i in range(60) if i % 5 == 1]
    assert found(store, '--like', 'row-4', '--k', 3, '--where', "group = 'green'") == \
        list(nearest(vectors, vectors[4], 3, among)[0])
    velta('search', '--like', 'row-99', store, code=1, says="'row-99'")


def test_like_by_row_number_and_integer_key(folder):
    vectors = unit_vectors(20, 4)
    np.save(folder / 'v.npy', vectors)
    write_rows(folder / 'r.jsonl', [{'a': i // 2} for i in range(20)])
    velta('import', '--vectors', 'v=%s' % (folder / 'v.npy'), folder / 'r.jsonl', folder / 'rows.velta')
    write_rows(folder / 'k.jsonl', [{'a': 100 - i} for i in range(20)])
    velta('import', '--vectors', 'v=%s' % (folder / 'v.npy'), folder / 'k.jsonl', folder / 'keys.velta')
    expected = [row for row in nearest(vectors, vectors[7], 4)[0] if row != 7]
    assert found(folder / 'rows.velta', '--like', 7, '--k', 3) == expected
    assert found(folder / 'keys.velta', '--like', 93, '--k', 3) == expected
    velta('search', '--like', 'seven', folder / 'rows.velta', code=1, says='row number')
    velta('search', '--like', 'seven', folder / 'keys.velta', code=1, says='integer key')
    velta('search', '--like', 20, folder / 'rows.velta', code=1)


def test_where_alone(folder):
    store, _ = small_store(folder)
    assert [row['id'] for row in velta('search', '--where', 'even AND note IS NULL AND share < 2', '--json',
                                       store).json_lines()] == ['row-0', 'row-4', 'row-8', 'row-12']
    assert velta('search', '--where', 'NOT even', '--count', store).out == '30\n'
    assert velta('search', '--where', '', '--count', store).out == '60\n'
    assert velta('search', '--where', 'FALSE', '--json', store).out == ''
    lines = velta('search', '--where', "id = 'row-5'", store).out.splitlines()
    assert lines[0].split() == ['row', 'id', 'group', 'number', 'share', 'even', 'note']
    assert lines[1].split() == ['5', 'row-5', 'red', '8', '0.625', 'no', 'näme', '5']


def test_filter_errors_point_at_the_place(folder):
    store, _ = small_store(folder)
    for text, at, says in [('number <', 8, 'value'), ("grup = 'red'", 0, "'group'"), ("number = 'x'", 9, 'int'),
                           ('group = red', 8, 'single quotes'), ("note = 'ä' AND )", 16, '')]:
        for how in [[], ['--like', 'row-1']]:
            ran = velta('search', *how, '--where', text, store, code=1, says=['at byte %d' % at, says, '^'])
            shown, caret = ran.error.splitlines()[-2:]
            assert shown[2:] == text and caret.index('^') - 2 == len(text.encode()[:at].decode())


def test_search_refuses(folder):
    store, vectors = small_store(folder)
    np.save(folder / 'long.npy', unit_vectors(1, 9))
    np.save(folder / 'nan.npy', np.float32([[np.nan] * 8]))
    np.save(folder / 'q.npy', vectors[:1])
    q = ['--vectors', folder / 'q.npy']
    for arguments, code, says in [
            (['--vectors', folder / 'long.npy'], 1, ['9', '8']), (['--vectors', folder / 'nan.npy'], 1, 'NaN'),
            ([*q, '--select', 'id,colour'], 1, "'colour'"), ([*q, '--column', 'w'], 1, "'w'"),
            ([*q, '--table', 'people'], 1, ["'people'", "'things'"]), ([*q, '--at', 'tag:never'], 1, 'never'),
            ([*q, '--at', 'yesterday'], 2, 'yesterday'), ([*q, '--k', 0], 2, '--k'), ([*q, '--k', 16385], 2, '--k'),
            ([*q, '--like', 'row-1'], 2, 'not both'), ([], 2, '--where'), ([*q, '--colour'], 2, '--help'),
            ([*q, '--count'], 2, '--count')]:
        velta('search', *arguments, store, code=code, says=says)
    velta('search', *q, folder / 'absent.velta', code=1, says='absent.velta')
    assert not (folder / 'absent.velta').exists()


def test_every_delta_does_its_arithmetic(folder):
    store, vectors = small_store(folder)
    one = vectors[10].copy()
    apply(folder, store, [
        {'vectorId': 'row-10', 'operation': {'type': 'sparse', 'indices': [1, 6], 'values': [0.5, -0.25]}},
        {'vectorId': 'row-10', 'operation': {'type': 'sparse', 'indices': [0], 'values': [9], 'mode': 'set'}},
        {'vectorId': 'row-10', 'operation': {'type': 'scale', 'factor': 0.5}},
        {'vectorId': 'row-10', 'operation': {'type': 'offset', 'amount': 0.125}},
        {'vectorId': 'row-10', 'operation': {'type': 'dense', 'vector': [1, 0, 0, 0, 0, 0, 0, 2]}},
        {'vectorId': 'row-11', 'operation': {'type': 'dense', 'vector': [1] * 8, 'mode': 'set'}},
        {'vectorId': 'row-12', 'operation': {'type': 'delete'}},
        {'vectorId': 'brand-new', 'operation': {'type': 'create', 'vector': list(range(8))},
         'metadata': {'by': 'test'}},
    ])
    one[1] += np.float32(0.5)
    one[6] -= np.float32(0.25)
    one[0] = 9
    one = one * np.float32(0.5) + np.float32(0.125) + np.float32([1, 0, 0, 0, 0, 0, 0, 2])
    assert np.array_equal(vector_of(store, 'row-10'), one)
    assert np.array_equal(vector_of(store, 'row-11'), np.ones(8))
    assert vector_of(store, 'row-12') is None
    assert np.array_equal(vector_of(store, 'brand-new'), np.arange(8))
    assert facts(store)['tables'][0]['rows'] == 60
    velta('verify', store)
    current = np.vstack([vectors, np.arange(8)]).astype(np.float32)
    current[10], current[11] = one, 1
    alive = [i for i in range(61) if i != 12]
    np.save(folder / 'q.npy', np.float32([[1] * 8]))
    assert found(store, '--vectors', folder / 'q.npy', '--k', 7) == list(nearest(current, np.ones(8), 7, alive)[0])


def test_bad_deltas_change_nothing(folder):
    store, _ = small_store(folder)
    good = {'vectorId': 'row-1', 'operation': {'type': 'scale', 'factor': 3}}
    before = exported(store)
    cases = [
        ({'vectorId': 'row-77', 'operation': {'type': 'scale', 'factor': 3}}, 'row-77'),
        ({'vectorId': 'row-2', 'operation': {'type': 'create', 'vector': [1] * 8}}, 'row-2'),
        ({'vectorId': 'x', 'operation': {'type': 'create', 'vector': [1] * 7}}, '7'),
        ({'vectorId': 'row-2', 'operation': {'type': 'dense', 'vector': [1] * 9}}, '9'),
        ({'vectorId': 'row-2', 'operation': {'type': 'sparse', 'indices': [8], 'values': [1]}}, '8'),
        ({'vectorId': 'row-2', 'operation': {'type': 'sparse', 'indices': [3, 2], 'values': [1, 1]}}, 'ascending'),
        ({'vectorId': 'row-2', 'operation': {'type': 'sparse', 'indices': [3], 'values': [1, 1]}}, 'as many'),
        ({'vectorId': 'row-2', 'operation': {'type': 'scale', 'factor': 1e300}}, 'finite'),
        ({'vectorId': 'row-2', 'operation': {'type': 'scale'}}, 'factor'),
        ({'vectorId': 'row-2', 'operation': {'type': 'explode'}}, 'operation.type'),
        ({'vectorId': 2, 'operation': {'type': 'delete'}}, 'vectorId'),
        ({'vectorId': 'row-2', 'operation': {'type': 'delete'}, 'timestamp': 'noon'}, 'timestamp'),
        ({'vectorId': 'row-2'}, 'operation'),
    ]
    for bad, says in cases:
        apply(folder, store, [good, good, bad], code=1, says=['deltas.jsonl:3:', says, 'nothing was applied'])
        assert exported(store) == before, bad
    (folder / 'broken.jsonl').write_text(json.dumps(good) + '\n{"vectorId": \n')
    velta('apply', folder / 'broken.jsonl', store, code=1, says='broken.jsonl:2:')
    velta('apply', '--column', 'w', folder / 'broken.jsonl', store, code=1, says="'w'")
    velta('apply', folder / 'absent.jsonl', store, code=1, says='absent.jsonl')
    assert exported(store) == before


def test_the_past_by_tag_and_by_time(folder):
    store, vectors = small_store(folder)
    np.save(folder / 'q.npy', vectors[20:21])
    q = ['--vectors', folder / 'q.npy', '--k', 6]
    velta('tag', 'start', store)
    first = velta('search', *q, '--json', store).out
    time.sleep(0.01)
    apply(folder, store, [{'vectorId': 'row-20', 'operation': {'type': 'scale', 'factor': -1}},
                          {'vectorId': 'row-%d' % nearest(vectors, vectors[20], 2)[0][1],
                           'operation': {'type': 'delete'}}])
    middle = facts(store)['time_ms']
    second = velta('search', *q, '--json', store).out
    time.sleep(0.01)
    apply(folder, store, [{'vectorId': 'row-3', 'operation': {'type': 'dense', 'mode': 'set',
                                                               'vector': [float(x) for x in vectors[20]]}}])
    third = velta('search', *q, '--json', store).out
    assert len({first, second, third}) == 3
    assert velta('search', *q, '--json', '--at', 'tag:start', store).out == first
    assert velta('search', *q, '--json', '--at', middle, store).out == second
    stamp = np.datetime_as_string(np.datetime64(middle, 'ms')) + 'Z'
    assert velta('search', *q, '--json', '--at', stamp, store).out == second
    assert velta('search', *q, '--json', '--at', facts(store)['time_ms'], store).out == third
    assert found(store, '--at', 'tag:start', '--like', 'row-20', '--k', 5) == \
        [json.loads(line)['row'] for line in first.splitlines()][1:]
    velta('search', '--where', '', '--at', 'tag:start', store, code=2, says='--at')


def test_compact_keeps_what_it_is_told(folder):
    store, vectors = small_store(folder)
    np.save(folder / 'q.npy', vectors[20:21])
    q = ['--vectors', folder / 'q.npy', '--k', 5, '--json']
    answers = {}
    for tag in ['one', 'two', 'three']:
        velta('tag', tag, store)
        answers[tag] = velta('search', *q, store).out
        time.sleep(0.005)
        apply(folder, store, [{'vectorId': 'row-20', 'operation': {'type': 'offset', 'amount': 0.2}}])
    velta('compact', '--keep-all', store)
    for tag, answer in answers.items():
        assert velta('search', *q, '--at', 'tag:' + tag, store).out == answer
    velta('compact', '--keep-tag', 'one', '--keep-tag', 'three', store)
    for tag in ['one', 'three']:
        assert velta('search', *q, '--at', 'tag:' + tag, store).out == answers[tag]
    velta('search', *q, '--at', 'tag:two', store, code=1)
    now = velta('search', *q, store).out
    secret = 'a-key-that-must-vanish'
    apply(folder, store, [{'vectorId': secret, 'operation': {'type': 'create', 'vector': [1] * 8}}])
    apply(folder, store, [{'vectorId': secret, 'operation': {'type': 'delete'}}])
    velta('compact', store)
    assert velta('search', *q, store).out == now
    velta('search', *q, '--at', 'tag:one', store, code=1)
    for path in folder.glob('small.velta*'):
        assert secret.encode() not in path.read_bytes()
    velta('verify', store)
    assert facts(store)['tables'][0] | {'columns': 0} == {'name': 'things', 'rows': 60, 'deleted_rows': 0, 'columns': 0}
    velta('compact', '--keep-tag', 'never', store, code=1, says='never')


def test_export_opens_and_is_canonical(folder):
    store, vectors = small_store(folder)
    apply(folder, store, [{'vectorId': 'row-5', 'operation': {'type': 'scale', 'factor': 2}}])
    copy = folder / 'copy.velta'
    velta('export', store, copy)
    np.save(folder / 'q.npy', vectors[:9])
    q = ['--vectors', folder / 'q.npy', '--json', '--select', 'id,note,v']
    assert velta('search', *q, copy).out == velta('search', *q, store).out
    velta('verify', copy)
    assert exported(copy) == copy.read_bytes() == exported(store)
    apply(folder, copy, [{'vectorId': 'row-5', 'operation': {'type': 'scale', 'factor': 2}}])
    assert np.array_equal(vector_of(copy, 'row-5'), vectors[5] * 4)
    velta('export', store, folder / 'no' / 'x.velta', code=1, says='x.velta')


def test_answers_are_not_written_over_stores(folder):
    store, vectors = small_store(folder)
    other, _ = small_store(folder, name='other.velta')
    before = store.read_bytes(), other.read_bytes()
    (folder / 'link.velta').symlink_to(store)
    np.save(folder / 'q.npy', vectors[:1])
    for path, says in [(store, 'the store itself'), (folder / 'link.velta', 'the store itself'), (other, 'log beside')]:
        velta('export', store, path, code=1, says=says)
        velta('search', '--vectors', folder / 'q.npy', '--out', path, store, code=1, says=says)
    assert before == (store.read_bytes(), other.read_bytes())
    velta('verify', store)
    velta('verify', other)
    with open('/dev/full', 'w', encoding='ascii') as full:
        done = subprocess.run([CHECKED, 'search', '--where', '', str(store)], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)
    assert done.returncode == 1 and 'could not be written' in done.stderr


def test_damage_is_found(folder):
    store, _ = small_store(folder)
    good = store.read_bytes()
    before = exported(store)
    unused = 0
    for place in range(8192, len(good), max(1, len(good) // 12)):
        store.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1:])
        if velta('verify', store, code=(0, 1)).code == 0:  # then no content uses that byte
            assert exported(store) == before
            unused += 1
    assert unused < 12
    store.write_bytes(good[:len(good) // 2])
    velta('search', '--where', '', store, code=1, says='small.velta')
    store.write_bytes(good)
    velta('verify', store)


def test_inspect_and_help(folder):
    store, _ = small_store(folder)
    text = velta('inspect', store).out
    assert 'table things: 60 rows, 0 deleted' in text and 'vector(8, f32, cosine)' in text and 'primary key' in text
    listed = facts(store)
    assert listed['tables'][0]['rows'] == 60 and listed['data_file_bytes'] == store.stat().st_size
    assert velta('--version').out.startswith('velta ')
    assert velta('--help').out == velta('help').out
    for command in COMMANDS:
        out = velta(command, '--help').out
        assert out.startswith('usage: velta %s' % command) and '--help' in out
        assert '  %s ' % command in velta('--help').out
        velta(command, code=2, says='--help')
        velta(command, '--no-such-option', store, code=2, says='--no-such-option')
    velta('fly', code=2, says="'fly'")
    velta(code=2)


def test_bench_measures(folder):
    store, _ = small_store(folder, count=200)
    lines = velta('bench', '--queries', 20, '--where', 'even', store).out.splitlines()
    assert lines[0].startswith('exact: ') and len(lines) == 9
    assert all(float(line.split()[1]) == 1 for line in lines[2:])


if __name__ == '__main__':
    run_tests(globals())
