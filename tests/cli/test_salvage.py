"""velta verify and velta salvage on damaged files, as somebody meets them whose store does not open any more."""
import pathlib
import random
import shutil
import struct
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from command import exported, facts, run_tests, small_store, velta  # noqa: E402

SEGMENT_KINDS = {'schema': 1, 'dictionary': 2, 'rows': 3, 'column': 4, 'vectors': 5, 'codes': 6, 'history': 7,
                 'graph': 8}


def segments(content):
    """(kind, table, column, part) -> (offset, bytes) of the newest root: docs/FORMAT.md."""
    roots = [struct.unpack_from('<8sIIQQQQQ', content, slot) + (slot,) for slot in (0, 4096)]
    root = max((root for root in roots if root[0] == b'VELTA\r\n\x1a'), key=lambda root: root[3])
    found = {}
    for at in range(root[5], root[5] + root[6], 40):
        kind, table, column, part, offset, size, _ = struct.unpack_from('<IIIIQQQ', content, at)
        found[kind, table, column, part] = (offset, size)
    return found


def damage(store, kind, column=0, part=0):
    content = bytearray(store.read_bytes())
    offset, size = segments(content)[SEGMENT_KINDS[kind], 0, column, part]
    content[offset + size // 2] ^= 4
    store.write_bytes(content)


def column_number(store, name):
    return [column['name'] for column in facts(store)['tables'][0]['columns']].index(name)


def checkpointed(folder):
    """A store whose rows are in the data file; its vectors."""
    store, vectors = small_store(folder)
    velta('compact', '--keep-all', store)
    return store, vectors


def test_a_whole_store_is_copied(folder):
    store, _ = small_store(folder)
    before = (store.read_bytes(), pathlib.Path(str(store) + '-log').read_bytes())
    out = velta('salvage', store, folder / 'saved.velta').out
    assert 'nothing was lost' in out and '60 rows' in out
    velta('verify', folder / 'saved.velta')
    assert exported(folder / 'saved.velta') == exported(store)
    assert before == (store.read_bytes(), pathlib.Path(str(store) + '-log').read_bytes())


def test_verify_then_salvage_then_search(folder):
    store, vectors = checkpointed(folder)
    number = column_number(store, 'number')
    damage(store, 'column', number)
    damaged = store.read_bytes()
    velta('verify', store, code=1, says=['damaged', 'column %d' % number, 'velta salvage %s FILE' % store])
    velta('search', '--like', 'row-3', store, code=1, says='velta salvage')
    out = velta('salvage', store, folder / 'saved.velta', code=3, says='1 loss is listed').out
    assert "table 'things', column 'number', rows 0 to 59: the values of these rows are lost" in out, out
    assert 'saved 1 table with 60 rows' in out, out
    velta('verify', folder / 'saved.velta')
    lines = velta('search', '--like', 'row-3', '--k', 4, '--select', 'id,number,note', '--json',
                  folder / 'saved.velta').json_lines()
    assert len(lines) == 4 and all(line['number'] is None for line in lines)
    near = np.argsort(1 - vectors @ vectors[3])
    assert [line['row'] for line in lines] == [int(row) for row in near if row != 3][:4]
    assert store.read_bytes() == damaged, 'the damaged file is only read'


def test_every_kind_of_segment(folder):
    store, _ = checkpointed(folder)
    whole = store.read_bytes()
    lost = {'dictionary': 'values', 'column': 'values', 'vectors': 'values', 'codes': 'nothing', 'graph': 'nothing',
            'history': 'history', 'rows': 'nothing'}
    for (kind, _, column, part), _ in sorted(segments(whole).items()):
        name = [name for name, number in SEGMENT_KINDS.items() if number == kind][0]
        if name == 'schema':
            continue
        store.write_bytes(whole)
        damage(store, name, column, part)
        saved = folder / 'saved.velta'
        ran = velta('salvage', '--json', store, saved, code=(0, 3))
        told = ran.json_lines()
        assert told[0]['lost'] == lost[name], (name, told)
        assert told[0]['file'] == 'data' and told[-1]['losses'] == sum(one['lost'] != 'nothing' for one in told[:-1])
        assert (ran.code == 3) == (told[-1]['losses'] > 0)
        velta('verify', saved)
        saved.unlink()


def test_roots_and_logs(folder):
    store, _ = checkpointed(folder)
    log = pathlib.Path(str(store) + '-log')
    saved = folder / 'saved.velta'
    content = store.read_bytes()
    store.write_bytes(bytes(8192) + content[8192:])
    velta('verify', store, code=1, says='velta salvage')
    velta('salvage', store, saved, code=1, says='nothing can be saved')
    assert not saved.exists()
    store.write_bytes(content)
    velta('tag', 'one', store)
    velta('tag', 'two', store)
    frames = log.read_bytes()
    log.write_bytes(frames[:70] + b'?' + frames[71:])
    velta('verify', store, code=1, says='velta salvage')
    out = velta('salvage', store, saved, code=3).out
    assert 'the log is damaged' in out and 'log file, byte 64' in out, out
    assert '60 rows' in out
    saved.unlink()
    log.unlink()
    out = velta('salvage', store, saved, code=3).out
    assert 'the log is missing' in out, out


def test_random_damage_never_crashes(folder):
    store, _ = checkpointed(folder)
    velta('tag', 'here', store)
    log = pathlib.Path(str(store) + '-log')
    whole = (store.read_bytes(), log.read_bytes())
    for seed in range(25):
        numbers = random.Random(seed)
        data, frames = bytearray(whole[0]), bytearray(whole[1])
        for _ in range(numbers.randint(1, 8)):
            content = data if numbers.random() < 0.8 else frames
            at = numbers.randrange(len(content))
            content[at:at + numbers.choice([1, 64, 4096])] = numbers.randbytes(1)
        store.write_bytes(data)
        log.write_bytes(frames)
        ran = velta('salvage', store, folder / 'saved.velta', code=(0, 1, 3))
        if ran.code != 1:
            velta('verify', folder / 'saved.velta')
            (folder / 'saved.velta').unlink()


def test_refusals(folder):
    store, _ = small_store(folder)
    shutil.copy(store, folder / 'there')
    velta('salvage', store, folder / 'there', code=1, says='exists already')
    velta('salvage', store, store, code=1, says='is the store itself')
    velta('salvage', folder / 'absent', folder / 'new', code=1, says='there is no store')
    velta('salvage', store, code=2, says='give the store, then the file to write')
    velta('salvage', store, folder / 'no' / 'such' / 'folder', code=1, says='folder')
    assert velta('salvage', '--help').out.startswith('usage: velta salvage')
    assert not (folder / 'new').exists()


if __name__ == '__main__':
    run_tests(globals())
