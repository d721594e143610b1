/*
 * Turns a typed text into a vector, as demo/make_encoder.py describes: the sum over its terms of
 * (1 + ln count) * weight * row of the projection, brought to length 1.
 */

export const DIMENSIONS = 256;

/**
 * @typedef {object} Encoded
 * @property {Float32Array | null} vector null when no term is known
 * @property {string[]} terms what counted
 * @property {string[]} unknown words that the encoder does not know
 * @property {{ typed: string, read: string } | null} completed the last word, when it was read as a longer one
 */

export class Encoder {
    /** @type {Map<string, number>} */
    #index;
    /** @type {string[]} */
    #terms;
    /** @type {Set<string>} */
    #stopWords;
    /** @type {Float32Array} */
    #weights;
    /** @type {Int8Array} */
    #projection;

    /**
     * @param {string[]} terms commonest first
     * @param {string[]} stopWords
     * @param {Float32Array} weights one per term
     * @param {Int8Array} projection a row of DIMENSIONS per term
     */
    constructor(terms, stopWords, weights, projection) {
        if (weights.length !== terms.length || projection.length !== terms.length * DIMENSIONS) {
            throw new Error('the files of the encoder do not belong together');
        }
        this.#terms = terms;
        this.#index = new Map(terms.map((term, i) => [term, i]));
        this.#stopWords = new Set(stopWords);
        this.#weights = weights;
        this.#projection = projection;
    }

    /**
     * A last word that is not known is read as the commonest term that starts with it: most likely it is still being
     * typed.
     * @param {string} text
     * @returns {Encoded}
     */
    encode(text) {
        const words = text.toLowerCase().match(/[a-z][a-z0-9+]+/g) ?? [];
        const atEnd = /[a-zA-Z0-9+]$/.test(text);
        /** @type {Map<number, number>} */
        const counts = new Map();
        /** @type {Encoded} */
        const encoded = { vector: null, terms: [], unknown: [], completed: null };
        words.forEach((word, position) => {
            if (this.#stopWords.has(word)) return;
            let index = this.#index.get(word);
            if (index === undefined && atEnd && position === words.length - 1) {
                index = this.#terms.findIndex((term) => term.startsWith(word));
                const read = this.#terms[index];
                if (read === undefined) index = undefined;
                else encoded.completed = { typed: word, read };
            }
            if (index === undefined) encoded.unknown.push(word);
            else counts.set(index, (counts.get(index) ?? 0) + 1);
        });
        if (counts.size > 0) encoded.vector = this.#project(counts);
        encoded.terms = [...counts.keys()].map((index) => this.#terms[index] ?? '');
        return encoded;
    }

    /** @param {Map<number, number>} counts */
    #project(counts) {
        const vector = new Float32Array(DIMENSIONS);
        for (const [index, count] of counts) {
            const weight = (1 + Math.log(count)) * (this.#weights[index] ?? 0);
            const row = this.#projection.subarray(index * DIMENSIONS, (index + 1) * DIMENSIONS);
            row.forEach((value, i) => (vector[i] = (vector[i] ?? 0) + weight * value));
        }
        const length = Math.hypot(...vector);
        return length > 0 ? vector.map((value) => value / length) : null;
    }
}
