/* The store's name and tables, for the page and its workers. Workers have no import map, so the library is named here
   by its address; the page's map leads to the same. */
import { key, required, vector } from './velta/velta.js';
import { DIMENSIONS } from './encoder.js';

export const NAME = 'velta-demo-packages';

export const PACKAGES = /** @type {const} */ ({
    name: key('string'),
    section: required('string'),
    // The place in the order of all names; the rows lie by section.
    place: required('int'),
    language: 'string',
    size: required('int'),
    installed_kb: required('int'),
    size_class: required('int'),
    depends: required('int'),
    summary: required('string'),
    embedding: vector(DIMENSIONS, { metric: 'cosine', element: 'f16', required: true }),
});

/** What happened when: what the time slider goes by. Each change's moment has a tag, its id. */
export const CHANGES = /** @type {const} */ ({
    id: key('int'),
    time: required('timestamp'),
    kind: required('string'),
    package: 'string',
    query: 'string',
});

/** One row: where the packages came from, and what it took. */
export const SOURCE = /** @type {const} */ ({
    id: key('int'),
    section: 'string',
    rows: required('int'),
    file_rows: required('int'),
    bytes_fetched: required('int'),
    file_bytes: required('int'),
    requests: required('int'),
});
