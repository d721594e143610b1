/*
 * Chromium, and what it is started with, for bench and tests alike: no sandbox for root, nothing that asks other hosts.
 */
export const chromium = process.env.VELTA_CHROMIUM || '/usr/bin/chromium';
export const chromiumOptions = [
    '--no-sandbox',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
];
