/*
 * A program as TypeScript meets the component: compiled by the test against the declarations that jco makes of the wit,
 * the lines that must not compile among them.
 */
import type { Root } from './transpiled/velta.js';
import type { Database, Error as StoreError, Match, VectorDelta } from './transpiled/interfaces/velta-store-vectors.js';

export function live({ vectors }: Root): Match[] {
    const db: Database = new vectors.Database({ dimensions: 3, metric: 'l2', memoryBudget: 64n << 20n });
    const delta: VectorDelta = {
        vectorId: 'a',
        operation: { tag: 'sparse', val: { indices: Uint32Array.of(1), values: Float32Array.of(2), mode: 'set' } },
        metadata: '{}',
        timestamp: 1n,
    };
    const id: bigint = db.applyDelta({ vectorId: 'a', operation: { tag: 'create', val: Float32Array.of(1, 0, 0) } });
    const ids: BigUint64Array = db.applyDeltas([delta, { vectorId: 'a', operation: { tag: 'scale', val: 2 } }]);
    const vector: Float32Array | undefined = db.getVector('a') ?? db.getVectorAt('a', id + (ids[0] ?? 0n));
    db.import(db.export());
    db.compact(undefined);
    const waiting: bigint = db.index(100);
    // @ts-expect-error A mode that there is not.
    delta.operation = { tag: 'dense', val: { vector: new Float32Array(3), mode: 'up' } };
    // @ts-expect-error Ids are strings.
    db.getVector(7);
    // @ts-expect-error A metric that there is not.
    new vectors.Database({ metric: 'manhattan' });
    return db.search(vector ?? new Float32Array(3), Number(waiting) + 1, { exact: true, at: 5n });
}

export function isFull({ code, offset }: StoreError): boolean {
    return (code === 'limit' || code === 'over-budget') && offset !== undefined;
}
