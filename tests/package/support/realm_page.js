/*
 * openRealm in a browser, the far side: the script of a frame or a tab (realm_browser.js).
 */
import { serve } from './realm_serve.js';

const query = new URLSearchParams(location.search);
const channelName = query.get('channel');
if (channelName) {
    const channel = new BroadcastChannel(channelName);
    const port = { postMessage: (answer) => channel.postMessage({ answer }) };
    serve(port, query.get('realm'));
    channel.onmessage = ({ data }) => data.call && port.onmessage({ data: data.call });
    channel.postMessage('realm is ready');
} else {
    addEventListener('message', (event) => {
        if (event.source === parent && event.data === 'port') serve(event.ports[0], query.get('realm'));
    });
    parent.postMessage('realm is ready', location.origin);
}
