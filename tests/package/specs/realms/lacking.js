/*
 * Takes from a thread what browsers lack or refuse: lack(name) gives what puts it back. In a worker, what the query of
 * its script's address names.
 */
function replace(object, key, descriptor) {
    const own = Object.getOwnPropertyDescriptor(object, key);
    Object.defineProperty(object, key, { configurable: true, ...descriptor });
    return () => {
        if (own) Object.defineProperty(object, key, own);
        else delete object[key];
    };
}

const insecure = () => {
    throw new DOMException('The operation is insecure.', 'SecurityError');
};
const refused = async () => insecure();
const nothing = { value: undefined };

const LACKS = {
    'navigator.storage': () => replace(navigator, 'storage', nothing),
    getDirectory: () => replace(StorageManager.prototype, 'getDirectory', nothing),
    'getDirectory, refused': () => replace(StorageManager.prototype, 'getDirectory', { value: refused }),
    'getDirectoryHandle, refused': () =>
        replace(FileSystemDirectoryHandle.prototype, 'getDirectoryHandle', { value: refused }),
    createSyncAccessHandle: () => {
        const { prototype } = FileSystemFileHandle;
        const { createSyncAccessHandle } = prototype;
        delete prototype.createSyncAccessHandle;
        return () => Object.assign(prototype, { createSyncAccessHandle });
    },
    'createSyncAccessHandle, refused': () =>
        replace(FileSystemFileHandle.prototype, 'createSyncAccessHandle', { value: refused }),
    indexedDB: () => replace(globalThis, 'indexedDB', nothing),
    'indexedDB, refused': () => replace(globalThis, 'indexedDB', { get: insecure }),
    'indexedDB.open, refused': () => replace(IDBFactory.prototype, 'open', { value: insecure }),
    'indexedDB.deleteDatabase, refused': () => replace(IDBFactory.prototype, 'deleteDatabase', { value: insecure }),
    'indexedDB.databases': () => replace(IDBFactory.prototype, 'databases', nothing),
    'indexedDB.databases, refused': () => replace(IDBFactory.prototype, 'databases', { value: refused }),
    'navigator.locks': () => replace(navigator, 'locks', nothing),
    'navigator.locks, refused': () => replace(LockManager.prototype, 'request', { value: refused }),
    /* Locks that grant everyone, and a database that another makes just after it was looked for. */
    'locks and sight': () => {
        const { request } = LockManager.prototype;
        const { getDirectoryHandle } = FileSystemDirectoryHandle.prototype;
        let seen = true;
        replace(LockManager.prototype, 'request', {
            value(name, ...rest) {
                if (!name.startsWith('velta:opfs:')) return request.call(this, name, ...rest);
                return Promise.resolve(rest.at(-1)({ name }));
            },
        });
        replace(FileSystemDirectoryHandle.prototype, 'getDirectoryHandle', {
            async value(name, options) {
                if (seen && name.startsWith('test-')) {
                    seen = false;
                    throw new DOMException('It is not there yet.', 'NotFoundError');
                }
                return getDirectoryHandle.call(this, name, options);
            },
        });
    },
};

export const lack = (name) => LACKS[name]();

const wanted = globalThis.location && new URL(location.href).searchParams.get('lacks'); // Node has none
if (wanted) lack(wanted);
