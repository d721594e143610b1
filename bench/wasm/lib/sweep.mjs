/*
 * A sweep of ef over several engines, in rounds, each round in blocks of queries that alternate between the engines.
 */
import { meanRecall } from './peer.mjs';
import { median } from './report.mjs';

const BLOCK = 100;

/**
 * `engines`: { name: (ef, first, end) => { seconds, found } }, `found` ten rows a query. Gives { name: points },
 * a point being { ef, recall, rate }; the first round warms up and counts recall.
 */
export async function sweep(data, engines, efs, rounds) {
    const names = Object.keys(engines);
    const points = Object.fromEntries(names.map((name) => [name, efs.map((ef) => ({ ef, seconds: [] }))]));
    for (let round = 0; round <= rounds; round++)
        for (const [i, ef] of efs.entries()) {
            const spent = Object.fromEntries(names.map((name) => [name, { seconds: 0, found: [] }]));
            for (let first = 0; first < data.queries; first += BLOCK)
                for (const name of names) {
                    const answer = await engines[name](ef, first, Math.min(first + BLOCK, data.queries));
                    spent[name].seconds += answer.seconds;
                    spent[name].found.push(...answer.found);
                }
            for (const name of names) {
                if (round) points[name][i].seconds.push(spent[name].seconds);
                else points[name][i].recall = meanRecall(data, spent[name].found);
            }
        }
    for (const name of names) for (const point of points[name]) point.rate = data.queries / median(point.seconds);
    return points;
}
