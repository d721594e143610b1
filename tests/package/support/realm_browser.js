/*
 * openRealm in a browser, the near side: a frame, spoken to through a MessagePort, or a tab, which the test driver
 * opens and ends and which is spoken to through a BroadcastChannel.
 */
function addressOf(url, settings, more) {
    const query = new URLSearchParams({ harness: JSON.stringify(settings), realm: new URL(url).pathname, ...more });
    return `${location.origin}/realm.html?${query}`;
}

async function connectFrame(url, settings) {
    const frame = document.createElement('iframe');
    const { port1, port2 } = new MessageChannel();
    frame.src = addressOf(url, settings, {});
    const ready = new Promise((done) => {
        addEventListener('message', function listen(event) {
            if (event.source !== frame.contentWindow || event.data !== 'realm is ready') return;
            removeEventListener('message', listen);
            done();
        });
    });
    document.body.append(frame);
    await ready;
    frame.contentWindow.postMessage('port', location.origin, [port2]);
    return { port: port1, kill: async () => frame.remove() };
}

async function order(action, body) {
    const response = await fetch(`/driver/${action}`, { method: 'POST', body });
    if (!response.ok) throw new Error(await response.text());
    return response.text();
}

async function connectTab(url, settings) {
    const name = `realm-${Math.random()}`;
    const { port1, port2 } = new MessageChannel();
    const channel = new BroadcastChannel(name);
    const ready = new Promise((done) => {
        channel.onmessage = ({ data }) => {
            if (data === 'realm is ready') done();
            else port2.postMessage(data.answer);
        };
    });
    port2.onmessage = ({ data }) => channel.postMessage({ call: data });
    const tab = await order('open', addressOf(url, settings, { channel: name }));
    await ready;
    const kill = async () => {
        await order('kill', tab);
        channel.close();
    };
    return { port: port1, kill };
}

export function connect(url, { separate, settings }) {
    return (separate ? connectTab : connectFrame)(url, settings);
}
