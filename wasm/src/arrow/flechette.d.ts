/* What is used of flechette's own files, which come without types: the metadata of Arrow IPC, read and written. */
declare module '@uwdata/flechette/src/decode/message.js' {
    /** A type of Arrow; what else it has follows from `typeId`. */
    export interface ArrowType {
        readonly typeId: number;
        readonly bitWidth?: number;
        readonly signed?: boolean;
        readonly precision?: number;
        readonly unit?: number;
        readonly stride?: number;
        readonly mode?: number;
        readonly id?: number;
        readonly children?: readonly ArrowField[];
        readonly dictionary?: ArrowType;
        readonly indices?: ArrowType;
    }
    export interface ArrowField {
        readonly name: string | null;
        readonly type: ArrowType;
        readonly nullable: boolean;
    }
    export interface ArrowSchema {
        readonly endianness: number;
        readonly fields: readonly ArrowField[];
    }
    export interface ArrowBatch {
        readonly length: number;
        readonly nodes: readonly { readonly length: number; readonly nullCount: number }[];
        readonly regions: readonly { readonly offset: number; readonly length: number }[];
        readonly compression: { readonly codec: number; readonly method: number } | null;
        readonly variadic: readonly number[];
        readonly body: Uint8Array;
    }
    export interface ArrowDictionary {
        readonly id: number;
        readonly data: Omit<ArrowBatch, 'body'>;
        readonly isDelta: boolean;
        readonly body: Uint8Array;
    }
    export function decodeMessage(
        bytes: Uint8Array,
        index: number,
    ): { readonly content?: ArrowSchema | ArrowBatch | ArrowDictionary } | null;
}
declare module '@uwdata/flechette/src/decode/schema.js' {
    import type { ArrowSchema } from '@uwdata/flechette/src/decode/message.js';
    export function decodeSchema(bytes: Uint8Array, at: number, version: number): ArrowSchema;
}
declare module '@uwdata/flechette/src/encode/builder.js' {
    export class Builder {
        constructor(sink: { write(bytes: Uint8Array): void });
        readonly outputBytes: number;
        addBuffer(bytes: Uint8Array): number;
    }
}
declare module '@uwdata/flechette/src/encode/message.js' {
    import type { Builder } from '@uwdata/flechette/src/encode/builder.js';
    export interface Block {
        readonly offset: number;
        readonly metadataLength: number;
        readonly bodyLength: number;
    }
    export function writeMessage(
        builder: Builder,
        headerType: number,
        headerOffset: number,
        bodyLength: number,
        blocks?: Block[],
    ): void;
}
declare module '@uwdata/flechette/src/encode/schema.js' {
    import type { ArrowSchema } from '@uwdata/flechette/src/decode/message.js';
    import type { Builder } from '@uwdata/flechette/src/encode/builder.js';
    export function encodeSchema(builder: Builder, schema: ArrowSchema): number;
}
declare module '@uwdata/flechette/src/encode/record-batch.js' {
    import type { ArrowBatch } from '@uwdata/flechette/src/decode/message.js';
    import type { Builder } from '@uwdata/flechette/src/encode/builder.js';
    export function encodeRecordBatch(builder: Builder, batch: Pick<ArrowBatch, 'nodes' | 'regions'>): number;
}
declare module '@uwdata/flechette/src/encode/footer.js' {
    import type { ArrowSchema } from '@uwdata/flechette/src/decode/message.js';
    import type { Builder } from '@uwdata/flechette/src/encode/builder.js';
    import type { Block } from '@uwdata/flechette/src/encode/message.js';
    export function writeFooter(
        builder: Builder,
        schema: ArrowSchema,
        dictionaries: readonly Block[],
        records: readonly Block[],
    ): void;
}
declare module '@uwdata/flechette/src/data-types.js' {
    import type { ArrowField, ArrowType } from '@uwdata/flechette/src/decode/message.js';
    export function field(name: string, type: ArrowType, nullable?: boolean): ArrowField;
    export function int64(): ArrowType;
    export function float32(): ArrowType;
    export function float64(): ArrowType;
    export function bool(): ArrowType;
    export function utf8(): ArrowType;
    export function binary(): ArrowType;
    export function timestamp(unit: number, timezone: string | null): ArrowType;
    export function fixedSizeList(child: ArrowField, stride: number): ArrowType;
}
