/* A worker has no import map, so it names the library by its address; what is there is the package. */
declare module '*/velta.js' {
    export * from 'velta';
}
declare module '*/parquet.js' {
    export * from 'velta/parquet';
}
