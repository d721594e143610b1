"""velta import as a user meets it: formats, inference, schemas, appending; and what must be refused whole."""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from command import (exported, facts, run_tests, small_rows, small_store, unit_vectors,  # noqa: E402
                     velta, write_rows)


def types(store, table=0):
    return {column['name']: column['type'] for column in facts(store)['tables'][table]['columns']}


def listed(store, where='', **options):
    return velta('search', '--where', where, '--k', 1000, '--json', store, **options).json_lines()


def test_jsonl_types_are_inferred(folder):
    store, vectors = small_store(folder)
    assert types(store) == {'id': 'string', 'group': 'string', 'number': 'int', 'share': 'float', 'even': 'bool',
                            'note': 'string', 'v': 'vector(8, f32, cosine)'}
    assert [c['name'] for c in facts(store)['tables'][0]['columns'] if c['primary_key']] == ['id']
    assert facts(store)['tables'][0]['name'] == 'things'
    back = listed(store)
    for i, (given, got) in enumerate(zip(small_rows(60), back)):
        assert got.pop('row') == i
        assert got == given, (got, given)
    vector = velta('search', '--where', "id = 'row-7'", '--select', 'v', '--json', store).json_lines()[0]['v']
    assert np.array_equal(np.float32(vector), vectors[7])


def test_integers_widen_and_nulls_come_first(folder):
    rows = [{'a': None, 'b': 1}, {'a': 2, 'b': 2.5}, {'c': [1, 2, 3]}, {'a': -9223372036854775808, 'late': True}]
    write_rows(folder / 'r.jsonl', rows)
    store = folder / 's.velta'
    velta('import', folder / 'r.jsonl', store)
    assert types(store) == {'a': 'int', 'b': 'float', 'c': 'vector(3, f32, cosine)', 'late': 'bool'}
    got = velta('search', '--where', '', '--select', 'a,b,c,late', '--json', store).json_lines()
    assert got[0] == {'row': 0, 'a': None, 'b': 1.0, 'c': None, 'late': None}
    assert got[2]['c'] == [1, 2, 3]
    assert got[3] == {'row': 3, 'a': -9223372036854775808, 'b': None, 'c': None, 'late': True}


def test_csv(folder):
    (folder / 'r.csv').write_text('code,name,price,ok,zip,empty\r\n1,"a ""quoted"", name",1.5,true,007,\r\n'
                                  '2,"two\nlines",2,false,123,\r\n3,,-3e2,true,9,\r\n')
    store = folder / 's.velta'
    velta('import', folder / 'r.csv', store)
    assert types(store) == {'code': 'int', 'name': 'string', 'price': 'float', 'ok': 'bool', 'zip': 'string',
                            'empty': 'string'}
    got = listed(store)
    assert got[0] == {'row': 0, 'code': 1, 'name': 'a "quoted", name', 'price': 1.5, 'ok': True, 'zip': '007',
                      'empty': None}
    assert got[1]['name'] == 'two\nlines' and got[2]['name'] is None and got[2]['price'] == -300


def test_byte_order_marks_are_skipped(folder):
    (folder / 'r.csv').write_bytes(b'\xef\xbb\xbfa,b\n1,2\n')
    (folder / 'r.jsonl').write_bytes(b'\xef\xbb\xbf{"a": 1, "b": 2}\n')
    for name in ['r.csv', 'r.jsonl']:
        velta('import', folder / name, folder / (name + '.velta'))
        assert listed(folder / (name + '.velta')) == [{'row': 0, 'a': 1, 'b': 2}]


def test_text_may_hold_anything_but_bad_utf8(folder):
    (folder / 'r.jsonl').write_text('{"a": "x\\u0000y\\t\\"", "b": "", "c": "\\ud83d\\ude00"}\n')
    velta('import', folder / 'r.jsonl', folder / 's.velta')
    assert listed(folder / 's.velta') == [{'row': 0, 'a': 'x\0y\t"', 'b': '', 'c': '\U0001f600'}]
    (folder / 'bad.csv').write_bytes(b'a,b\n1,\xff\xfe\n')
    velta('import', folder / 'bad.csv', folder / 'bad.velta', code=1, says=['row 0', 'UTF-8'])


def test_a_log_without_its_store_is_kept(folder):
    store, _ = small_store(folder, count=5)
    store.unlink()
    log = pathlib.Path(str(store) + '-log')
    before = log.read_bytes()
    velta('import', folder / 'things.jsonl', store, code=1, says='bring')
    assert log.read_bytes() == before and not store.exists()


def test_csv_from_standard_input(folder):
    store = folder / 's.velta'
    velta('import', '--format', 'csv', '--table', 'piped', '-', store, stdin='a,b\n1,x\n2,y\n')
    assert listed(store) == [{'row': 0, 'a': 1, 'b': 'x'}, {'row': 1, 'a': 2, 'b': 'y'}]


def test_vector_formats_agree(folder):
    """f16 and f32 .npy and .fvecs of the same values answer alike; --element says what is kept."""
    halves = unit_vectors(50, 6).astype(np.float16)
    full = halves.astype(np.float32)
    np.save(folder / 'h.npy', halves)
    np.save(folder / 'f.npy', full)
    with open(folder / 'f.fvecs', 'wb') as file:
        for row in full:
            file.write(np.int32(6).tobytes() + row.tobytes())
    write_rows(folder / 'r.jsonl', [{'id': i} for i in range(50)])
    answers = []
    for name, kept in [('h.npy', 'f16'), ('f.npy', 'f32'), ('f.fvecs', 'f32')]:
        store = folder / (name + '.velta')
        velta('import', '--vectors', 'v=%s' % (folder / name), folder / 'r.jsonl', store)
        assert types(store)['v'] == 'vector(6, %s, cosine)' % kept
        velta('search', '--vectors', folder / 'f.npy', '--k', 3, '--out', folder / 'o.npy', store)
        answers.append(np.load(folder / 'o.npy'))
        assert answers[-1].dtype == np.int32 and answers[-1].shape == (50, 3)
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[1], answers[2])
    assert np.array_equal(answers[0][:, 0], np.arange(50))
    velta('import', '--vectors', 'v=%s' % (folder / 'f.npy'), '--element', 'codes', '--metric', 'l2', '--m', 8,
          '--ef-construction', 50, folder / 'r.jsonl', folder / 'codes.velta')
    assert types(folder / 'codes.velta')['v'] == 'vector(6, codes, l2)'


def test_schema(folder):
    write_rows(folder / 'r.jsonl', [{'id': 5, 'at': '2024-05-01T10:00:00Z', 'size': 3, 'raw': 'ab', 'v': [1, 0]},
                                    {'id': 6, 'at': 1000, 'size': 2.5, 'raw': None, 'v': [0, 1]}])
    schema = 'id:int:key,at:timestamp:required,size:float,raw:bytes,v:vector(2, f16, l2, m=8, ef=40)'
    (folder / 'schema.txt').write_text('\n'.join(schema.replace('(2, f16, l2, m=8, ef=40)', '*').split(','))
                                       .replace('*', '(2, f16, l2, m=8, ef=40)'))
    for given in [schema, '@%s' % (folder / 'schema.txt')]:
        store = folder / 's.velta'
        velta('import', '--schema', given, folder / 'r.jsonl', store)
        assert types(store) == {'id': 'int', 'at': 'timestamp', 'size': 'float', 'raw': 'bytes',
                                'v': 'vector(2, f16, l2)'}
        got = listed(store)
        assert got[0] == {'row': 0, 'id': 5, 'at': '2024-05-01T10:00:00.000Z', 'size': 3.0, 'raw': '6162'}
        assert got[1]['at'] == '1970-01-01T00:00:01.000Z'
        store.unlink()
        pathlib.Path(str(store) + '-log').unlink()


def test_appending_uses_the_schema_of_the_table(folder):
    store = folder / 's.velta'
    write_rows(folder / 'a.jsonl', [{'id': 1, 'size': 1.5, 'at': 1, 'v': [1, 0]}])
    write_rows(folder / 'b.jsonl', [{'id': 2, 'size': 7, 'at': '2024-05-01'}, {'id': 3, 'v': [0, 1]}])
    velta('import', '--table', 't', '--schema', 'id:int:key,size:float,at:timestamp,v:vector(2)', folder / 'a.jsonl',
          store)
    velta('import', '--table', 't', folder / 'b.jsonl', store)
    got = velta('search', '--where', '', '--json', '--select', 'id,size,at,v', store).json_lines()
    assert [row['id'] for row in got] == [1, 2, 3] and got[1]['size'] == 7.0 and got[1]['v'] is None
    assert got[1]['at'] == '2024-05-01T00:00:00.000Z' and got[2]['v'] == [0, 1]
    np.save(folder / 'v.npy', np.float32([[0.6, 0.8]]))
    write_rows(folder / 'c.jsonl', [{'id': 4}])
    velta('import', '--table', 't', '--vectors', 'v=%s' % (folder / 'v.npy'), folder / 'c.jsonl', store)
    assert velta('search', '--where', 'id = 4', '--json', '--select', 'v', store).json_lines()[0]['v'] == \
        [float('%.9g' % np.float32(x)) for x in (0.6, 0.8)]
    velta('import', '--table', 'u', folder / 'c.jsonl', store)
    assert [table['name'] for table in facts(store)['tables']] == ['t', 'u']
    velta('search', '--where', '', store, code=2, says='--table')
    velta('import', '--table', 't', '--key', 'id', folder / 'c.jsonl', store, code=2, says='keeps its schema')


def test_key_can_be_named_and_must_be_unique(folder):
    write_rows(folder / 'r.jsonl', [{'a': 1, 'b': 'x'}, {'a': 1, 'b': 'y'}])
    store = folder / 's.velta'
    velta('import', folder / 'r.jsonl', store)  # the first column is not unique: no key
    assert not any(column['primary_key'] for column in facts(store)['tables'][0]['columns'])
    velta('import', '--table', 'b', '--key', 'b', folder / 'r.jsonl', store)
    assert [c['name'] for c in facts(store)['tables'][1]['columns'] if c['primary_key']] == ['b']
    velta('import', '--table', 'c', '--key', 'a', folder / 'r.jsonl', store, code=1, says=['row 1', "'a'"])
    velta('import', '--table', 'c', '--key', 'no', folder / 'r.jsonl', store, code=1, says="'no'")
    assert [table['name'] for table in facts(store)['tables']] == ['r', 'b']


def test_upsert_sets_what_the_file_names(folder):
    store, vectors = small_store(folder, count=10)
    write_rows(folder / 'u.jsonl', [{'id': 'row-3', 'number': 1000}, {'id': 'new', 'number': 1001},
                                    {'id': 'row-4', 'number': None}])
    velta('import', '--table', 'things', folder / 'u.jsonl', store, code=1, says="'row-3'")
    velta('import', '--table', 'things', '--upsert', folder / 'u.jsonl', store)
    got = velta('search', '--where', '', '--select', 'id,group,number,v', '--json', '--k', 100, store).json_lines()
    assert len(got) == 11 and got[3]['number'] == 1000 and got[3]['group'] == small_rows(10)[3]['group']
    assert np.array_equal(np.float32(got[3]['v']), vectors[3]) and got[4]['number'] is None
    assert got[10] == {'row': 10, 'id': 'new', 'group': None, 'number': 1001, 'v': None}
    np.save(folder / 'two.npy', vectors[[9, 9]])
    write_rows(folder / 'w.jsonl', [{'id': 'row-1'}, {'id': 'other'}])
    velta('import', '--table', 'things', '--upsert', '--vectors', 'v=%s' % (folder / 'two.npy'), folder / 'w.jsonl',
          store)
    assert len(velta('search', '--like', 'row-9', '--k', 2, '--json', store).json_lines()) == 2
    assert {line['id'] for line in velta('search', '--like', 'row-9', '--k', 2, '--json', store).json_lines()} == \
        {'row-1', 'other'}
    velta('verify', store)


# What is refused: arguments that differ from a good import, the rows, the exit code, and what the message must say.
def bad_rows(folder, text, code, says, *options, ending='jsonl'):
    """Refused for a store that is there (which stays as it is, to the byte) and for one that is not (none appears)."""
    path = folder / ('bad.' + ending)
    path.write_text(text)
    if not (folder / 'there.velta').exists():
        write_rows(folder / 'good.jsonl', [{'id': i, 'x': 0.5, 'v': [i, 1, 2]} for i in range(4)])
        velta('import', '--table', 't', folder / 'good.jsonl', folder / 'there.velta')
    before = exported(folder / 'there.velta')
    velta('import', '--table', 't', *options, path, folder / 'new.velta', code=code, says=says)
    assert not (folder / 'new.velta').exists() and not (folder / 'new.velta-log').exists()
    if not any(str(option).startswith('--') and option != '--vectors' for option in options):
        velta('import', '--table', 't', *options, path, folder / 'there.velta', code=code)
        assert exported(folder / 'there.velta') == before


def test_bad_json_names_file_and_line(folder):
    bad_rows(folder, '{"id": 10}\n{"id": \n', 1, 'bad.jsonl:2:')
    bad_rows(folder, '{"id": 10}\n\n[1, 2]\n', 1, ['bad.jsonl:3:', 'JSON object'])
    bad_rows(folder, '{"id": 10}\n{"id": 11} trailing\n', 1, 'bad.jsonl:2:')
    bad_rows(folder, '{"id": 10, "id": 11}\n', 1, 'bad.jsonl:1:')
    bad_rows(folder, '{"id": 10, "x": {"deep": 1}}\n', 1, ['bad.jsonl:1:', "'x'"])
    bad_rows(folder, '{"id": 10, "v": [1, "two"]}\n', 1, ['bad.jsonl:1:', "'v'"])
    bad_rows(folder, '{"id": 10}\n{"id": 99999999999999999999}\n', 1, 'bad.jsonl:2:')
    bad_rows(folder, '', 1, 'no rows')


def test_wrong_types_name_the_column(folder):
    bad_rows(folder, '{"id": 10}\n{"id": "ten"}\n', 1, ['bad.jsonl:2:', "'id'", 'text'])
    bad_rows(folder, '{"id": 10, "x": 0.5}\n{"id": 11, "x": true}\n', 1, ['bad.jsonl:2:', "'x'", 'truth'])
    bad_rows(folder, '{"id": 10, "v": [1, 2, 3]}\n{"id": 11, "v": [1, 2]}\n', 1, ['bad.jsonl:2:', "'v'", '2 elements'])
    bad_rows(folder, '{"id": 10, "x": 9007199254740993}\n{"id": 11, "x": 0.5}\n', 1, ['bad.jsonl:', "'x'", 'exactly'])
    schema = ['--schema', 'id:int:key,x:timestamp:required']
    bad_rows(folder, '{"id": 1, "x": "soon"}\n', 1, ['bad.jsonl:1:', 'soon'], *schema)
    bad_rows(folder, '{"id": 1, "x": 5}\n{"id": 2}\n', 1, ['row 1', "x"], *schema)
    bad_rows(folder, '{"id": 1, "x": 5, "y": 5}\n', 1, ['bad.jsonl:1:', "'y'", 'schema'], *schema)
    bad_rows(folder, '{"id": 1}\n', 2, 'nonsense', '--schema', 'id:nonsense')
    bad_rows(folder, '{"id": 1}\n', 2, 'v:vector', '--schema', 'id:int,v:vector(0)')


def test_unknown_column_in_an_existing_table(folder):
    write_rows(folder / 'a.jsonl', [{'id': 1}])
    write_rows(folder / 'b.jsonl', [{'id': 2}, {'id': 3, 'colour': 'red'}])
    store = folder / 's.velta'
    velta('import', '--table', 't', folder / 'a.jsonl', store)
    before = exported(store)
    velta('import', '--table', 't', folder / 'b.jsonl', store, code=1, says=['b.jsonl:2:', "'colour'", "'t'"])
    (folder / 'c.csv').write_text('id,colour\n4,red\n')
    velta('import', '--table', 't', folder / 'c.csv', store, code=1, says=['c.csv:1:', "'colour'"])
    assert exported(store) == before


def test_duplicate_keys_name_the_row(folder):
    bad_rows(folder, '{"id": 10}\n{"id": 11}\n{"id": 10}\n', 1, ['row 2', '10'], '--key', 'id')
    store, _ = small_store(folder)
    before = exported(store)
    write_rows(folder / 'again.jsonl', [{'id': 'fresh'}, {'id': 'row-5'}])
    velta('import', '--table', 'things', folder / 'again.jsonl', store, code=1, says=['row 1', "'row-5'"])
    assert exported(store) == before


def test_bad_csv(folder):
    bad_rows(folder, 'id,x\n1,2\n3\n', 1, ['bad.csv:3:', '1 field'], ending='csv')
    bad_rows(folder, 'id,x\n1,2\n3,4,5\n', 1, ['bad.csv:3:', '2 fields'], ending='csv')
    bad_rows(folder, 'id,x\n1,"open\n', 1, ['bad.csv:', 'quoted field'], ending='csv')
    bad_rows(folder, 'id,\n1,2\n', 1, ['bad.csv:1:', 'no name'], ending='csv')
    bad_rows(folder, 'id,x\n"1\n",2\n', 1, ['bad.csv:3:', "'id'"], '--schema', 'id:int:key,x:int', ending='csv')
    bad_rows(folder, 'id,x\nten,2\n', 1, ['bad.csv:2:', "'id'"], '--schema', 'id:int:key,x:int', ending='csv')
    bad_rows(folder, 'id,id\n1,2\n', 1, "'id'", ending='csv')


def test_vectors_of_wrong_length_or_not_finite(folder):
    store, vectors = small_store(folder, count=20)
    before = exported(store)
    write_rows(folder / 'two.jsonl', [{'id': 'a'}, {'id': 'b'}])
    for array, says in [(vectors[:2, :7], ['7 elements', "'v'", '8']), (vectors[:3], ['3 vectors', '2 rows']),
                        (np.float32([[1] * 8, [1] * 7 + [np.nan]]), ['row 1', "v"]),
                        (np.float32([[np.inf] * 8, [1] * 8]), ['row 0', "v"])]:
        np.save(folder / 'bad.npy', array)
        velta('import', '--table', 'things', '--vectors', 'v=%s' % (folder / 'bad.npy'), folder / 'two.jsonl', store,
              code=1, says=says)
        assert exported(store) == before
        velta('import', '--table', 'new', '--schema', 'id:string:key,v:vector(8)', '--vectors',
              'v=%s' % (folder / 'bad.npy'), folder / 'two.jsonl', folder / 'new.velta', code=1, says=says)
        assert not (folder / 'new.velta').exists()
    np.save(folder / 'good.npy', vectors[:2])
    velta('import', '--table', 'things', '--vectors', 'w=%s' % (folder / 'good.npy'), folder / 'two.jsonl', store,
          code=1, says="'w'")
    velta('import', '--table', 'things', '--vectors', 'id=%s' % (folder / 'good.npy'), folder / 'two.jsonl', store,
          code=1, says="'id'")
    velta('import', '--table', 'things', '--vectors', 'v', folder / 'two.jsonl', store, code=2, says='COLUMN=FILE')
    assert exported(store) == before


def test_damaged_vector_files(folder):
    store, vectors = small_store(folder, count=20)
    before = exported(store)
    np.save(folder / 'good.npy', vectors)
    good = (folder / 'good.npy').read_bytes()
    np.save(folder / 'double.npy', vectors.astype(np.float64))
    np.save(folder / 'fortran.npy', np.asfortranarray(vectors))
    np.save(folder / 'cube.npy', vectors.reshape(20, 2, 4))
    bad = {'double.npy': 'astype', 'fortran.npy': 'Fortran', 'cube.npy': 'dimensions'}
    fvecs = b''.join(np.int32(8).tobytes() + row.tobytes() for row in vectors)
    for name, content, says in [
            ('truncated.npy', good[:-1], ['bytes', str(len(good) - 1)]), ('longer.npy', good + b'x', 'bytes'),
            ('header.npy', good[:60], 'header'), ('tiny.npy', good[:7], 'header'), ('empty.npy', b'', 'not a file'),
            ('other.npy', b'not numpy at all', 'neither'),
            ('shape.npy', good.replace(b'(20, 8)', b'(-2, 8)'), 'header'),
            ('huge.npy', good.replace(b'(20, 8), }   ', b'(2305843009213693952, 8), }'[:13]), ''),
            ('zero.npy', good.replace(b'(20, 8)', b'(20, 0)'), '0 dimensions'),
            ('short.fvecs', fvecs[:-3], 'row 19'), ('mixed.fvecs', fvecs[:36] + np.int32(7).tobytes() + fvecs[40:],
                                                    'row 1'),
            ('none.fvecs', np.int32(0).tobytes(), 'row 0')]:
        (folder / name).write_bytes(content)
        bad[name] = says
    write_rows(folder / 'more.jsonl', [{'id': 'new-%d' % i} for i in range(20)])
    for name, says in bad.items():
        velta('import', '--table', 'things', '--vectors', 'v=%s' % (folder / name), folder / 'more.jsonl', store,
              code=1, says=says)
    velta('import', '--table', 'things', '--vectors', 'v=%s' % (folder / 'absent.npy'), folder / 'more.jsonl', store,
          code=1, says='absent.npy')
    assert exported(store) == before


def test_places_that_cannot_be_used(folder):
    write_rows(folder / 'r.jsonl', [{'id': 1}])
    velta('import', folder / 'absent.jsonl', folder / 's.velta', code=1, says='absent.jsonl')
    velta('import', folder / 'r.jsonl', folder / 'no' / 'such' / 's.velta', code=1, says='s.velta')
    velta('import', folder / 'r.jsonl', folder, code=1)
    (folder / 'text.velta').write_text('this is not a store, but it is a file of some length\n' * 200)
    velta('import', folder / 'r.jsonl', folder / 'text.velta', code=1, says='text.velta')
    assert (folder / 'text.velta').read_text().startswith('this is not a store')
    assert not (folder / 's.velta').exists()
    velta('import', folder / 'r.jsonl', code=2, says='--help')
    velta('import', '--memory', '1x', folder / 'r.jsonl', folder / 's.velta', code=2, says='--memory')
    velta('import', '--memory', '1M', folder / 'r.jsonl', folder / 'tight.velta', code=1)
    assert not (folder / 'tight.velta').exists()
    velta('import', '--simd', 'abacus', folder / 'r.jsonl', folder / 's.velta', code=1, says='abacus')


def test_every_set_of_kernels_answers_alike(folder):
    """Answers do not depend on the machine: those of stores made and searched by forced instruction sets are equal."""
    answers = []
    vectors = unit_vectors(300, 24)
    np.save(folder / 'v.npy', vectors)
    write_rows(folder / 'r.jsonl', small_rows(300))
    for name in ['scalar', 'avx2', 'avx512']:
        store = folder / (name + '.velta')
        if name != 'scalar' and not cpu_has(name):
            continue
        velta('import', '--simd', name, '--vectors', 'v=%s' % (folder / 'v.npy'), folder / 'r.jsonl', store)
        found = velta('search', '--simd', name, '--vectors', folder / 'v.npy', '--json', '--k', 5, store).out
        answers.append(found)
        assert facts(store)['index_pending'] == 0
    assert all(answer == answers[0] for answer in answers)


def cpu_has(name):
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as file:
        flags = next((line.split() for line in file if line.startswith('flags')), [])
    return {'avx2': 'avx2', 'avx512': 'avx512_vnni'}[name] in flags


def test_no_index_leaves_the_linking_for_later(folder):
    vectors = unit_vectors(200, 8)
    np.save(folder / 'v.npy', vectors)
    write_rows(folder / 'r.jsonl', [{'id': i} for i in range(200)])
    store = folder / 's.velta'
    velta('import', '--no-index', '--vectors', 'v=%s' % (folder / 'v.npy'), folder / 'r.jsonl', store)
    assert facts(store)['index_pending'] == 200
    velta('search', '--vectors', folder / 'v.npy', '--k', 1, '--out', folder / 'o.npy', store)
    assert np.array_equal(np.load(folder / 'o.npy')[:, 0], np.arange(200))
    velta('compact', store)
    assert facts(store)['index_pending'] == 0


if __name__ == '__main__':
    run_tests(globals())
