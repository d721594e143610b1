/*
 * A server of messages that dies as networks do: startStreamServer() → { origin, close() }. Pages of any origin may
 * ask it.
 *
 *   PUT /messages?id=…                a JSON array of messages: texts, or { base64 } of bytes
 *   GET /events?id=…&die=100          server-sent events with their numbers from 1, behind Last-Event-ID; the
 *                                     connection is cut in the middle of the 101st. 204 where there are no more
 *   /socket?id=…&after=50&die=100     a WebSocket that sends the messages behind the 50th; cut after 100 of them, else
 *                                     closed with 1000 at the end; &hasty: without waiting for the other side
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const HANDSHAKE = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'; // RFC 6455, section 1.3
const anyOrigin = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*' };
const kept = new Map();

/** A frame of a server, which is not masked; payloads of less than 64 KiB. */
function frame(kind, payload) {
    const head = payload.length < 126 ? [payload.length] : [126, payload.length >> 8, payload.length & 255];
    return Buffer.concat([Buffer.from([0x80 | kind, ...head]), payload]);
}

function frameOf(message) {
    return typeof message === 'string'
        ? frame(1, Buffer.from(message))
        : frame(2, Buffer.from(message.base64, 'base64'));
}

const addressOf = (request) => new URL(request.url, 'http://localhost');
const dieOf = (query) => Number(query.get('die') ?? Infinity);

function sendEvents(request, response, query) {
    const messages = kept.get(query.get('id'));
    const after = Number(request.headers['last-event-id'] ?? 0);
    if (after >= messages.length) {
        response.writeHead(204, anyOrigin);
        return response.end();
    }
    response.writeHead(200, { ...anyOrigin, 'Content-Type': 'text/event-stream' });
    const end = Math.min(messages.length, after + dieOf(query));
    response.write('retry: 5\n\n');
    for (let i = after; i < end; i++) response.write(`id: ${i + 1}\ndata: ${messages[i]}\n\n`);
    if (end === messages.length) return response.end();
    response.write(`id: ${end + 1}\ndata: ${messages[end].slice(0, 10)}`);
    return setTimeout(() => response.destroy(), 20);
}

async function answer(request, response) {
    const { pathname, searchParams: query } = addressOf(request);
    if (request.method === 'OPTIONS') {
        response.writeHead(204, { ...anyOrigin, 'Access-Control-Allow-Methods': 'GET, PUT' });
        return response.end();
    }
    if (pathname === '/events') return sendEvents(request, response, query);
    kept.set(query.get('id'), JSON.parse(Buffer.concat(await request.toArray()).toString()));
    response.writeHead(204, anyOrigin);
    return response.end();
}

function openSocket(request, socket) {
    const { searchParams: query } = addressOf(request);
    const key = request.headers['sec-websocket-key'];
    const accept = createHash('sha1').update(`${key}${HANDSHAKE}`).digest('base64');
    const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
    socket.write(`${[...lines, `Sec-WebSocket-Accept: ${accept}`].join('\r\n')}\r\n\r\n`);
    socket.on('error', () => undefined);
    socket.resume();
    const messages = kept.get(query.get('id')).slice(Number(query.get('after') ?? 0));
    const end = Math.min(messages.length, dieOf(query));
    socket.write(Buffer.concat(messages.slice(0, end).map(frameOf)));
    if (end < messages.length) {
        setTimeout(() => socket.destroy(), 20);
    } else {
        socket.write(frame(8, Buffer.from([1000 >> 8, 1000 & 255])));
        // The other side closes, too (RFC 6455, section 7.1.1); `hasty` does not wait for it.
        if (query.has('hasty')) socket.end();
        else socket.once('data', () => socket.end());
    }
}

export async function startStreamServer() {
    const server = createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
        answer(request, response).catch((error) => response.destroy(error));
    });
    const sockets = new Set();
    server.on('upgrade', (request, socket) => {
        sockets.add(socket.on('close', () => sockets.delete(socket)));
        openSocket(request, socket);
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    return {
        origin: `http://127.0.0.1:${server.address().port}`,
        close: () => {
            server.closeAllConnections();
            for (const socket of sockets) socket.destroy();
            return new Promise((done) => server.close(done));
        },
    };
}
