/*
 * What crosses between a page and the worker that holds its stores.
 *
 * One worker serves any number of sessions; a session is one openWorker() call. Each message carries its session's
 * number under `velta`, so messages of the embedding program may share the worker: both sides ignore what has none.
 *
 * The client names things that live in the worker by handles, small integers that the server gives out, and asks for
 * methods by name. Only the names listed here exist: the server checks class and method against METHODS and touches no
 * other property, whatever a message says. Calls start in the order in which they were issued, and many may be under
 * way; each is answered once by its id. Arguments and results are structured clones. Functions never cross: a callback
 * or an AbortSignal among the arguments is replaced by a note (Extras), and becomes messages.
 */

/** Both sides must say the same number: a page may hold an older script than the worker it loads. */
export const PROTOCOL_VERSION = 2;

/** Methods that may be asked for, by class. A dot goes to a part of the object. */
export const METHODS = {
    Database: [
        'table',
        'tableNames',
        'hasTable',
        'dropTable',
        'listColumnFamilies',
        'createColumnFamily',
        'columnFamily',
        'columnFamilyOrCreate',
        'dropColumnFamily',
        'export',
        'checkpoint',
        'compact',
        'tag',
        'tagTime',
        'linkPending',
        'index',
        'flush',
        'verify',
        'stats',
        'watch',
        'close',
        'log.sync',
        'log.checkpoint',
        'log.status',
    ],
    Table: [
        'addColumn',
        'insert',
        'upsert',
        'insertColumns',
        'upsertColumns',
        'update',
        'updateMany',
        'delete',
        'get',
        'getMany',
        'getRows',
        'getColumns',
        'has',
        'rowOf',
        'vector',
        'apply',
        'applyAll',
        'applyRecords',
        'streamPosition',
        'chain',
        'search',
        'searchMany',
        'searchArrays',
        'setTtl',
        'expireAt',
        'expire',
        'iterate',
        'watch',
    ],
    Query: ['count', 'rows', 'keys', 'toArray', 'first', 'search', 'aggregate', 'groupBy', 'delete'],
    RowIterator: ['nextBatch', 'close'],
    ColumnFamily: ['write', 'writeBatch', 'read', 'readText', 'has', 'delete', 'deleteBatch', 'iter', 'iterRange'],
    FamilyIterator: ['nextBatch', 'close'],
    /** Of a database, for its copies: tabs/replication.ts. */
    Log: ['snapshot', 'since', 'follow'],
    DeltaVectorDB: [
        'getDimensions',
        'applyDelta',
        'applyDeltas',
        'applyRecords',
        'streamPosition',
        'getVector',
        'getVectorAt',
        'has',
        'getDeltaChain',
        'onDelta',
        'search',
        'searchAt',
        'compact',
        'tag',
        'export',
        'import',
        'stats',
        'flush',
        'close',
    ],
    ColumnStore: [
        'addColumn',
        'insertRow',
        'insertRows',
        'upsertRow',
        'batchUpsert',
        'updateRow',
        'getRow',
        'deleteRow',
        'filterEq',
        'filterGt',
        'filterLt',
        'filterRange',
        'filterIn',
        'filter',
        'countEq',
        'countGt',
        'countLt',
        'countRange',
        'countIn',
        'count',
        'getRowsByIndices',
        'setRowTtl',
        'expireRows',
        'vacuum',
        'shouldVacuum',
        'clear',
        'memoryUsage',
        'export',
        'flush',
        'close',
    ],
} as const;

export type RemoteKind = keyof typeof METHODS;

/** Properties that may be asked for; they are read by the method name `get <property>`. */
export const PROPERTIES = {
    Database: [],
    Table: ['rowCount', 'liveCount', 'schema'],
    Query: [],
    RowIterator: [],
    ColumnFamily: ['size'],
    FamilyIterator: [],
    Log: [],
    DeltaVectorDB: ['database', 'size'],
    ColumnStore: [
        'database',
        'table',
        'columnNames',
        'schema',
        'primaryKeyColumn',
        'rowCount',
        'activeRowCount',
        'deletedRowCount',
    ],
} as const satisfies Record<RemoteKind, readonly string[]>;

/** How a query is made from a table: these steps, in order, before its method. The first is `where` or `all`. */
export const QUERY_STEPS = ['where', 'all', 'and', 'or', 'not', 'select', 'orderBy', 'limit'] as const;
export type QueryStep = readonly [(typeof QUERY_STEPS)[number], ...unknown[]];

/** Methods after which, in a strict store whose driver is asynchronous, the answer waits until all is durable. */
export const WRITING: ReadonlySet<string> = new Set([
    'Database.table',
    'Database.dropTable',
    'Database.createColumnFamily',
    'Database.columnFamilyOrCreate',
    'Database.dropColumnFamily',
    'Database.checkpoint',
    'Database.compact',
    'Database.tag',
    'Database.log.checkpoint',
    'Table.addColumn',
    'Table.insert',
    'Table.upsert',
    'Table.insertColumns',
    'Table.upsertColumns',
    'Table.update',
    'Table.updateMany',
    'Table.delete',
    'Table.apply',
    'Table.applyAll',
    'Table.applyRecords',
    'Table.setTtl',
    'Table.expireAt',
    'Table.expire',
    'Query.delete',
    'ColumnFamily.write',
    'ColumnFamily.writeBatch',
    'ColumnFamily.delete',
    'ColumnFamily.deleteBatch',
    'DeltaVectorDB.tag',
    'DeltaVectorDB.applyDelta',
    'DeltaVectorDB.applyDeltas',
    'DeltaVectorDB.applyRecords',
    'DeltaVectorDB.compact',
    'DeltaVectorDB.import',
    'ColumnStore.addColumn',
    'ColumnStore.insertRow',
    'ColumnStore.insertRows',
    'ColumnStore.upsertRow',
    'ColumnStore.batchUpsert',
    'ColumnStore.updateRow',
    'ColumnStore.deleteRow',
    'ColumnStore.setRowTtl',
    'ColumnStore.expireRows',
    'ColumnStore.vacuum',
    'ColumnStore.clear',
]);

/** Whether a call is the last of its object, which both sides forget then. */
export function endsObject(kind: RemoteKind, method: string): boolean {
    return method === 'close' && kind.endsWith('Iterator');
}

/** What was taken out of the arguments because it cannot be cloned; the numbers are positions of arguments. */
export interface Extras {
    /** The options there had an `onProgress`: send progress messages. */
    readonly progress?: number;
    /** The options there had an AbortSignal: an abort message may come. */
    readonly signal?: number;
    /** A word in shared memory, where there is any, that becomes 1 with the abort: seen during synchronous work. */
    readonly flag?: Int32Array;
    /** The argument was a function: send event messages until `unwatch`. */
    readonly callback?: number;
}

/** The classes that a session may be opened for. */
export const ROOTS = ['Database', 'DeltaVectorDB', 'ColumnStore'] as const;
export type RootKind = (typeof ROOTS)[number];

export interface OpenMessage {
    readonly velta: number;
    readonly type: 'open';
    readonly id: number;
    readonly version: number;
    readonly root: RootKind;
    readonly name: string;
    readonly options: object;
    readonly init: object | undefined;
    readonly extras: Extras;
    readonly share?: ShareValue | undefined;
    /** The export of which this database in memory is a copy. */
    readonly snapshot?: Uint8Array | undefined;
}

/** The store is shared with other tabs: the name of their channel, and of this time of sharing. */
export interface ShareValue {
    readonly channel: string;
    readonly term: string;
}

/** A tab joins a store that the worker shares: the session has its objects, not the store itself. */
export interface AttachMessage {
    readonly velta: number;
    readonly type: 'attach';
    readonly id: number;
    readonly version: number;
    readonly term: string;
    /** The tab has a copy: it is told of changes, and where the store stood at each answer. */
    readonly follows?: boolean;
}

/** Restores a database, as a session of this one message. */
export interface RestoreMessage {
    readonly velta: number;
    readonly type: 'restore';
    readonly id: number;
    readonly version: number;
    readonly name: string;
    readonly bytes: Uint8Array;
    readonly options: object;
    readonly init: object | undefined;
}

export interface CallMessage {
    readonly velta: number;
    readonly type: 'call';
    readonly id: number;
    readonly handle: number;
    readonly kind: RemoteKind;
    readonly method: string;
    readonly steps?: readonly QueryStep[];
    readonly args: readonly unknown[];
    readonly extras: Extras;
}

export type ClientMessage =
    | OpenMessage
    | AttachMessage
    | RestoreMessage
    | CallMessage
    | { readonly velta: number; readonly type: 'abort'; readonly id: number }
    | { readonly velta: number; readonly type: 'release'; readonly handle: number }
    | { readonly velta: number; readonly type: 'unwatch'; readonly id: number }
    | { readonly velta: number; readonly type: 'end'; readonly id: number };

/** A new handle as a result, with what the client keeps of the object. */
export interface HandleValue {
    readonly handle: number;
    readonly kind: RemoteKind;
    readonly fields: Readonly<Record<string, unknown>>;
}

export interface ErrorValue {
    readonly code: string;
    readonly message: string;
    readonly offset?: number;
}

export type ServerMessage =
    | {
          readonly velta: number;
          readonly type: 'result';
          readonly id: number;
          readonly value: unknown;
          /** Where the store stood, for tabs that have a copy. */
          readonly at?: Uint8Array | undefined;
      }
    | {
          readonly velta: number;
          readonly type: 'handle';
          readonly id: number;
          readonly value: HandleValue;
          readonly at?: Uint8Array | undefined;
      }
    | {
          readonly velta: number;
          readonly type: 'error';
          readonly id: number;
          readonly error: ErrorValue;
          readonly at?: Uint8Array | undefined;
      }
    /** The call was not made: the store has left this worker. Its arguments come back. */
    | { readonly velta: number; readonly type: 'moved'; readonly id: number; readonly args: readonly unknown[] }
    /** The store is about to leave this worker: make no more calls. */
    | { readonly velta: number; readonly type: 'bye' }
    | {
          readonly velta: number;
          readonly type: 'progress';
          readonly id: number;
          readonly done: number;
          readonly total: number;
      }
    | {
          readonly velta: number;
          readonly type: 'event';
          readonly id: number;
          /** The callback's arguments. */
          readonly value: readonly unknown[];
          /** One more, which is not cloned as it is. */
          readonly error?: ErrorValue;
          readonly at?: Uint8Array | undefined;
      };

/** The name of the lock that a session holds in the worker: whoever gets it later knows that the worker is gone. */
export function sessionLock(session: number): string {
    return `velta-session-${session}`;
}

/** The lock that a tab holds for a session in another tab's worker, which notices by it that the tab is gone. */
export function tabLock(session: number): string {
    return `velta-tab-${session}`;
}

/** A message of a client in its right form; `undefined` for anything else, which is not answered. */
export function readClientMessage(data: unknown): ClientMessage | undefined {
    if (!isRecord(data) || !isId(data['velta'])) return undefined;
    const is = (name: string, check: (value: unknown) => boolean): boolean => check(data[name]);
    switch (data['type']) {
        case 'open':
            return is('id', isId) &&
                is('name', isString) &&
                is('options', isRecord) &&
                is('extras', isExtras) &&
                is('share', isShare) &&
                is('snapshot', (value) => value === undefined || isBytes(value))
                ? (data as unknown as OpenMessage)
                : undefined;
        case 'attach':
            return is('id', isId) && is('term', isString) && is('follows', isMaybe)
                ? (data as unknown as AttachMessage)
                : undefined;
        case 'restore':
            return is('id', isId) && is('name', isString) && is('bytes', isBytes) && is('options', isRecord)
                ? (data as unknown as RestoreMessage)
                : undefined;
        case 'call':
            return is('id', isId) &&
                is('handle', isId) &&
                is('kind', isString) &&
                is('method', isString) &&
                is('args', Array.isArray) &&
                is('extras', isExtras) &&
                is('steps', isSteps)
                ? (data as unknown as CallMessage)
                : undefined;
        case 'abort':
        case 'unwatch':
        case 'end':
            return is('id', isId) ? (data as unknown as ClientMessage) : undefined;
        case 'release':
            return is('handle', isId) ? (data as unknown as ClientMessage) : undefined;
        default:
            return undefined;
    }
}

/** True when `method` of `kind` may be called from outside. */
export function isRemoteMethod(kind: string, method: string): kind is RemoteKind {
    if (!Object.hasOwn(METHODS, kind)) return false;
    const names: readonly string[] = METHODS[kind as RemoteKind];
    const properties: readonly string[] = PROPERTIES[kind as RemoteKind];
    return names.includes(method) || (method.startsWith('get ') && properties.includes(method.slice(4)));
}

function isRecord(value: unknown): value is Record<string, unknown> {
    return typeof value === 'object' && value !== null;
}

function isString(value: unknown): boolean {
    return typeof value === 'string';
}

function isBytes(value: unknown): boolean {
    return value instanceof Uint8Array;
}

function isMaybe(value: unknown): boolean {
    return value === undefined || typeof value === 'boolean';
}

function isId(value: unknown): boolean {
    return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function isSteps(value: unknown): boolean {
    if (value === undefined) return true;
    const names: readonly unknown[] = QUERY_STEPS;
    return (
        Array.isArray(value) &&
        value.length > 0 &&
        value.every((step: unknown, i) => {
            if (!Array.isArray(step) || !names.includes(step[0])) return false;
            return (i === 0) === (step[0] === 'where' || step[0] === 'all');
        })
    );
}

function isShare(value: unknown): boolean {
    return value === undefined || (isRecord(value) && isString(value['channel']) && isString(value['term']));
}

function isExtras(value: unknown): boolean {
    if (!isRecord(value)) return false;
    const position = (of: unknown): boolean => of === undefined || (Number.isInteger(of) && (of as number) >= 0);
    const flag = value['flag'];
    return (
        position(value['progress']) &&
        position(value['signal']) &&
        position(value['callback']) &&
        (flag === undefined || (flag instanceof Int32Array && flag.length === 1))
    );
}
